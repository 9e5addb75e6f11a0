//! The keys `providers` and `agents`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as DeError, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Capability;
use crate::config::amount::PerMillion;
use crate::config::read::wrong;

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// The Messages interface of Anthropic.
    Anthropic,
    /// The interface of `OpenAI`.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anything that speaks the chat completions interface at a `baseUrl` of its own.
    #[serde(rename = "openai-compatible")]
    OpenAiCompatible,
    /// The program `claude`, with its own login or a key.
    ClaudeCode,
    /// A program that speaks the Agent Client Protocol.
    Acp,
    /// Built in, offline, free: for trying things out.
    Demo,
}

impl ProviderKind {
    /// As written in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::OpenAiCompatible => "openai-compatible",
            Self::ClaudeCode => "claude-code",
            Self::Acp => "acp",
            Self::Demo => "demo",
        }
    }
}

/// Where models come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProviderSettings {
    /// How the provider is spoken to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProviderKind>,
    /// Address of the interface, where it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Name of the environment variable that holds the key; never the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub api_key_env: Option<String>,
    /// Headers that are sent with every request; no keys in here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// For programs (`claude-code`, `acp`): the program and its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<ProgramSettings>,
    /// Models beyond the built-in table, or corrections to it, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelSettings>,
}

/// A model and its price.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ModelSettings {
    /// US dollars per million tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceSettings>,
    /// Tokens that prompt and answer may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// What the model can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<Capability>>,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceSettings {
    /// Of the prompt.
    pub input: PerMillion,
    /// Of the answer.
    pub output: PerMillion,
    /// Of prompt tokens read from a cache; like `input` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<PerMillion>,
    /// Of prompt tokens written to a cache; a quarter above `input` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<PerMillion>,
}

/// Who carries out the Developer's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Our own tool loop, over a provider's interface.
    Sdk,
    /// The program `claude`.
    Cli,
    /// A program that speaks the Agent Client Protocol.
    Acp,
}

/// One agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentSettings {
    /// `false` takes the agent out of every pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Further instructions, added to the built-in ones; the whole of them for an agent of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Model that is used in place of the routed one, at the provider that offers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tools that the agent may use; all of its kind without this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Who carries out the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Most model calls of one step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_turns: Option<u32>,
}

/// A program and its arguments: text for the program alone, or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ProgramSettings(pub Vec<String>);

impl<'de> Deserialize<'de> for ProgramSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "the program as text, or a list of the program and its arguments";
        struct ProgramVisitor;
        impl<'de> Visitor<'de> for ProgramVisitor {
            type Value = ProgramSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: DeError>(self, text: &str) -> Result<ProgramSettings, E> {
                if text.trim().is_empty() {
                    Err(wrong("there is no program", EXPECTED))
                } else {
                    Ok(ProgramSettings(vec![text.to_owned()]))
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<ProgramSettings, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = access.next_element::<String>()? {
                    words.push(word);
                }
                if words.first().is_none_or(|program| program.trim().is_empty()) {
                    return Err(wrong("there is no program", EXPECTED));
                }
                Ok(ProgramSettings(words))
            }
        }
        deserializer.deserialize_any(ProgramVisitor)
    }
}

impl JsonSchema for ProgramSettings {
    fn schema_name() -> Cow<'static, str> {
        "Program".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A program, or a list of the program and its arguments.",
            "type": ["string", "array"],
            "items": { "type": "string" },
            "minItems": 1,
            "minLength": 1,
        })
    }
}
