//! The lines: what the program says, read tolerantly, and what it is told.

use serde_json::{Value, json};

/// The hook before each tool.
const HOOK_ID: &str = "beforeTool";
/// How long the program waits for a hook (seconds): a person may have to answer. When it is over, the
/// tool is not carried out.
const HOOK_TIMEOUT_S: u64 = 7 * 24 * 60 * 60;
/// The id of our first request.
pub(super) const INITIALIZE: &str = "initialize";

/// A line, as far as it matters.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// The answer to a request of ours.
    Answer {
        id: String,
        failed: Option<String>,
        body: Value,
    },
    /// A turn begins.
    Begun { session: String },
    /// The hook, or the permission prompt, about this tool.
    ToolAsked {
        id: String,
        via: Via,
        tool: String,
        input: Value,
        call: Option<String>,
    },
    /// A request of the program's that we do not serve.
    OtherRequest { id: String },
    /// It takes back a request.
    Withdrawn { id: String },
    /// A piece of the model's stream.
    Stream { event: Value, parent: String },
    /// A block of the model's answer.
    Spoken { message: Value },
    /// Results of tools, by the id of the call.
    Results { calls: Vec<String> },
    /// It tries a model call again.
    Retry { status: Option<u64>, error: String },
    /// The turn is over.
    Result(Value),
    /// Nothing that we go by.
    Other,
}

/// By which of the two ways the program asks about a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Hook,
    Prompt,
}

/// Reads a line; one that is no JSON is none.
pub(super) fn read(line: &[u8]) -> Option<Said> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let text = |pointer: &str| {
        line.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let kind = text("/type");
    let subtype = text("/subtype");
    Some(match (kind.as_str(), subtype.as_str()) {
        ("control_response", _) => Said::Answer {
            id: text("/response/request_id"),
            failed: (text("/response/subtype") != "success").then(|| text("/response/error")),
            body: line.pointer("/response/response").cloned().unwrap_or_default(),
        },
        ("control_request", _) => request(&line, text("/request_id")),
        ("control_cancel_request", _) => Said::Withdrawn {
            id: text("/request_id"),
        },
        ("system", "init") => Said::Begun {
            session: text("/session_id"),
        },
        ("system", "api_retry") => Said::Retry {
            status: line.get("error_status").and_then(Value::as_u64),
            error: text("/error"),
        },
        ("stream_event", _) => Said::Stream {
            event: line.get("event").cloned().unwrap_or_default(),
            parent: text("/parent_tool_use_id"),
        },
        ("assistant", _) => Said::Spoken {
            message: line.get("message").cloned().unwrap_or_default(),
        },
        ("user", _) => Said::Results {
            calls: results(&line),
        },
        ("result", _) => Said::Result(line),
        _ => Said::Other,
    })
}

fn request(line: &Value, id: String) -> Said {
    let at = |pointer: &str| line.pointer(pointer).cloned().unwrap_or_default();
    let text = |pointer: &str| at(pointer).as_str().unwrap_or_default().to_owned();
    let call = || Some(text("/request/tool_use_id")).filter(|id| !id.is_empty());
    match text("/request/subtype").as_str() {
        "hook_callback" => Said::ToolAsked {
            id,
            via: Via::Hook,
            tool: text("/request/input/tool_name"),
            input: at("/request/input/tool_input"),
            call: call().or_else(|| Some(text("/request/input/tool_use_id")).filter(|id| !id.is_empty())),
        },
        "can_use_tool" => Said::ToolAsked {
            id,
            via: Via::Prompt,
            tool: text("/request/tool_name"),
            input: at("/request/input"),
            call: call(),
        },
        _ => Said::OtherRequest { id },
    }
}

fn results(line: &Value) -> Vec<String> {
    let pieces = line.pointer("/message/content").and_then(Value::as_array);
    let ids = pieces
        .into_iter()
        .flatten()
        .filter_map(|piece| piece.get("tool_use_id").and_then(Value::as_str));
    ids.map(str::to_owned).collect()
}

/// The first line that the program gets.
pub(super) fn initialize() -> String {
    let hook = json!({ "matcher": "", "hookCallbackIds": [HOOK_ID], "timeout": HOOK_TIMEOUT_S });
    request_line(
        INITIALIZE,
        &json!({ "subtype": "initialize", "hooks": { "PreToolUse": [hook] } }),
    )
}

/// Asks it to stop what it does.
pub(super) fn interrupt() -> String {
    request_line("interrupt", &json!({ "subtype": "interrupt" }))
}

fn request_line(id: &str, request: &Value) -> String {
    json!({ "type": "control_request", "request_id": id, "request": request }).to_string()
}

/// A message of the user's. `id` must be new each time: a known one is passed over in silence.
pub(super) fn user(id: &str, text: &str) -> String {
    let content = json!([{ "type": "text", "text": text }]);
    json!({
        "type": "user",
        "uuid": id,
        // Otherwise `@path` and `/command` in the text would be carried out.
        "client_composed": true,
        "message": { "role": "user", "content": content },
        "parent_tool_use_id": null,
        "session_id": "",
    })
    .to_string()
}

/// What the program is told about a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may.
    Allow,
    /// It may not, and why; the turn goes on.
    Deny(String),
    /// It may not, and the turn ends here.
    Stop(String),
}

/// The answer to a question about a tool.
pub(super) fn verdict(id: &str, via: Via, verdict: &Verdict) -> String {
    let body = match (via, verdict) {
        (Via::Hook, Verdict::Allow) => hook("allow", ""),
        (Via::Hook, Verdict::Deny(reason)) => hook("deny", reason),
        (Via::Hook, Verdict::Stop(reason)) => {
            // Without the denial the pending tool would still be carried out.
            let mut body = hook("deny", reason);
            body["continue"] = json!(false);
            body["stopReason"] = json!(reason);
            body
        }
        (Via::Prompt, Verdict::Allow) => json!({ "behavior": "allow" }),
        (Via::Prompt, Verdict::Deny(reason)) => json!({ "behavior": "deny", "message": reason }),
        (Via::Prompt, Verdict::Stop(reason)) => {
            json!({ "behavior": "deny", "message": reason, "interrupt": true })
        }
    };
    json!({ "type": "control_response", "response": { "subtype": "success", "request_id": id, "response": body } }).to_string()
}

fn hook(decision: &str, reason: &str) -> Value {
    json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": reason,
    } })
}

/// The answer to a request that we do not serve.
pub(super) fn unsupported(id: &str) -> String {
    json!({ "type": "control_response", "response": { "subtype": "error", "request_id": id, "error": "not supported" } }).to_string()
}
