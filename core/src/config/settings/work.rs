//! The keys about the surroundings of the work: directories, context, sandbox, telemetry, editor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::amount::ByteSize;

/// How an agent's working directory relates to your repository.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Isolation {
    /// A private repository; your own is never written.
    #[default]
    Private,
    /// A `git worktree` of your repository, for tools that list those; agents can then reach your refs.
    Linked,
}

/// The working directories of the agents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorktreeSettings {
    /// How they relate to your repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Most that are kept for later use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64))]
    pub pool: Option<u32>,
    /// Most space that they take together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
    /// Commands that prepare a fresh one.
    pub setup: Vec<String>,
    /// Ignored files that agents need all the same (globs), such as `.env.example`.
    pub include: Vec<String>,
}

/// How long and how much of ended runs is kept (user configuration only).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Ended runs go after so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub days: Option<u32>,
    /// Most space that runs and their snapshots take together; beyond it the oldest ended ones go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
}

/// What agents get to see of the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContextSettings {
    /// Files that never go into a prompt (globs); lists of all layers count together.
    pub exclude: Vec<String>,
    /// Most tokens of repository text in one prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Larger files are not read as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_bytes: Option<ByteSize>,
}

/// What is remembered from one run to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KnowledgeSettings {
    /// Whether anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Most entries in one prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<u32>,
}

/// Traces and metrics. The `OTEL_*` environment variables are honoured as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// Whether traces are sent; off without an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Address of an OpenTelemetry collector (OTLP over HTTP).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Whether agents and commands are confined.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum SandboxMode {
    /// Where the system can; where it cannot, commands ask.
    #[default]
    Auto,
    /// Always; where the system cannot, nothing runs.
    Required,
    /// Never; every command asks.
    Off,
}

/// What confined commands reach of the network.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum NetworkSettings {
    /// Nothing.
    #[default]
    None,
    /// Everything.
    Full,
}

/// Confinement of agents and commands (user configuration only).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SandboxSettings {
    /// Whether they are confined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<SandboxMode>,
    /// What they reach of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSettings>,
    /// Further directories that they may read (absolute paths).
    pub readable: Vec<String>,
    /// Further directories that they may write (absolute paths), such as a package cache.
    pub writable: Vec<String>,
}

/// Where runs are kept.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum TeamEngine {
    /// In this machine's state directory.
    #[default]
    Embedded,
    /// At a Temporal server.
    Temporal,
}

/// A shared engine for several people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TeamSettings {
    /// Where runs are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<TeamEngine>,
    /// With `temporal`: its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// With `temporal`: the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What the editor shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ui {
    /// Lines of action above the code.
    pub code_lens: CodeLens,
    /// Hints within the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inlay_hints: Option<bool>,
    /// Hunks under review, findings and conflicts as diagnostics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<bool>,
    /// Questions as message boxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<bool>,
}

/// Lines of action above the code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CodeLens {
    /// On hunks under review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hunks: Option<bool>,
    /// On TODO comments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todos: Option<bool>,
}
