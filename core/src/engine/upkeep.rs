//! What must be done now and then: slots and scratch of the dead, a backup of the database, old runs, contents
//! and commits that nothing refers to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Shared, retention};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::store::CacheTrim;

/// Wait after the start, so that an editor gets its answers first.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Time between two rounds.
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Ready slots that are kept for each repository where the configuration cannot be read.
const POOLED_SLOTS_DEFAULT: u32 = 4;

/// Folders in the cache that hold the private homes and sessions of children.
const PRIVATE_FOLDERS: [&str; 2] = ["private", "claude"];
/// A private folder that nothing was written to for so long belongs to nobody (two days).
const PRIVATE_AGE_MS_MAX: u64 = 2 * 24 * 60 * 60 * 1000;

/// Most that the step cache takes in the database (bytes).
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A result that stood for no other one for so long goes (30 days).
const CACHE_AGE_MS_MAX: i64 = 30 * 24 * 60 * 60 * 1000;

/// Does it until the engine stops.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let stop = shared.stop.clone();
    tokio::spawn(async move {
        let mut wait = FIRST_WAIT;
        while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            let Some(shared) = weak.upgrade() else { return };
            if stop.run_until_cancelled(round(&shared)).await.is_none() {
                return;
            }
            wait = INTERVAL;
        }
    });
}

async fn round(shared: &Shared) {
    let services = &shared.services;
    let config = services.configurations.global();
    let config = config
        .inspect_err(|error| tracing::warn!(%error, "the configuration cannot be read; nothing expires"))
        .map(|loaded| loaded.config)
        .ok();
    let pooled_max = config
        .as_ref()
        .map_or(POOLED_SLOTS_DEFAULT, |config| config.worktrees.pool);
    // A run that goes on begins its step from a checkpoint in our store: no slot of a dead owner is needed.
    match services.workspaces.janitor(pooled_max, |_| false).await {
        Ok(swept) => tracing::debug!(?swept, "swept working directories"),
        Err(error) => tracing::warn!(%error, "working directories could not be swept"),
    }
    sweep_private(&services.cache, services.clock.now());
    if services.store.writable().is_err() {
        return;
    }
    if let Err(error) = services.store.back_up().await {
        tracing::warn!(%error, "the database could not be backed up");
    }
    let keep = CacheTrim {
        bytes_max: CACHE_BYTES_MAX,
        unused_since: services.clock.now().plus_ms(-CACHE_AGE_MS_MAX),
    };
    match services.store.cache_trim(keep).await {
        Ok(swept) => tracing::debug!(?swept, "trimmed the step cache"),
        Err(error) => tracing::warn!(%error, "the step cache could not be trimmed"),
    }
    let expired = match &config {
        Some(config) => expire(shared, config).await,
        None => retention::Expired::default(),
    };
    if let Err(error) = services.store.sweep_blobs().await {
        tracing::warn!(%error, "unused contents could not be swept");
    }
    // Without the list of what is needed nothing is removed.
    let needed = services.store.named_commits().await;
    let needed = needed
        .inspect_err(|error| tracing::warn!(%error, "what runs need of their snapshots cannot be read"))
        .ok();
    let tidied = if expired.runs + expired.forgotten > 0 {
        services.workspaces.tidy_thoroughly(needed.as_ref()).await
    } else {
        services.workspaces.tidy(needed.as_ref()).await
    };
    match tidied {
        Ok(tidied) => {
            tracing::debug!(?tidied, "tidied private repositories");
            if tidied.busy == 0
                && needed.is_some()
                && let Err(error) = retention::freed(services).await
            {
                tracing::warn!(%error, "sizes are not looked at until the next round");
            }
        }
        Err(error) => tracing::warn!(%error, "private repositories could not be tidied"),
    }
}

async fn expire(shared: &Shared, config: &Config) -> retention::Expired {
    match retention::expire(&shared.services, config.retention).await {
        Ok(expired) => {
            if expired.runs > 0 {
                tracing::info!(?expired, "old pipelines went");
            }
            expired
        }
        Err(error) => {
            tracing::warn!(%error, "what is old could not be let go");
            retention::Expired::default()
        }
    }
}

/// Removes private folders of children whose process was killed before it could do so itself.
fn sweep_private(cache: &Path, now: Timestamp) {
    for kind in PRIVATE_FOLDERS {
        for entry in std::fs::read_dir(cache.join(kind))
            .into_iter()
            .flatten()
            .flatten()
        {
            let modified = entry.metadata().and_then(|found| found.modified()).ok();
            let age = modified
                .and_then(|time| jiff::Timestamp::try_from(time).ok())
                .map(|time| now.since_ms(Timestamp(time.as_millisecond())));
            if age.is_some_and(|age| age > PRIVATE_AGE_MS_MAX)
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::debug!(%error, "a private folder stays");
            }
        }
    }
}
