//! Looking at pipelines changes nothing and drives nothing.

use std::fmt::Write as _;

use clode_core::engine::PipelineDetail;
use clode_core::id::PipelineId;
use clode_core::pipeline::Status;
use clode_core::redact::neutralise;
use clode_core::{Error, Result};

use super::List;
use crate::app::Providers;
use crate::cli::desk::Caller;
use crate::cli::output::Colour;
use crate::cli::render::{self, Style, paint};
use crate::cli::{Exit, drive};

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
    let detail = drive::detail(&app.engine, run).await?;
    if caller.output.is_json() {
        caller.output.document(&detail);
    } else {
        caller.output.print(&text(&detail, caller.output.colour()));
        let machine = app.engine.row(run).await?.machine()?;
        caller.output.note(&drive::how_to_go_on(run, &machine));
    }
    app.engine.shutdown().await;
    Ok(Exit::Done)
}

/// The patch alone.
pub(super) async fn patch(caller: &Caller, run: &PipelineId) -> Result<Exit> {
    let app = caller.open(Providers::Configured).await?;
    let machine = app.engine.row(run).await?.machine()?;
    let patch = app.engine.patch(&machine).await?.ok_or_else(|| {
        Error::state(
            "noPatch",
            format!(
                "pipeline `{run}` has no patch yet (it is {})",
                machine.status().as_str()
            ),
        )
        .hint(format!("`clode-ls pipelines show {run}` says how it stands"))
    })?;
    let text = super::marked(&patch);
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

/// For people.
fn text(detail: &PipelineDetail, colour: Colour) -> String {
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
