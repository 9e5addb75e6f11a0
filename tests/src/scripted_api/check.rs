//! What the real services refuse, refused here as well: a test must not pass with requests that no service
//! would take.

use std::collections::BTreeSet;

use axum::http::HeaderMap;
use serde_json::Value;

use super::dialect::Dialect;

/// The only key that is let in.
pub const DUMMY_KEY: &str = "clode-test-key";
const ANTHROPIC_VERSION: &str = "2023-06-01";
const TOOL_NAME_CHARS_MAX: usize = 128;
const CACHE_MARKS_MAX: usize = 4;

/// Whether the key is the dummy key, as the real service would ask for it.
pub(super) fn key_is_right(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("x-api-key") == Some(DUMMY_KEY)
        || text("authorization").and_then(|value| value.strip_prefix("Bearer ")) == Some(DUMMY_KEY)
}

/// Everything that is wrong with this request, in words.
pub(super) fn violations(dialect: Dialect, headers: &HeaderMap, body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if text(body, "model").is_empty() {
        found.push("`model` is missing".to_owned());
    }
    match dialect {
        Dialect::Messages => {
            if headers
                .get("anthropic-version")
                .and_then(|value| value.to_str().ok())
                != Some(ANTHROPIC_VERSION)
            {
                found.push(format!("header anthropic-version is not {ANTHROPIC_VERSION}"));
            }
            messages(body, &mut found);
        }
        Dialect::Responses => responses(body, &mut found),
        Dialect::ChatCompletions => chat(body, &mut found),
    }
    found
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn positive(body: &Value, name: &str, found: &mut Vec<String>) {
    if body[name].as_u64().is_none_or(|count| count == 0) {
        found.push(format!("`{name}` is not a positive number"));
    }
}

fn tool_names<'a>(names: impl Iterator<Item = &'a str>, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        let legal = !name.is_empty()
            && name.len() <= TOOL_NAME_CHARS_MAX
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !legal {
            found.push(format!("tool name `{name}` is not allowed"));
        }
        if !seen.insert(name) {
            found.push(format!("tool `{name}` is offered twice"));
        }
    }
}

/// Calls are answered at once, each once, and nothing is answered that was not called.
#[derive(Default)]
struct Pairing {
    ever: BTreeSet<String>,
    open: BTreeSet<String>,
}

impl Pairing {
    fn called(&mut self, id: &str, found: &mut Vec<String>) {
        if id.is_empty() {
            found.push("a tool call has no id".to_owned());
        }
        if !self.ever.insert(id.to_owned()) {
            found.push(format!("tool call id `{id}` occurs twice"));
        }
        self.open.insert(id.to_owned());
    }

    fn answered(&mut self, id: &str, found: &mut Vec<String>) {
        if !self.open.remove(id) {
            found.push(format!("tool result `{id}` answers no open tool call"));
        }
    }

    fn nothing_open(&mut self, place: &str, found: &mut Vec<String>) {
        for id in std::mem::take(&mut self.open) {
            found.push(format!("tool call `{id}` has no result {place}"));
        }
    }
}

fn messages(body: &Value, found: &mut Vec<String>) {
    positive(body, "max_tokens", found);
    tool_names(list(body, "tools").iter().map(|tool| text(tool, "name")), found);
    let marks = body.to_string().matches("\"cache_control\":{").count();
    if marks > CACHE_MARKS_MAX {
        found.push(format!(
            "{marks} cache marks, at most {CACHE_MARKS_MAX} are allowed"
        ));
    }
    let system_empty = list(body, "system")
        .iter()
        .any(|block| text(block, "text").is_empty());
    if system_empty {
        found.push("a system block is empty".to_owned());
    }
    let conversation: Vec<&Value> = list(body, "messages")
        .iter()
        .filter(|message| text(message, "role") != "system")
        .collect();
    if conversation
        .first()
        .is_none_or(|message| text(message, "role") != "user")
    {
        found.push("the conversation does not begin with the user".to_owned());
    }
    if conversation
        .last()
        .is_some_and(|message| text(message, "role") != "user")
    {
        found.push("the conversation does not end with the user".to_owned());
    }
    let mut pairing = Pairing::default();
    let mut uses_tools = false;
    for (number, message) in conversation.iter().enumerate() {
        let role = text(message, "role");
        if role != "user" && role != "assistant" {
            found.push(format!("message {number} has the role `{role}`"));
        }
        if message["content"].as_str() == Some("") || message["content"].as_array().is_some_and(Vec::is_empty)
        {
            found.push(format!("message {number} is empty"));
        }
        if role == "assistant" {
            pairing.nothing_open("before the next turn", found);
        }
        let mut other_content_seen = false;
        for block in list(message, "content") {
            match (text(block, "type"), role) {
                ("tool_use", "assistant") => {
                    uses_tools = true;
                    if !block["input"].is_object() {
                        found.push(format!("the input of `{}` is no object", text(block, "id")));
                    }
                    pairing.called(text(block, "id"), found);
                }
                ("tool_result", "user") => {
                    if other_content_seen {
                        found.push(format!("message {number} has a tool result after other content"));
                    }
                    pairing.answered(text(block, "tool_use_id"), found);
                }
                ("tool_use" | "tool_result", _) => {
                    found.push(format!(
                        "message {number}: `{}` from `{role}`",
                        text(block, "type")
                    ));
                }
                ("text", _) => {
                    other_content_seen = true;
                    if text(block, "text").is_empty() {
                        found.push(format!("message {number} has an empty text block"));
                    }
                }
                ("thinking", _) if text(block, "signature").is_empty() => {
                    found.push(format!("message {number} has a thought without signature"));
                }
                _ => other_content_seen = true,
            }
        }
        if role == "user" {
            pairing.nothing_open(&format!("in message {number}"), found);
        }
    }
    if uses_tools && list(body, "tools").is_empty() {
        found.push("tools were called, but none are offered".to_owned());
    }
}

fn responses(body: &Value, found: &mut Vec<String>) {
    tool_names(
        list(body, "tools")
            .iter()
            .filter(|tool| tool["name"].is_string())
            .map(|tool| text(tool, "name")),
        found,
    );
    if body["input"].as_str().is_none_or(str::is_empty) && list(body, "input").is_empty() {
        found.push("`input` is empty".to_owned());
    }
    if !body["max_output_tokens"].is_null() {
        positive(body, "max_output_tokens", found);
    }
    let mut pairing = Pairing::default();
    for item in list(body, "input") {
        match text(item, "type") {
            "function_call" => pairing.called(text(item, "call_id"), found),
            "function_call_output" => pairing.answered(text(item, "call_id"), found),
            _ => {}
        }
    }
    pairing.nothing_open("at the end", found);
}

fn chat(body: &Value, found: &mut Vec<String>) {
    tool_names(
        list(body, "tools")
            .iter()
            .map(|tool| text(&tool["function"], "name")),
        found,
    );
    let mut pairing = Pairing::default();
    if list(body, "messages").is_empty() {
        found.push("`messages` is empty".to_owned());
    }
    for (number, message) in list(body, "messages").iter().enumerate() {
        match text(message, "role") {
            "assistant" => {
                pairing.nothing_open("before the next turn", found);
                for call in list(message, "tool_calls") {
                    let arguments = text(&call["function"], "arguments");
                    if serde_json::from_str::<Value>(arguments).is_err() {
                        found.push(format!("the arguments of `{}` are no JSON", text(call, "id")));
                    }
                    pairing.called(text(call, "id"), found);
                }
            }
            "tool" => pairing.answered(text(message, "tool_call_id"), found),
            "user" => pairing.nothing_open(&format!("before message {number}"), found),
            "system" | "developer" => {}
            role => found.push(format!("message {number} has the role `{role}`")),
        }
    }
    pairing.nothing_open("at the end", found);
}
