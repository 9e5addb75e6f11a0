//! Fields that several commands have in common, as they stand on the wire.

use std::fmt;

use clode_core::id::AgentId;
use clode_core::money::Money;
use clode_core::task::{ApplyMode, CacheMode, CommandOrigin, RunOptions, TestCommand};
use clode_core::{Error, Result};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Longest name that is no name any more (bytes).
const NAME_BYTES_MAX: usize = 200;

/// `options` of a run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RunFields {
    max_cost: Option<f64>,
    skip_approvals: bool,
    agents: Option<Vec<String>>,
    pipeline: Option<String>,
    apply: Option<ApplyMode>,
    cache: Option<CacheMode>,
    force: bool,
}

impl RunFields {
    /// The options of the domain. Without `apply`, skipped approvals mean `direct`.
    pub(super) fn into_options(self) -> Result<RunOptions> {
        let default = RunOptions::default();
        let skipping = if self.skip_approvals {
            ApplyMode::Direct
        } else {
            ApplyMode::Review
        };
        Ok(RunOptions {
            max_cost: amount("options.maxCost", self.max_cost)?,
            skip_approvals: self.skip_approvals,
            agents: self.agents.map(|ids| ids.into_iter().map(AgentId::new).collect()),
            pipeline: self.pipeline.unwrap_or(default.pipeline),
            apply: self.apply.unwrap_or(skipping),
            cache: self.cache,
            force: self.force,
        })
    }
}

/// An amount of USD.
pub(super) fn amount(field: &str, usd: Option<f64>) -> Result<Option<Money>> {
    let wrong = || {
        Error::usage(
            "invalidParams",
            format!("{field}: expected an amount of USD from 0 to 1000000"),
        )
    };
    usd.map(|usd| Money::from_usd(usd).ok_or_else(wrong)).transpose()
}

/// A name that somebody gave; blank counts as none.
pub(super) fn name(field: &str, text: Option<String>) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Error::usage(
            "invalidParams",
            format!("{field}: expected at most {NAME_BYTES_MAX} bytes in one line"),
        ));
    }
    Ok(Some(text))
}

/// A test: a command line, or one with what it must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestField(TestCommand);

impl From<TestField> for TestCommand {
    fn from(field: TestField) -> Self {
        field.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestObject {
    command: String,
    success_regex: Option<String>,
    timeout_ms: Option<u64>,
}

impl<'de> Deserialize<'de> for TestField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TestVisitor)
    }
}

struct TestVisitor;

impl<'de> Visitor<'de> for TestVisitor {
    type Value = TestField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command line, or an object with `command`")
    }

    fn visit_str<E: serde::de::Error>(self, command: &str) -> Result<TestField, E> {
        let command = command.to_owned();
        Ok(TestField(TestCommand {
            command,
            success_regex: None,
            timeout_ms: None,
            origin: CommandOrigin::Person,
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<TestField, A::Error> {
        let TestObject {
            command,
            success_regex,
            timeout_ms,
        } = TestObject::deserialize(MapAccessDeserializer::new(fields))?;
        Ok(TestField(TestCommand {
            command,
            success_regex,
            timeout_ms,
            origin: CommandOrigin::Person,
        }))
    }
}

/// The token that events are sent under: a text or a whole number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventToken(pub(crate) Value);

impl<'de> Deserialize<'de> for EventToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_string() || value.is_i64() {
            Ok(Self(value))
        } else {
            Err(serde::de::Error::custom("expected a string or an integer"))
        }
    }
}
