//! The events of the Messages wire, gathered into an answer. Unknown events, blocks and fields are
//! never an error; an answer without its `message_stop` never is a success.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::KIND;
use crate::provider::failure::CallFailure;
use crate::provider::message::{Content, Delta, Response, Stop, Usage};
use crate::provider::sse::Event;
use crate::provider::wire::{self, ErrorObject, Progress, Reducer};

/// Most blocks in one answer.
const BLOCKS_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame {
    MessageStart {
        #[serde(default, deserialize_with = "wire::null_as_default")]
        message: Start,
    },
    ContentBlockStart {
        #[serde(default)]
        index: u64,
        content_block: Map<String, Value>,
    },
    ContentBlockDelta {
        #[serde(default)]
        index: u64,
        delta: BlockDelta,
    },
    MessageDelta {
        #[serde(default, deserialize_with = "wire::null_as_default")]
        delta: End,
        #[serde(default, deserialize_with = "wire::null_as_default")]
        usage: Counters,
    },
    MessageStop,
    Error {
        #[serde(default, deserialize_with = "wire::null_as_default")]
        error: ErrorObject,
    },
    #[serde(other)]
    Other,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Start {
    id: Option<String>,
    model: Option<String>,
    #[serde(deserialize_with = "wire::null_as_default")]
    usage: Counters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct End {
    stop_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names of the wire")]
struct Counters {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl Counters {
    fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input_tokens.unwrap_or(0),
            output_tokens: self.output_tokens.unwrap_or(0),
            cache_read_tokens: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_tokens: self.cache_creation_input_tokens.unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    #[serde(other)]
    Other,
}

enum Block {
    Text(String),
    Tool {
        id: String,
        name: String,
        input: Value,
        json: String,
    },
    Opaque(Map<String, Value>),
}

/// An answer that is being written.
pub(super) struct Answer<'a> {
    provider: &'a str,
    blocks: BTreeMap<u64, Block>,
    usage: Usage,
    streamed_bytes: u64,
    stop_reason: Option<String>,
    model: Option<String>,
    id: Option<String>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(provider: &'a str) -> Self {
        Self {
            provider,
            blocks: BTreeMap::new(),
            usage: Usage::default(),
            streamed_bytes: 0,
            stop_reason: None,
            model: None,
            id: None,
        }
    }

    fn start_block(
        &mut self,
        index: u64,
        mut start: Map<String, Value>,
        events: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), CallFailure> {
        if self.blocks.len() >= BLOCKS_MAX {
            return Err(wire::malformed(self.provider, "too many content blocks"));
        }
        let mut text = |name: &str| match start.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let block = match text("type").as_str() {
            "text" => Block::Text(text("text")),
            "tool_use" => {
                let (id, name) = (text("id"), text("name"));
                events(Delta::ToolUse {
                    id: id.clone(),
                    name: name.clone(),
                });
                let input = start
                    .remove("input")
                    .filter(Value::is_object)
                    .unwrap_or_else(|| Value::Object(Map::new()));
                Block::Tool {
                    id,
                    name,
                    input,
                    json: String::new(),
                }
            }
            other => {
                start.insert("type".to_owned(), Value::String(other.to_owned()));
                Block::Opaque(start)
            }
        };
        self.blocks.insert(index, block);
        Ok(())
    }

    fn extend_block(&mut self, index: u64, delta: BlockDelta, events: &mut (dyn FnMut(Delta) + Send)) {
        let Some(block) = self.blocks.get_mut(&index) else {
            return;
        };
        let mut seen =
            |text: &str| self.streamed_bytes = self.streamed_bytes.saturating_add(text.len() as u64);
        match (block, delta) {
            (Block::Text(whole), BlockDelta::TextDelta { text }) => {
                seen(&text);
                whole.push_str(&text);
                events(Delta::Text(text));
            }
            (Block::Tool { json, .. }, BlockDelta::InputJsonDelta { partial_json }) => {
                seen(&partial_json);
                json.push_str(&partial_json);
            }
            (Block::Opaque(fields), BlockDelta::ThinkingDelta { thinking }) => {
                seen(&thinking);
                append(fields, "thinking", &thinking);
                events(Delta::Reasoning(thinking));
            }
            (Block::Opaque(fields), BlockDelta::SignatureDelta { signature }) => {
                append(fields, "signature", &signature);
            }
            _ => {}
        }
    }
}

fn append(fields: &mut Map<String, Value>, name: &str, more: &str) {
    if let Value::String(text) = fields.entry(name).or_insert_with(|| Value::String(String::new())) {
        text.push_str(more);
    }
}

impl Reducer for Answer<'_> {
    fn take(
        &mut self,
        event: &Event,
        events: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, CallFailure> {
        match wire::decode::<Frame>(self.provider, event)? {
            Frame::MessageStart { message } => {
                self.usage = self.usage.raised_to(message.usage.usage());
                self.model = message.model;
                self.id = message.id;
                Ok(Progress::Quiet)
            }
            Frame::ContentBlockStart { index, content_block } => {
                self.start_block(index, content_block, events)?;
                Ok(Progress::Content)
            }
            Frame::ContentBlockDelta { index, delta } => {
                self.extend_block(index, delta, events);
                Ok(Progress::Content)
            }
            Frame::MessageDelta { delta, usage } => {
                self.usage = self.usage.raised_to(usage.usage());
                self.stop_reason = delta.stop_reason.or(self.stop_reason.take());
                Ok(Progress::Content)
            }
            Frame::MessageStop => Ok(Progress::Complete),
            Frame::Error { error } => Err(wire::in_band(self.provider, &error)),
            Frame::Other => Ok(Progress::Quiet),
        }
    }

    fn usage_seen(&self) -> Usage {
        // An empty report means that nothing was charged yet.
        wire::usage_so_far(self.usage, self.streamed_bytes)
    }

    fn finish(self) -> Result<Response, CallFailure> {
        let ran_out = matches!(
            self.stop_reason.as_deref(),
            Some("max_tokens" | "model_context_window_exceeded")
        );
        let mut content = Vec::with_capacity(self.blocks.len());
        for block in self.blocks.into_values() {
            match block {
                Block::Text(text) => content.push(Content::Text(text)),
                Block::Opaque(fields) => content.push(Content::Opaque {
                    kind: KIND.to_owned(),
                    value: Value::Object(fields),
                }),
                Block::Tool {
                    id,
                    name,
                    input,
                    json,
                } if json.trim().is_empty() => content.push(Content::ToolUse { id, name, input }),
                Block::Tool { id, name, json, .. } => match serde_json::from_str::<Value>(&json) {
                    Ok(input) => content.push(Content::ToolUse { id, name, input }),
                    Err(_) if ran_out => {}
                    Err(error) => {
                        return Err(wire::malformed(
                            self.provider,
                            &format!("arguments of tool `{name}`: {error}"),
                        ));
                    }
                },
            }
        }
        let asks_for_tools = content
            .iter()
            .any(|content| matches!(content, Content::ToolUse { .. }));
        let stop = match self.stop_reason.as_deref() {
            Some("refusal") => Stop::Refusal,
            _ if ran_out => Stop::MaxTokens,
            _ if asks_for_tools => Stop::ToolUse,
            _ => Stop::EndTurn,
        };
        Ok(Response {
            content,
            stop,
            usage: self.usage,
            model: self.model.unwrap_or_default(),
            request_id: self.id,
        })
    }
}
