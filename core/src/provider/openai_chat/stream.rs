//! The chunks of Chat Completions, gathered into an answer. Servers differ in what they leave out:
//! ids, indexes, `[DONE]`, usage. What none may leave out is why the model stopped.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::provider::failure::CallFailure;
use crate::provider::message::{Content, Delta, Response, Stop, Usage};
use crate::provider::openai::stream::parse_arguments;
use crate::provider::sse::Event;
use crate::provider::wire::{self, ErrorObject, Progress, Reducer};

/// Most tool calls in one answer.
const CALLS_MAX: usize = 256;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Chunk {
    id: Option<String>,
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<Counters>,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    delta: Option<Piece>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Piece {
    content: Option<Value>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<Value>,
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CallPiece {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionPiece>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counters {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Counters {
    fn usage(&self) -> Usage {
        let prompt = self.prompt_tokens.unwrap_or(0);
        let details = self.prompt_tokens_details.as_ref();
        let cached = details
            .and_then(|details| details.cached_tokens)
            .unwrap_or(0)
            .min(prompt);
        Usage {
            input_tokens: prompt - cached,
            output_tokens: self.completion_tokens.unwrap_or(0),
            cache_read_tokens: cached,
            cache_write_tokens: 0,
        }
    }
}

#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

/// An answer that is being written.
pub(super) struct Answer<'a> {
    provider: &'a str,
    text: String,
    has_refused: bool,
    calls: BTreeMap<u64, Call>,
    usage: Usage,
    streamed_bytes: u64,
    finish_reason: Option<String>,
    model: Option<String>,
    id: Option<String>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(provider: &'a str) -> Self {
        Self {
            provider,
            text: String::new(),
            has_refused: false,
            calls: BTreeMap::new(),
            usage: Usage::default(),
            streamed_bytes: 0,
            finish_reason: None,
            model: None,
            id: None,
        }
    }

    fn count(&mut self, text: &str) {
        self.streamed_bytes = self.streamed_bytes.saturating_add(text.len() as u64);
    }

    fn take_piece(
        &mut self,
        piece: Piece,
        events: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), CallFailure> {
        self.has_refused |= piece.refusal.as_ref().is_some_and(|text| !text.is_empty());
        let content = match piece.content {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        for text in [content, piece.refusal.unwrap_or_default()] {
            if !text.is_empty() {
                self.count(&text);
                self.text.push_str(&text);
                events(Delta::Text(text));
            }
        }
        let reasoning = piece.reasoning_content.or(match piece.reasoning {
            Some(Value::String(text)) => Some(text),
            _ => None,
        });
        if let Some(text) = reasoning.filter(|text| !text.is_empty()) {
            self.count(&text);
            events(Delta::Reasoning(text));
        }
        piece
            .tool_calls
            .into_iter()
            .flatten()
            .try_for_each(|call| self.take_call(call, events))
    }

    /// Servers that give no index send each call whole, or go on with the last one.
    fn take_call(
        &mut self,
        piece: CallPiece,
        events: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), CallFailure> {
        let last = self.calls.last_key_value().map(|(index, _)| *index);
        let begins = piece.id.as_ref().is_some_and(|id| !id.is_empty());
        let index = piece
            .index
            .or(if begins { None } else { last })
            .unwrap_or_else(|| last.map_or(0, |last| last.saturating_add(1)));
        let is_new = !self.calls.contains_key(&index);
        if is_new && self.calls.len() >= CALLS_MAX {
            return Err(wire::malformed(self.provider, "too many tool calls"));
        }
        let function = piece.function.unwrap_or_default();
        let arguments = match function.arguments {
            Some(Value::String(text)) => text,
            Some(Value::Null) | None => String::new(),
            Some(whole) => whole.to_string(),
        };
        self.count(&arguments);
        let call = self.calls.entry(index).or_default();
        if let Some(id) = piece.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        if call.id.is_empty() {
            call.id = format!("call_{index}");
        }
        call.name.push_str(&function.name.unwrap_or_default());
        call.arguments.push_str(&arguments);
        if is_new {
            events(Delta::ToolUse {
                id: call.id.clone(),
                name: call.name.clone(),
            });
        }
        Ok(())
    }
}

impl Reducer for Answer<'_> {
    fn take(
        &mut self,
        event: &Event,
        events: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, CallFailure> {
        if event.data.trim_ascii() == b"[DONE]" {
            // Without a reason to stop this is no end: reading on finds the truncation.
            return Ok(if self.finish_reason.is_some() {
                Progress::Complete
            } else {
                Progress::Quiet
            });
        }
        let chunk: Chunk = wire::decode(self.provider, event)?;
        match chunk.error {
            None | Some(Value::Null) => {}
            Some(error) => {
                let object = if error.is_object() {
                    serde_json::from_value(error).unwrap_or_default()
                } else {
                    ErrorObject {
                        message: Some(error),
                        ..ErrorObject::default()
                    }
                };
                return Err(wire::in_band(self.provider, &object));
            }
        }
        self.model = chunk.model.or(self.model.take());
        self.id = chunk.id.or(self.id.take());
        if let Some(usage) = chunk.usage {
            self.usage = self.usage.raised_to(usage.usage());
        }
        let mut progress = Progress::Quiet;
        // Only one choice is asked for.
        if let Some(choice) = chunk.choices.into_iter().flatten().next() {
            self.take_piece(choice.delta.unwrap_or_default(), events)?;
            self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
            progress = Progress::Content;
        }
        Ok(progress)
    }

    fn usage_seen(&self) -> Usage {
        wire::usage_so_far(self.usage, self.streamed_bytes)
    }

    fn may_end_here(&self) -> bool {
        self.finish_reason.is_some()
    }

    fn finish(self) -> Result<Response, CallFailure> {
        let ran_out = self.finish_reason.as_deref() == Some("length");
        let mut content = Vec::with_capacity(self.calls.len() + 1);
        content.extend((!self.text.is_empty()).then_some(Content::Text(self.text)));
        for call in self.calls.into_values() {
            match parse_arguments(&call.arguments) {
                Ok(input) => content.push(Content::ToolUse {
                    id: call.id,
                    name: call.name,
                    input,
                }),
                Err(_) if ran_out => {}
                Err(error) => {
                    return Err(wire::malformed(
                        self.provider,
                        &format!("arguments of tool `{}`: {error}", call.name),
                    ));
                }
            }
        }
        let asks_for_tools = content
            .iter()
            .any(|content| matches!(content, Content::ToolUse { .. }));
        let stop = match self.finish_reason.as_deref() {
            Some("content_filter") => Stop::Refusal,
            _ if self.has_refused => Stop::Refusal,
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
