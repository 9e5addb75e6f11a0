//! Orients the others: what is wanted, where, what to watch out for, what proves it.

use std::fmt::Write as _;

use futures::future::BoxFuture;

use super::assignment::Assignment;
use super::detect::{self, Offer};
use super::prompt::Prompt;
use super::survey::{Depth, Survey};
use super::{Agent, answer, briefing};
use crate::engine::StepContext;
use crate::error::Error;
use crate::pipeline::{StepFailure, StepOutput, StepRole};

/// Most output tokens of a brief.
const BRIEF_TOKENS_MAX: u32 = 4_000;
/// Longest summary (characters).
const SUMMARY_CHARS_MAX: usize = 240;

/// The agent.
#[derive(Debug)]
pub(super) struct TaskMaster;

impl Agent for TaskMaster {
    fn id(&self) -> &'static str {
        "taskMaster"
    }

    fn title(&self) -> &'static str {
        "Task Master"
    }

    fn step_id(&self) -> &'static str {
        "task-master"
    }

    fn role(&self) -> StepRole {
        StepRole::Brief
    }

    fn run<'a>(&'a self, context: &'a StepContext) -> BoxFuture<'a, Result<StepOutput, StepFailure>> {
        Box::pin(work(context))
    }
}

async fn work(context: &StepContext) -> Result<StepOutput, StepFailure> {
    context.say("looks at the repository");
    let assignment = Assignment::gather(context).await?;
    let seen = look(context, &assignment, Depth::Overview).await?;
    let tests = assignment.tests(&context.config.tests, &detect::commands(&seen.offers));
    let opening = briefing::opening(
        seen.text,
        briefing::task(&assignment, &tests) + &briefing::so_far(&assignment),
    );
    context.say("writes the brief");
    let request = answer::request(&context.config, Prompt::TaskMaster, opening, BRIEF_TOKENS_MAX);
    let (brief, spoken) = answer::ask_or_recall(context, request).await?;
    let document = with_tests(brief.trim(), &seen.offers);
    let output = StepOutput {
        summary: first_line(&document),
        document: Some(context.put_text(&document).await?),
        ..StepOutput::default()
    };
    Ok(spoken.sign(output))
}

/// What an agent sees of the repository, and the tests that it offers.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) offers: Vec<Offer>,
}

/// Looks at the working directory of the step.
pub(super) async fn look(
    context: &StepContext,
    assignment: &Assignment,
    depth: Depth,
) -> Result<Seen, StepFailure> {
    let place = context.working_directory().await?;
    let folder = context.repository.folder_path.clone();
    let (assignment, limits) = (assignment.clone(), context.config.context.clone());
    let redactor = std::sync::Arc::clone(&context.services().redactor);
    let looked = tokio::task::spawn_blocking(move || {
        let survey = Survey {
            root: &place.root,
            folder: &folder,
            assignment: &assignment,
            limits: &limits,
            redactor: &redactor,
            depth,
        };
        Seen {
            text: survey.text(),
            offers: detect::offers(&place.folder),
        }
    });
    let looked = context
        .cancel
        .run_until_cancelled(looked)
        .await
        .ok_or_else(StepFailure::cancelled)?;
    looked.map_err(|error| {
        StepFailure::permanent(Error::internal(format!(
            "looking at the repository failed: {error}"
        )))
    })
}

/// The brief, with the commands that the project offers: the Architect goes by them.
fn with_tests(brief: &str, offers: &[Offer]) -> String {
    let mut text = format!("{brief}\n");
    if !offers.is_empty() {
        text.push_str("\n## Test commands that the project offers\n");
        for offer in offers {
            let _ = writeln!(text, "- `{}` (from {})", offer.test.command, offer.manifest);
        }
    }
    text
}

/// The first line that says something, without Markdown.
pub(super) fn first_line(text: &str) -> String {
    let line = text
        .lines()
        .map(|line| line.trim_matches(['#', '*', ' ', '_']))
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars().take(SUMMARY_CHARS_MAX).collect()
}
