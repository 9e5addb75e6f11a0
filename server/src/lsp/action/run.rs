//! Actions that start runs on what is under the cursor.

use lsp_types::{Position, Range};
use serde_json::{Value, json};

use super::{Action, Ask, HUNK_KIND, RUN_KIND, comment};
use crate::lsp::document::Document;
use crate::lsp::session::Session;

const COMMAND: &str = "clode.run";
/// Longest message of a diagnostic in a title.
const MESSAGE_CHARS_MAX: usize = 120;

/// What the cursor or the selection is on.
struct Subject {
    title: String,
    range: Range,
}

pub(super) fn actions(session: &Session, ask: &Ask) -> Vec<Action> {
    let document = session.document(&ask.uri);
    let document = document.as_ref();
    let mut actions = Vec::new();
    let line = document
        .and_then(|document| line(document, ask.range.start.line))
        .unwrap_or_default();
    let whole_line = Range {
        start: Position {
            line: ask.range.start.line,
            character: 0,
        },
        end: Position {
            line: ask.range.start.line.saturating_add(1),
            character: 0,
        },
    };
    if ask.wants(RUN_KIND) {
        if let Some(text) = comment::instruction(&line) {
            actions.push(action(
                ask,
                document,
                "Run this instruction",
                text,
                &json!({}),
                whole_line,
                &[],
            ));
        }
        if let Some(subject) = subject(ask, &line, whole_line) {
            let title = &subject.title;
            actions.push(action(
                ask,
                document,
                "Implement with agents…",
                title,
                &json!({}),
                subject.range,
                &[],
            ));
            if !ask.automatic {
                let tests = format!("Write tests: {title}");
                actions.push(action(
                    ask,
                    document,
                    "Write tests with agents…",
                    &tests,
                    &json!({"pipeline": "tests"}),
                    subject.range,
                    &[],
                ));
                actions.push(action(
                    ask,
                    document,
                    "Plan only with agents…",
                    title,
                    &json!({"pipeline": "plan"}),
                    subject.range,
                    &[],
                ));
            }
        }
    }
    let foreign: Vec<Value> = ask
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.get("source").and_then(Value::as_str) != Some("clode"))
        .cloned()
        .collect();
    if let Some(first) = foreign.first() {
        let message = first.get("message").and_then(Value::as_str).unwrap_or_default();
        let message: String = message
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(MESSAGE_CHARS_MAX)
            .collect();
        let range = first
            .get("range")
            .and_then(|range| serde_json::from_value(range.clone()).ok())
            .unwrap_or(ask.range);
        let mut fix = action(
            ask,
            document,
            "Fix with agents…",
            &format!("Fix: {message}"),
            &json!({}),
            range,
            &foreign,
        );
        fix.kind = if ask.wants(RUN_KIND) { RUN_KIND } else { HUNK_KIND };
        fix.diagnostics = foreign;
        actions.push(fix);
    }
    actions
}

fn subject(ask: &Ask, line: &str, whole_line: Range) -> Option<Subject> {
    let name = ask
        .uri
        .path_segments()
        .and_then(Iterator::last)
        .unwrap_or_default();
    if let Some(text) = comment::todo(line) {
        let title = if text.is_empty() {
            format!("Do what is open at line {} of {name}", ask.range.start.line + 1)
        } else {
            text.to_owned()
        };
        return Some(Subject {
            title,
            range: whole_line,
        });
    }
    let (first, last) = (ask.range.start.line + 1, ask.range.end.line + 1);
    (ask.range.start != ask.range.end).then(|| Subject {
        title: format!("Complete lines {first}-{last} of {name}"),
        range: ask.range,
    })
}

fn action(
    ask: &Ask,
    document: Option<&Document>,
    title: &str,
    task: &str,
    options: &Value,
    range: Range,
    diagnostics: &[Value],
) -> Action {
    let mut text_document = json!({"uri": ask.uri});
    if let (Some(document), Some(fields)) = (document, text_document.as_object_mut()) {
        fields.insert("version".to_owned(), json!(document.version));
    }
    let context = json!({"textDocument": text_document, "range": range, "diagnostics": diagnostics});
    Action::new(
        title,
        RUN_KIND,
        COMMAND,
        json!({"task": {"title": task}, "options": options, "context": context}),
    )
}

/// One line of a document, without its end.
pub(crate) fn line(document: &Document, number: u32) -> Option<String> {
    let line = document.rope().get_line(usize::try_from(number).ok()?)?;
    Some(line.to_string().trim_end_matches(['\n', '\r']).to_owned())
}
