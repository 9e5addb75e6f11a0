//! Actions on the hunks under the cursor.

use clode_core::id::HunkId;
use clode_core::pipeline::{GateKind, HunkState};
use lsp_types::Range;
use serde_json::{Value, json};

use super::{Action, Ask, HUNK_KIND};
use crate::lsp::review::{FileReview, RunReview, is_waiting};
use crate::lsp::session::Session;

pub(super) fn actions(session: &Session, ask: &Ask) -> Vec<Action> {
    let document = session.document(&ask.uri);
    let mut actions = Vec::new();
    for run in session
        .reviews()
        .runs()
        .iter()
        .filter(|run| run.is_under_review())
    {
        for file in run.in_document(&ask.uri, document.as_ref()) {
            actions.extend(of_file(run, &file, ask));
        }
    }
    actions
}

fn of_file(run: &RunReview, file: &FileReview, ask: &Ask) -> Vec<Action> {
    let here: Vec<_> = file
        .hunks
        .iter()
        .filter(|now| is_waiting(now.state) && touches(ask.range, run.range(file, now)))
        .collect();
    if here.is_empty() {
        return Vec::new();
    }
    let ids = |wanted: fn(HunkState) -> bool| -> Vec<HunkId> {
        here.iter()
            .filter(|now| wanted(now.state))
            .map(|now| now.id.clone())
            .collect()
    };
    let acceptable = ids(|state| matches!(state, HunkState::Pending | HunkState::Failed));
    let rejectable = ids(|state| state != HunkState::Unconfirmed);
    let all: Vec<HunkId> = file
        .hunks
        .iter()
        .filter(|now| matches!(now.state, HunkState::Pending | HunkState::Failed))
        .map(|now| now.id.clone())
        .collect();
    let shown = ids(|_| true);
    let mut actions = Vec::new();
    let mut add = |title: String, command, hunks: &[HunkId]| {
        let mut action = Action::new(title, HUNK_KIND, command, arguments(run, file, hunks));
        let of_hunks = |diagnostic: &&Value| {
            let named = diagnostic.pointer("/data/hunkIds").and_then(Value::as_array);
            named.is_some_and(|named| {
                named
                    .iter()
                    .any(|id| hunks.iter().any(|hunk| id == hunk.as_str()))
            })
        };
        action.diagnostics = ask.diagnostics.iter().filter(of_hunks).cloned().collect();
        actions.push(action);
    };
    if !acceptable.is_empty() {
        add(
            counted("Accept", acceptable.len()),
            "clode.pipeline.apply",
            &acceptable,
        );
    }
    if !rejectable.is_empty() {
        add(
            counted("Reject", rejectable.len()),
            "clode.pipeline.rejectHunks",
            &rejectable,
        );
    }
    if all.len() > acceptable.len() && !ask.automatic {
        add("Accept all in file".to_owned(), "clode.pipeline.apply", &all);
    }
    add("Show diff".to_owned(), "clode.pipeline.showDiff", &shown);
    actions
}

fn counted(verb: &str, count: usize) -> String {
    if count == 1 {
        format!("{verb} hunk")
    } else {
        format!("{verb} {count} hunks")
    }
}

/// What a lens or an action about hunks carries.
pub(crate) fn arguments(run: &RunReview, file: &FileReview, hunks: &[HunkId]) -> Value {
    let approval = run.gate(GateKind::Patch).map(|gate| gate.id.clone());
    json!({"pipelineId": run.id, "approvalId": approval, "hunks": hunks, "uri": file.uri})
}

/// Whether a selection is on the lines of a hunk. One that only removes lies on the line where it was.
pub(crate) fn touches(selection: Range, hunk: Range) -> bool {
    let last = |range: Range| {
        if range.end.character == 0 && range.end.line > range.start.line {
            range.end.line - 1
        } else {
            range.end.line
        }
    };
    selection.start.line <= last(hunk) && hunk.start.line <= last(selection)
}
