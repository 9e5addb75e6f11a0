//! Ended runs go when they are old, or when all of them take too much space: the oldest first.
//!
//! Nothing is lost that a person may still want: a result that is not in anybody's text gets a ref of
//! its own before its run goes, and is kept longer. What was paid stays in the ledger, who did what in
//! the audit. A run that has not ended never goes, nor does one that this version cannot read.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::Services;
use super::context::begun_from;
use crate::clock::Timestamp;
use crate::config::Retention;
use crate::error::Result;
use crate::id::RepositoryId;
use crate::pipeline::{HunkState, MACHINE_VERSION, Machine, StepRecord, StepStatus};
use crate::store::{AuditRecord, RunRow, StoredRun, Weigh};
use crate::workspace::{Salvaged, Unmerged};

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Nothing that ended within this time goes for want of space.
const AGE_MS_MIN: u64 = DAY_MS;
/// What outlived its run is kept for so many times as long as runs are.
const SALVAGE_FACTOR: u64 = 4;
/// Set while space that was let go is not free yet; it must not be looked for a second time.
const NOT_FREE_YET: &str = "retention.notFreeYet";

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Expired {
    /// Runs.
    pub(super) runs: usize,
    /// Those of them whose result is kept.
    pub(super) salvaged: usize,
    /// Results of earlier runs whose time has come, too.
    pub(super) forgotten: usize,
}

/// Lets go of what is too old or too much.
pub(super) async fn expire(services: &Services, retention: Retention) -> Result<Expired> {
    let now = services.clock.now();
    let repositories = services.workspaces.repository_sizes().await?;
    let on_disk = sum(&repositories).saturating_add(services.store.size_bytes().await);
    let is_settled = services.store.setting(NOT_FREE_YET).await?.is_none();
    let too_much = on_disk > retention.max_bytes && is_settled;
    let weigh = if too_much { Weigh::Yes } else { Weigh::No };
    let mut runs = services.store.stored_runs(weigh).await?;
    let mut excess = 0;
    if too_much {
        add_snapshots(&mut runs, &repositories);
        let all = runs.iter().fold(0_u64, |sum, run| sum.saturating_add(run.bytes));
        excess = all.saturating_sub(retention.max_bytes);
    }
    let mut expired = Expired::default();
    for run in chosen(&runs, now, retention, excess) {
        match let_go(services, run, now).await {
            Ok(Some(gone)) => {
                expired.runs += 1;
                expired.salvaged += usize::from(gone == Gone::Salvaged);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(run = %run.id, %error, "an old pipeline is kept"),
        }
    }
    if excess > 0 && expired.runs > 0 {
        let since = Some(now.0.to_string());
        services.store.set_setting(NOT_FREE_YET, since).await?;
    }
    let longest = u64::from(retention.days)
        .saturating_mul(DAY_MS)
        .saturating_mul(SALVAGE_FACTOR);
    let before = now.plus_ms(i64::try_from(longest).unwrap_or(i64::MAX).saturating_neg());
    expired.forgotten = services.workspaces.forget_salvaged(before).await?;
    Ok(expired)
}

/// The space of what went is free: sizes mean something again.
pub(super) async fn freed(services: &Services) -> Result<()> {
    services.store.set_setting(NOT_FREE_YET, None).await
}

fn sum(sizes: &[(RepositoryId, u64)]) -> u64 {
    sizes.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size))
}

/// Snapshots of one repository share what they can: each run counts for an equal part.
fn add_snapshots(runs: &mut [StoredRun], sizes: &[(RepositoryId, u64)]) {
    let mut counts: HashMap<RepositoryId, u64> = HashMap::new();
    for run in runs.iter() {
        *counts.entry(run.repository.clone()).or_default() += 1;
    }
    for run in runs {
        let size = sizes.iter().find(|(id, _)| *id == run.repository);
        let count = counts.get(&run.repository).copied().unwrap_or(1);
        run.bytes = run
            .bytes
            .saturating_add(size.map_or(0, |(_, size)| size / count.max(1)));
    }
}

/// Which runs go, the oldest first.
fn chosen(runs: &[StoredRun], now: Timestamp, retention: Retention, excess: u64) -> Vec<&StoredRun> {
    let limit = u64::from(retention.days).saturating_mul(DAY_MS);
    let mut ended: Vec<&StoredRun> = runs.iter().filter(|run| run.finished).collect();
    ended.sort_by(|one, other| (one.updated_at, &one.id).cmp(&(other.updated_at, &other.id)));
    let mut free = 0_u64;
    let goes = |run: &&StoredRun| {
        let age = now.since_ms(run.updated_at);
        let for_space = free < excess && age >= AGE_MS_MIN;
        let goes = age >= limit || for_space;
        if goes {
            free = free.saturating_add(run.bytes);
        }
        goes
    };
    ended.into_iter().filter(goes).collect()
}

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Whole,
    Salvaged,
}

/// Deletes a run once what a person may still want of it is safe; nothing where it was taken up again.
async fn let_go(services: &Services, run: &StoredRun, now: Timestamp) -> Result<Option<Gone>> {
    let Some(row) = services.store.run(&run.id).await? else {
        return Ok(None);
    };
    if row.machine_version()? > MACHINE_VERSION {
        return Ok(None);
    }
    let salvaged = unapplied(services, &row, now).await?;
    if let Some(salvaged) = &salvaged {
        services.workspaces.salvage(salvaged).await?;
    }
    if !services.store.expire_run(&run.id, run.fence).await? {
        return Ok(None);
    }
    let result = salvaged.as_ref().map(|salvaged| &salvaged.result);
    let detail =
        serde_json::json!({"title": row.title, "endedAt": row.updated_at.rfc3339(), "salvaged": result});
    let record = AuditRecord {
        at: now,
        run: Some(row.id),
        actor: "retention".to_owned(),
        action: "expired".to_owned(),
        detail: detail.to_string(),
    };
    if let Err(error) = services.store.audit(record).await {
        tracing::error!(%error, "an expired pipeline could not be written into the audit");
    }
    Ok(Some(if salvaged.is_some() {
        Gone::Salvaged
    } else {
        Gone::Whole
    }))
}

/// What of a run is in nobody's text.
async fn unapplied(services: &Services, row: &RunRow, now: Timestamp) -> Result<Option<Salvaged>> {
    let machine = row.machine()?;
    let Some(base) = machine.agents_base.clone().or_else(|| machine.base.clone()) else {
        return Ok(None);
    };
    if machine.patch.is_some() && !has_unapplied_hunks(&machine) {
        return Ok(None);
    }
    let merged = machine.result.clone().unwrap_or_else(|| base.clone());
    let mut unmerged = Vec::new();
    for step in &machine.steps {
        let left = left_behind(services, row, &machine, step).await?;
        unmerged.extend(left.filter(|left| left.result != merged && left.result != left.base));
    }
    let mut salvaged = Salvaged {
        run: row.id.clone(),
        repository: row.repository.clone(),
        title: row.title.clone(),
        base,
        result: merged,
        unmerged,
        at: now,
    };
    // One Developer who was stopped in the middle: what is there is the result.
    if salvaged.result == salvaged.base && salvaged.unmerged.len() == 1 {
        salvaged.result = salvaged.unmerged.remove(0).result;
    }
    let is_empty = salvaged.result == salvaged.base && salvaged.unmerged.is_empty();
    Ok((!is_empty).then_some(salvaged))
}

/// The files of a step that never came to its end, or whose result was never merged.
async fn left_behind(
    services: &Services,
    row: &RunRow,
    machine: &Machine,
    step: &StepRecord,
) -> Result<Option<Unmerged>> {
    let (base, result) = match step.status {
        StepStatus::Finished | StepStatus::Skipped => (None, None),
        StepStatus::Merging => {
            let output = step.output.as_ref();
            (
                step.began_from.clone(),
                output.and_then(|output| output.files.clone()),
            )
        }
        _ => match services.store.checkpoint(&row.id, &step.spec.id).await? {
            // One of an earlier round is a part of what is merged.
            Some(checkpoint) => (begun_from(&checkpoint, machine.round), checkpoint.files),
            None => (None, None),
        },
    };
    Ok(base.zip(result).map(|(base, result)| Unmerged {
        step: step.spec.id.clone(),
        base,
        result,
    }))
}

fn has_unapplied_hunks(machine: &Machine) -> bool {
    machine.hunks.iter().any(|hunk| match hunk.state {
        HunkState::Applied | HunkState::Superseded => false,
        HunkState::Pending
        | HunkState::Unconfirmed
        | HunkState::Failed
        | HunkState::Rejected
        | HunkState::Conflict
        | HunkState::Reverted => true,
    })
}
