//! What a conversation gets from its step.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use futures::future::BoxFuture;
use globset::GlobSet;

use crate::agent::survey;
use crate::agent::test_command::{self, Bench, Ran};
use crate::agent::tool_loop::{Host, Transcript};
use crate::agent::toolbox::ToolAnswer;
use crate::engine::{Files, ModelAnswer, StepContext};
use crate::pipeline::{GateRequest, StepFailure, StepFailureClass, TestRun};
use crate::provider::Request;
use crate::task::TestCommand;
use crate::workspace::Root;

/// Files that tools write beside the work and that belong to it.
const KEPT_NAMES: [&str; 9] = [
    "Cargo.lock",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "go.sum",
    "poetry.lock",
    "uv.lock",
    "Gemfile.lock",
];
/// Longest question to a person (characters).
const QUESTION_CHARS_MAX: usize = 2_000;
/// What an agent gets whose question a person left to it.
const DECIDE_YOURSELF: &str =
    "The person leaves it to you: decide, and say in your report what you decided and why.";
/// Most of a test's output that a model gets (bytes).
const TOLD_BYTES_MAX: usize = 16 * 1024;

/// A step's side of a conversation.
pub(in crate::agent) struct StepHost<'a> {
    context: &'a StepContext,
    tests: Vec<TestCommand>,
}

impl<'a> StepHost<'a> {
    /// For an agent that only looks.
    pub(in crate::agent) fn looking(context: &'a StepContext) -> Self {
        Self {
            context,
            tests: Vec::new(),
        }
    }

    /// For one that changes files and runs these tests.
    pub(super) fn changing(context: &'a StepContext, tests: Vec<TestCommand>) -> Self {
        Self { context, tests }
    }

    /// The conversation of an earlier attempt at this very order.
    pub(in crate::agent) async fn resumed(&self) -> Result<Option<Transcript>, StepFailure> {
        let point = self
            .context
            .resume_point()
            .await?
            .filter(|point| point.note == self.note());
        Ok(point.and_then(|point| Transcript::from_bytes(&point.transcript)))
    }

    fn note(&self) -> String {
        note(self.context, "loop")
    }

    async fn run_all(&self) -> Result<ToolAnswer, StepFailure> {
        if self.tests.is_empty() {
            return Ok(ToolAnswer::error(
                "the task names no test command and the project offers none",
            ));
        }
        let bench = Bench::of(self.context).await?;
        let before = files(&bench).await;
        let mut told = String::new();
        let mut all_passed = true;
        for test in &self.tests {
            match test_command::run(self.context, &bench, test).await {
                Ok(Ran::Done(run)) => {
                    all_passed &= run.passed;
                    told.push_str(&tell(&run));
                }
                Ok(Ran::Denied) => {
                    all_passed = false;
                    let _ = writeln!(told, "Test run: `{}`: not run, a person said no", test.command);
                }
                Err(failure) if failure.class == StepFailureClass::Cancelled => return Err(failure),
                Err(failure) => {
                    all_passed = false;
                    let _ = writeln!(told, "Test run: `{}`: not run: {}", test.command, failure.error);
                }
            }
        }
        tidy(&bench, &before).await;
        Ok(if all_passed {
            ToolAnswer::fine(told)
        } else {
            ToolAnswer::error(told)
        })
    }
}

/// Names the order that a checkpoint belongs to: with other words of a person or of QA it is another one.
pub(super) fn note(context: &StepContext, form: &str) -> String {
    let order = &context.order;
    let mut hasher = blake3::Hasher::new();
    let blobs = [&order.brief, &order.plan, &order.findings, &order.request];
    let parts = blobs.map(|blob| blob.as_ref().map_or("", |blob| blob.as_str()));
    for part in parts
        .into_iter()
        .chain([form, order.comment.as_deref().unwrap_or_default()])
    {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

/// A run in the form that models get.
fn tell(run: &TestRun) -> String {
    let code = run
        .exit_code
        .map_or_else(|| "none".to_owned(), |code| code.to_string());
    let passed = if run.passed { "passed" } else { "failed" };
    let tail = survey::tail(&run.output, TOLD_BYTES_MAX);
    let cut = if tail.len() < run.output.len() {
        "(the beginning is left out)\n"
    } else {
        ""
    };
    format!(
        "Test run: `{}`: {passed}, exit code: {code}\n{}",
        run.command,
        survey::quoted("output", "output", &format!("{cut}{tail}"))
    )
}

async fn files(bench: &Bench) -> BTreeSet<String> {
    let root = bench.place.root.clone();
    let listed = tokio::task::spawn_blocking(move || survey::list(&root, "", &GlobSet::empty()));
    listed
        .await
        .unwrap_or_default()
        .into_iter()
        .map(|(path, _)| path)
        .collect()
}

/// Removes what the tests left behind: it is no part of the change.
async fn tidy(bench: &Bench, before: &BTreeSet<String>) {
    let is_kept = |path: &str| {
        KEPT_NAMES.contains(&path.rsplit('/').next().unwrap_or(path))
            || path.rsplit('.').next() == Some("snap")
    };
    let left: Vec<String> = files(bench)
        .await
        .into_iter()
        .filter(|path| !before.contains(path) && !is_kept(path))
        .collect();
    if left.is_empty() {
        return;
    }
    tracing::debug!(count = left.len(), "files that tests left behind are removed");
    let root = bench.place.root.clone();
    let removed = tokio::task::spawn_blocking(move || {
        let root = Root::open(&root)?;
        left.iter().try_for_each(|path| root.remove(path))
    });
    if let Ok(Err(error)) = removed.await {
        tracing::debug!(%error, "a file that a test left behind stays");
    }
}

impl Host for StepHost<'_> {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<ModelAnswer, StepFailure>> {
        Box::pin(self.context.call(request))
    }

    fn run_tests(&self) -> BoxFuture<'_, Result<ToolAnswer, StepFailure>> {
        Box::pin(self.run_all())
    }

    fn ask(&self, question: String) -> BoxFuture<'_, Result<ToolAnswer, StepFailure>> {
        Box::pin(async move {
            let text: String = question.chars().take(QUESTION_CHARS_MAX).collect();
            let answer = self.context.ask(GateRequest::Question { text }).await?;
            Ok(ToolAnswer::fine(
                match answer.comment.filter(|_| answer.approved) {
                    Some(words) => format!("The person answers: {words}"),
                    None => DECIDE_YOURSELF.to_owned(),
                },
            ))
        })
    }

    fn checkpoint(&self, transcript: Vec<u8>, files: Files) -> BoxFuture<'_, Result<(), StepFailure>> {
        Box::pin(async move { Ok(self.context.checkpoint(transcript, files, &self.note()).await?) })
    }

    fn say(&self, words: String) {
        self.context.say(words);
    }
}
