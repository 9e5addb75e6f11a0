//! The key `pipelines`: named pipelines beside the one plain key `resume`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// What happens to runs that a crash or a shutdown interrupted.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ResumeMode {
    /// They go on when their workspace is opened again.
    #[default]
    Auto,
    /// They wait, paused, for a person.
    Ask,
}

/// The pipelines, by name, and how interrupted runs go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipelines {
    /// What happens to runs that a crash or a shutdown interrupted.
    pub resume: Option<ResumeMode>,
    /// The pipelines by name.
    pub named: BTreeMap<String, PipelineSettings>,
}

/// One pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PipelineSettings {
    /// The steps; each begins when all that it needs are done.
    pub steps: Vec<StepSettings>,
    /// Longest time that a run of it may work (milliseconds); waiting for people and pauses do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Whether a step's result waits for a yes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum StepGate {
    /// It does, whatever `approvals` says.
    #[default]
    Ask,
}

/// One step of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepSettings {
    /// Id of the step; the agent's name without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The agent that does it.
    pub agent: String,
    /// Ids of the steps that must be done before; the step before it without this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<String>>,
    /// A condition; the step is left out when it does not hold as its turn comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// With `ask`, the plan (of the Architect) or the patch (of the Developer) waits for a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<StepGate>,
    /// Most attempts, where failures may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: Option<u32>,
    /// Longest time of one attempt (milliseconds); waiting for people does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl<'de> Deserialize<'de> for Pipelines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PipelinesVisitor;
        impl<'de> Visitor<'de> for PipelinesVisitor {
            type Value = Pipelines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of pipelines by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Pipelines, A::Error> {
                let mut pipelines = Pipelines::default();
                while let Some(name) = access.next_key::<String>()? {
                    if name == "resume" {
                        pipelines.resume = Some(access.next_value()?);
                    } else {
                        pipelines.named.insert(name, access.next_value()?);
                    }
                }
                Ok(pipelines)
            }
        }
        deserializer.deserialize_map(PipelinesVisitor)
    }
}

impl Serialize for Pipelines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(resume) = self.resume {
            map.serialize_entry("resume", &resume)?;
        }
        for (name, pipeline) in &self.named {
            map.serialize_entry(name, pipeline)?;
        }
        map.end()
    }
}

impl JsonSchema for Pipelines {
    fn schema_name() -> Cow<'static, str> {
        "Pipelines".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let resume = generator.subschema_for::<ResumeMode>();
        let pipeline = generator.subschema_for::<PipelineSettings>();
        json_schema!({
            "description": "The pipelines, by name, and how interrupted runs go on.",
            "type": "object",
            "properties": { "resume": resume },
            "additionalProperties": pipeline,
        })
    }
}
