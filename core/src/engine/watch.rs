//! Notices what other processes wrote: controls for our runs, changes of theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Notice, Shared, locked};
use crate::clock::Timestamp;
use crate::id::PipelineId;
use crate::store::RunFilter;

/// How often the database is asked whether another process wrote (one cheap pragma).
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Runs that are compared after a change.
const RUNS_MAX: usize = 200;

/// Watches until the engine stops.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let stop = shared.stop.clone();
    tokio::spawn(async move {
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            let Some(shared) = weak.upgrade() else { return };
            if let Err(error) = seen.look(&shared).await {
                tracing::debug!(%error, "the database cannot be watched right now");
            }
        }
    });
}

#[derive(Default)]
struct Seen {
    version: i64,
    updated: HashMap<PipelineId, (Timestamp, u64)>,
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
        for handle in locked(&shared.actors).values() {
            handle.wake();
        }
        let rows = store
            .runs(RunFilter {
                limit: RUNS_MAX,
                ..RunFilter::default()
            })
            .await?;
        for row in rows {
            let ours = locked(&shared.actors).contains_key(&row.id);
            let known = self.updated.get(&row.id).copied();
            let after = known.map_or(0, |(_, seq)| seq);
            if known.is_some_and(|(updated, _)| updated == row.updated_at) {
                continue;
            }
            let events = store.events(&row.id, after, crate::store::ROWS_MAX).await?;
            let last = events.last().map_or(after, |event| event.seq);
            self.updated.insert(row.id.clone(), (row.updated_at, last));
            if first || ours {
                continue;
            }
            for event in events {
                if let Ok(body) = serde_json::from_str(&event.body) {
                    let _ = shared.notices.send(Notice::Event {
                        run: row.id.clone(),
                        seq: event.seq,
                        event: body,
                    });
                }
            }
            let _ = shared.notices.send(Notice::Changed(row.id));
        }
        Ok(())
    }
}
