//! The canonical request in the words of the Responses wire.

use serde::Serialize;
use serde_json::Value;

use super::KIND;
use crate::provider::message::{Content, Message, Request, Role};

/// Families that do not reason; the wire refuses to hand out encrypted reasoning for them.
const PLAIN_FAMILIES: &[&str] = &["gpt-3", "gpt-4", "chatgpt"];

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    instructions: String,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    max_output_tokens: u32,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "function")]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
    strict: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Ours(Part<'a>),
    Echo(&'a Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Message {
        role: Role,
        content: [Text<'a>; 1],
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: String,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: String,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Text<'a> {
    InputText { text: &'a str },
    OutputText { text: &'a str },
}

pub(super) fn body(request: &Request) -> Body<'_> {
    let system: Vec<&str> = request.system.iter().map(|block| block.text.as_str()).collect();
    let is_plain = PLAIN_FAMILIES
        .iter()
        .any(|family| request.model.starts_with(family));
    Body {
        model: &request.model,
        instructions: system.join("\n\n"),
        input: request
            .messages
            .iter()
            .flat_map(|message| {
                message
                    .content
                    .iter()
                    .filter_map(|content| item(message, content))
            })
            .collect(),
        tools: request
            .tools
            .iter()
            .map(|tool| Tool {
                name: &tool.name,
                description: &tool.description,
                parameters: &tool.input_schema,
                strict: false,
            })
            .collect(),
        max_output_tokens: request.max_tokens,
        stream: true,
        store: false,
        include: if is_plain {
            &[]
        } else {
            &["reasoning.encrypted_content"]
        },
    }
}

fn item<'a>(message: &Message, content: &'a Content) -> Option<Item<'a>> {
    let part = match content {
        Content::Text(text) if text.is_empty() => return None,
        Content::Text(text) => {
            let text = if message.role == Role::User {
                Text::InputText { text }
            } else {
                Text::OutputText { text }
            };
            Part::Message {
                role: message.role,
                content: [text],
            }
        }
        Content::ToolUse { id, name, input } => Part::FunctionCall {
            call_id: id,
            name,
            arguments: input.to_string(),
        },
        Content::ToolResult { id, text, is_error } => {
            let output = if *is_error {
                format!("error: {text}")
            } else {
                text.clone()
            };
            Part::FunctionCallOutput { call_id: id, output }
        }
        Content::Opaque { kind, value } => {
            // Without its content the item would be looked up at the provider, which stores nothing.
            let is_usable = kind == KIND && value.get("encrypted_content").is_some_and(Value::is_string);
            return is_usable.then_some(Item::Echo(value));
        }
    };
    Some(Item::Ours(part))
}
