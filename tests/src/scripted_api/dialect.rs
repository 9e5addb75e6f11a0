//! The wire forms of an answer: Anthropic Messages, `OpenAI` Responses, `OpenAI` Chat Completions.

mod chat;
mod messages;
mod responses;

use serde_json::{Value, json};

use super::script::{Part, Reply, Usage};

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
            Self::Messages => messages::events(reply, names),
            Self::Responses => responses::events(reply, names),
            Self::ChatCompletions => chat::events(reply, names),
        }
    }

    /// The answer to a request without streaming.
    pub(super) fn whole(self, reply: &Reply, names: &Names) -> Value {
        match self {
            Self::Messages => messages::whole(reply, names),
            Self::Responses => responses::whole(reply, names, "completed"),
            Self::ChatCompletions => chat::whole(reply, names),
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
                    &json!({"message": messages::head(names, None, Usage::default())}),
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
