//! Which run a command means that does not name one.

use clode_core::id::PipelineId;
use clode_core::pipeline::Machine;
use clode_core::store::{RunFilter, RunRow};
use clode_core::{Error, Result};

use super::cache::root_of;
use crate::lsp::session::Session;

/// Runs that are looked through.
const LOOKED_AT_MAX: usize = 500;

/// The named run, or the only one of this session's folders that fits: one that is alive
/// before one that has ended.
pub(crate) async fn target(
    session: &Session,
    named: Option<&str>,
    fits: impl Fn(&Machine) -> bool,
) -> Result<PipelineId> {
    let engine = session.engine().await?;
    if let Some(named) = named {
        let run = PipelineId::new(named);
        engine.row(&run).await?;
        return Ok(run);
    }
    let filter = RunFilter {
        limit: LOOKED_AT_MAX,
        ..RunFilter::default()
    };
    let rows = engine.services().store.runs(filter).await?;
    let is_meant =
        |row: &&RunRow| root_of(session, row).is_some() && row.machine().is_ok_and(|machine| fits(&machine));
    let (ended, alive): (Vec<&RunRow>, Vec<&RunRow>) =
        rows.iter().filter(is_meant).partition(|row| row.finished);
    let found: Vec<PipelineId> = if alive.is_empty() { ended } else { alive }
        .into_iter()
        .map(|row| row.id.clone())
        .collect();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::usage(
            "invalidParams",
            "pipelineId: no pipeline is there that this could mean",
        )
        .hint("`clode.pipeline.list` lists them")),
        several => {
            let candidates: Vec<&str> = several.iter().map(PipelineId::as_str).collect();
            Err(Error::usage(
                "invalidParams",
                format!("pipelineId: several could be meant: {}", candidates.join(", ")),
            ))
        }
    }
}
