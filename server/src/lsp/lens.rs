//! Code lenses: hunks under review, where a task began, plan and patch documents; no I/O.

use clode_core::Result;
use clode_core::pipeline::{GateKind, HunkState, Status};
use lsp_types::Range;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::action::{comment, gate, hunk, run};
use super::command::{arguments, edit_plan};
use super::document::Document;
use super::notices::words::waits_for;
use super::review::{FileReview, RunReview};
use super::session::Session;
use crate::review::{address, at_line};

/// Lenses on TODO comments in one document.
const TODO_LENSES_MAX: usize = 100;
/// Lines that are looked through for them.
const LINES_MAX: u32 = 50_000;
/// How far a task's line may have moved.
const ORIGIN_LINES_MAX: u32 = 400;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    text_document: TextDocument,
}

#[derive(Debug, Deserialize)]
struct TextDocument {
    uri: Url,
}

/// Answers `textDocument/codeLens`.
pub(crate) fn lenses(session: &Session, params: Value) -> Result<Value> {
    let params: Params = arguments::read(params)?;
    let uri = params.text_document.uri;
    let mut lenses = Vec::new();
    if let Some((id, kind)) = document_of_ours(session, &uri) {
        if let Some(run) = session.reviews().run(&id) {
            lenses.extend(on_document(session, &run, kind));
        }
        return Ok(Value::Array(lenses));
    }
    let ui = session.reviews().ui(session, &uri);
    let document = session.document(&uri);
    for run in session.reviews().runs() {
        if ui.lens_hunks && run.is_under_review() {
            for file in run.in_document(&uri, document.as_ref()) {
                lenses.extend(on_hunks(&run, &file));
            }
        }
        lenses.extend(
            document
                .as_ref()
                .map(|document| at_origin(session, &run, &uri, document))
                .unwrap_or_default(),
        );
    }
    if let Some(document) = document.filter(|_| ui.lens_todos) {
        lenses.extend(on_todos(&document));
    }
    Ok(Value::Array(lenses))
}

fn lens(range: Range, title: &str, command: &str, arguments: &Value) -> Value {
    json!({"range": range, "command": {"title": title, "command": command, "arguments": [arguments]}})
}

/// The run whose plan or patch this document is.
fn document_of_ours(session: &Session, uri: &Url) -> Option<(clode_core::id::PipelineId, GateKind)> {
    if let Some(id) = edit_plan::plan_of(session, uri) {
        return Some((id, GateKind::Plan));
    }
    let (id, name) = address::parse(uri)?;
    match name.as_str() {
        "plan.md" => Some((id, GateKind::Plan)),
        "patch.diff" => Some((id, GateKind::Patch)),
        _ => None,
    }
}

fn on_document(session: &Session, run: &RunReview, kind: GateKind) -> Vec<Value> {
    let Some(open) = run.gate(kind) else {
        return Vec::new();
    };
    gate::answers(session, run, open)
        .into_iter()
        .map(|answer| lens(at_line(0), &answer.title, answer.command, &answer.arguments))
        .collect()
}

fn on_hunks(run: &RunReview, file: &FileReview) -> Vec<Value> {
    let mut lenses = Vec::new();
    for now in &file.hunks {
        let place = at_line(run.range(file, now).start.line);
        let arguments = hunk::arguments(run, file, std::slice::from_ref(&now.id));
        let mut add = |title: &str, command: &str| lenses.push(lens(place, title, command, &arguments));
        match now.state {
            HunkState::Pending | HunkState::Failed => {
                add("Accept", "clode.pipeline.apply");
                add("Reject", "clode.pipeline.rejectHunks");
                add("Diff", "clode.pipeline.showDiff");
            }
            HunkState::Conflict => {
                add("Conflict: show diff", "clode.pipeline.showDiff");
                add("Reject", "clode.pipeline.rejectHunks");
            }
            HunkState::Unconfirmed
            | HunkState::Applied
            | HunkState::Rejected
            | HunkState::Superseded
            | HunkState::Reverted => {}
        }
    }
    lenses
}

/// Where a task began, as long as it is not over.
fn at_origin(session: &Session, run: &RunReview, uri: &Url, document: &Document) -> Vec<Value> {
    let Some(origin) = &run.machine.spec.task.origin else {
        return Vec::new();
    };
    let path = uri.to_file_path().ok();
    let is_here = path
        .is_some_and(|path| path == run.root.join(&origin.path) || path == run.top_level.join(&origin.path));
    if run.machine.ending.is_some() || !is_here {
        return Vec::new();
    }
    let place = at_line(origin_line(
        document,
        origin.start_line,
        origin.text.lines().next().unwrap_or_default(),
    ));
    let waiting = run.machine.open_gates().find(|gate| gate.kind.holds_the_run());
    let stands = match (run.machine.status(), waiting) {
        (Status::AwaitingApproval, Some(gate)) => format!("waiting: {}", waits_for(gate.kind)),
        (status, _) => status.as_str().to_owned(),
    };
    let title = format!("Clode: {stands} ({}%)", run.machine.progress());
    let mut lenses = vec![lens(place, &title, "clode.document", &gate::show_arguments(run))];
    for open in run.machine.open_gates() {
        lenses.extend(
            gate::answers(session, run, open)
                .into_iter()
                .map(|answer| lens(place, &answer.title, answer.command, &answer.arguments)),
        );
    }
    lenses
}

/// The line that has the text of then, as near as possible to where it was.
fn origin_line(document: &Document, line: u32, text: &str) -> u32 {
    let has_text = |line: u32| run::line(document, line).is_some_and(|now| now.trim() == text.trim());
    let last = u32::try_from(document.rope().len_lines())
        .unwrap_or(u32::MAX)
        .saturating_sub(1);
    if text.trim().is_empty() {
        return line.min(last);
    }
    let near = (0..ORIGIN_LINES_MAX)
        .flat_map(|distance| [line.checked_sub(distance), line.checked_add(distance)])
        .flatten();
    near.into_iter()
        .find(|line| has_text(*line))
        .unwrap_or(line.min(last))
}

fn on_todos(document: &Document) -> Vec<Value> {
    let lines = document.rope().lines().zip(0..LINES_MAX);
    let found = lines.filter_map(|(line, number)| {
        let line = line.as_str().map_or_else(|| line.to_string(), str::to_owned);
        Some((number, comment::todo(&line)?.to_owned()))
    });
    found
        .take(TODO_LENSES_MAX)
        .map(|(number, text)| {
            let title = if text.is_empty() { format!("Do what is open at line {}", number + 1) } else { text };
            let end = at_line(number.saturating_add(1)).start;
            let range = Range { start: at_line(number).start, end };
            let context = json!({"textDocument": {"uri": *document.uri, "version": document.version}, "range": range, "diagnostics": []});
            lens(at_line(number), "Implement with agents…", "clode.run", &json!({"task": {"title": title}, "options": {}, "context": context}))
        })
        .collect()
}
