//! What a hunk changes, and who changed a line; no I/O.

use std::fmt::Write;

use clode_core::Result;
use clode_core::money::Money;
use clode_core::pipeline::{HunkState, StepRole};
use clode_core::workspace::Hunk;
use lsp_types::{Position, Range};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::action::hunk::touches;
use super::command::arguments;
use super::review::RunReview;
use super::session::Session;
use crate::review::HunkNow;

/// Lines of a diff that are shown.
const LINES_MAX: usize = 60;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    text_document: TextDocument,
    position: Position,
}

#[derive(Debug, Deserialize)]
struct TextDocument {
    uri: Url,
}

/// Answers `textDocument/hover`.
pub(crate) fn hover(session: &Session, params: Value) -> Result<Value> {
    let params: Params = arguments::read(params)?;
    let uri = params.text_document.uri;
    let document = session.document(&uri);
    let here = Range {
        start: params.position,
        end: params.position,
    };
    let form = Form::of(session);
    let (mut texts, mut range) = (Vec::new(), None);
    for run in session.reviews().runs() {
        for file in run.in_document(&uri, document.as_ref()) {
            for (hunk, now) in run.hunks(&file) {
                let place = run.range(&file, now);
                if !touches(here, place) {
                    continue;
                }
                if let Some(text) = about(&run, hunk, now, form) {
                    texts.push(text);
                    range = range.or(Some(place));
                }
            }
        }
    }
    let Some(range) = range else {
        return Ok(Value::Null);
    };
    let kind = if form == Form::Markdown {
        "markdown"
    } else {
        "plaintext"
    };
    Ok(json!({"contents": {"kind": kind, "value": texts.join("\n\n")}, "range": range}))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Markdown,
    Plain,
}

impl Form {
    fn of(session: &Session) -> Self {
        let capabilities = session.capabilities();
        let formats = capabilities
            .raw()
            .pointer("/textDocument/hover/contentFormat")
            .and_then(Value::as_array);
        match formats {
            Some(formats) if !formats.iter().any(|format| format == "markdown") => Self::Plain,
            _ => Self::Markdown,
        }
    }
}

fn about(run: &RunReview, hunk: &Hunk, now: &HunkNow, form: Form) -> Option<String> {
    match now.state {
        HunkState::Applied => Some(origin(run, form)),
        HunkState::Pending | HunkState::Failed | HunkState::Conflict | HunkState::Unconfirmed
            if run.is_under_review() =>
        {
            let state = match now.state {
                HunkState::Conflict => "conflict",
                HunkState::Failed => "not applied",
                HunkState::Unconfirmed => "not seen in the editor yet",
                _ => "waits for you",
            };
            let reason = now
                .reason
                .as_deref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            let diff = diff(hunk);
            Some(match form {
                Form::Markdown => format!(
                    "**Clode: {}** ({state}{reason})\n\n````diff\n{diff}````",
                    plain(&run.title)
                ),
                Form::Plain => format!("Clode: {} ({state}{reason})\n\n{diff}", run.title),
            })
        }
        _ => None,
    }
}

/// Task, agent, model and cost of what is in the text.
fn origin(run: &RunReview, form: Form) -> String {
    let step = run
        .machine
        .steps
        .iter()
        .rev()
        .find(|step| step.spec.role == StepRole::Change && step.attempts > 0);
    let mut told = match form {
        Form::Markdown => format!("**Clode: {}**", plain(&run.title)),
        Form::Plain => format!("Clode: {}", run.title),
    };
    if let Some(step) = step {
        let of_step = || run.costs.iter().filter(|costs| costs.step == step.spec.id);
        let output = step.output.as_ref();
        let model = output
            .and_then(|output| output.model.clone())
            .or_else(|| of_step().next_back().map(|costs| costs.model.clone()));
        let cost: Money = of_step().map(|costs| costs.totals.cost).sum();
        let _ = write!(
            told,
            "\n\n{} · {} · {cost}",
            step.spec.agent,
            model.as_deref().unwrap_or("no model")
        );
    }
    told
}

fn diff(hunk: &Hunk) -> String {
    let mut text = String::new();
    let old = hunk.old_text.lines().map(|line| ('-', line));
    let new = hunk.new_text.lines().map(|line| ('+', line));
    let all = hunk.old_text.lines().count() + hunk.new_text.lines().count();
    for (sign, line) in old.chain(new).take(LINES_MAX) {
        let _ = writeln!(text, "{sign}{line}");
    }
    if all > LINES_MAX {
        let _ = writeln!(text, "… {} more lines", all - LINES_MAX);
    }
    text
}

/// A title that cannot become anything else in Markdown.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_ascii_punctuation() {
                vec!['\\', c]
            } else {
                vec![c]
            }
        })
        .collect()
}
