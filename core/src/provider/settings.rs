//! What a provider is built from: plain values, made from the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::Price;

/// The wires that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Anthropic Messages.
    Anthropic,
    /// `OpenAI` Responses.
    #[serde(rename = "openai")]
    OpenAi,
    /// `OpenAI` Chat Completions, as many servers speak it.
    #[serde(rename = "openai-compatible")]
    OpenAiCompatible,
    /// The offline demonstration.
    Demo,
    /// The program Claude Code, for plain answers; built where programs are known.
    ClaudeCode,
}

impl ProviderKind {
    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::OpenAiCompatible => "openai-compatible",
            Self::Demo => "demo",
            Self::ClaudeCode => "claude-code",
        }
    }
}

/// One configured provider.
#[derive(Clone)]
pub struct ProviderSettings {
    /// Its name in the configuration.
    pub id: String,
    /// Its wire.
    pub kind: ProviderKind,
    /// With or without the version at the end; the roster's without one.
    pub base_url: Option<String>,
    /// The key, if there is one.
    pub api_key: Option<SecretString>,
    /// The variable that the key came from or should come from; named in hints.
    pub api_key_env: Option<String>,
    /// Sent with each request; may replace our own.
    pub headers: BTreeMap<String, String>,
    /// The models that are known.
    pub models: BTreeMap<String, ModelSettings>,
    /// How long each phase of a call may take.
    pub deadlines: Deadlines,
}

impl ProviderSettings {
    /// A provider with nothing but a name and a wire.
    pub fn new(id: impl Into<String>, kind: ProviderKind) -> Self {
        Self {
            id: id.into(),
            kind,
            base_url: None,
            api_key: None,
            api_key_env: None,
            headers: BTreeMap::new(),
            models: BTreeMap::new(),
            deadlines: Deadlines::default(),
        }
    }
}

/// Shows neither the key nor the values of the headers, which may hold one.
impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("base_url", &self.base_url)
            .field("has_key", &self.api_key.is_some())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("models", &self.models)
            .field("deadlines", &self.deadlines)
            .finish_non_exhaustive()
    }
}

/// What is known of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelSettings {
    /// Its price, if known.
    pub price: Option<Price>,
    /// Most tokens of input and output together.
    pub context_window: Option<u64>,
    /// Most output tokens.
    pub max_output: Option<u32>,
}

/// How long each phase of a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until the response headers, after the connection stands.
    pub headers: Duration,
    /// From the send until the first piece of content.
    pub first_token: Duration,
    /// Between two events after that.
    pub idle: Duration,
    /// For the whole call.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(60),
            first_token: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(15 * 60),
        }
    }
}
