//! providers.yaml as types: every key that a person may write, with its documentation.
//!
//! The JSON Schema is generated from these, so a comment here is what an editor shows.

mod pipelines;
mod team;
mod tests;
mod work;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use pipelines::{PipelineSettings, Pipelines, ResumeMode, StepGate, StepSettings};
pub use team::{
    AgentSettings, Mode, ModelSettings, PriceSettings, ProgramSettings, ProviderKind, ProviderSettings,
};
pub use tests::TestSettings;
pub use work::{
    CodeLens, ContextSettings, Isolation, KnowledgeSettings, NetworkSettings, RetentionSettings, SandboxMode,
    SandboxSettings, TeamEngine, TeamSettings, TelemetrySettings, Ui, WorktreeSettings,
};

use super::amount::{Dollars, Quantity, Share};
use crate::task::Priority;

/// The configuration of Clode Agents: providers, routing, limits, gates and the team.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(title = "Clode Agents: providers.yaml")]
pub struct Settings {
    /// Version of this format; 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// Where models come from, by an id of your choice (user configuration only).
    pub providers: BTreeMap<String, ProviderSettings>,
    /// Which agent uses which model.
    pub routing: RoutingSettings,
    /// Money and rates; of all layers the smallest holds.
    pub limits: LimitSettings,
    /// How failed model calls are repeated.
    pub retry: RetrySettings,
    /// When a failing provider is left alone for a while.
    pub circuit_breaker: CircuitBreakerSettings,
    /// Which gates wait for a person.
    pub approvals: ApprovalSettings,
    /// When to raise an alert.
    pub alerts: Vec<AlertSettings>,
    /// The agents, by name: taskMaster, architect, developer, qa, kbBuilder, or one of your own.
    pub agents: BTreeMap<String, AgentSettings>,
    /// The pipelines, by name, and how interrupted runs go on.
    pub pipelines: Pipelines,
    /// The working directories of the agents.
    pub worktrees: WorktreeSettings,
    /// How long and how much of ended runs is kept (user configuration only).
    pub retention: RetentionSettings,
    /// What agents get to see of the repository.
    pub context: ContextSettings,
    /// What is remembered from one run to the next.
    pub knowledge: KnowledgeSettings,
    /// Traces and metrics.
    pub telemetry: TelemetrySettings,
    /// Confinement of agents and commands (user configuration only).
    pub sandbox: SandboxSettings,
    /// A shared engine for several people.
    pub team: TeamSettings,
    /// What the editor shows.
    pub ui: Ui,
    /// Commands that prove the work, run in the opened folder.
    pub tests: Vec<TestSettings>,
    /// Believe `initializationOptions.trusted: true` of a client (user configuration only).
    pub trust_client: bool,
    /// Time zone of the day that a daily budget counts, such as `Europe/Berlin` (user configuration only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Most pipelines that work at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<u32>,
}

/// Which agent uses which model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoutingSettings {
    /// How a model is chosen where no rule says otherwise.
    pub default: DefaultRouteSettings,
    /// Exceptions; the first that fits is tried before the default.
    pub rules: Vec<RuleSettings>,
    /// Cheaper models for when the budget runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downgrade: Option<DowngradeSettings>,
}

/// How a model is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RouteKind {
    /// The model that `map` names for the agent.
    #[default]
    ByAgent,
    /// The cheapest model that can do what the agent needs.
    ByCost,
    /// The model that can do most of all, the dearer one on a tie.
    ByCapability,
    /// One model (`provider` and `model`) for every agent.
    Fixed,
}

/// How a model is chosen where no rule says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DefaultRouteSettings {
    /// How a model is chosen.
    #[serde(rename = "type")]
    pub kind: RouteKind,
    /// With `byAgent`: provider and model of each agent.
    pub map: BTreeMap<String, TargetSettings>,
    /// With `fixed`: the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// With `fixed`: the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What each agent needs of a model with `byCost` and `byCapability`: tools, coding, reasoning, vision, longContext.
    pub needs: BTreeMap<String, Vec<Capability>>,
    /// What is tried, in this order, when the first choice cannot answer.
    pub fallback: Vec<TargetSettings>,
}

/// A provider and one of its models.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSettings {
    /// Id of the provider.
    pub provider: String,
    /// Name of the model as the provider knows it; `claude-code` means the Developer by Claude Code.
    /// Without one: the provider's default for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// An exception from the default route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSettings {
    /// When the rule fits: all that is written must hold.
    #[serde(default)]
    pub when: WhenSettings,
    /// The provider and the model to use then.
    #[serde(rename = "use")]
    pub target: TargetSettings,
}

/// When a rule fits; what is not written does not matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WhenSettings {
    /// Name of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Priority of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriorityName>")]
    pub priority: Option<Priority>,
    /// The prompt is longer than so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_above: Option<u64>,
}

/// Stands for [`Priority`] in the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum PriorityName {
    Low,
    Medium,
    High,
}

/// Cheaper models for when the budget runs out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DowngradeSettings {
    /// When less than this share of the budget is left.
    pub below: Share,
    /// What is used then, in this order.
    pub to: Vec<TargetSettings>,
}

/// Something that a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Capability {
    /// Calls tools.
    Tools,
    /// Changes code over many turns.
    Coding,
    /// Thinks before it answers.
    Reasoning,
    /// Reads images.
    Vision,
    /// Takes prompts of 400 000 tokens and more.
    LongContext,
}

/// Money and rates; of all layers the smallest holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Limits of one provider, by its id.
    pub per_provider: BTreeMap<String, ProviderLimitSettings>,
    /// Most that a day may cost. Counts the spend of the scope that declares it: of the user, or of the repository.
    #[serde(rename = "dailyBudgetUSD", skip_serializing_if = "Option::is_none")]
    pub daily_budget: Option<Dollars>,
    /// Most that one run may cost before it asks.
    #[serde(rename = "perExecutionUSD", skip_serializing_if = "Option::is_none")]
    pub per_execution: Option<Dollars>,
    /// `strict` refuses agents whose calls cannot be counted before they are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<Enforce>,
}

/// How limits treat agents that are only metered.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Enforce {
    /// Metered agents are checked before each of their tools.
    #[default]
    Normal,
    /// Metered agents are refused.
    Strict,
}

/// Limits of one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProviderLimitSettings {
    /// Requests per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rpm: Option<u64>,
    /// Tokens per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tpm: Option<u64>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u64>,
    /// Most that a day may cost at this provider.
    #[serde(rename = "dailyBudgetUSD", skip_serializing_if = "Option::is_none")]
    pub daily_budget: Option<Dollars>,
}

/// How failed model calls are repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Sends of one call, the first included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: Option<u32>,
    /// Wait before the second send, in milliseconds; doubles each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_ms: Option<u64>,
    /// Longest wait, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// Share of each wait that is left to chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Share>,
}

/// When a failing provider is left alone for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CircuitBreakerSettings {
    /// Failures within the window that open the circuit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub failures: Option<u32>,
    /// The window, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// How long it stays open, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_ms: Option<u64>,
}

/// Which gates wait for a person. Gates that arise from need (budget, permission, question) cannot be switched off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApprovalSettings {
    /// The plan, before anything is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<bool>,
    /// The patch, before it reaches your files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<bool>,
    /// What is to be remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<bool>,
}

/// What an alert watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AlertMetric {
    /// Dollars spent today.
    #[serde(rename = "dailySpendUSD")]
    DailySpendUsd,
    /// Share of the daily budget that is spent, from 0 to 1.
    DailyBudgetShare,
    /// Dollars that one run has spent.
    #[serde(rename = "executionSpendUSD")]
    ExecutionSpendUsd,
    /// Share of the failed calls of a provider, from 0 to 1.
    ErrorRate,
    /// Time of a model call, in milliseconds.
    LatencyMs,
    /// Pipelines that wait for their turn.
    QueueLength,
}

/// When to raise an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertSettings {
    /// What is watched.
    pub metric: AlertMetric,
    /// The alert is raised at this value and above.
    pub threshold: Quantity,
    /// For rates and times: the window, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// How much it matters.
    #[serde(default)]
    pub severity: AlertSeverity,
}

/// How much an alert matters.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AlertSeverity {
    /// Good to know.
    Info,
    /// Look at it today.
    #[default]
    Warning,
    /// Look at it now.
    Error,
}
