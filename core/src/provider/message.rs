//! The canonical words between agents and models. Transcripts are stored in this form.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most output tokens that the probe of [`Request::probe`] asks for (the least that every wire takes).
const PROBE_TOKENS_MAX: u32 = 16;

/// What one call asks of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The provider's name of the model; the router fills it in.
    pub model: String,
    /// The system prompt in blocks; the stable ones first.
    #[serde(default)]
    pub system: Vec<SystemBlock>,
    /// The conversation; the last turn is the user's.
    pub messages: Vec<Message>,
    /// Tools that the model may ask for.
    #[serde(default)]
    pub tools: Vec<ToolSpec>,
    /// Most output tokens.
    pub max_tokens: u32,
}

impl Request {
    /// The cheapest request that proves that a model answers.
    pub fn probe(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            system: Vec::new(),
            messages: vec![Message::user("Answer with the word: ready")],
            tools: Vec::new(),
            max_tokens: PROBE_TOKENS_MAX,
        }
    }
}

/// A part of the system prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemBlock {
    /// The text.
    pub text: String,
    /// Whether everything up to here stays the same between calls and is worth caching.
    #[serde(default)]
    pub cache: bool,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The agent, and the results of tools.
    User,
    /// The model.
    Assistant,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Vec<Content>,
}

impl Message {
    /// A turn of the agent with one text.
    pub fn user(text: impl Into<String>) -> Self {
        Self {
            role: Role::User,
            content: vec![Content::Text(text.into())],
        }
    }

    /// A turn of the model.
    pub fn assistant(content: Vec<Content>) -> Self {
        Self {
            role: Role::Assistant,
            content,
        }
    }
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// Plain text.
    Text(String),
    /// The model asks for a tool.
    ToolUse {
        /// Pairs with the result.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        input: Value,
    },
    /// What a tool answered.
    ToolResult {
        /// The id of the [`Content::ToolUse`] that it answers.
        id: String,
        /// The answer.
        text: String,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// Something only its own kind of provider understands (signed reasoning); echoed verbatim to
    /// that kind and left out for all others.
    Opaque {
        /// The [`kind`](super::Provider::kind) that made it.
        kind: String,
        /// As it came.
        value: Value,
    },
}

/// A tool that is offered to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
}

/// What a call used. The counters are disjoint: none is part of another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Input that was neither read from nor written to a cache.
    pub input_tokens: u64,
    /// Output, reasoning included.
    pub output_tokens: u64,
    /// Input read from a cache.
    pub cache_read_tokens: u64,
    /// Input written to a cache.
    pub cache_write_tokens: u64,
}

impl Usage {
    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
        }
    }

    /// A later, cumulative report of the same call: each counter at least what it was.
    #[must_use]
    pub fn raised_to(self, later: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.max(later.input_tokens),
            output_tokens: self.output_tokens.max(later.output_tokens),
            cache_read_tokens: self.cache_read_tokens.max(later.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.max(later.cache_write_tokens),
        }
    }

    /// All input, cached or not.
    pub const fn input_total(self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_tokens)
    }

    /// Whether nothing was counted.
    pub const fn is_empty(self) -> bool {
        self.input_total() == 0 && self.output_tokens == 0
    }
}

impl From<Usage> for crate::config::Tokens {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.input_tokens,
            output: usage.output_tokens,
            cache_read: usage.cache_read_tokens,
            cache_write: usage.cache_write_tokens,
        }
    }
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stop {
    /// It is done.
    EndTurn,
    /// It waits for the results of tools.
    ToolUse,
    /// It ran out of output tokens; an unfinished tool call is left out.
    MaxTokens,
    /// It declined.
    Refusal,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// What it said, in order.
    pub content: Vec<Content>,
    /// Why it stopped.
    pub stop: Stop,
    /// What it used; empty when the provider does not say.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// The provider's name of the call, for its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Response {
    /// All text of the answer.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|content| match content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// A piece of an answer that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// More reasoning that may be shown.
    Reasoning(String),
    /// A tool call begins.
    ToolUse {
        /// Pairs with the result.
        id: String,
        /// The tool.
        name: String,
    },
    /// What was passed on so far belongs to an attempt that failed: begin anew.
    Restarted,
}

/// The answer to [`check`](super::Provider::check).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The model that answered.
    pub model: String,
    /// What it cost in tokens.
    pub usage: Usage,
}
