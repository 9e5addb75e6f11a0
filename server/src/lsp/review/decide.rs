//! Keeps what is recorded about hunks in step with what is there.
//!
//! Text that is seen in place counts as applied. An applied hunk whose text is gone is taken back only by the
//! session that saw it there, or by one that starts and finds it gone: another editor, which never had the text,
//! is no witness.

use clode_core::engine::{Engine, Signal};
use clode_core::pipeline::{HunkOutcome, HunkState, PatchStage};

use super::cache::RunReview;
use crate::lsp::session::Session;

/// How well this session knows the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acquaintance {
    First,
    Known,
}

/// Records what turned out to be otherwise; whether anything did.
pub(super) async fn record(
    session: &Session,
    engine: &Engine,
    review: &RunReview,
    acquaintance: Acquaintance,
) -> bool {
    if review.machine.patch_stage == PatchStage::Applying {
        return false;
    }
    let outcomes = found_otherwise(session, review, acquaintance);
    if outcomes.is_empty() {
        return false;
    }
    tracing::debug!(run = %review.id, hunks = outcomes.len(), "hunks are not as they were recorded");
    let signal = Signal::Decide {
        outcomes,
        comment: None,
        by: super::answerer(session),
    };
    match engine.signal(&review.id, signal).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(run = %review.id, %error, "what became of hunks could not be recorded");
            false
        }
    }
}

fn found_otherwise(session: &Session, review: &RunReview, acquaintance: Acquaintance) -> Vec<HunkOutcome> {
    let reviews = session.reviews();
    let mut outcomes = Vec::new();
    for file in &review.files {
        for (hunk, now) in review.hunks(file) {
            let Some(record) = review.machine.hunks.iter().find(|record| record.id == hunk.id) else {
                continue;
            };
            if now.state == HunkState::Applied {
                reviews.saw(&review.id, [hunk.id.clone()]);
            }
            let synced = review
                .change(file)
                .is_some_and(|change| file.now.shown(change).is_synced());
            let is_witness = acquaintance == Acquaintance::First || reviews.has_seen(&review.id, &hunk.id);
            let is_gone = matches!(
                now.state,
                HunkState::Pending | HunkState::Conflict | HunkState::Reverted
            );
            let is_news = match record.state {
                HunkState::Rejected | HunkState::Superseded => false,
                HunkState::Applied => is_gone && is_witness,
                HunkState::Unconfirmed => now.state == HunkState::Applied || is_gone && synced,
                _ => now.state == HunkState::Applied,
            };
            if is_news {
                outcomes.push(HunkOutcome {
                    id: hunk.id.clone(),
                    state: now.state,
                    reason: now.reason.clone(),
                });
            }
        }
    }
    outcomes
}
