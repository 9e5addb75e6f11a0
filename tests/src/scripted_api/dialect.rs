//! The wire forms of an answer: Anthropic Messages, `OpenAI` Responses, `OpenAI` Chat Completions.

use serde_json::{Value, json};

use super::script::{Part, Reply, Stop, Usage};

/// An input is streamed in pieces of so many characters, as the real services do.
const INPUT_PIECE_CHARS: usize = 24;

/// Which API a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/chat/completions`
    ChatCompletions,
}

/// Names for one answer, the same in every run of a test.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// `<caller>_<step>`
    pub(super) stem: String,
    pub(super) model: String,
    /// Chat Completions tell the usage of a stream only if they are asked to.
    pub(super) usage_asked: bool,
}

impl Dialect {
    /// The events of a streamed answer, each complete with its empty line.
    pub(super) fn events(self, reply: &Reply, names: &Names) -> Vec<String> {
        match self {
            Self::Messages => messages_events(reply, names),
            Self::Responses => responses_events(reply, names),
            Self::ChatCompletions => chat_events(reply, names),
        }
    }

    /// The answer to a request without streaming.
    pub(super) fn whole(self, reply: &Reply, names: &Names) -> Value {
        match self {
            Self::Messages => messages_whole(reply, names),
            Self::Responses => responses_whole(reply, names, "completed"),
            Self::ChatCompletions => json!({
                "id": format!("chatcmpl_{}", names.stem), "object": "chat.completion", "model": names.model,
                "created": 0,
                "choices": [{"index": 0, "finish_reason": chat_stop(reply.stop()), "message": {
                    "role": "assistant", "content": text_of(reply), "tool_calls": chat_calls(reply, names),
                }}],
                "usage": chat_usage(reply.usage),
            }),
        }
    }

    /// The body of an error.
    pub(super) fn error(self, status: u16, message: &str) -> Value {
        let kind = match status {
            400 => "invalid_request_error",
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        match self {
            Self::Messages => json!({"type": "error", "error": {"type": kind, "message": message}}),
            _ => json!({"error": {"type": kind, "code": kind, "message": message, "param": null}}),
        }
    }

    /// An error as an event of the stream, after the beginning of an answer.
    pub(super) fn in_band_error(self, kind: &str, message: &str, names: &Names) -> Vec<String> {
        match self {
            Self::Messages => vec![
                event(
                    "message_start",
                    &json!({"message": messages_head(names, None, Usage::default())}),
                ),
                event("error", &json!({"error": {"type": kind, "message": message}})),
            ],
            Self::Responses => vec![
                event(
                    "response.created",
                    &json!({"response": {"id": names.stem, "status": "in_progress"}}),
                ),
                event("error", &json!({"code": kind, "message": message, "param": null})),
            ],
            Self::ChatCompletions => vec![data(&json!({"error": {"type": kind, "message": message}}))],
        }
    }
}

fn event(kind: &str, fields: &Value) -> String {
    let mut value = json!({"type": kind});
    if let (Some(into), Some(from)) = (value.as_object_mut(), fields.as_object()) {
        into.extend(from.clone());
    }
    format!("event: {kind}\ndata: {value}\n\n")
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// The text in pieces, never inside a character.
fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(INPUT_PIECE_CHARS)
        .map(|piece| piece.iter().collect())
        .collect()
}

fn text_of(reply: &Reply) -> String {
    reply
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

// --- Anthropic Messages -------------------------------------------------------------------------------

fn messages_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "end_turn",
        Stop::ToolUse => "tool_use",
        Stop::MaxTokens => "max_tokens",
        Stop::Refusal => "refusal",
    }
}

fn messages_usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input, "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cache_read, "cache_creation_input_tokens": usage.cache_write,
    })
}

fn messages_head(names: &Names, stop: Option<Stop>, usage: Usage) -> Value {
    json!({
        "id": format!("msg_{}", names.stem), "type": "message", "role": "assistant", "model": names.model,
        "content": [], "stop_reason": stop.map(messages_stop), "stop_sequence": null,
        "usage": messages_usage(usage),
    })
}

fn messages_block(part: &Part, index: usize, names: &Names) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Thinking { text, signature } => {
            json!({"type": "thinking", "thinking": text, "signature": signature})
        }
        Part::Call { tool, input } => json!({
            "type": "tool_use", "id": format!("toolu_{}_{index}", names.stem), "name": tool, "input": input,
        }),
    }
}

fn messages_whole(reply: &Reply, names: &Names) -> Value {
    let mut message = messages_head(names, Some(reply.stop()), reply.usage);
    message["content"] = reply
        .parts
        .iter()
        .enumerate()
        .map(|(index, part)| messages_block(part, index, names))
        .collect();
    message
}

fn messages_events(reply: &Reply, names: &Names) -> Vec<String> {
    // The beginning of a real stream knows the input; of the output only the first token.
    let first = Usage {
        output: 1,
        ..reply.usage
    };
    let mut events = vec![event(
        "message_start",
        &json!({"message": messages_head(names, None, first)}),
    )];
    for (index, part) in reply.parts.iter().enumerate() {
        let (mut block, deltas): (Value, Vec<Value>) = match part {
            Part::Text(text) => (
                json!({"type": "text", "text": ""}),
                pieces(text)
                    .iter()
                    .map(|piece| json!({"type": "text_delta", "text": piece}))
                    .collect(),
            ),
            Part::Thinking { text, signature } => (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                vec![
                    json!({"type": "thinking_delta", "thinking": text}),
                    json!({"type": "signature_delta", "signature": signature}),
                ],
            ),
            Part::Call { input, .. } => (
                messages_block(part, index, names),
                std::iter::once(String::new())
                    .chain(pieces(&input.to_string()))
                    .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
                    .collect(),
            ),
        };
        if matches!(part, Part::Call { .. }) {
            block["input"] = json!({});
        }
        events.push(event(
            "content_block_start",
            &json!({"index": index, "content_block": block}),
        ));
        for delta in deltas {
            events.push(event(
                "content_block_delta",
                &json!({"index": index, "delta": delta}),
            ));
        }
        events.push(event("content_block_stop", &json!({"index": index})));
    }
    events.insert(1, event("ping", &json!({})));
    events.push(event(
        "message_delta",
        &json!({
            "delta": {"stop_reason": messages_stop(reply.stop()), "stop_sequence": null},
            "usage": messages_usage(reply.usage),
        }),
    ));
    events.push(event("message_stop", &json!({})));
    events
}

// --- OpenAI Responses ---------------------------------------------------------------------------------

fn responses_usage(usage: Usage) -> Value {
    let input = usage.input + usage.cache_read;
    json!({
        "input_tokens": input, "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input + usage.output,
    })
}

fn responses_item(part: &Part, index: usize, names: &Names) -> Value {
    match part {
        Part::Text(text) => json!({
            "type": "message", "id": format!("msg_{}_{index}", names.stem), "status": "completed",
            "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}],
        }),
        Part::Thinking { text, signature } => json!({
            "type": "reasoning", "id": format!("rs_{}_{index}", names.stem),
            "summary": [{"type": "summary_text", "text": text}], "encrypted_content": signature,
        }),
        Part::Call { tool, input } => json!({
            "type": "function_call", "id": format!("fc_{}_{index}", names.stem), "status": "completed",
            "call_id": format!("call_{}_{index}", names.stem), "name": tool, "arguments": input.to_string(),
        }),
    }
}

fn responses_whole(reply: &Reply, names: &Names, done: &str) -> Value {
    let (status, details) = match reply.stop() {
        Stop::MaxTokens => ("incomplete", json!({"reason": "max_output_tokens"})),
        Stop::Refusal => ("incomplete", json!({"reason": "content_filter"})),
        Stop::EndTurn | Stop::ToolUse => (done, Value::Null),
    };
    let items: Value = reply
        .parts
        .iter()
        .enumerate()
        .map(|(index, part)| responses_item(part, index, names))
        .collect();
    json!({
        "id": format!("resp_{}", names.stem), "object": "response", "created_at": 0, "model": names.model,
        "status": status, "incomplete_details": details, "error": null, "output": items,
        "usage": responses_usage(reply.usage),
    })
}

fn responses_events(reply: &Reply, names: &Names) -> Vec<String> {
    let whole = responses_whole(reply, names, "completed");
    let mut begun = whole.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let mut events = vec![event("response.created", &json!({"response": begun}))];
    for (index, part) in reply.parts.iter().enumerate() {
        let item = responses_item(part, index, names);
        let id = item["id"].clone();
        let mut head = item.clone();
        head["status"] = json!("in_progress");
        match part {
            Part::Text(text) => {
                head["content"] = json!([]);
                events.push(event(
                    "response.output_item.added",
                    &json!({"output_index": index, "item": head}),
                ));
                for piece in pieces(text) {
                    let delta =
                        json!({"item_id": id, "output_index": index, "content_index": 0, "delta": piece});
                    events.push(event("response.output_text.delta", &delta));
                }
                let done = json!({"item_id": id, "output_index": index, "content_index": 0, "text": text});
                events.push(event("response.output_text.done", &done));
            }
            Part::Thinking { .. } => {
                events.push(event(
                    "response.output_item.added",
                    &json!({"output_index": index, "item": head}),
                ));
            }
            Part::Call { input, .. } => {
                head["arguments"] = json!("");
                events.push(event(
                    "response.output_item.added",
                    &json!({"output_index": index, "item": head}),
                ));
                for piece in pieces(&input.to_string()) {
                    let delta = json!({"item_id": id, "output_index": index, "delta": piece});
                    events.push(event("response.function_call_arguments.delta", &delta));
                }
                let done = json!({"item_id": id, "output_index": index, "arguments": input.to_string()});
                events.push(event("response.function_call_arguments.done", &done));
            }
        }
        events.push(event(
            "response.output_item.done",
            &json!({"output_index": index, "item": item}),
        ));
    }
    let end = if whole["status"] == "completed" {
        "response.completed"
    } else {
        "response.incomplete"
    };
    events.push(event(end, &json!({"response": whole})));
    events
}

// --- OpenAI Chat Completions --------------------------------------------------------------------------

fn chat_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "stop",
        Stop::ToolUse => "tool_calls",
        Stop::MaxTokens => "length",
        Stop::Refusal => "content_filter",
    }
}

fn chat_usage(usage: Usage) -> Value {
    let input = usage.input + usage.cache_read;
    json!({
        "prompt_tokens": input, "completion_tokens": usage.output, "total_tokens": input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    })
}

fn chat_calls(reply: &Reply, names: &Names) -> Value {
    let calls: Vec<Value> = reply
        .parts
        .iter()
        .enumerate()
        .filter_map(|(index, part)| match part {
            Part::Call { tool, input } => Some(json!({
                "id": format!("call_{}_{index}", names.stem), "type": "function",
                "function": {"name": tool, "arguments": input.to_string()},
            })),
            _ => None,
        })
        .collect();
    if calls.is_empty() {
        Value::Null
    } else {
        Value::Array(calls)
    }
}

fn chat_events(reply: &Reply, names: &Names) -> Vec<String> {
    let chunk = |delta: &Value, finish: Option<&str>| {
        data(&json!({
            "id": format!("chatcmpl_{}", names.stem), "object": "chat.completion.chunk", "created": 0,
            "model": names.model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }))
    };
    let mut events = vec![chunk(&json!({"role": "assistant", "content": ""}), None)];
    for piece in pieces(&text_of(reply)) {
        events.push(chunk(&json!({"content": piece}), None));
    }
    for (order, call) in chat_calls(reply, names)
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let arguments = call["function"]["arguments"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut head = call.clone();
        head["index"] = json!(order);
        head["function"]["arguments"] = json!("");
        events.push(chunk(&json!({"tool_calls": [head]}), None));
        for piece in pieces(&arguments) {
            let delta = json!({"tool_calls": [{"index": order, "function": {"arguments": piece}}]});
            events.push(chunk(&delta, None));
        }
    }
    events.push(chunk(&json!({}), Some(chat_stop(reply.stop()))));
    if names.usage_asked {
        events.push(data(&json!({
            "id": format!("chatcmpl_{}", names.stem), "object": "chat.completion.chunk", "created": 0,
            "model": names.model, "choices": [], "usage": chat_usage(reply.usage),
        })));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}
