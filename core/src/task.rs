//! What a person asks for, and how it may be carried out.

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, TaskId};
use crate::money::Money;

/// Longest title that is kept (characters); the rest is cut with an ellipsis.
pub const TITLE_CHARS_MAX: usize = 200;
/// Default time limit of a test command.
pub const TEST_TIMEOUT_MS_DEFAULT: u64 = 10 * 60 * 1000;

/// How soon, beside other queued runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After everything else.
    Low,
    /// In order of arrival.
    #[default]
    Medium,
    /// Before everything else.
    High,
}

/// Who wrote a command down; decides whether it may run without asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommandOrigin {
    /// The person typed it in this task.
    #[default]
    Person,
    /// It was found in the repository (its configuration, its conventions).
    Repository,
    /// A model proposed it.
    Model,
}

/// A command that proves the work, run by a shell in the opened folder of the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestCommand {
    /// Shell command line.
    pub command: String,
    /// Must match somewhere in the output, in addition to exit code 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_regex: Option<String>,
    /// Time limit in milliseconds; [`TEST_TIMEOUT_MS_DEFAULT`] without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Who wrote it.
    #[serde(default)]
    pub origin: CommandOrigin,
}

/// The place in a file where a task began. Lines count from 0; the end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Relative to the repository's top level, with `/`.
    pub path: String,
    /// First line.
    pub start_line: u32,
    /// Line after the last one.
    pub end_line: u32,
    /// The text there when the task was made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Given by the caller or made by us.
    pub id: TaskId,
    /// Whether the caller gave the id: only such a task is found again.
    pub explicit_id: bool,
    /// One line.
    pub title: String,
    /// Anything more.
    #[serde(default)]
    pub description: String,
    /// How soon.
    #[serde(default)]
    pub priority: Priority,
    /// What proves it.
    #[serde(default)]
    pub tests: Vec<TestCommand>,
    /// What the work must respect.
    #[serde(default)]
    pub constraints: Vec<String>,
    /// Files that the person named, relative to the top level.
    #[serde(default)]
    pub target_files: Vec<String>,
    /// Where it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Diagnostics that the task is about, one line of text each.
    #[serde(default)]
    pub diagnostics: Vec<String>,
}

/// What happens with a finished patch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplyMode {
    /// The patch gate: a person accepts hunks.
    #[default]
    Review,
    /// Clean, allowed hunks are applied at once; the others wait at the patch gate.
    Direct,
    /// Nothing is applied.
    None,
}

/// What a run has to do with results of earlier steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// Those of every task of the repository may stand for its own.
    Use,
    /// Every step runs; its results replace earlier ones.
    Bypass,
}

/// How one run is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOptions {
    /// Limit of this run; the configuration's `limits.perExecutionUSD` without one.
    pub max_cost: Option<Money>,
    /// Plan and patch gates answer themselves.
    pub skip_approvals: bool,
    /// Exactly these agents (the Task Master always orchestrates).
    pub agents: Option<Vec<AgentId>>,
    /// `default`, `plan`, `tests` or one of the configuration's.
    pub pipeline: String,
    /// What happens with the patch.
    pub apply: ApplyMode,
    /// Whose earlier results may be used; those of the run itself and of earlier runs of the same named task
    /// without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheMode>,
    /// Start anew even where a run with this identity exists.
    pub force: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            max_cost: None,
            skip_approvals: false,
            agents: None,
            pipeline: "default".to_owned(),
            apply: ApplyMode::Review,
            cache: None,
            force: false,
        }
    }
}
