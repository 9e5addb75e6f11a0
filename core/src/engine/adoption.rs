//! Runs that nobody drives: found when a workspace is opened, driven on where that is wanted.

use super::{Engine, locked, takeover};
use crate::error::Result;
use crate::id::{OwnerId, PipelineId, RepositoryId};
use crate::pipeline::{Status, is_known_version};
use crate::store::{RunFilter, RunRow, Store};

/// Whether a run goes on when somebody drives it, and nobody does.
pub(super) fn is_orphan(store: &Store, row: &RunRow) -> bool {
    is_left(store, row.owner.as_ref(), &row.status) && row.machine_version().is_ok_and(is_known_version)
}

/// As far as that can be said without the state of the run, which tells its version.
pub(super) fn is_left(store: &Store, owner: Option<&OwnerId>, status: &str) -> bool {
    status != Status::Paused.as_str() && !owner.is_some_and(|owner| store.is_alive(owner))
}

impl Engine {
    /// Runs of a repository that go on when somebody drives them, and that nobody drives. From now on
    /// [`super::Notice::Orphaned`] tells of those that lose their process.
    pub async fn orphans(&self, repository: &RepositoryId) -> Result<Vec<RunRow>> {
        let store = &self.shared.services.store;
        let filter = RunFilter {
            repository: Some(repository.clone()),
            unfinished_only: true,
            ..RunFilter::default()
        };
        let mut rows = store.runs(filter).await?;
        rows.retain(|row| is_orphan(store, row));
        let ids = rows.iter().map(|row| row.id.clone()).collect();
        locked(&self.shared.orphans).insert(repository.clone(), ids);
        Ok(rows)
    }

    /// Drives a run here unless a living process does.
    pub async fn adopt(&self, run: &PipelineId) -> Result<()> {
        takeover::ensure(&self.shared, run, takeover::Part::Drive).await
    }

    /// Whether this process drives the run.
    pub fn drives(&self, run: &PipelineId) -> bool {
        locked(&self.shared.actors).contains_key(run)
    }
}
