//! Notices what other processes wrote: controls for our runs, changes of theirs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::adoption::{is_left, is_orphan};
use super::{Notice, Shared, locked};
use crate::clock::Timestamp;
use crate::id::{OwnerId, PipelineId, RepositoryId};
use crate::store::{RunRow, Store};

/// How often the database is asked whether another process wrote (one cheap pragma).
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Looks between two looks for runs whose process ended: the end of a process writes nothing.
const LOOKS_PER_LIFE_SIGN: u32 = 10;
/// Runs that are compared after a change.
const RUNS_MAX: u32 = 200;

/// Watches until the engine stops.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let stop = shared.stop.clone();
    tokio::spawn(async move {
        let mut seen = Seen::default();
        let mut looks = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            let Some(shared) = weak.upgrade() else { return };
            if let Err(error) = seen.look(&shared).await {
                tracing::debug!(%error, "the database cannot be watched right now");
            }
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS_PER_LIFE_SIGN)
                && let Err(error) = seen.look_for_orphans(&shared).await
            {
                tracing::debug!(%error, "runs whose process ended cannot be looked for right now");
            }
        }
    });
}

/// What was seen of the database so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    version: i64,
    updated: HashMap<PipelineId, (Timestamp, u64)>,
    /// Whether something was written since orphans were last looked for.
    is_written: bool,
    /// Other processes that drove runs then.
    owners: BTreeSet<OwnerId>,
}

impl Seen {
    async fn look(&mut self, shared: &Arc<Shared>) -> crate::Result<()> {
        let store = &shared.services.store;
        let version = store.data_version().await?;
        if version == self.version {
            return Ok(());
        }
        let first = self.version == 0;
        self.version = version;
        self.changed(shared, first).await
    }

    /// Another process wrote something.
    pub(super) async fn changed(&mut self, shared: &Arc<Shared>, first: bool) -> crate::Result<()> {
        let store = &shared.services.store;
        self.is_written = true;
        for handle in locked(&shared.actors).values() {
            handle.wake();
        }
        for (run, updated_at) in store.last_changes(RUNS_MAX).await? {
            let ours = locked(&shared.actors).contains_key(&run);
            let known = self.updated.get(&run).copied();
            let after = known.map_or(0, |(_, seq)| seq);
            if known.is_some_and(|(updated, _)| updated == updated_at) {
                continue;
            }
            if first || ours {
                // What is ours was told when it was written, what was there before is nobody's news.
                let last = store.last_event(&run).await?;
                self.updated.insert(run, (updated_at, last));
                continue;
            }
            let events = store.events(&run, after, crate::store::ROWS_MAX).await?;
            let last = events.last().map_or(after, |event| event.seq);
            self.updated.insert(run.clone(), (updated_at, last));
            for event in events {
                if let Ok(body) = serde_json::from_str(&event.body) {
                    let _ = shared.notices.send(Notice::Event {
                        run: run.clone(),
                        seq: event.seq,
                        event: body,
                    });
                }
            }
            let _ = shared.notices.send(Notice::Changed(run));
        }
        Ok(())
    }

    /// Tells of runs that lost their process since the last look, in workspaces that are open here.
    pub(super) async fn look_for_orphans(&mut self, shared: &Arc<Shared>) -> crate::Result<()> {
        release_left(shared).await;
        look_at_doubtful(shared).await?;
        let store = &shared.services.store;
        let open: Vec<RepositoryId> = locked(&shared.orphans).keys().cloned().collect();
        let nobody_died = self.owners.iter().all(|owner| store.is_alive(owner));
        if open.is_empty() || (!self.is_written && nobody_died) {
            return Ok(());
        }
        let mut owners = BTreeSet::new();
        for repository in open {
            let unfinished = store.unfinished(&repository).await?;
            let others = unfinished.iter().filter_map(|run| run.owner.clone());
            owners.extend(others.filter(|owner| *owner != shared.owner && store.is_alive(owner)));
            let before = locked(&shared.orphans)
                .get(&repository)
                .cloned()
                .unwrap_or_default();
            let mut now = BTreeSet::new();
            for run in unfinished {
                if is_left(store, run.owner.as_ref(), &run.status)
                    && !locked(&shared.halted).contains_key(&run.id)
                    && (before.contains(&run.id) || is_orphan_now(store, &run.id).await?)
                {
                    now.insert(run.id);
                }
            }
            let runs: Vec<PipelineId> = now.difference(&before).cloned().collect();
            locked(&shared.orphans).insert(repository.clone(), now);
            if !runs.is_empty() {
                let _ = shared.notices.send(Notice::Orphaned { repository, runs });
            }
        }
        self.owners = owners;
        self.is_written = false;
        Ok(())
    }
}

async fn is_orphan_now(store: &Store, run: &PipelineId) -> crate::Result<bool> {
    Ok(store.run(run).await?.is_some_and(|row| is_orphan(store, &row)))
}

/// Gives back runs that this process left while that could not be stored: nobody else takes up what a living
/// process owns.
async fn release_left(shared: &Arc<Shared>) {
    let unreleased = locked(&shared.unreleased).clone();
    for (run, fence) in unreleased {
        match shared.services.store.release(&run, fence).await {
            Err(error) if error.code != "fenced" => {
                tracing::debug!(%error, %run, "ownership cannot be given back yet");
            }
            // It is given back, or somebody has taken the run up since.
            _ => {
                let mut left = locked(&shared.unreleased);
                if left.get(&run) == Some(&fence) {
                    left.remove(&run);
                }
            }
        }
    }
}

/// Tells of runs that are this process's although it does not drive them.
async fn look_at_doubtful(shared: &Arc<Shared>) -> crate::Result<()> {
    let doubtful = locked(&shared.doubtful).clone();
    for run in doubtful {
        let row = shared.services.store.run(&run).await?;
        locked(&shared.doubtful).remove(&run);
        let is_ours = |row: &RunRow| !row.finished && row.owner.as_ref() == Some(&shared.owner);
        let Some(row) = row.filter(is_ours) else { continue };
        if !locked(&shared.actors).contains_key(&run) {
            let (repository, runs) = (row.repository, vec![run]);
            let _ = shared.notices.send(Notice::Orphaned { repository, runs });
        }
    }
    Ok(())
}
