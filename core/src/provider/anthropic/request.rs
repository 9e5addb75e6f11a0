//! The canonical request in the words of the Messages wire. Borrows, and writes the same bytes for
//! the same prefix each time, which is what the prompt cache goes by.

use serde::Serialize;
use serde_json::Value;

use super::KIND;
use crate::provider::message::{Content, Message, Request, Role};

/// Cache marks that the wire takes; one of them is kept for the end of the conversation.
const CACHE_MARKS_MAX: usize = 4;

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<Turn<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: Role,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Ours(Marked<'a>),
    Echo(&'a Value),
}

#[derive(Serialize)]
struct Marked<'a> {
    #[serde(flatten)]
    part: Part<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text {
        text: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: &'a Value,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: &'a str,
        is_error: bool,
    },
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CacheControl {
    Ephemeral,
}

impl<'a> From<&'a Request> for Body<'a> {
    fn from(request: &'a Request) -> Self {
        let mut messages = turns(&request.messages);
        let marks_conversation = mark_last_user_turn(&mut messages);
        let marks_left = CACHE_MARKS_MAX - usize::from(marks_conversation);
        let wanted = request
            .system
            .iter()
            .filter(|block| block.cache && !block.text.is_empty())
            .count();
        let mut marks_to_skip = wanted.saturating_sub(marks_left);
        let system = request
            .system
            .iter()
            .filter(|block| !block.text.is_empty())
            .map(|block| {
                let is_marked = block.cache && marks_to_skip == 0;
                marks_to_skip = marks_to_skip.saturating_sub(usize::from(block.cache));
                let cache_control = is_marked.then_some(CacheControl::Ephemeral);
                Block::Ours(Marked {
                    part: Part::Text { text: &block.text },
                    cache_control,
                })
            });
        Self {
            model: &request.model,
            max_tokens: request.max_tokens,
            stream: true,
            system: system.collect(),
            tools: request.tools.iter().map(tool).collect(),
            messages,
        }
    }
}

fn tool(tool: &crate::provider::message::ToolSpec) -> Tool<'_> {
    Tool {
        name: &tool.name,
        description: &tool.description,
        input_schema: &tool.input_schema,
    }
}

/// Turns alternate on this wire: neighbours of one role become one, tool results come first.
fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::with_capacity(messages.len());
    for message in messages {
        let results = message
            .content
            .iter()
            .filter(|content| matches!(content, Content::ToolResult { .. }));
        let others = message
            .content
            .iter()
            .filter(|content| !matches!(content, Content::ToolResult { .. }));
        let blocks: Vec<Block<'_>> = results.chain(others).filter_map(block).collect();
        if blocks.is_empty() {
            continue;
        }
        match turns.last_mut() {
            Some(last) if last.role == message.role => last.content.extend(blocks),
            _ => turns.push(Turn {
                role: message.role,
                content: blocks,
            }),
        }
    }
    turns
}

fn block(content: &Content) -> Option<Block<'_>> {
    let part = match content {
        Content::Text(text) if text.trim().is_empty() => return None,
        Content::Text(text) => Part::Text { text },
        Content::ToolUse { id, name, input } => Part::ToolUse { id, name, input },
        Content::ToolResult { id, text, is_error } => Part::ToolResult {
            tool_use_id: id,
            content: text,
            is_error: *is_error,
        },
        Content::Opaque { kind, value } => return (kind == KIND).then_some(Block::Echo(value)),
    };
    Some(Block::Ours(Marked {
        part,
        cache_control: None,
    }))
}

fn mark_last_user_turn(turns: &mut [Turn<'_>]) -> bool {
    let last_user_turn = turns.iter_mut().rev().find(|turn| turn.role == Role::User);
    match last_user_turn.and_then(|turn| turn.content.last_mut()) {
        Some(Block::Ours(marked)) => {
            marked.cache_control = Some(CacheControl::Ephemeral);
            true
        }
        _ => false,
    }
}
