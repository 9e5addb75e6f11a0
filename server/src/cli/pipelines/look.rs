//! Looking at pipelines changes nothing and drives nothing.

use std::fmt::Write as _;

use clode_core::engine::{PipelineDetail, StepChanges};
use clode_core::id::PipelineId;
use clode_core::pipeline::Status;
use clode_core::redact::neutralise;
use clode_core::workspace::Salvaged;
use clode_core::{Error, Result};
use serde_json::{Value, json};

use super::List;
use crate::app::{App, Providers};
use crate::cli::desk::Caller;
use crate::cli::output::Colour;
use crate::cli::render::{self, Style, paint};
use crate::cli::{Exit, drive};

/// Digits of a commit's name that are shown.
const COMMIT_DIGITS: usize = 12;

impl List {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let status = self.status.as_deref().map(status).transpose()?;
        let app = caller.open(Providers::Configured).await?;
        let repository = if self.all {
            None
        } else {
            Some(app.engine.repository(&caller.folder).await?.id.clone())
        };
        let summaries = app.engine.list(repository, status, self.limit).await?;
        if caller.output.is_json() {
            caller.output.document(&summaries);
        } else if summaries.is_empty() {
            caller
                .output
                .note("There is no pipeline here. Begin with `clode-ls run \"what is to be done\"`.");
        } else {
            caller.output.print(&render::table(
                &summaries.iter().map(super::row).collect::<Vec<_>>(),
            ));
        }
        app.engine.shutdown().await;
        Ok(Exit::Done)
    }
}

fn status(text: &str) -> Result<Status> {
    let known = [
        Status::Queued,
        Status::Running,
        Status::AwaitingApproval,
        Status::Paused,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
    ];
    known
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|status| status.as_str()).collect();
            Error::usage(
                "invalidParams",
                format!(
                    "--status: there is no status `{text}`; there are: {}",
                    names.join(", ")
                ),
            )
        })
}

/// One pipeline with everything.
pub(super) async fn show(caller: &Caller, run: &PipelineId) -> Result<Exit> {
    let app = caller.open(Providers::Configured).await?;
    let detail = match drive::detail(&app.engine, run).await {
        Err(error) if error.code == "unknownPipeline" => return Err(gone(&app, run, error).await),
        detail => detail?,
    };
    let changes = app.engine.changes_by_step(run).await;
    let changes = changes
        .inspect_err(|error| tracing::debug!(%error, "what each step changed cannot be told"))
        .unwrap_or_default();
    if caller.output.is_json() {
        caller.output.document(&with_changes(&detail, &changes)?);
    } else {
        caller
            .output
            .print(&text(&detail, &changes, caller.output.colour()));
        let machine = app.engine.row(run).await?.machine()?;
        caller.output.note(&drive::how_to_go_on(run, &machine));
    }
    app.engine.shutdown().await;
    Ok(Exit::Done)
}

/// The detail, and at each step that changed files the commit and how much that was.
fn with_changes(detail: &PipelineDetail, changes: &[StepChanges]) -> Result<Value> {
    let mut shown = serde_json::to_value(detail)
        .map_err(|error| Error::internal(format!("a pipeline cannot be written: {error}")))?;
    let steps = shown.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten() {
        let is_it = |of: &&StepChanges| step.get("id").is_some_and(|id| id == of.step.as_str());
        if let (Some(of), Some(object)) = (changes.iter().find(is_it), step.as_object_mut()) {
            let counts = json!({"files": of.files, "insertions": of.insertions, "deletions": of.deletions});
            object.insert("commit".to_owned(), json!(of.commit));
            object.insert("changes".to_owned(), counts);
        }
    }
    Ok(shown)
}

/// What outlived a pipeline that has expired.
async fn salvaged(app: &App, run: &PipelineId) -> Result<Option<Salvaged>> {
    let all = app.engine.services().workspaces.salvaged().await?;
    Ok(all.into_iter().find(|salvaged| salvaged.run == *run))
}

/// The refusal for a pipeline that is not there; of one that has expired it says what is left.
async fn gone(app: &App, run: &PipelineId, unknown: Error) -> Error {
    match salvaged(app, run).await {
        Ok(Some(salvaged)) => {
            let message = format!(
                "pipeline `{run}` (`{}`) went on {}; its result, which nobody applied, is still there",
                salvaged.title,
                salvaged.at.rfc3339()
            );
            Error::state("expired", message)
                .hint(format!("`clode-ls pipelines patch {run}` prints its patch"))
        }
        _ => unknown,
    }
}

/// The patch alone; of a pipeline that has expired the one that was kept.
pub(super) async fn patch(caller: &Caller, run: &PipelineId) -> Result<Exit> {
    let app = caller.open(Providers::Configured).await?;
    let mut beside = String::new();
    let patch = match app.engine.row(run).await {
        Ok(row) => {
            let machine = row.machine()?;
            app.engine.patch(&machine).await?.ok_or_else(|| {
                Error::state(
                    "noPatch",
                    format!(
                        "pipeline `{run}` has no patch yet (it is {})",
                        machine.status().as_str()
                    ),
                )
                .hint(format!("`clode-ls pipelines show {run}` says how it stands"))
            })?
        }
        Err(error) => {
            let salvaged = salvaged(&app, run).await?.ok_or(error)?;
            let repository = app.engine.repository(&caller.folder).await?;
            if repository.id != salvaged.repository {
                let message = format!("`{run}` belongs to another repository than the one here");
                return Err(Error::state("otherFolder", message).hint("call it in that repository"));
            }
            let workspaces = &app.engine.services().workspaces;
            for of in &salvaged.unmerged {
                let patch = workspaces.patch(&repository, &of.base, &of.result).await?;
                let _ = write!(
                    beside,
                    "# of step `{}`, never merged:\n{}",
                    of.step,
                    super::marked(&patch)
                );
            }
            workspaces
                .patch(&repository, &salvaged.base, &salvaged.result)
                .await?
        }
    };
    let text = super::marked(&patch) + &beside;
    if caller.output.is_json() {
        caller
            .output
            .document(&serde_json::json!({"pipelineId": run, "patch": text}));
    } else {
        caller.output.patch(&text);
    }
    app.engine.shutdown().await;
    Ok(Exit::Done)
}

/// `2 files +10 −3 (1f0c9a2b7d44)`.
fn counted(of: &StepChanges) -> String {
    let files = if of.files == 1 { "file" } else { "files" };
    let commit = of.commit.as_str();
    let short = commit.get(..COMMIT_DIGITS).unwrap_or(commit);
    format!(
        "{} {files} +{} −{} ({short})",
        of.files, of.insertions, of.deletions
    )
}

/// For people.
fn text(detail: &PipelineDetail, changes: &[StepChanges], colour: Colour) -> String {
    let mut text = render::summary(detail, colour);
    let _ = writeln!(text, "Created: {}", detail.summary.created_at);
    let _ = writeln!(text, "\n{}", paint("Steps", Style::Bold, colour));
    let rows: Vec<Vec<String>> = detail
        .steps
        .iter()
        .map(|step| {
            let status = serde_json::to_value(step.status)
                .ok()
                .and_then(|value| value.as_str().map(str::to_owned));
            let summary = step.summary.split_whitespace().collect::<Vec<_>>().join(" ");
            vec![
                step.id.clone(),
                status.unwrap_or_default(),
                format!("${:.4}", step.cost),
                step.saved_cost
                    .map_or_else(String::new, |saved| format!("cached, saved ${saved:.4}")),
                changes
                    .iter()
                    .find(|of| of.step.as_str() == step.id)
                    .map(counted)
                    .unwrap_or_default(),
                neutralise(&summary).into_owned(),
            ]
        })
        .collect();
    text.push_str(&render::table(&rows));
    if let Some(plan) = &detail.plan {
        let _ = write!(text, "\n{}", render::markdown(plan, colour));
    }
    for finding in &detail.findings {
        let place = finding
            .path
            .as_deref()
            .map_or_else(String::new, |path| match finding.line {
                Some(line) => format!("{path}:{line}: "),
                None => format!("{path}: "),
            });
        let _ = writeln!(
            text,
            "{}: {}{}",
            finding.severity,
            neutralise(&place),
            neutralise(&finding.message)
        );
    }
    if let Some(patch) = detail.patch.as_deref().filter(|patch| !patch.is_empty()) {
        let _ = write!(text, "\n{}", render::patch(patch, colour));
    }
    text
}
