//! The canonical request in the words of Chat Completions.

use serde::Serialize;
use serde_json::Value;

use crate::provider::message::{Content, Message, Request, Role, ToolSpec};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Typed<Function<'a>>>,
    max_tokens: u32,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Line<'a> {
    System {
        content: String,
    },
    User {
        content: String,
    },
    Assistant {
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: String,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(flatten)]
    function: Typed<Called<'a>>,
}

#[derive(Serialize)]
struct Typed<T> {
    r#type: &'static str,
    function: T,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: String,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

pub(super) fn body(request: &Request) -> Body<'_> {
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    let system: Vec<&str> = request.system.iter().map(|block| block.text.as_str()).collect();
    if !system.is_empty() {
        messages.push(Line::System {
            content: system.join("\n\n"),
        });
    }
    for message in &request.messages {
        match message.role {
            Role::User => push_user(&mut messages, message),
            Role::Assistant => push_assistant(&mut messages, message),
        }
    }
    Body {
        model: &request.model,
        messages,
        tools: request.tools.iter().map(tool).collect(),
        max_tokens: request.max_tokens,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
    }
}

fn tool(tool: &ToolSpec) -> Typed<Function<'_>> {
    let function = Function {
        name: &tool.name,
        description: &tool.description,
        parameters: &tool.input_schema,
    };
    Typed {
        r#type: "function",
        function,
    }
}

fn texts(message: &Message) -> Option<String> {
    let texts = message.content.iter().filter_map(|content| match content {
        Content::Text(text) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    let texts: Vec<&str> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// Results answer the calls right before them, so they come before any text.
fn push_user<'a>(messages: &mut Vec<Line<'a>>, message: &'a Message) {
    for content in &message.content {
        if let Content::ToolResult { id, text, is_error } = content {
            let content = if *is_error {
                format!("error: {text}")
            } else {
                text.clone()
            };
            messages.push(Line::Tool {
                tool_call_id: id,
                content,
            });
        }
    }
    if let Some(content) = texts(message) {
        messages.push(Line::User { content });
    }
}

fn push_assistant<'a>(messages: &mut Vec<Line<'a>>, message: &'a Message) {
    let calls = message.content.iter().filter_map(|content| match content {
        Content::ToolUse { id, name, input } => Some(Call {
            id,
            function: Typed {
                r#type: "function",
                function: Called {
                    name,
                    arguments: input.to_string(),
                },
            },
        }),
        _ => None,
    });
    let tool_calls: Vec<Call<'_>> = calls.collect();
    let content = texts(message);
    if content.is_some() || !tool_calls.is_empty() {
        messages.push(Line::Assistant { content, tool_calls });
    }
}
