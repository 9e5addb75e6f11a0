//! The configuration as the other rooms use it: everything is decided, nothing is optional that
//! must be there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::amount::{Quantity, Share};
use super::layer::Layer;
use super::price::Model;
use super::settings::{
    AlertMetric, AlertSeverity, Capability, Enforce, Isolation, Mode, NetworkSettings, ProviderKind,
    ResumeMode, RouteKind, RuleSettings, SandboxMode, StepGate, TargetSettings, TeamEngine,
};
use crate::id::{AgentId, StepId};
use crate::money::Money;
use crate::task::TestCommand;

/// Programs that were found on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundAgents {
    /// The program `claude`.
    pub claude: Option<PathBuf>,
    /// The program `codex`; noted, not used yet.
    pub codex: Option<PathBuf>,
}

/// The merged configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Providers by id, whether they can be used or not.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// How models are chosen.
    pub routing: Routing,
    /// Rates of the providers, and the limit of one run.
    pub limits: Limits,
    /// Every cap on money, each with the scope that declared it. All must hold.
    pub caps: Vec<Cap>,
    /// How failed calls are repeated.
    pub retry: Retry,
    /// When a failing provider is left alone.
    pub circuit_breaker: CircuitBreaker,
    /// Which gates wait for a person.
    pub approvals: Approvals,
    /// When to raise an alert.
    pub alerts: Vec<Alert>,
    /// The agents, the built-in ones always among them.
    pub agents: BTreeMap<AgentId, AgentConfig>,
    /// The pipelines by name; `default`, `plan` and `tests` always among them.
    pub pipelines: BTreeMap<String, PipelineDefinition>,
    /// What happens to interrupted runs.
    pub resume: ResumeMode,
    /// The working directories.
    pub worktrees: Worktrees,
    /// How long and how much of ended runs is kept.
    #[serde(default)]
    pub retention: Retention,
    /// What agents get to see.
    pub context: Context,
    /// What is remembered.
    pub knowledge: Knowledge,
    /// Traces and metrics.
    pub telemetry: Telemetry,
    /// Confinement.
    pub sandbox: Sandbox,
    /// Where runs are kept.
    pub team: Team,
    /// What the editor shows.
    pub ui: UiConfig,
    /// Commands that prove the work.
    pub tests: Vec<TestCommand>,
    /// Name of the time zone of a day.
    pub zone: String,
    /// Whether a client's bare `trusted: true` is believed.
    pub trust_client: bool,
    /// Most pipelines that work at the same time.
    pub concurrency: u32,
    /// Nothing but the built-in demonstration can be used; to be said plainly.
    pub demo_only: bool,
    /// Ways to carry out the Developer's work, in the order in which to try them. Never empty.
    pub developer_modes: Vec<Mode>,
    /// Programs that were found.
    pub found: FoundAgents,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderConfig {
    /// How it is spoken to.
    pub kind: ProviderKind,
    /// Address, where it is not the usual one.
    pub base_url: Option<String>,
    /// Name of the environment variable that holds its key.
    pub api_key_env: Option<String>,
    /// Headers that go with every request.
    pub headers: BTreeMap<String, String>,
    /// Program and arguments, for those that are programs.
    pub command: Vec<String>,
    /// Its models: the built-in table with what the user wrote laid over it.
    pub models: BTreeMap<String, Model>,
    /// Whether it can be used.
    pub readiness: Readiness,
}

/// Whether a provider can be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Readiness {
    /// All that it needs is there.
    Ready,
    /// The environment variable that holds its key is not set.
    NoKey {
        /// Its name.
        variable: String,
    },
    /// Its program was not found.
    NoProgram {
        /// Its name.
        program: String,
    },
    /// Its address in the environment cannot be used.
    BadAddress {
        /// The variable that names it.
        variable: String,
    },
}

impl Readiness {
    /// What is missing and what to do, in one line; `None` when nothing is.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Ready => None,
            Self::NoKey { variable } => Some(format!("{variable} is not set")),
            Self::NoProgram { program } => Some(format!("the program `{program}` was not found")),
            Self::BadAddress { variable } => Some(format!("{variable} is no usable address")),
        }
    }
}

/// How models are chosen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// How, where no rule says otherwise.
    pub kind: RouteKind,
    /// With `byAgent`: the first choice of each agent.
    pub map: BTreeMap<String, TargetSettings>,
    /// With `fixed`: the first choice of all.
    pub fixed: Option<TargetSettings>,
    /// What each agent needs of a model.
    pub needs: BTreeMap<String, Vec<Capability>>,
    /// Further choices, in order.
    pub fallback: Vec<TargetSettings>,
    /// Exceptions.
    pub rules: Vec<RuleSettings>,
    /// Agents whose own `model` was said by a layer at least as strong as the map's entry.
    pub(crate) model_wins: Vec<String>,
    /// Cheaper models for when the budget runs out.
    pub downgrade: Option<Downgrade>,
}

/// Cheaper models for when the budget runs out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Downgrade {
    /// When less than this share of the budget is left.
    pub below: Share,
    /// What is used then, in order.
    pub to: Vec<TargetSettings>,
}

/// Rates and the limit of a run; the smallest of all layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Most that one run may cost before it asks.
    pub per_execution: Option<Money>,
    /// How limits treat agents that are only metered.
    pub enforce: Enforce,
    /// Rates by provider.
    pub per_provider: BTreeMap<String, Rates>,
}

/// Rates of one provider; `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Requests per minute.
    pub rpm: Option<u64>,
    /// Tokens per minute.
    pub tpm: Option<u64>,
    /// Requests at the same time.
    pub concurrency: Option<u64>,
}

/// Whose spend a cap counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CapScope {
    /// One run.
    Run,
    /// Everything of this user today.
    UserDay,
    /// This repository today.
    RepositoryDay,
    /// Everything of this user today, at one provider.
    ProviderDay(String),
    /// This repository today, at one provider.
    RepositoryProviderDay(String),
}

/// A cap on money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cap {
    /// Whose spend it counts.
    pub scope: CapScope,
    /// The most.
    pub limit: Money,
    /// Who declared it.
    pub layer: Layer,
}

/// How failed calls are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Sends of one call, the first included.
    pub max_attempts: u32,
    /// Wait before the second send; doubles each time.
    pub initial_ms: u64,
    /// Longest wait.
    pub max_ms: u64,
    /// Share of each wait that is left to chance.
    pub jitter: Share,
}

/// When a failing provider is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Failures within the window that open the circuit.
    pub failures: u32,
    /// The window.
    pub window_ms: u64,
    /// How long it stays open.
    pub open_ms: u64,
}

/// Which gates wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// The plan.
    pub plan: bool,
    /// The patch.
    pub patch: bool,
    /// What is to be remembered.
    pub knowledge: bool,
}

/// When to raise an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// What is watched.
    pub metric: AlertMetric,
    /// Raised at this value and above.
    pub threshold: Quantity,
    /// The window of rates and times.
    pub window_ms: Option<u64>,
    /// How much it matters.
    pub severity: AlertSeverity,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentConfig {
    /// Whether it takes part.
    pub enabled: bool,
    /// Whether it is one of ours.
    pub built_in: bool,
    /// Further instructions, or all of them for an agent of the user's own.
    pub prompt: Option<String>,
    /// Model that the person chose for it.
    pub model: Option<String>,
    /// Tools that it may use; `None` means all of its kind.
    pub tools: Option<Vec<String>>,
    /// Who carries out the work, when the person said so.
    pub mode: Option<Mode>,
    /// Most model calls of one step.
    pub max_turns: u32,
}

/// A pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineDefinition {
    /// Its steps.
    pub steps: Vec<StepDefinition>,
    /// Longest time that a run of it may work.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// A step of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDefinition {
    /// Unique in the pipeline.
    pub id: StepId,
    /// Who does it.
    pub agent: AgentId,
    /// Steps that must be done before.
    pub needs: Vec<StepId>,
    /// A condition, in the words of [`crate::pipeline::Condition`].
    pub when: Option<String>,
    /// Whether its result waits for a yes, whatever the approvals say.
    #[serde(default)]
    pub gate: Option<StepGate>,
    /// Most attempts.
    #[serde(default)]
    pub max_attempts: Option<u32>,
    /// Longest time of one attempt.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// The working directories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worktrees {
    /// How they relate to the user's repository.
    pub isolation: Isolation,
    /// Most that are kept for later use.
    pub pool: u32,
    /// Most space that they take.
    pub max_bytes: u64,
    /// Commands that prepare a fresh one.
    pub setup: Vec<String>,
    /// Ignored files that agents need all the same.
    pub include: Vec<String>,
}

/// How long and how much of ended runs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Ended runs go after so many days.
    pub days: u32,
    /// Most space that runs and their snapshots take together.
    pub max_bytes: u64,
}

impl Retention {
    /// Where nothing else is said.
    pub const DEFAULT: Self = Self {
        days: 30,
        max_bytes: 2 << 30,
    };
}

impl Default for Retention {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What agents get to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Files that never go into a prompt (globs).
    pub exclude: Vec<String>,
    /// Most tokens of repository text in one prompt.
    pub max_tokens: u64,
    /// Larger files are not read as a whole.
    pub max_file_bytes: u64,
}

/// What is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Knowledge {
    /// Whether anything is.
    pub enabled: bool,
    /// Most entries in one prompt.
    pub max_entries: u32,
}

/// Traces and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Telemetry {
    /// Whether they are sent.
    pub enabled: bool,
    /// Where to.
    pub endpoint: Option<String>,
}

/// Confinement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// Whether commands are confined.
    pub mode: SandboxMode,
    /// What they reach of the network.
    pub network: NetworkSettings,
    /// Further directories that they may read.
    pub readable: Vec<PathBuf>,
    /// Further directories that they may write.
    pub writable: Vec<PathBuf>,
}

/// Where runs are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Team {
    /// Which engine.
    pub engine: TeamEngine,
    /// Its address.
    pub address: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// What the editor shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the settings"
)]
pub struct UiConfig {
    /// Lenses on hunks.
    pub lens_hunks: bool,
    /// Lenses on TODO comments.
    pub lens_todos: bool,
    /// Hints within the code.
    pub inlay_hints: bool,
    /// Hunks, findings and conflicts as diagnostics.
    pub diagnostics: bool,
    /// Questions as message boxes.
    pub prompts: bool,
}
