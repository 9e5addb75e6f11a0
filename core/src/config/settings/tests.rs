//! The key `tests`: commands that prove the work.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as DeError, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::config::read::wrong;

/// A command that proves the work: its text, or a mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestSettings {
    /// Shell command line.
    pub command: String,
    /// Must match somewhere in the output, in addition to exit code 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_regex: Option<String>,
    /// Time limit in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The long form.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TestMapping {
    /// Shell command line.
    command: String,
    /// Must match somewhere in the output, in addition to exit code 0.
    #[serde(default)]
    success_regex: Option<String>,
    /// Time limit in milliseconds.
    #[serde(default)]
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
}

impl<'de> Deserialize<'de> for TestSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str =
            "a command as text, or a mapping with keys of command, successRegex, timeoutMs";
        struct TestVisitor;
        impl<'de> Visitor<'de> for TestVisitor {
            type Value = TestSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: DeError>(self, text: &str) -> Result<TestSettings, E> {
                if text.trim().is_empty() {
                    return Err(wrong("there is no command", EXPECTED));
                }
                Ok(TestSettings {
                    command: text.to_owned(),
                    ..TestSettings::default()
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<TestSettings, A::Error> {
                let mapping = TestMapping::deserialize(MapAccessDeserializer::new(access))?;
                if mapping.command.trim().is_empty() {
                    return Err(wrong("there is no command", EXPECTED));
                }
                Ok(TestSettings {
                    command: mapping.command,
                    success_regex: mapping.success_regex,
                    timeout_ms: mapping.timeout_ms,
                })
            }
        }
        deserializer.deserialize_any(TestVisitor)
    }
}

impl JsonSchema for TestSettings {
    fn schema_name() -> Cow<'static, str> {
        "Test".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<TestMapping>();
        json_schema!({
            "description": "A command that proves the work.",
            "anyOf": [{ "type": "string", "minLength": 1 }, mapping],
        })
    }
}
