//! Makes sure that somebody alive drives a run: nothing if somebody does, else this process.

use std::sync::Arc;

use super::actor::start;
use super::{Engine, Shared, locked, restored};
use crate::error::{Error, Kind, Result};
use crate::finish::to_its_end;
use crate::id::PipelineId;
use crate::pipeline::Event;
use crate::store::RunRow;
use crate::workspace::Repository;

/// What a process does with a run that it adopts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All that the run asks for.
    Drive,
    /// Takes in what was sent to it and starts nothing; whoever adopts it next goes on from there.
    Record,
}

/// Makes sure that somebody alive has the run: nothing if somebody does, else this process.
pub(super) async fn ensure(shared: &Arc<Shared>, run: &PipelineId, part: Part) -> Result<()> {
    if locked(&shared.actors).contains_key(run) {
        return Ok(());
    }
    let (shared, run) = (Arc::clone(shared), run.clone());
    to_its_end(async move {
        // Two that take up one run at once would take it from each other.
        let _turn = shared.takeovers.lock().await;
        if locked(&shared.actors).contains_key(&run) {
            return Ok(());
        }
        let taken = take_up(&shared, &run, part).await;
        if taken.is_err() {
            // What is said to have failed may have been done all the same.
            locked(&shared.doubtful).insert(run);
        }
        taken
    })
    .await
}

async fn take_up(shared: &Arc<Shared>, run: &PipelineId, part: Part) -> Result<()> {
    let store = &shared.services.store;
    let mut row = store.run(run).await?.ok_or_else(|| unknown(run))?;
    let elsewhere = |owner: &crate::id::OwnerId| *owner != shared.owner && store.is_alive(owner);
    if row.owner.as_ref().is_some_and(elsewhere) {
        return Ok(());
    }
    if !crate::pipeline::is_known_version(row.machine_version()?) {
        return Err(Error::state(
            "otherVersion",
            format!("pipeline `{run}` was started by a newer version of clode-ls"),
        )
        .hint("open it with that version; this one shows it and leaves it alone"));
    }
    if let Some(reason) = store.restored_run(run).await? {
        restored::pause(&shared.services, &shared.owner, run, reason).await?;
        row = store.run(run).await?.ok_or_else(|| unknown(run))?;
    }
    let repository = repository_of(shared, &row).await?;
    let Some(row) = store.adopt(run, row.fence, &shared.owner).await? else {
        return Ok(());
    };
    tracing::info!(%run, fence = row.fence, "adopted");
    let ended = row.finished;
    // A run that was parked in good order has steps under way as well, as far as its state knows.
    let first = (!ended).then_some(Event::Recovered);
    start(shared, row, repository, first, part).await
}

async fn repository_of(shared: &Arc<Shared>, row: &RunRow) -> Result<Arc<Repository>> {
    if let Some(repository) = locked(&shared.repositories).get(&row.repository).cloned() {
        return Ok(repository);
    }
    let engine = Engine {
        shared: Arc::clone(shared),
    };
    let repository = engine.repository(std::path::Path::new(&row.folder)).await?;
    if repository.id == row.repository {
        Ok(repository)
    } else {
        Err(Error::new(
            Kind::Git,
            "repositoryMoved",
            format!("another repository is at {} now", row.folder),
        )
        .hint("put the repository of this pipeline back in its place, or start the task anew"))
    }
}

pub(super) fn unknown(run: &PipelineId) -> Error {
    Error::usage("unknownPipeline", format!("there is no pipeline `{run}`"))
        .hint("`clode.pipeline.list` lists them")
}
