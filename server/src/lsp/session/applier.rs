//! Applies patches through this editor when a run may do so without asking.

use std::sync::Weak;

use clode_core::engine::Editor;
use clode_core::id::{HunkId, PipelineId};
use clode_core::pipeline::{HunkOutcome, HunkState};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Session, Shared};
use crate::lsp::edit::{self, Selection};

/// The engine's way to this editor; does not keep the session alive.
#[derive(Debug)]
pub(super) struct Applier {
    shared: Weak<Shared>,
}

impl Applier {
    pub(super) fn new(session: &Session) -> Self {
        Self { shared: session.downgrade() }
    }

    async fn apply(&self, run: &PipelineId) -> clode_core::Result<()> {
        let Some(shared) = self.shared.upgrade() else { return Ok(()) };
        let session = Session { shared };
        let machine = session.engine().await?.row(run).await?.machine()?;
        let is_plain = |state: HunkState| matches!(state, HunkState::Pending | HunkState::Failed);
        let hunks: Vec<HunkId> = machine
            .hunks
            .iter()
            .filter(|hunk| is_plain(hunk.state) && !hunk.ask)
            .map(|hunk| hunk.id.clone())
            .collect();
        if !hunks.is_empty() {
            edit::apply(&session, run, &Selection { files: Vec::new(), hunks }).await?;
        }
        Ok(())
    }
}

impl Editor for Applier {
    /// What became of each hunk is recorded while they are applied; nothing is left to be told here.
    fn apply_pending<'a>(&'a self, run: &'a PipelineId) -> BoxFuture<'a, Vec<HunkOutcome>> {
        async move {
            if let Err(error) = self.apply(run).await {
                tracing::warn!(%error, %run, "the patch could not be applied; it waits for a person");
            }
            Vec::new()
        }
        .boxed()
    }
}
