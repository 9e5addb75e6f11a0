//! `OpenAI` Responses.

use serde_json::{Value, json};

use super::super::script::{Part, Reply, Stop, Usage};
use super::{Names, event, pieces};

fn usage_fields(usage: Usage) -> Value {
    let input = usage.input + usage.cache_read;
    json!({
        "input_tokens": input, "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input + usage.output,
    })
}

fn item(part: &Part, index: usize, names: &Names) -> Value {
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

pub(super) fn whole(reply: &Reply, names: &Names, done: &str) -> Value {
    let (status, details) = match reply.stop() {
        Stop::MaxTokens => ("incomplete", json!({"reason": "max_output_tokens"})),
        Stop::Refusal => ("incomplete", json!({"reason": "content_filter"})),
        Stop::EndTurn | Stop::ToolUse => (done, Value::Null),
    };
    let items: Value = reply
        .parts
        .iter()
        .enumerate()
        .map(|(index, part)| item(part, index, names))
        .collect();
    json!({
        "id": format!("resp_{}", names.stem), "object": "response", "created_at": 0, "model": names.model,
        "status": status, "incomplete_details": details, "error": null, "output": items,
        "usage": usage_fields(reply.usage),
    })
}

pub(super) fn events(reply: &Reply, names: &Names) -> Vec<String> {
    let whole = whole(reply, names, "completed");
    let mut begun = whole.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let mut events = vec![event("response.created", &json!({"response": begun}))];
    for (index, part) in reply.parts.iter().enumerate() {
        let item = item(part, index, names);
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
