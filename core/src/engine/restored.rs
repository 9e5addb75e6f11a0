//! Runs that came back from a backup: each is paused, with the reason, before anybody can drive it.

use std::collections::BTreeSet;

use super::Services;
use crate::error::{Error, Result};
use crate::id::{OwnerId, PipelineId};
use crate::pipeline::{Effect, Event, is_known_version};
use crate::store::{Finished, RunRow, Transition};

/// Pauses all of them; answers those that could not be. Whoever takes one of these up pauses it first.
pub(super) async fn pause_all(services: &Services, owner: &OwnerId) -> Result<BTreeSet<PipelineId>> {
    let mut left = BTreeSet::new();
    for (run, reason) in services.store.restored_runs().await? {
        if let Err(error) = pause(services, owner, &run, reason).await {
            tracing::error!(%error, %run, "a pipeline that came back from a backup cannot be paused yet");
            left.insert(run);
        }
    }
    Ok(left)
}

/// Pauses one of them, unless another process does.
pub(super) async fn pause(
    services: &Services,
    owner: &OwnerId,
    run: &PipelineId,
    reason: Error,
) -> Result<()> {
    let store = &services.store;
    let Some(row) = store.run(run).await?.filter(|row| !row.finished) else {
        return store.forget_restored(run).await;
    };
    if !is_known_version(row.machine_version()?) {
        return Ok(());
    }
    // Of several processes that find it the first one pauses it.
    let Some(row) = store.adopt(run, row.fence, owner).await? else {
        return Ok(());
    };
    let fence = row.fence;
    store.commit(halted(services, row, fence, reason)?).await?;
    store.release(run, fence).await?;
    store.forget_restored(run).await
}

fn halted(services: &Services, row: RunRow, fence: i64, reason: Error) -> Result<Transition> {
    let mut machine = row.machine()?;
    let at = services.clock.now();
    let event = Event::Halted { reason };
    let journal = encode(&event)?;
    let effects = machine.next(at, event)?.effects;
    let events = effects.into_iter().filter_map(|effect| match effect {
        Effect::Publish { event } => Some(encode(&event)),
        _ => None,
    });
    Ok(Transition {
        run: row.id,
        fence,
        state: encode(&machine)?,
        status: machine.status().as_str().to_owned(),
        finished: Finished::No,
        journal,
        events: events.collect::<Result<_>>()?,
        consumed: Vec::new(),
        audit: None,
        rejected: Vec::new(),
        blobs: Vec::new(),
        at,
    })
}

fn encode(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("a pause cannot be written: {error}")))
}
