//! Code actions: runs on what is under the cursor, decisions on hunks, answers to gates; no I/O.

pub(crate) mod comment;
pub(crate) mod gate;
pub(crate) mod hunk;
pub(crate) mod run;

use clode_core::Result;
use lsp_types::Range;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::command::arguments;
use super::session::Session;

/// Kind of the actions that start runs.
const RUN_KIND: &str = "refactor.rewrite.clode";
/// Kind of the actions on hunks, and of repairs when only those are asked for.
const HUNK_KIND: &str = "quickfix.clode";
/// Kind of the actions on pipelines.
const PIPELINE_KIND: &str = "source.clode";
/// The editor asks by itself, not the person.
const AUTOMATIC: u64 = 2;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    text_document: TextDocument,
    range: Range,
    #[serde(default)]
    context: Context,
}

#[derive(Debug, Deserialize)]
struct TextDocument {
    uri: Url,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context {
    diagnostics: Vec<Value>,
    only: Option<Vec<String>>,
    trigger_kind: Option<u64>,
}

/// What the editor asks for.
#[derive(Debug)]
struct Ask {
    uri: Url,
    range: Range,
    diagnostics: Vec<Value>,
    only: Option<Vec<String>>,
    automatic: bool,
}

impl Ask {
    /// Whether actions of this kind are wanted: a kind stands for all below it.
    fn wants(&self, kind: &str) -> bool {
        let holds = |only: &String| {
            only.is_empty()
                || kind == only
                || kind
                    .strip_prefix(only.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        self.only.as_ref().is_none_or(|kinds| kinds.iter().any(holds))
    }
}

/// An action, before its form is known.
#[derive(Debug)]
struct Action {
    title: String,
    kind: &'static str,
    command: &'static str,
    arguments: Value,
    diagnostics: Vec<Value>,
}

impl Action {
    fn new(title: impl Into<String>, kind: &'static str, command: &'static str, arguments: Value) -> Self {
        Self {
            title: title.into(),
            kind,
            command,
            arguments,
            diagnostics: Vec::new(),
        }
    }
}

/// Answers `textDocument/codeAction`.
pub(crate) fn actions(session: &Session, params: Value) -> Result<Value> {
    let params: Params = arguments::read(params)?;
    let ask = Ask {
        uri: params.text_document.uri,
        range: params.range,
        diagnostics: params.context.diagnostics,
        only: params.context.only,
        automatic: params.context.trigger_kind == Some(AUTOMATIC),
    };
    let mut actions = Vec::new();
    if ask.wants(HUNK_KIND) {
        actions.extend(hunk::actions(session, &ask));
    }
    if ask.uri.scheme() != "clode" && (ask.wants(RUN_KIND) || ask.wants(HUNK_KIND)) {
        actions.extend(run::actions(session, &ask));
    }
    if ask.wants(PIPELINE_KIND) {
        actions.extend(gate::actions(session, &ask));
    }
    let capabilities = session.capabilities().code_action;
    let wire = |action: Action| {
        let command =
            json!({"title": action.title, "command": action.command, "arguments": [action.arguments]});
        if !capabilities.literals {
            return command;
        }
        let mut literal = json!({"title": action.title, "kind": action.kind, "command": command});
        if let Some(literal) = literal.as_object_mut() {
            if !action.diagnostics.is_empty() {
                literal.insert("diagnostics".to_owned(), Value::Array(action.diagnostics));
            }
            if capabilities.llm_generated_tag && action.kind != PIPELINE_KIND {
                literal.insert("tags".to_owned(), json!([1]));
            }
        }
        literal
    };
    Ok(Value::Array(actions.into_iter().map(wire).collect()))
}
