//! providers.yaml, its layers, and the only place that reads the environment.
//!
//! [`load`] takes the texts of the layers and gives one [`Config`] with the origin of every value.
//! A layer that is wrong is left out and reported; the others hold.

mod amount;
mod detect;
mod directories;
mod environment;
mod foreign;
mod layer;
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

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use amount::{ByteSize, Dollars, PerMillion, Quantity, Share};
pub use directories::{Directories, FILE_NAME, WORKSPACE_FILE};
pub use environment::Environment;
pub use foreign::{UNTRUSTED_KEYS, USER_ONLY_KEYS};
pub(crate) use foreign::keys_beyond_untrusted;
pub use layer::Layer;
pub use price::{LongPrompt, Model, Price, PriceAnswer, Tokens};
pub use problem::ConfigError;
pub use route::{Route, RouteQuestion};
pub use settings::{
    AlertMetric, AlertSeverity, Capability, Enforce, Isolation, Mode, NetworkSettings, ProviderKind, ResumeMode, RouteKind,
    RuleSettings, SandboxMode, Settings, TargetSettings, TeamEngine,
};
pub use tree::FILE_BYTES_MAX;
pub use values::{
    AgentConfig, Alert, Approvals, Cap, CapScope, CircuitBreaker, Config, Context, Downgrade, FoundAgents, Knowledge, Limits,
    PipelineDefinition, ProviderConfig, Rates, Readiness, Retry, Routing, Sandbox, StepDefinition, Team, Telemetry, UiConfig,
    Worktrees,
};

use crate::trust::TrustState;
use foreign::{Offers, Trusted};
use problem::Problem;
use tree::{Node, Path};

/// The weakest layer.
const BUILT_IN: &str = include_str!("../../config/providers.yaml");
/// Keys of `initializationOptions` that are not configuration.
const CLIENT_ONLY_KEYS: [&str; 1] = ["trusted"];
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

/// A layer on its way.
struct Source {
    layer: Layer,
    path: Option<PathBuf>,
    tree: Node,
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
        load(&Environment::default(), &FoundAgents::default(), &Sources::default()).config
    }

    /// Names this configuration by its content, for runs that freeze it.
    pub fn hash(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value.sort_all_objects();
        blake3::hash(value.to_string().as_bytes()).to_hex().to_string()
    }

    /// The time zone of a day.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        time_zone(&self.zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

/// A time zone by its name.
fn time_zone(name: &str) -> Option<jiff::tz::TimeZone> {
    if name == "UTC" { Some(jiff::tz::TimeZone::UTC) } else { jiff::tz::TimeZone::get(name).ok() }
}

#[derive(Default)]
struct Loading {
    /// Layer and file of each source, by the index that the places in trees hold.
    names: Vec<(Layer, Option<PathBuf>)>,
    /// Those that are right so far, weakest first.
    sources: Vec<Source>,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

impl Loading {
    fn text(&mut self, layer: Layer, path: Option<&PathBuf>, text: &str) {
        let index = self.register(layer, path.cloned());
        match Node::from_yaml(text, index) {
            Ok(tree) => self.tree(layer, path.cloned(), tree),
            Err(problem) => self.error(problem, index),
        }
    }

    fn json(&mut self, layer: Layer, value: &serde_json::Value) {
        let index = self.register(layer, None);
        let mut tree = Node::from_json(value, index);
        for key in CLIENT_ONLY_KEYS {
            tree.remove(&Path::of(&[key]).0);
        }
        self.tree(layer, None, tree);
    }

    fn register(&mut self, layer: Layer, path: Option<PathBuf>) -> usize {
        self.names.push((layer, path));
        self.names.len() - 1
    }

    /// Takes a tree whose types are right. Of client settings what is wrong is dropped, key by key:
    /// an editor sends what it likes. A file with an error in it does not count at all.
    fn tree(&mut self, layer: Layer, path: Option<PathBuf>, mut tree: Node) {
        let index = self.names.len() - 1;
        if tree.value == tree::Value::Null || (layer == Layer::Client && tree.is_empty_list()) {
            tree = Node::empty(tree.place);
        }
        let (rest, problems) = read::repair::<Settings>(&tree);
        let is_right = problems.is_empty();
        for problem in problems {
            let says_nothing = tree.at(&problem.path).is_some_and(Node::is_empty_list);
            match problem.code {
                // Some clients send an empty list where they mean an empty mapping.
                "wrongType" if layer == Layer::Client && says_nothing => {}
                "unknownKey" if layer == Layer::Client => self.warning(problem, index),
                _ => self.error(problem, index),
            }
        }
        if is_right || layer == Layer::Client {
            self.sources.push(Source { layer, path, tree: rest });
        }
    }

    /// Takes out of foreign layers what they may not decide.
    fn restrict(&mut self, trusted: Trusted) {
        let own: Vec<&Source> = self.sources.iter().filter(|source| !source.layer.is_foreign()).collect();
        let (base, _) = merged(own.iter().copied());
        let offers = read::read::<Settings>(&base).map_or_else(|_| Offers::default(), |settings| Offers::of(&settings));
        let mut warnings = Vec::new();
        for source in self.sources.iter_mut().filter(|source| source.layer.is_foreign()) {
            foreign::restrict(&mut source.tree, source.layer, trusted, &offers, &mut warnings);
        }
        for problem in warnings {
            let index = problem.place.unwrap_or_default().source;
            self.warning(problem, index);
        }
    }

    /// Merges what is right. A layer that is wrong in the light of the others is left out, and the
    /// rest is merged again; the built-in layer is right by a test.
    fn finish(mut self, environment: &Environment, found: &FoundAgents) -> Loaded {
        loop {
            let (tree, warnings) = merged(self.sources.iter());
            let read = read::read::<Settings>(&tree);
            let problems = match &read {
                Ok(settings) => validate::validate(&tree, settings),
                Err(problems) => problems.clone(),
            };
            let before = self.sources.len();
            let names = &self.names;
            let at_fault = |source: &Source| {
                problems.iter().any(|problem| {
                    let index = problem.place.unwrap_or_default().source;
                    names.get(index).is_some_and(|name| *name == (source.layer, source.path.clone()))
                })
            };
            self.sources.retain(|source| source.layer <= Layer::Environment || !at_fault(source));
            let dropped = self.sources.len() < before;
            for problem in problems {
                let index = problem.place.unwrap_or_default().source;
                self.error(problem, index);
            }
            if dropped {
                continue;
            }
            for problem in warnings {
                let index = problem.place.unwrap_or_default().source;
                self.warning(problem, index);
            }
            return self.loaded(&tree, read.unwrap_or_default(), environment, found);
        }
    }

    fn loaded(mut self, tree: &Node, settings: Settings, environment: &Environment, found: &FoundAgents) -> Loaded {
        let layer_at = |node: &Node| self.names.get(node.place.source).map(|(layer, _)| *layer);
        let layer_of = |keys: &[&str]| layer_at(tree.at(&Path::of(keys))?);
        let caps = self.caps();
        let config = resolve::resolve(settings, resolve::Surroundings { environment, found, caps, layer_of: &layer_of });
        let mut origins = BTreeMap::new();
        let mut values = BTreeMap::new();
        tree.leaves(&Path::default(), &mut |path, node| {
            let key = path.to_string();
            let hidden = key.starts_with("providers.") && key.contains(".headers.");
            values.insert(key.clone(), if hidden { "(not shown)".into() } else { node.to_json() });
            origins.insert(key, layer_at(node).unwrap_or(Layer::Default));
        });
        self.advise(&config, tree);
        Loaded { config, origins, values, errors: self.errors, warnings: self.warnings }
    }

    /// The caps of the user's layers together, and of each foreign layer by itself.
    fn caps(&self) -> Vec<Cap> {
        let own = merged(self.sources.iter().filter(|source| !source.layer.is_foreign())).0;
        let foreign = self.sources.iter().filter(|source| source.layer.is_foreign()).map(|source| &source.tree);
        let mut caps = Vec::new();
        for tree in std::iter::once(&own).chain(foreign) {
            let Ok(settings) = read::read::<Settings>(tree) else { continue };
            let layer_of = |keys: &[&str]| {
                let place = tree.nearest_place(&Path::of(keys));
                self.names.get(place.source).map_or(Layer::Default, |(layer, _)| *layer)
            };
            caps.extend(resolve::caps(&settings.limits, &layer_of));
        }
        caps
    }

    /// Says what was asked for and cannot be done on this machine.
    fn advise(&mut self, config: &Config, tree: &Node) {
        let named = config.routing.map.iter().map(|(agent, target)| (Path::of(&["routing", "default", "map", agent]), target));
        let fixed = config.routing.fixed.iter().map(|target| (Path::of(&["routing", "default"]), target));
        for (path, target) in named.chain(fixed) {
            let Some(provider) = config.providers.get(&target.provider) else { continue };
            let place = tree.nearest_place(&path.key("provider"));
            if let Some(problem) = provider.readiness.problem() {
                let message = format!("the provider `{}` cannot be used: {problem}; another one stands in", target.provider);
                let problem = Problem::new("providerNotReady", message).on(path.key("provider")).at(place);
                self.warning(problem.expected("what it needs; `clode-ls doctor` shows what was found"), place.source);
            }
            let unknown = target.model.as_deref().filter(|model| {
                *model != roster::CLAUDE_CODE_MODEL && config.price(&target.provider, model) != config.price_known(&target.provider, model)
            });
            if let Some(model) = unknown {
                let near = suggest::nearest(model, provider.models.keys().map(String::as_str));
                let message = format!("the price of `{model}` is not known: it is counted at the dearest of its provider");
                let expected = near.map_or_else(|| "a `price` in `providers`".to_owned(), |near| format!("`{near}`? or a `price` in `providers`"));
                let place = tree.nearest_place(&path.key("model"));
                self.warning(Problem::new("unknownPrice", message).expected(expected).on(path.key("model")).at(place), place.source);
            }
        }
    }

    fn error(&mut self, problem: Problem, index: usize) {
        let path = self.names.get(index).and_then(|(_, path)| path.clone());
        self.errors.push(problem.in_file(path));
    }

    fn warning(&mut self, problem: Problem, index: usize) {
        let path = self.names.get(index).and_then(|(_, path)| path.clone());
        self.warnings.push(problem.in_file(path));
    }
}

impl Config {
    fn price_known(&self, provider: &str, model: &str) -> PriceAnswer {
        match self.price(provider, model) {
            PriceAnswer::Known(price) => PriceAnswer::Known(price),
            _ => PriceAnswer::Unknown,
        }
    }
}

/// All layers laid over each other.
fn merged<'s>(sources: impl Iterator<Item = &'s Source>) -> (Node, Vec<Problem>) {
    let mut tree = Node::empty(tree::Place::default());
    let mut warnings = Vec::new();
    for source in sources {
        layer::lay(&mut tree, &source.tree, source.layer, &mut warnings);
    }
    (tree, warnings)
}

#[cfg(test)]
mod tests;
