//! The events of the Responses wire, gathered into an answer. Only `response.completed` and
//! `response.incomplete` end one; everything unknown is passed over.

use serde::Deserialize;
use serde_json::Value;

use super::KIND;
use crate::provider::failure::CallFailure;
use crate::provider::message::{Content, Delta, Response, Stop, Usage};
use crate::provider::sse::Event;
use crate::provider::wire::{self, ErrorObject, Progress, Reducer};

/// Most items in one answer.
const ITEMS_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Frame {
    #[serde(rename = "response.output_item.added")]
    ItemAdded {
        #[serde(default)]
        item: Value,
    },
    #[serde(rename = "response.output_item.done")]
    ItemDone {
        #[serde(default)]
        item: Value,
    },
    #[serde(rename = "response.output_text.delta")]
    Text {
        #[serde(default, deserialize_with = "wire::null_as_default")]
        delta: String,
    },
    #[serde(rename = "response.reasoning_summary_text.delta")]
    Reasoning {
        #[serde(default, deserialize_with = "wire::null_as_default")]
        delta: String,
    },
    #[serde(rename = "response.function_call_arguments.delta")]
    Arguments {
        #[serde(default, deserialize_with = "wire::null_as_default")]
        delta: String,
    },
    #[serde(rename = "response.completed")]
    Completed { response: End },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: End },
    #[serde(rename = "response.failed")]
    Failed { response: End },
    #[serde(rename = "error")]
    Error {
        #[serde(default)]
        error: Option<ErrorObject>,
        #[serde(default)]
        code: Option<Value>,
        #[serde(default)]
        message: Option<Value>,
    },
    #[serde(other)]
    Other,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct End {
    id: Option<String>,
    model: Option<String>,
    output: Option<Vec<Value>>,
    usage: Option<Counters>,
    incomplete_details: Option<Details>,
    error: Option<ErrorObject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counters {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
}

/// An answer that is being written.
pub(super) struct Answer<'a> {
    provider: &'a str,
    items: Vec<Value>,
    usage: Usage,
    streamed_bytes: u64,
    end: Option<End>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(provider: &'a str) -> Self {
        Self {
            provider,
            items: Vec::new(),
            usage: Usage::default(),
            streamed_bytes: 0,
            end: None,
        }
    }

    fn count(&mut self, text: &str) {
        self.streamed_bytes = self.streamed_bytes.saturating_add(text.len() as u64);
    }

    /// Input includes the cached part on this wire: it is taken out again.
    fn note_usage(&mut self, end: &End) {
        if let Some(usage) = &end.usage {
            let input = usage.input_tokens.unwrap_or(0);
            let details = usage.input_tokens_details.as_ref();
            let cached = details
                .and_then(|details| details.cached_tokens)
                .unwrap_or(0)
                .min(input);
            let seen = Usage {
                input_tokens: input - cached,
                output_tokens: usage.output_tokens.unwrap_or(0),
                cache_read_tokens: cached,
                cache_write_tokens: 0,
            };
            self.usage = self.usage.raised_to(seen);
        }
    }
}

fn text_of(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

impl Reducer for Answer<'_> {
    fn take(
        &mut self,
        event: &Event,
        events: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, CallFailure> {
        if event.data == b"[DONE]" {
            return Ok(Progress::Quiet);
        }
        match wire::decode::<Frame>(self.provider, event)? {
            Frame::ItemAdded { item } => {
                if item.get("type").and_then(Value::as_str) == Some("function_call") {
                    events(Delta::ToolUse {
                        id: text_of(&item, "call_id"),
                        name: text_of(&item, "name"),
                    });
                }
                Ok(Progress::Content)
            }
            Frame::ItemDone { item } => {
                if self.items.len() >= ITEMS_MAX {
                    return Err(wire::malformed(self.provider, "too many items"));
                }
                self.items.push(item);
                Ok(Progress::Content)
            }
            Frame::Text { delta } => {
                self.count(&delta);
                events(Delta::Text(delta));
                Ok(Progress::Content)
            }
            Frame::Reasoning { delta } => {
                self.count(&delta);
                events(Delta::Reasoning(delta));
                Ok(Progress::Content)
            }
            Frame::Arguments { delta } => {
                self.count(&delta);
                Ok(Progress::Content)
            }
            Frame::Completed { response } | Frame::Incomplete { response } => {
                self.note_usage(&response);
                self.end = Some(response);
                Ok(Progress::Complete)
            }
            Frame::Failed { response } => {
                self.note_usage(&response);
                Err(wire::in_band(self.provider, &response.error.unwrap_or_default()))
            }
            Frame::Error { error, code, message } => Err(wire::in_band(
                self.provider,
                &error.unwrap_or(ErrorObject {
                    kind: None,
                    code,
                    message,
                }),
            )),
            Frame::Other => Ok(Progress::Quiet),
        }
    }

    fn usage_seen(&self) -> Usage {
        wire::usage_so_far(self.usage, self.streamed_bytes)
    }

    fn finish(self) -> Result<Response, CallFailure> {
        let end = self.end.unwrap_or_default();
        let reason = end.incomplete_details.and_then(|details| details.reason);
        let items = end
            .output
            .filter(|output| !output.is_empty())
            .unwrap_or(self.items);
        let mut content = Vec::with_capacity(items.len());
        let mut has_refused = reason.as_deref() == Some("content_filter");
        for item in items {
            match item.get("type").and_then(Value::as_str) {
                Some("message") => {
                    for part in item
                        .get("content")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                    {
                        has_refused |= part.get("refusal").is_some_and(Value::is_string);
                        let text = format!("{}{}", text_of(part, "text"), text_of(part, "refusal"));
                        content.extend((!text.is_empty()).then_some(Content::Text(text)));
                    }
                }
                Some("function_call") => {
                    let (name, arguments) = (text_of(&item, "name"), text_of(&item, "arguments"));
                    match parse_arguments(&arguments) {
                        Ok(input) => content.push(Content::ToolUse {
                            id: text_of(&item, "call_id"),
                            name,
                            input,
                        }),
                        Err(_) if reason.is_some() => {}
                        Err(error) => {
                            return Err(wire::malformed(
                                self.provider,
                                &format!("arguments of tool `{name}`: {error}"),
                            ));
                        }
                    }
                }
                Some(_) => content.push(Content::Opaque {
                    kind: KIND.to_owned(),
                    value: item,
                }),
                None => {}
            }
        }
        let asks_for_tools = content
            .iter()
            .any(|content| matches!(content, Content::ToolUse { .. }));
        let stop = match (has_refused, reason.is_some(), asks_for_tools) {
            (true, _, _) => Stop::Refusal,
            (_, true, _) => Stop::MaxTokens,
            (_, _, true) => Stop::ToolUse,
            _ => Stop::EndTurn,
        };
        Ok(Response {
            content,
            stop,
            usage: self.usage,
            model: end.model.unwrap_or_default(),
            request_id: end.id,
        })
    }
}

/// Arguments as text; none at all, or null, are an empty object.
pub(in crate::provider) fn parse_arguments(text: &str) -> serde_json::Result<Value> {
    match text.trim() {
        "" | "null" => Ok(Value::Object(serde_json::Map::new())),
        text => serde_json::from_str(text),
    }
}
