//! Takes applied hunks out of the user's text again: the patch that leads back is applied like any other, so what
//! was typed since is kept, and what does not fit is told and left alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use clode_core::Result;
use clode_core::engine::{Engine, Signal};
use clode_core::id::{HunkId, PipelineId};
use clode_core::pipeline::{HunkRecord, HunkState, Machine};
use serde_json::{Value, json};

use super::result::FileResult;
use super::select::{self, Scope};
use super::{Selection, TAKEN_BACK, carry_out, is_file, load, outcomes, tell, turn};
use crate::lsp::review::{self, FileReview, RunReview};
use crate::lsp::session::Session;
use crate::review::{HunkNow, can_go_back, nothing_decided};

/// Takes hunks back through the editor; answers `{files: [...]}` of the contract.
pub(crate) async fn revert(session: &Session, run: &PipelineId, selection: &Selection) -> Result<Value> {
    let _turn = turn(session).await?;
    let engine = session.engine().await?;
    let review = load(session, engine, run).await?;
    let Meant {
        applied,
        wanted,
        mut results,
    } = meant(&review, selection)?;
    if !wanted.is_empty() {
        let hunks = wanted.into_iter().collect();
        results.extend(take_back(session, engine, &review, &applied, hunks).await?);
    }
    let outcomes = outcomes(&results);
    if !outcomes.is_empty() {
        let signal = Signal::Decide {
            outcomes,
            comment: None,
            by: review::answerer(session),
        };
        engine.signal(run, signal).await?;
    }
    tell(session, &results, TAKEN_BACK).await;
    review::run_changed(session, run);
    Ok(json!({ "files": results }))
}

/// What a call is about.
struct Meant {
    /// Every hunk of the run that is in the text: what the way back begins from.
    applied: BTreeSet<HunkId>,
    wanted: BTreeSet<HunkId>,
    /// Of what cannot be taken back.
    results: Vec<FileResult>,
}

fn meant(review: &RunReview, selection: &Selection) -> Result<Meant> {
    select::check(review, selection)?;
    let all = selection.files.is_empty() && selection.hunks.is_empty();
    let mut meant = Meant {
        applied: BTreeSet::new(),
        wanted: BTreeSet::new(),
        results: Vec::new(),
    };
    for file in &review.files {
        let is_named = |uri| {
            review
                .change(file)
                .is_some_and(|change| is_file(review, file, change, uri))
        };
        let whole = all || selection.files.iter().any(is_named);
        for now in &file.hunks {
            let record = record(&review.machine, &now.id);
            let is_there = can_go_back(record, now);
            if is_there {
                meant.applied.insert(now.id.clone());
            }
            let by_name = selection.hunks.contains(&now.id);
            if is_there && now.state == HunkState::Unconfirmed && (whole || by_name) {
                meant.results.push(unseen(file, now));
            } else if is_there && (whole || by_name) {
                meant.wanted.insert(now.id.clone());
            } else if by_name {
                meant.results.push(not_there(file, now));
            }
        }
    }
    for record in replaced(review) {
        let named = selection.hunks.contains(&record.id);
        let uri = review.uri(&record.path);
        if let Some(uri) = uri.filter(|uri| all || named || selection.files.contains(uri)) {
            let result = FileResult::new(uri, "failed", vec![record.id.clone()]).unrecorded();
            let result = result.code("superseded").because(REPLACED);
            meant.results.push(result.hint("take it out by hand"));
        }
    }
    Ok(meant)
}

/// Said of text of an earlier round, which the patch does not hold any more.
const REPLACED: &str = "it was applied in an earlier round, and a later one replaced it";

/// Hunks that are in the text and that no patch knows how to take out.
fn replaced(review: &RunReview) -> impl Iterator<Item = &HunkRecord> {
    let is_known = |id: &HunkId| {
        let patch = review.patch.as_ref();
        patch.is_some_and(|patch| patch.hunk(id).is_some())
    };
    let records = review.machine.hunks.iter();
    records.filter(move |record| record.state == HunkState::Applied && !is_known(&record.id))
}

fn record<'a>(machine: &'a Machine, id: &HunkId) -> Option<&'a HunkRecord> {
    machine.hunks.iter().find(|record| record.id == *id)
}

fn unseen(file: &FileReview, now: &HunkNow) -> FileResult {
    FileResult::new(file.uri.clone(), "unconfirmed", vec![now.id.clone()])
        .unrecorded()
        .because("it was sent to the editor before and has not been seen since")
        .hint("open the file, then take it back")
}

fn not_there(file: &FileReview, now: &HunkNow) -> FileResult {
    let hunks = vec![now.id.clone()];
    if now.state == HunkState::Reverted {
        return FileResult::new(file.uri.clone(), "reverted", hunks).unrecorded();
    }
    FileResult::new(file.uri.clone(), "failed", hunks)
        .unrecorded()
        .code("notInText")
        .because("it is not in your text")
}

/// Applies the way back of these hunks.
async fn take_back(
    session: &Session,
    engine: &Engine,
    review: &RunReview,
    applied: &BTreeSet<HunkId>,
    hunks: Vec<HunkId>,
) -> Result<Vec<FileResult>> {
    let mut back = RunReview {
        machine: Arc::new(nothing_decided(&review.machine)),
        patch: review
            .patch
            .as_ref()
            .map(|patch| Arc::new(patch.reversed(|id| applied.contains(id)))),
        files: Vec::new(),
        ..review.clone()
    };
    back.look(session, None).await;
    let selection = Selection {
        files: Vec::new(),
        hunks,
    };
    let results = carry_out(session, engine, &back, &selection, Scope::Chosen).await?;
    Ok(results.into_iter().map(FileResult::taken_back).collect())
}
