//! From hunks to the user's text: builds workspace edits for this client, applies them, and checks what landed.
//!
//! An editor's "applied" is not believed: what counts is the text that it shows afterwards, or the disk. Text goes
//! first, with versions where the editor knows them; files come, move and go last. Every outcome is recorded before
//! it is told.

mod build;
mod disk;
mod elsewhere;
mod land;
mod operation;
mod result;
mod revert;
mod select;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use clode_core::engine::{Editor, Engine, Signal};
use clode_core::id::{HunkId, PipelineId};
use clode_core::pipeline::{GateKind, HunkOutcome, HunkState, Machine, PatchStage};
use clode_core::workspace::Direction;
use clode_core::{Error, Result};
use futures::future::BoxFuture;
use lsp_types::MessageType;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;
use tokio::time::Instant;
use url::Url;

use super::action::comment;
use super::client::Outcome;
use super::review::{self, RunReview};
use super::session::Session;
pub(crate) use result::FileResult;
pub(crate) use revert::revert;
pub(crate) use select::is_file;
use select::{Chosen, Scope};

/// Longest time for one apply, recording included.
const APPLY_LIMIT_MS: u64 = 25_000;
/// Longest wait for an apply before this one.
const TURN_LIMIT_MS: u64 = 28_000;

/// Which hunks are meant; nothing named means every pending one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) files: Vec<Url>,
    pub(crate) hunks: Vec<HunkId>,
}

/// Applies hunks through the editor; answers `{files: [...]}` of the contract.
pub(crate) async fn apply(session: &Session, run: &PipelineId, selection: &Selection) -> Result<Value> {
    let _turn = turn(session).await?;
    let engine = session.engine().await?;
    let review = load(session, engine, run).await?;
    let results = carry_out(session, engine, &review, selection, Scope::Chosen).await?;
    let outcomes = outcomes(&results);
    if !outcomes.is_empty() {
        let signal = Signal::Decide {
            outcomes,
            comment: None,
            by: review::answerer(session),
        };
        engine.signal(run, signal).await?;
    }
    note_seen(session, run, &results);
    tell(session, &results, APPLIED).await;
    review::run_changed(session, run);
    Ok(json!({ "files": results }))
}

/// Waits until nobody else changes the user's text.
async fn turn(session: &Session) -> Result<MutexGuard<'_, ()>> {
    let limit = Duration::from_millis(TURN_LIMIT_MS);
    tokio::time::timeout(limit, session.reviews().applying.lock())
        .await
        .map_err(|_| Error::state("applyBusy", "another apply is under way").hint("try again in a moment"))
}

/// Records that a person does not want these hunks; answers like an apply. What is in the text stays there.
pub(crate) async fn reject(
    session: &Session,
    run: &PipelineId,
    hunks: &[HunkId],
    comment: Option<String>,
) -> Result<Value> {
    let engine = session.engine().await?;
    let review = load(session, engine, run).await?;
    let selection = Selection {
        files: Vec::new(),
        hunks: hunks.to_vec(),
    };
    let results = select::rejected(&review, &selection)?;
    let outcomes = outcomes(&results);
    if !outcomes.is_empty() {
        engine
            .signal(
                run,
                Signal::Decide {
                    outcomes,
                    comment,
                    by: review::answerer(session),
                },
            )
            .await?;
    }
    review::run_changed(session, run);
    Ok(json!({ "files": results }))
}

/// The `files` of a `PipelineDetail`, with ranges in the text that this editor shows now.
pub(crate) async fn files(session: &Session, run: &PipelineId) -> Result<Vec<Value>> {
    let engine = session.engine().await?;
    let row = engine.row(run).await?;
    let review = match RunReview::load(session, engine, &row).await? {
        Some(review) => review,
        None => RunReview::load_elsewhere(session, engine, &row).await?,
    };
    let write = |view| {
        serde_json::to_value(view)
            .map_err(|error| Error::internal(format!("a file cannot be written: {error}")))
    };
    review.views().into_iter().map(write).collect()
}

/// The edit that brings hunks into the text of now, for somebody else to apply: `{edit, omitted}`.
pub(crate) async fn workspace_edit(
    session: &Session,
    run: &PipelineId,
    selection: &Selection,
) -> Result<Value> {
    let engine = session.engine().await?;
    let review = load(session, engine, run).await?;
    let Chosen { works, refused } = select::choose(&review, selection, Scope::Chosen)?;
    let capabilities = session.capabilities().edit;
    let mut omitted = refused;
    let (works, held) = elsewhere::split(engine, &review, works).await?;
    omitted.extend(held);
    let (mut texts, mut operations) = (Vec::new(), Vec::new());
    for work in &works {
        if land::has_text(session, &review, work) {
            match build::text_change(session, &review, work) {
                Ok(change) => texts.extend(change),
                Err(result) => {
                    omitted.push(*result);
                    continue;
                }
            }
        }
        match operation::of(&review, work, capabilities) {
            operation::Way::Nothing => {}
            operation::Way::Editor(operation) => operations.push(operation),
            operation::Way::Disk => {
                omitted.push(
                    work.result("failed")
                        .code("onDiskOnly")
                        .because("no workspace edit can say this; apply it with `clode.pipeline.apply`"),
                );
            }
        }
    }
    Ok(json!({ "edit": build::workspace_edit(capabilities, &texts, &operations), "omitted": omitted }))
}

/// Takes a comment line that was an instruction to us out of the editor's text: it has been sent. Where that is not
/// possible it stays; the person sees it.
pub(crate) async fn take_out_instruction(session: &Session, uri: &Url, instruction: &str) {
    let Some(document) = session.document(uri) else {
        return;
    };
    let text = document.text();
    let is_it = |line: &&str| {
        comment::is_instruction_line(line) && comment::instruction(line) == Some(instruction.trim())
    };
    let Some(line) = text.split_inclusive('\n').find(is_it) else {
        return;
    };
    let kept = text.replacen(line, "", 1);
    let change = build::difference(&document, &kept);
    let edit = build::workspace_edit(session.capabilities().edit, &[change], &[]);
    let label = "Clode: the instruction was sent";
    if !matches!(session.client().apply_edit(label, &edit).await, Outcome::Yes) {
        tracing::debug!(%uri, "an instruction that was sent stays in the text");
    }
}

/// The port through which the engine applies patches that need no person.
pub(crate) fn port(session: &Session) -> Arc<dyn Editor> {
    Arc::new(Port {
        session: session.clone(),
    })
}

#[derive(Debug)]
struct Port {
    session: Session,
}

impl Editor for Port {
    fn apply_pending<'a>(&'a self, run: &'a PipelineId) -> BoxFuture<'a, Vec<HunkOutcome>> {
        Box::pin(async move {
            match apply_pending(&self.session, run).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    tracing::warn!(%run, %error, "the patch could not be applied; it goes to a person");
                    Vec::new()
                }
            }
        })
    }
}

async fn apply_pending(session: &Session, run: &PipelineId) -> Result<Vec<HunkOutcome>> {
    let _turn = session.reviews().applying.lock().await;
    let engine = session.engine().await?;
    let review = load(session, engine, run).await?;
    let scope = if a_person_said_yes(&review.machine) {
        Scope::Approved
    } else {
        Scope::Clean
    };
    let results = carry_out(session, engine, &review, &Selection::default(), scope).await?;
    note_seen(session, run, &results);
    tell(session, &results, APPLIED).await;
    Ok(outcomes(&results))
}

/// Whether what is being applied was approved at the patch gate of this round, not by policy.
fn a_person_said_yes(machine: &Machine) -> bool {
    let of_this_round = format!("{}-{}-", GateKind::Patch.as_str(), machine.round);
    let last = machine
        .gates
        .iter()
        .rev()
        .find(|gate| gate.kind == GateKind::Patch && gate.id.as_str().starts_with(&of_this_round));
    let resolution = last.and_then(|gate| gate.resolution.as_ref());
    machine.patch_stage == PatchStage::Applying
        && resolution.is_some_and(|it| it.answer.approved && it.by.surface != "policy")
}

async fn load(session: &Session, engine: &Engine, run: &PipelineId) -> Result<RunReview> {
    let row = engine.row(run).await?;
    let review = RunReview::load(session, engine, &row).await?.ok_or_else(|| {
        Error::state(
            "otherFolder",
            format!("`{run}` belongs to {}, which is not open here", row.folder),
        )
        .hint("open that folder, or use `clode-ls pipelines apply` there")
    })?;
    if review.patch.is_none() {
        return Err(Error::state("noPatch", format!("`{run}` has no patch yet"))
            .hint("wait for it: `clode.pipeline.wait`"));
    }
    Ok(review)
}

async fn carry_out(
    session: &Session,
    engine: &Engine,
    review: &RunReview,
    selection: &Selection,
    scope: Scope,
) -> Result<Vec<FileResult>> {
    let Chosen { works, refused } = select::choose(review, selection, scope)?;
    let mut results = refused;
    if works.is_empty() {
        return Ok(results);
    }
    if !session.capabilities().edit.apply {
        results.extend(works.iter().map(|work| {
            let verb = match work.file.direction {
                Direction::In => "apply",
                Direction::Back => "revert",
            };
            let hint = format!("run `clode-ls pipelines {verb} {}` in a terminal", review.id);
            work.result("failed")
                .code("applyUnsupported")
                .because("this editor cannot apply edits of a server")
                .hint(hint)
        }));
        return Ok(results);
    }
    let (works, held) = elsewhere::split(engine, review, works).await?;
    results.extend(held);
    let deadline = Instant::now() + Duration::from_millis(APPLY_LIMIT_MS);
    let (landed, mut done) = land::texts(session, review, works, deadline).await;
    results.append(&mut done);
    results.extend(operation::carry_out(session, engine, review, landed, deadline).await);
    Ok(results)
}

fn outcomes(results: &[FileResult]) -> Vec<HunkOutcome> {
    results
        .iter()
        .filter_map(|result| Some((result, result.state?)))
        .flat_map(|(result, state)| {
            result.hunks.iter().map(move |id| HunkOutcome {
                id: id.clone(),
                state,
                reason: result.message.clone(),
            })
        })
        .collect()
}

fn note_seen(session: &Session, run: &PipelineId, results: &[FileResult]) {
    let applied = results
        .iter()
        .filter(|result| result.state == Some(HunkState::Applied));
    session
        .reviews()
        .saw(run, applied.flat_map(|result| result.hunks.clone()));
}

/// What a person is told of hunks that fared well.
#[derive(Debug, Clone, Copy)]
struct Told {
    result: &'static str,
    words: &'static str,
}

const APPLIED: Told = Told {
    result: "applied",
    words: "applied",
};
const TAKEN_BACK: Told = Told {
    result: "reverted",
    words: "taken back",
};

/// Says what the person would not see: that nothing is saved, and what did not happen.
async fn tell(session: &Session, results: &[FileResult], told: Told) {
    let count = |wanted: &[&str]| {
        results
            .iter()
            .filter(|result| wanted.contains(&result.result))
            .map(|result| result.hunks.len())
            .sum::<usize>()
    };
    let words = told.words;
    let (done, unsure, missing) = (
        count(&[told.result]),
        count(&["unconfirmed"]),
        count(&["failed", "conflict"]),
    );
    let in_editor = results
        .iter()
        .any(|result| [told.result, "unconfirmed"].contains(&result.result) && result.unsaved);
    let mut said = Vec::new();
    if done + unsure > 0 {
        let saved = if in_editor {
            "; not saved: look at it and save"
        } else {
            ""
        };
        said.push(format!("{} {words}{saved}", hunks(done + unsure)));
    }
    if unsure > 0 {
        said.push(format!("{} of them not seen in the editor yet", hunks(unsure)));
    }
    if missing > 0 {
        said.push(format!("{} not {words}", hunks(missing)));
    }
    if !said.is_empty() {
        let kind = if missing > 0 {
            MessageType::Warning
        } else {
            MessageType::Info
        };
        session
            .client()
            .show_message(kind, &format!("Clode: {}.", said.join("; ")))
            .await;
    }
}

fn hunks(count: usize) -> String {
    if count == 1 {
        "1 hunk".to_owned()
    } else {
        format!("{count} hunks")
    }
}
