//! Which run a command means that does not name one.

use clode_core::id::PipelineId;
use clode_core::pipeline::Machine;
use clode_core::{Error, Result};

use super::cache::root_of;
use crate::lsp::session::Session;

/// The named run, or the only one of this session's folders that fits.
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
    let rows = engine.unfinished(None).await?;
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| root_of(session, row).is_some()) {
        if row.machine().is_ok_and(|machine| fits(&machine)) {
            found.push(row.id.clone());
        }
    }
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
