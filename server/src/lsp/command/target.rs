//! Which pipeline a command means: the named one, the one with that approval, or the only fitting one.

use clode_core::engine::Engine;
use clode_core::id::{ApprovalId, PipelineId};
use clode_core::pipeline::{GateKind, Status};
use clode_core::store::{RunFilter, RunRow};
use clode_core::{Error, Result};

use super::Subject;
use crate::lsp::session::Session;

/// Pipelines that are looked through.
const LOOKED_AT_MAX: usize = 500;
/// Pipelines that a refusal lists.
const LISTED_MAX: usize = 20;

/// Which states allow the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fits {
    /// Any, unfinished ones first.
    Any,
    /// Works, is queued or waits.
    Unfinished,
    /// Works, is queued or waits for an answer.
    Pausable,
    /// Was told to wait.
    Paused,
    /// Has ended.
    Ended,
    /// Has ended without completing, or is paused.
    Retriable,
    /// Has a question open, of this kind if one is named.
    Asking(Option<GateKind>),
}

/// What the caller said about the pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    pub(crate) pipeline: Option<String>,
    pub(crate) approval: Option<ApprovalId>,
}

impl Named {
    pub(crate) fn pipeline(id: Option<String>) -> Self {
        Self {
            pipeline: id,
            approval: None,
        }
    }
}

/// The run that is meant; remembered in `subject` for refusals.
pub(crate) async fn resolve(
    session: &Session,
    subject: &Subject,
    named: Named,
    fits: Fits,
) -> Result<PipelineId> {
    let engine = session.engine().await?;
    let run = match named {
        Named {
            pipeline: Some(id), ..
        } => engine.row(&PipelineId::new(id)).await?.id,
        Named {
            approval: Some(approval),
            ..
        } => with_approval(session, engine, &approval).await?,
        Named { .. } => only_fitting(session, engine, fits).await?,
    };
    subject.is(&run);
    Ok(run)
}

async fn rows(session: &Session, engine: &Engine) -> Result<Vec<RunRow>> {
    let mut rows = Vec::new();
    let mut seen = Vec::new();
    for repository in session.find_repositories().await {
        if seen.contains(&repository.id) {
            continue;
        }
        seen.push(repository.id.clone());
        let filter = RunFilter {
            repository: Some(repository.id.clone()),
            limit: LOOKED_AT_MAX,
            ..RunFilter::default()
        };
        rows.extend(engine.services().store.runs(filter).await?);
    }
    Ok(rows)
}

/// The run that has (or had) this question.
async fn with_approval(session: &Session, engine: &Engine, approval: &ApprovalId) -> Result<PipelineId> {
    for row in rows(session, engine).await? {
        if row
            .machine()
            .is_ok_and(|machine| machine.gates.iter().any(|gate| gate.id == *approval))
        {
            return Ok(row.id);
        }
    }
    Err(
        Error::state("approvalClosed", format!("approval `{approval}` is not open"))
            .hint("`clode.pipeline.get` shows what is open now"),
    )
}

/// The only one that fits; one that has ended is meant only where no other fits.
async fn only_fitting(session: &Session, engine: &Engine, fits: Fits) -> Result<PipelineId> {
    let all = rows(session, engine).await?;
    let fitting: Vec<&RunRow> = all.iter().filter(|row| does_fit(row, fits)).collect();
    let (unfinished, ended): (Vec<&RunRow>, Vec<&RunRow>) =
        fitting.into_iter().partition(|row| !row.finished);
    match (unfinished.as_slice(), ended.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only.id.clone()),
        ([], several) | (several, _) => Err(which(several)),
    }
}

fn does_fit(row: &RunRow, fits: Fits) -> bool {
    let is = |status: Status| row.status == status.as_str();
    match fits {
        Fits::Any => true,
        Fits::Unfinished => !row.finished,
        Fits::Pausable => !row.finished && !is(Status::Paused),
        Fits::Paused => is(Status::Paused),
        Fits::Ended => row.finished,
        Fits::Retriable => is(Status::Failed) || is(Status::Cancelled) || is(Status::Paused),
        Fits::Asking(kind) => row.machine().is_ok_and(|machine| {
            machine
                .open_gates()
                .any(|gate| kind.is_none_or(|kind| kind == gate.kind))
        }),
    }
}

fn which(fitting: &[&RunRow]) -> Error {
    if fitting.is_empty() {
        return Error::usage("invalidParams", "pipelineId: no pipeline fits")
            .hint("`clode.pipeline.list` lists all");
    }
    let listed: Vec<String> = fitting
        .iter()
        .take(LISTED_MAX)
        .map(|row| format!("{} ({})", row.id, row.status))
        .collect();
    Error::usage(
        "invalidParams",
        format!(
            "pipelineId: name the pipeline that is meant; fitting are: {}",
            listed.join(", ")
        ),
    )
}
