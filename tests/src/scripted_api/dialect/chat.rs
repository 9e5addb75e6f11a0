//! `OpenAI` Chat Completions.

use serde_json::{Value, json};

use super::super::script::{Part, Reply, Stop, Usage};
use super::{Names, data, pieces, text_of};

pub(super) fn whole(reply: &Reply, names: &Names) -> Value {
    json!({
                    "id": format!("chatcmpl_{}", names.stem), "object": "chat.completion", "model": names.model,
                    "created": 0,
                    "choices": [{"index": 0, "finish_reason": stop_name(reply.stop()), "message": {
                        "role": "assistant", "content": text_of(reply), "tool_calls": calls(reply, names),
                    }}],
                    "usage": usage_fields(reply.usage),
    })
}

fn stop_name(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "stop",
        Stop::ToolUse => "tool_calls",
        Stop::MaxTokens => "length",
        Stop::Refusal => "content_filter",
    }
}

fn usage_fields(usage: Usage) -> Value {
    let input = usage.input + usage.cache_read;
    json!({
        "prompt_tokens": input, "completion_tokens": usage.output, "total_tokens": input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    })
}

fn calls(reply: &Reply, names: &Names) -> Value {
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

pub(super) fn events(reply: &Reply, names: &Names) -> Vec<String> {
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
    for (order, call) in calls(reply, names).as_array().into_iter().flatten().enumerate() {
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
    events.push(chunk(&json!({}), Some(stop_name(reply.stop()))));
    if names.usage_asked {
        events.push(data(&json!({
            "id": format!("chatcmpl_{}", names.stem), "object": "chat.completion.chunk", "created": 0,
            "model": names.model, "choices": [], "usage": usage_fields(reply.usage),
        })));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}
