//! Runs the tests on the change and judges by what they say, never by a model's opinion. A model only
//! explains failures to the Developer.

mod report;

use futures::future::BoxFuture;

use super::assignment::Assignment;
use super::prompt::Prompt;
use super::test_command::{self, Bench, Ran};
use super::{Agent, answer, briefing, detect, diagnosis};
use crate::engine::StepContext;
use crate::pipeline::{Finding, StepFailure, StepOutput, StepRole, TestRun, Verdict};
use crate::task::TestCommand;
use crate::workspace::{Change, FileChange, Root};

/// Most output tokens of an explanation.
const EXPLANATION_TOKENS_MAX: u32 = 4_000;

/// The agent.
#[derive(Debug)]
pub(super) struct Qa;

impl Agent for Qa {
    fn id(&self) -> &'static str {
        "qa"
    }

    fn title(&self) -> &'static str {
        "QA"
    }

    fn step_id(&self) -> &'static str {
        "qa"
    }

    fn role(&self) -> StepRole {
        StepRole::Verify
    }

    fn run<'a>(&'a self, context: &'a StepContext) -> BoxFuture<'a, Result<StepOutput, StepFailure>> {
        Box::pin(work(context))
    }
}

/// Everything that QA found out.
#[derive(Debug, Default)]
struct Results {
    runs: Vec<TestRun>,
    /// Runs with the tests as they were before the patch.
    base_runs: Vec<TestRun>,
    findings: Vec<Finding>,
    explanation: Option<String>,
}

async fn work(context: &StepContext) -> Result<StepOutput, StepFailure> {
    context.say("prepares the tests");
    let assignment = Assignment::gather(context).await?;
    let bench = Bench::of(context).await?;
    let folder = bench.place.folder.clone();
    let offers = tokio::task::spawn_blocking(move || detect::offers(&folder))
        .await
        .unwrap_or_default();
    let tests = assignment.tests(&context.config.tests, &detect::commands(&offers));
    let patch = context
        .services()
        .workspaces
        .patch(&context.repository, &context.order.base, &context.order.files)
        .await?;
    let changed_tests: Vec<&FileChange> = patch
        .files
        .iter()
        .filter(|file| report::defines_tests(&file.path))
        .collect();

    let mut results = Results::default();
    results.findings.extend(report::flagged(&changed_tests));
    for test in &tests {
        match test_command::run(context, &bench, test).await? {
            Ran::Done(run) => results.take(&bench, &context.repository.folder_path, run),
            Ran::Denied => results.findings.push(report::finding(
                "warning",
                format!("`{}` was not run: a person said no", test.command),
            )),
        }
    }
    if tests.is_empty() {
        results
            .findings
            .push(report::finding("info", "no test command".to_owned()));
    }
    run_with_tests_of_base(context, &bench, &tests, &changed_tests, &mut results).await?;
    let mut output = StepOutput::default();
    if results.runs.iter().any(|run| !run.passed) {
        let patch = context
            .services()
            .redactor
            .redact(&patch.to_unified())
            .into_owned();
        output = explain(context, &assignment, &patch, &mut results)
            .await?
            .sign(output);
    }
    let document = report::document(&results);
    Ok(StepOutput {
        summary: report::summary(&results),
        document: Some(context.put_text(&document).await?),
        verdict: Some(if results.runs.iter().all(|run| run.passed) {
            Verdict::Passed
        } else {
            Verdict::Failed
        }),
        findings: results.findings,
        test_runs: results.runs,
        ..output
    })
}

impl Results {
    fn take(&mut self, bench: &Bench, folder: &str, run: TestRun) {
        if !run.passed {
            let root = &bench.place.root;
            let is_file = |path: &str| root.join(path).is_file();
            self.findings.extend(diagnosis::findings(
                &run,
                &root.to_string_lossy(),
                folder,
                &is_file,
            ));
        }
        self.runs.push(run);
    }
}

/// Runs the tests once more with the definitions of the base, when the patch changed them.
async fn run_with_tests_of_base(
    context: &StepContext,
    bench: &Bench,
    tests: &[TestCommand],
    changed: &[&FileChange],
    results: &mut Results,
) -> Result<(), StepFailure> {
    let restored: Vec<(String, String)> = changed
        .iter()
        .filter(|file| matches!(file.change, Change::Modified | Change::Deleted))
        .filter_map(|file| Some((file.path.clone(), file.base_text.clone()?)))
        .collect();
    if restored.is_empty() || results.runs.is_empty() {
        return Ok(());
    }
    context.say("runs the tests as they were before");
    let root = bench.place.root.clone();
    let written = tokio::task::spawn_blocking(move || {
        let root = Root::open(&root)?;
        restored
            .iter()
            .try_for_each(|(path, text)| root.write(path, text.as_bytes()))
    });
    if !matches!(written.await, Ok(Ok(()))) {
        results.findings.push(report::finding(
            "warning",
            "the tests as they were before could not be put back to run them".to_owned(),
        ));
        return Ok(());
    }
    for test in tests {
        if let Ran::Done(run) = test_command::run(context, bench, test).await? {
            if !run.passed {
                let message = format!(
                    "`{}` fails with the tests as they were before the patch",
                    run.command
                );
                results.findings.push(report::finding("warning", message));
            }
            results.base_runs.push(run);
        }
    }
    context.put_files(&context.order.files).await?;
    Ok(())
}

/// One model call that explains the failures. Without a model that answers, the report does without.
async fn explain(
    context: &StepContext,
    assignment: &Assignment,
    patch: &str,
    results: &mut Results,
) -> Result<answer::Spoken, StepFailure> {
    context.say("explains the failures");
    let told = format!(
        "{}{}\n# The patch\n{}\n# The test runs\n{}",
        briefing::task(assignment, &assignment.tests),
        briefing::so_far(&Assignment {
            findings: None,
            patch: None,
            ..assignment.clone()
        }),
        briefing::quoted_patch(patch),
        report::runs(&results.runs),
    );
    let request = answer::request(
        &context.config,
        Prompt::Qa,
        briefing::opening(String::new(), told),
        EXPLANATION_TOKENS_MAX,
    );
    match answer::ask(context, request).await {
        Ok((text, spoken)) => {
            results.explanation = Some(text);
            Ok(spoken)
        }
        Err(failure) if context.cancel.is_cancelled() => Err(failure),
        Err(failure) => {
            tracing::info!(error = %failure.error, "nobody explains the failed tests");
            Ok(answer::Spoken::default())
        }
    }
}
