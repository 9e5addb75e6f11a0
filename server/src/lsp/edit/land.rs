//! Brings text into the editor and looks whether it arrived.

use std::time::Duration;

use clode_core::id::HunkId;
use clode_core::workspace::review::replacements;
use clode_core::workspace::{Change, HunkKind};
use tokio::time::Instant;

use super::build::{self, TextChange};
use super::operation::{self, Way};
use super::result::FileResult;
use super::select::Work;
use crate::lsp::client::{Outcome, ShowDocument};
use crate::lsp::review::{RunReview, open_document};
use crate::lsp::session::Session;

/// How long a file may take to be opened by the editor.
const OPEN_LIMIT_MS: u64 = 2_000;
/// Files that are asked for at once; an editor shows each of them.
const OPENED_MAX: usize = 20;
/// How long an editor may take to show what it has applied.
const SHOW_LIMIT_MS: u64 = 3_000;
/// How long for a file that is not open, which many editors never show.
const UNSYNCED_LIMIT_MS: u64 = 1_000;
/// How long for the answer to one edit; some editors ask a person first.
const SEND_LIMIT_MS: u64 = 12_000;
/// How often the disk is looked at while waiting.
const POLL_MS: u64 = 100;
/// Tries of one edit.
const TRIES: u32 = 2;

/// A work whose text is in, with what comes back if the rest of it fails.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) work: Work,
    /// The text before and after, if the editor's text was changed.
    pub(crate) text: Option<TextChange>,
}

/// Brings the texts in. Answers what goes on to operations, and what is finished.
pub(crate) async fn texts(
    session: &Session,
    review: &RunReview,
    works: Vec<Work>,
    deadline: Instant,
) -> (Vec<Landed>, Vec<FileResult>) {
    let (mut landed, mut done) = (Vec::new(), Vec::new());
    let mut open: Vec<Work> = Vec::new();
    for work in works {
        if has_text(session, review, &work) {
            open.push(work);
        } else {
            landed.push(Landed { work, text: None });
        }
    }
    ask_for(session, review, &open).await;
    for attempt in 1..=TRIES {
        let mut sent = Vec::new();
        for work in std::mem::take(&mut open) {
            match build::text_change(session, review, &work) {
                Ok(Some(change)) => sent.push((work, change)),
                Ok(None) => landed.push(Landed { work, text: None }),
                Err(conflict) => done.push(*conflict),
            }
        }
        if sent.is_empty() {
            break;
        }
        let changes: Vec<TextChange> = sent.iter().map(|(_, change)| change.clone()).collect();
        session
            .reviews()
            .watch(changes.iter().filter_map(|change| session.document(&change.uri)));
        let outcome = send(session, review, &changes, deadline).await;
        let verdicts = watch(session, review, &sent, &outcome, deadline).await;
        for ((work, change), verdict) in sent.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Landed => landed.push(Landed {
                    work,
                    text: Some(change),
                }),
                Verdict::Unseen => done.push(
                    work.result("unconfirmed")
                        .because("the editor has not shown the file since")
                        .in_a_buffer(),
                ),
                Verdict::Missing if !take_back_misplaced(session, review, &change, deadline).await => {
                    let message = "the editor applied the edit to another text than it was made for, and it could not be taken back";
                    done.push(
                        work.result("failed")
                            .code("misplaced")
                            .because(message)
                            .hint("undo the last change in this file")
                            .in_a_buffer(),
                    );
                }
                Verdict::Missing
                    if attempt < TRIES && may_try_again(session, review, &work, &change, &outcome) =>
                {
                    open.push(work);
                }
                Verdict::Missing => done.extend(missing(session, review, &work, &outcome)),
            }
        }
    }
    (landed, done)
}

/// Whether any of it goes through the editor's text. A move that we make ourselves takes its text along.
pub(crate) fn has_text(session: &Session, review: &RunReview, work: &Work) -> bool {
    let by_editor = || {
        matches!(
            operation::of(review, work, session.capabilities().edit),
            Way::Editor(_)
        )
    };
    let is_of_text = |kind| match kind {
        HunkKind::Text | HunkKind::Create => true,
        HunkKind::Rename => by_editor(),
        HunkKind::Delete | HunkKind::Mode | HunkKind::Binary => false,
    };
    build::is_text(&work.file) && work.part(|hunk| is_of_text(hunk.kind)).is_some()
}

/// Asks the editor to open what is not open, and waits a little.
async fn ask_for(session: &Session, review: &RunReview, works: &[Work]) {
    if !session.capabilities().show_document {
        return;
    }
    let is_closed = |work: &&Work| {
        let path = work.file.old_path.as_deref().unwrap_or(&work.file.path);
        work.file.change != Change::Added
            && open_document(session, &review.top_level, &review.root, path).is_none()
    };
    let closed: Vec<&Work> = works.iter().filter(is_closed).take(OPENED_MAX).collect();
    if closed.is_empty() {
        return;
    }
    let deadline = Instant::now() + Duration::from_millis(OPEN_LIMIT_MS);
    let asked = closed.iter().filter_map(|work| {
        let uri = review.uri(work.file.old_path.as_deref().unwrap_or(&work.file.path))?;
        Some(async move {
            session
                .client()
                .show_document(&uri, ShowDocument::default())
                .await
        })
    });
    let answers = tokio::time::timeout_at(deadline, futures::future::join_all(asked)).await;
    if answers.is_ok_and(|answers| answers.iter().all(|answer| *answer != Outcome::Yes)) {
        return;
    }
    while Instant::now() < deadline && closed.iter().any(&is_closed) {
        session
            .reviews()
            .changed_within(Duration::from_millis(POLL_MS))
            .await;
    }
}

/// Sends one edit; the answer is worth little.
pub(crate) async fn send(
    session: &Session,
    review: &RunReview,
    changes: &[TextChange],
    deadline: Instant,
) -> Outcome {
    let edit = build::workspace_edit(session.capabilities().edit, changes, &[]);
    send_edit(session, review, &edit, deadline).await
}

pub(crate) async fn send_edit(
    session: &Session,
    review: &RunReview,
    edit: &serde_json::Value,
    deadline: Instant,
) -> Outcome {
    let limit = deadline.min(Instant::now() + Duration::from_millis(SEND_LIMIT_MS));
    let label = format!("Clode: {}", review.title);
    tokio::time::timeout_at(limit, session.client().apply_edit(&label, edit))
        .await
        .unwrap_or(Outcome::Unanswered)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Landed,
    /// The editor says yes, and nothing shows whether that is so.
    Unseen,
    Missing,
}

/// Looks at each file until its text is there or the time is over.
async fn watch(
    session: &Session,
    review: &RunReview,
    sent: &[(Work, TextChange)],
    outcome: &Outcome,
    deadline: Instant,
) -> Vec<Verdict> {
    let refused = matches!(outcome, Outcome::No { .. });
    // a refusal is looked at once, after a moment for changes that are under way
    let patience = |change: &TextChange| match (refused, change.version) {
        (true, _) => Duration::from_millis(POLL_MS),
        (false, Some(_)) => Duration::from_millis(SHOW_LIMIT_MS),
        (false, None) => Duration::from_millis(UNSYNCED_LIMIT_MS),
    };
    let begin = Instant::now();
    let mut verdicts = vec![None; sent.len()];
    loop {
        for ((work, change), verdict) in sent.iter().zip(&mut verdicts) {
            if verdict.is_some() {
                continue;
            }
            if has_arrived(session, review, work, change) {
                *verdict = Some(Verdict::Landed);
            } else if Instant::now() >= (begin + patience(change)).min(deadline) {
                let is_open =
                    build::text_now(session, review, &work.file).is_some_and(|now| now.document.is_some());
                let unseen = change.version.is_none() && !is_open && *outcome == Outcome::Yes;
                *verdict = Some(if unseen { Verdict::Unseen } else { Verdict::Missing });
            }
        }
        if verdicts.iter().all(Option::is_some) {
            return verdicts.into_iter().flatten().collect();
        }
        session
            .reviews()
            .changed_within(Duration::from_millis(POLL_MS))
            .await;
    }
}

/// Whether the text is what the edit makes of it, or nothing is left to bring in. What went out right beside
/// somebody's own lines cannot be told from a change of theirs later.
fn has_arrived(session: &Session, review: &RunReview, work: &Work, change: &TextChange) -> bool {
    let now = build::text_now(session, review, &work.file);
    now.is_some_and(|now| now.text == change.after) || is_in(session, review, work)
}

/// Whether nothing is left to bring in.
pub(crate) fn is_in(session: &Session, review: &RunReview, work: &Work) -> bool {
    let Some(now) = build::text_now(session, review, &work.file) else {
        return false;
    };
    let wanted = work
        .part(|hunk| hunk.kind != HunkKind::Mode)
        .map(|part| part.wanted)
        .unwrap_or_default();
    replacements(&work.file, &build::undecided(review, work), &now.text, &wanted)
        .is_ok_and(|left| left.is_empty())
}

/// An edit for a version that is not the newest any more is built anew; so is one that was refused without a reason.
fn may_try_again(
    session: &Session,
    review: &RunReview,
    work: &Work,
    change: &TextChange,
    outcome: &Outcome,
) -> bool {
    let now = build::text_now(session, review, &work.file);
    let moved = now.as_ref().is_some_and(|now| now.text != change.before);
    let opened = change.version.is_none() && now.is_some_and(|now| now.document.is_some());
    let bare = matches!(outcome, Outcome::No { reason } if reason == "the editor gives no reason");
    moved || opened || bare
}

/// Some editors apply an edit to whatever text they have by then. What landed in the wrong place so is taken back;
/// answers whether the text is free of it.
async fn take_back_misplaced(
    session: &Session,
    review: &RunReview,
    change: &TextChange,
    deadline: Instant,
) -> bool {
    let versions = session.reviews().versions(&change.uri);
    let mut steps = versions.iter().zip(versions.iter().skip(1));
    let misplaced = steps.find(|(before, after)| {
        let text = before.text();
        text != change.before && change.carried_out_on(before) == after.text()
    });
    let Some((before, after)) = misplaced else {
        return true;
    };
    let wanted = before.text();
    let Some(document) = session
        .document(&change.uri)
        .filter(|document| document.text() == after.text())
    else {
        return false;
    };
    send(
        session,
        review,
        &[build::difference(&document, &wanted)],
        deadline,
    )
    .await;
    let until = deadline.min(Instant::now() + Duration::from_millis(SHOW_LIMIT_MS));
    loop {
        if session
            .document(&change.uri)
            .is_some_and(|document| document.text() == wanted)
        {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        session
            .reviews()
            .changed_within(Duration::from_millis(POLL_MS))
            .await;
    }
}

/// What did not arrive, and what of it did after all.
fn missing(session: &Session, review: &RunReview, work: &Work, outcome: &Outcome) -> Vec<FileResult> {
    let mut results = Vec::new();
    let there: Vec<Work> = work
        .wanted
        .iter()
        .filter_map(|id| work.part(|hunk| hunk.id == *id))
        .filter(|part| work.wanted.len() > 1 && is_in(session, review, part))
        .collect();
    let is_there = |id: &HunkId| there.iter().any(|part| part.wanted.contains(id));
    if let Some(in_text) = work.part(|hunk| is_there(&hunk.id)) {
        results.push(
            in_text
                .result("applied")
                .because("only a part of the edit arrived")
                .in_a_buffer(),
        );
    }
    let Some(left) = work.part(|hunk| !is_there(&hunk.id)) else {
        return results;
    };
    let left = left.result("failed");
    results.push(match outcome {
        Outcome::Yes if there.is_empty() => left
            .code("notApplied")
            .because("the editor says that it applied the edit, but its text does not show it"),
        Outcome::Yes => left
            .code("partlyApplied")
            .because("only a part of the edit arrived"),
        Outcome::No { reason } => left
            .code("editRefused")
            .because(format!("the editor did not apply it: {reason}")),
        Outcome::Unanswered => left.code("noAnswer").because("the editor did not answer in time"),
        Outcome::Unsupported => left
            .code("applyUnsupported")
            .because("this editor cannot apply edits of a server"),
    });
    results
}
