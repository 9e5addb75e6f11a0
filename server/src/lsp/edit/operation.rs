//! Files that come, go and move: by the editor where it declares that, else on the disk by us.

use std::time::Duration;

use clode_core::engine::Engine;
use clode_core::workspace::{Change, FileMode, HunkKind, Root};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::build::{self, TextChange};
use super::disk;
use super::land::{self, Landed};
use super::result::FileResult;
use super::select::Work;
use crate::lsp::capabilities::EditCapabilities;
use crate::lsp::client::Outcome;
use crate::lsp::review::{RunReview, open_document};
use crate::lsp::session::Session;
use crate::review::observe::{self, Expect};

/// How long an editor may take to show what it has done to files.
const SHOW_LIMIT_MS: u64 = 3_000;
const POLL_MS: u64 = 50;

/// What an editor does to a file.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Create { uri: Url, text: String },
    Delete { uri: Url },
    Rename { from: Url, to: Url },
}

impl Operation {
    /// As `documentChanges`.
    pub(crate) fn wire(&self) -> Vec<Value> {
        match self {
            Self::Create { uri, text } => {
                let start = json!({"line": 0, "character": 0});
                let mut changes = vec![
                    json!({"kind": "create", "uri": uri, "options": {"overwrite": false, "ignoreIfExists": false}}),
                ];
                if !text.is_empty() {
                    let edit = json!({"range": {"start": start, "end": start}, "newText": text});
                    changes.push(json!({"textDocument": {"uri": uri, "version": null}, "edits": [edit]}));
                }
                changes
            }
            Self::Delete { uri } => vec![
                json!({"kind": "delete", "uri": uri, "options": {"recursive": false, "ignoreIfNotExists": true}}),
            ],
            Self::Rename { from, to } => {
                vec![
                    json!({"kind": "rename", "oldUri": from, "newUri": to, "options": {"overwrite": false, "ignoreIfExists": false}}),
                ]
            }
        }
    }
}

/// How the part of a work that is no text is done.
#[derive(Debug)]
pub(crate) enum Way {
    Nothing,
    Editor(Operation),
    Disk,
}

/// The way for this client. Text that is in the editor already needs none.
pub(crate) fn of(review: &RunReview, work: &Work, capabilities: EditCapabilities) -> Way {
    let file = &work.file;
    let keeps_mode = file.mode.is_none()
        || file.old_mode == file.mode
        || (file.old_mode.is_none() && file.mode == Some(FileMode::Regular));
    let by_editor = build::is_text(file) && keeps_mode;
    let (Some(uri), old) = (
        review.uri(&file.path),
        file.old_path.as_deref().and_then(|path| review.uri(path)),
    ) else {
        return Way::Disk;
    };
    match file.change {
        Change::Modified
            if build::is_text(file) && work.part(|hunk| hunk.kind == HunkKind::Mode).is_none() =>
        {
            Way::Nothing
        }
        Change::Added if by_editor && capabilities.create => Way::Editor(Operation::Create {
            uri,
            text: file.result_text.clone().unwrap_or_default(),
        }),
        Change::Deleted if by_editor && capabilities.delete => Way::Editor(Operation::Delete { uri }),
        Change::Renamed if by_editor && capabilities.rename => {
            old.map_or(Way::Disk, |from| Way::Editor(Operation::Rename { from, to: uri }))
        }
        _ => Way::Disk,
    }
}

/// Carries out what comes after the text.
pub(crate) async fn carry_out(
    session: &Session,
    engine: &Engine,
    review: &RunReview,
    landed: Vec<Landed>,
    deadline: Instant,
) -> Vec<FileResult> {
    let capabilities = session.capabilities().edit;
    let (mut results, mut by_editor, mut on_disk) = (Vec::new(), Vec::new(), Vec::new());
    for landed in landed {
        // a new file that was typed into an open buffer is there already
        let is_there = landed.work.file.change == Change::Added && land::is_in(session, review, &landed.work);
        match of(review, &landed.work, capabilities) {
            _ if is_there => results.push(finished(&landed)),
            Way::Nothing => results.push(finished(&landed)),
            Way::Editor(operation) => by_editor.push((landed, operation)),
            Way::Disk => on_disk.push(landed),
        }
    }
    if !by_editor.is_empty() {
        results.extend(through_editor(session, review, by_editor, deadline).await);
    }
    for landed in on_disk {
        results.extend(disk::carry_out(session, engine, review, landed, deadline).await);
    }
    results
}

/// All of it is in the text.
pub(crate) fn finished(landed: &Landed) -> FileResult {
    let result = landed.work.result("applied");
    if landed.text.is_some() {
        result.in_a_buffer()
    } else {
        result
    }
}

async fn through_editor(
    session: &Session,
    review: &RunReview,
    all: Vec<(Landed, Operation)>,
    deadline: Instant,
) -> Vec<FileResult> {
    let operations: Vec<Operation> = all.iter().map(|(_, operation)| operation.clone()).collect();
    let edit = build::workspace_edit(session.capabilities().edit, &[], &operations);
    let outcome = land::send_edit(session, review, &edit, deadline).await;
    let refused = matches!(outcome, Outcome::No { .. });
    let patience = Duration::from_millis(if refused { POLL_MS } else { SHOW_LIMIT_MS });
    let until = deadline.min(Instant::now() + patience);
    let mut done: Vec<bool> = vec![false; all.len()];
    loop {
        for ((landed, _), done) in all.iter().zip(&mut done) {
            *done = *done || is_done(session, review, &landed.work);
        }
        if done.iter().all(|done| *done) || Instant::now() >= until {
            break;
        }
        session
            .reviews()
            .changed_within(Duration::from_millis(POLL_MS))
            .await;
    }
    let mut results = Vec::new();
    for ((landed, _), done) in all.into_iter().zip(done) {
        results.extend(if done {
            vec![done_by_editor(&landed, session, review)]
        } else {
            failed(session, review, landed, &outcome, deadline).await
        });
    }
    results
}

fn done_by_editor(landed: &Landed, session: &Session, review: &RunReview) -> FileResult {
    let is_new = landed.work.file.change == Change::Added;
    let open = open_document(session, &review.top_level, &review.root, &landed.work.file.path).is_some();
    let result = landed.work.result("applied");
    if landed.text.is_some() || (is_new && open) {
        result.in_a_buffer()
    } else {
        result
    }
}

/// Whether the file is where it belongs, by its text or by the disk.
fn is_done(session: &Session, review: &RunReview, work: &Work) -> bool {
    let on_disk = |path: &str| observe::on_disk(&review.top_level, path, Expect::File);
    match work.file.change {
        Change::Added => land::is_in(session, review, work),
        Change::Deleted => on_disk(&work.file.path).is_absent(),
        Change::Renamed => {
            let arrived = !on_disk(&work.file.path).is_absent()
                || open_document(session, &review.top_level, &review.root, &work.file.path).is_some();
            arrived
                && work
                    .file
                    .old_path
                    .as_deref()
                    .is_some_and(|old| on_disk(old).is_absent())
        }
        Change::Modified => true,
    }
}

/// The operation did not happen, as far as can be seen; what was half done is taken back.
async fn failed(
    session: &Session,
    review: &RunReview,
    landed: Landed,
    outcome: &Outcome,
    deadline: Instant,
) -> Vec<FileResult> {
    let Landed { work, text } = landed;
    if work.file.change == Change::Added {
        if *outcome == Outcome::Yes {
            return vec![
                work.result("unconfirmed")
                    .because("the editor has not shown the new file yet")
                    .in_a_buffer(),
            ];
        }
        remove_empty(review, &work);
    }
    let result = match outcome {
        Outcome::Yes => work
            .result("failed")
            .code("notApplied")
            .because("the editor says that it did it, but the disk does not show it"),
        Outcome::No { reason } => work
            .result("failed")
            .code("editRefused")
            .because(format!("the editor did not do it: {reason}")),
        Outcome::Unanswered => work
            .result("failed")
            .code("noAnswer")
            .because("the editor did not answer in time"),
        Outcome::Unsupported => work
            .result("failed")
            .code("applyUnsupported")
            .because("this editor cannot apply edits of a server"),
    };
    vec![roll_back(session, review, &work, text, result, deadline).await]
}

/// Takes the text of a file back whose move failed.
pub(crate) async fn roll_back(
    session: &Session,
    review: &RunReview,
    work: &Work,
    text: Option<TextChange>,
    result: FileResult,
    deadline: Instant,
) -> FileResult {
    let Some(change) = text else { return result };
    let told = result.message.clone().unwrap_or_default();
    let document = build::text_now(session, review, &work.file).and_then(|now| now.document);
    if let Some(document) = document.filter(|document| document.text() == change.after) {
        land::send(
            session,
            review,
            &[build::difference(&document, &change.before)],
            deadline,
        )
        .await;
        let until = deadline.min(Instant::now() + Duration::from_millis(SHOW_LIMIT_MS));
        loop {
            let now = build::text_now(session, review, &work.file).map(|now| now.text);
            if now.as_deref() == Some(&*change.before) {
                return result.because(format!("{told}; its text is as it was"));
            }
            if Instant::now() >= until {
                break;
            }
            session
                .reviews()
                .changed_within(Duration::from_millis(POLL_MS))
                .await;
        }
    }
    result
        .code("partlyApplied")
        .because(format!(
            "{told}; its text was changed before that, and stays changed"
        ))
        .in_a_buffer()
}

/// A new file whose text never came is an empty one that nobody wanted.
fn remove_empty(review: &RunReview, work: &Work) {
    let text = observe::on_disk(&review.top_level, &work.file.path, Expect::File);
    if text.text().is_some_and(str::is_empty) && work.file.result_text.as_deref() != Some("") {
        let removed = Root::open(&review.top_level).and_then(|root| root.remove(&work.file.path));
        if let Err(error) = removed {
            tracing::debug!(%error, "an empty file stays behind");
        }
    }
}
