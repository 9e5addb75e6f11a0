//! Changes files: by our own tool loop over a provider, or by the program Claude Code.

mod claude_code;
mod host;
mod sdk;

use std::fmt::Write as _;

use futures::future::BoxFuture;

pub(super) use host::StepHost;

use super::Agent;
use super::answer::Spoken;
use super::assignment::Assignment;
use super::task_master::first_line;
use super::test_command::{self, Bench, Ran};
use crate::config::Mode;
use crate::engine::StepContext;
use crate::error::{Error, Kind};
use crate::pipeline::{StepFailure, StepFailureClass, StepOutput, StepRole, TestRun};
use crate::plan::{Plan, PlanStep};

/// Codes of failures that another way of working may cure, as long as nothing was changed.
const CURABLE: [&str; 9] = [
    "claudeMissing",
    "claudeTooOld",
    "claudeNotLoggedIn",
    "meteredRefused",
    "keyRejected",
    "noRoute",
    "noProvider",
    "modelNotFound",
    "modeUnavailable",
];

/// The agent.
#[derive(Debug)]
pub(super) struct Developer;

impl Agent for Developer {
    fn id(&self) -> &'static str {
        "developer"
    }

    fn title(&self) -> &'static str {
        "Developer"
    }

    fn step_id(&self) -> &'static str {
        "developer"
    }

    fn role(&self) -> StepRole {
        StepRole::Change
    }

    fn run<'a>(&'a self, context: &'a StepContext) -> BoxFuture<'a, Result<StepOutput, StepFailure>> {
        Box::pin(work(context))
    }
}

/// What a way of working came to.
#[derive(Debug, Clone, Default)]
struct Report {
    /// The Developer's own words.
    text: String,
    /// Something that a person should know about how it went.
    note: Option<String>,
    spoken: Spoken,
}

async fn work(context: &StepContext) -> Result<StepOutput, StepFailure> {
    let assignment = Assignment::gather(context).await?;
    let modes = modes(context);
    let mut passed_over: Vec<String> = Vec::new();
    for (index, mode) in modes.iter().enumerate() {
        let done = match mode {
            Mode::Sdk => sdk::work(context, &assignment).await,
            Mode::Cli => claude_code::work(context, &assignment).await,
            Mode::Acp => Err(unavailable()),
        };
        match done {
            Ok(report) => return output(context, &assignment, report, &passed_over).await,
            Err(failure)
                if index + 1 < modes.len()
                    && is_curable(&failure)
                    && context.collect().await?.changed == 0 =>
            {
                tracing::info!(run = %context.run, mode = name(*mode), error = %failure.error, "another way is tried");
                context.say(format!("{} cannot be used: {}", name(*mode), failure.error));
                passed_over.push(format!("{} could not be used ({}).", name(*mode), failure.error));
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(unavailable())
}

/// The ways that are configured, ours alone where the demonstration is all there is.
fn modes(context: &StepContext) -> Vec<Mode> {
    let mut modes = context.config.developer_modes.clone();
    if modes.is_empty() {
        modes.push(Mode::Sdk);
    }
    modes
}

const fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Sdk => "the tool loop",
        Mode::Cli => "Claude Code",
        Mode::Acp => "an ACP agent",
    }
}

fn unavailable() -> StepFailure {
    let error = Error::new(
        Kind::Config,
        "modeUnavailable",
        "there is no way to carry out the Developer's work here",
    );
    StepFailure::permanent(error.hint("set `agents.developer.mode` to `sdk` or `cli`, and a provider for it"))
}

fn is_curable(failure: &StepFailure) -> bool {
    failure.class == StepFailureClass::Permanent && CURABLE.contains(&failure.error.code.as_ref())
}

async fn output(
    context: &StepContext,
    assignment: &Assignment,
    report: Report,
    passed_over: &[String],
) -> Result<StepOutput, StepFailure> {
    let collected = context.collect().await?;
    // In a later round the files may stay as the round before left them.
    let differs = context.order.files != context.order.base;
    if collected.changed == 0 && !differs && !changes_nothing(assignment) {
        return Err(StepFailure::permanent(no_change(&report.text)));
    }
    let mut document = String::new();
    for note in passed_over.iter().chain(&report.note) {
        let _ = write!(document, "> {note}\n\n");
    }
    document.push_str(report.text.trim());
    document.push('\n');
    for refusal in &collected.refused {
        let _ = write!(
            document,
            "\nNot taken into the result: `{}`: {}\n",
            refusal.path, refusal.reason
        );
    }
    let files = if collected.changed == 1 {
        "1 file".to_owned()
    } else {
        format!("{} files", collected.changed)
    };
    let output = StepOutput {
        summary: format!("Changed {files}. {}", first_line(&report.text))
            .trim()
            .to_owned(),
        document: Some(context.put_text(&document).await?),
        files: Some(collected.commit),
        test_runs: own_tests(context, assignment).await?,
        ..StepOutput::default()
    };
    Ok(report.spoken.sign(output))
}

/// A Developer who works alone proves the work; in a pipeline that is QA's part. What the tests leave
/// behind is not part of the result, which was taken before.
async fn own_tests(context: &StepContext, assignment: &Assignment) -> Result<Vec<TestRun>, StepFailure> {
    let mut runs = Vec::new();
    if context.order.request.is_none() || assignment.tests.is_empty() {
        return Ok(runs);
    }
    let bench = Bench::of(context).await?;
    for test in &assignment.tests {
        if let Ran::Done(run) = test_command::run(context, &bench, test).await? {
            runs.push(run);
        }
    }
    Ok(runs)
}

/// Whether the plan says that nothing is to be changed.
fn changes_nothing(assignment: &Assignment) -> bool {
    let plan = assignment
        .plan
        .as_deref()
        .and_then(|plan| Plan::parse(plan, &|_| true).ok());
    let is_ours = |step: &&PlanStep| assignment.part.as_ref().is_none_or(|part| *part == step.id);
    plan.is_some_and(|plan| {
        plan.steps
            .iter()
            .filter(is_ours)
            .all(|step| step.touches.is_empty() && says_nothing_to_do(&step.title, &step.detail))
    })
}

fn says_nothing_to_do(title: &str, detail: &str) -> bool {
    let text = format!("{title} {detail}").to_lowercase();
    [
        "nothing to change",
        "no change",
        "nothing is changed",
        "nothing is to be changed",
        "nothing to do",
        "change nothing",
        "cannot be done",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn no_change(words: &str) -> Error {
    let said = first_line(words);
    let said = if said.is_empty() {
        String::new()
    } else {
        format!("; it said: {said}")
    };
    Error::new(
        Kind::State,
        "noChange",
        format!("the Developer changed nothing{said}"),
    )
    .hint("read its report, make the task or the plan more exact, and retry")
}

/// What is said to a Developer that changed nothing.
const NUDGE: &str = "You have changed nothing yet. If the task needs a change, make it now with your tools. If it really needs none, say so and give the reason.";

#[cfg(test)]
mod tests {
    use super::*;

    fn with_plan(step: &str) -> Assignment {
        let plan = format!("## Goal\nx\n## Steps\n### step-1: {step}\n");
        Assignment {
            plan: Some(plan),
            ..Assignment::default()
        }
    }

    #[test]
    fn only_a_plan_that_says_so_lets_the_developer_change_nothing() {
        assert!(changes_nothing(&with_plan("Nothing to change")));
        assert!(!changes_nothing(&with_plan("Add a function")));
        assert!(!changes_nothing(&with_plan("Nothing to change\n- touches: a.rs")));
        assert!(!changes_nothing(&Assignment::default()));
    }

    #[test]
    fn a_missing_program_is_curable_and_a_refusal_is_not() {
        let failed = |code| StepFailure::permanent(Error::new(Kind::Provider, code, "x"));
        assert!(is_curable(&failed("claudeMissing")) && is_curable(&failed("keyRejected")));
        assert!(!is_curable(&failed("modelRefused")) && !is_curable(&failed("noChange")));
        assert!(!is_curable(&StepFailure::cancelled()));
    }
}
