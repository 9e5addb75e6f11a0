//! Anthropic Messages.

use serde_json::{Value, json};

use super::super::script::{Part, Reply, Stop, Usage};
use super::{Names, event, pieces};

fn stop_name(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "end_turn",
        Stop::ToolUse => "tool_use",
        Stop::MaxTokens => "max_tokens",
        Stop::Refusal => "refusal",
    }
}

fn usage_fields(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input, "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cache_read, "cache_creation_input_tokens": usage.cache_write,
    })
}

pub(super) fn head(names: &Names, stop: Option<Stop>, usage: Usage) -> Value {
    json!({
        "id": format!("msg_{}", names.stem), "type": "message", "role": "assistant", "model": names.model,
        "content": [], "stop_reason": stop.map(stop_name), "stop_sequence": null,
        "usage": usage_fields(usage),
    })
}

fn block(part: &Part, index: usize, names: &Names) -> Value {
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

pub(super) fn whole(reply: &Reply, names: &Names) -> Value {
    let mut message = head(names, Some(reply.stop()), reply.usage);
    message["content"] = reply
        .parts
        .iter()
        .enumerate()
        .map(|(index, part)| block(part, index, names))
        .collect();
    message
}

pub(super) fn events(reply: &Reply, names: &Names) -> Vec<String> {
    // The beginning of a real stream knows the input; of the output only the first token.
    let first = Usage {
        output: 1,
        ..reply.usage
    };
    let mut events = vec![event(
        "message_start",
        &json!({"message": head(names, None, first)}),
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
                block(part, index, names),
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
            "delta": {"stop_reason": stop_name(reply.stop()), "stop_sequence": null},
            "usage": usage_fields(reply.usage),
        }),
    ));
    events.push(event("message_stop", &json!({})));
    events
}
