//! providers.yaml, its layers, and the only place that reads the environment.
//!
//! [`load`] takes the texts of the layers and gives one [`Config`] with the origin of every value.
//! A layer that is wrong is left out and reported; the others hold.

mod advice;
mod amount;
mod detect;
mod directories;
mod environment;
mod files;
mod foreign;
mod layer;
mod loading;
mod price;
mod problem;
mod read;
mod resolve;
pub mod roster;
mod route;
pub mod schema;
pub mod settings;
mod suggest;
mod tree;
mod validate;
mod values;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use amount::{ByteSize, Dollars, PerMillion, Quantity, Share};
pub use directories::{Directories, FILE_NAME, WORKSPACE_FILE};
pub use environment::Environment;
pub use files::Opened;
pub(crate) use foreign::keys_beyond_untrusted;
pub use foreign::{UNTRUSTED_KEYS, USER_ONLY_KEYS};
pub use layer::Layer;
pub use price::{LongPrompt, Model, Price, PriceAnswer, Tokens};
pub use problem::ConfigError;
pub use route::{Route, RouteQuestion};
pub use settings::{
    AlertMetric, AlertSeverity, Capability, Enforce, Isolation, Mode, NetworkSettings, ProviderKind,
    ResumeMode, RouteKind, RuleSettings, SandboxMode, Settings, StepGate, TargetSettings, TeamEngine,
};
pub use values::{
    AgentConfig, Alert, Approvals, Cap, CapScope, CircuitBreaker, Config, Context, Downgrade, FoundAgents,
    Knowledge, Limits, PipelineDefinition, ProviderConfig, Rates, Readiness, Retention, Retry, Routing,
    Sandbox, StepDefinition, Team, Telemetry, UiConfig, Worktrees,
};

pub use yaml::FILE_BYTES_MAX;

use crate::trust::TrustState;
use foreign::Trusted;
use loading::Loading;

/// The weakest layer.
const BUILT_IN: &str = include_str!("../../config/providers.yaml");
/// A commented file to start from.
pub const STARTER: &str = include_str!("../../config/starter.yaml");

/// The text of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// What there is to load.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The user's file.
    pub user: Option<SourceText>,
    /// Files of the repository, that of the top level first, then that of the opened folder.
    pub workspace: Vec<SourceText>,
    /// The section `clode` of the client's settings, or its `initializationOptions`.
    pub client: Option<serde_json::Value>,
    /// Whether the person trusts the workspace.
    pub trust: TrustState,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The merged configuration of all layers that are right.
    pub config: Config,
    /// Who decided each value, by dotted key.
    pub origins: BTreeMap<String, Layer>,
    /// Every value, by dotted key, as `config show` prints it: the values of headers are hidden.
    pub values: BTreeMap<String, serde_json::Value>,
    /// What is wrong; a file with an error in it does not count at all.
    pub errors: Vec<ConfigError>,
    /// What was ignored.
    pub warnings: Vec<ConfigError>,
}

impl Loaded {
    /// Whether somebody wrote this provider down or it can be used; a built-in one without its key is
    /// neither, nor is the demo where something else can answer.
    pub fn is_configured(&self, provider: &str) -> bool {
        let prefix = format!("providers.{provider}.");
        let mut origins = self.origins.iter();
        let written = origins.any(|(key, layer)| key.starts_with(&prefix) && *layer >= Layer::User);
        let found = self.config.providers.get(provider);
        let is_ready = found.is_some_and(|found| found.readiness == Readiness::Ready);
        let is_stand_in = provider == "demo" && !self.config.demo_only;
        written || (is_ready && !is_stand_in)
    }
}

/// Loads the configuration. Never fails: what is wrong is in `errors`, the rest holds.
pub fn load(environment: &Environment, found: &FoundAgents, sources: &Sources) -> Loaded {
    let mut loading = Loading::default();
    loading.text(Layer::Default, None, BUILT_IN);
    loading.json(Layer::Environment, &detect::layer(environment));
    if let Some(user) = &sources.user {
        loading.text(Layer::User, Some(&user.path), &user.text);
    }
    for workspace in &sources.workspace {
        loading.text(Layer::Workspace, Some(&workspace.path), &workspace.text);
    }
    if let Some(client) = &sources.client {
        loading.json(Layer::Client, client);
    }
    loading.restrict(match sources.trust {
        TrustState::Trusted { .. } => Trusted::Yes,
        TrustState::Untrusted => Trusted::No,
    });
    loading.finish(environment, found)
}

impl Config {
    /// What holds when nobody has written anything and nothing is set up: the demonstration.
    pub fn demo() -> Self {
        load(
            &Environment::default(),
            &FoundAgents::default(),
            &Sources::default(),
        )
        .config
    }

    /// This configuration as runs freeze it: the same content gives the same text.
    pub fn canonical(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value.sort_all_objects();
        value.to_string()
    }

    /// Names this configuration by its content, as the store names what runs freeze.
    pub fn hash(&self) -> String {
        blake3::hash(self.canonical().as_bytes()).to_hex().to_string()
    }

    /// The time zone of a day.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        time_zone(&self.zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

/// A time zone by its name.
fn time_zone(name: &str) -> Option<jiff::tz::TimeZone> {
    if name == "UTC" {
        Some(jiff::tz::TimeZone::UTC)
    } else {
        jiff::tz::TimeZone::get(name).ok()
    }
}

#[cfg(test)]
mod tests;
