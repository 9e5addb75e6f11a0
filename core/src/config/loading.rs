//! The way of the layers: read each, restrict those that are foreign, merge, judge the whole, and
//! leave out what does not fit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::Environment;
use super::foreign::{self, Offers, Trusted};
use super::layer::{self, Layer};
use super::problem::{ConfigError, Problem};
use super::settings::Settings;
use super::tree::{self, Node, Path};
use super::values::{Cap, FoundAgents};
use super::{Loaded, advice, read, resolve, validate};

/// Keys of `initializationOptions` that are not configuration.
const CLIENT_ONLY_KEYS: [&str; 1] = ["trusted"];

/// A layer on its way.
struct Source {
    layer: Layer,
    path: Option<PathBuf>,
    tree: Node,
}

/// What has been loaded so far.
#[derive(Default)]
pub(super) struct Loading {
    /// Layer and file of each source, by the index that the places in trees hold.
    names: Vec<(Layer, Option<PathBuf>)>,
    /// Those that are right so far, weakest first.
    sources: Vec<Source>,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

impl Loading {
    pub(super) fn text(&mut self, layer: Layer, path: Option<&PathBuf>, text: &str) {
        let index = self.register(layer, path.cloned());
        match Node::from_yaml(text, index) {
            Ok(tree) => self.tree(layer, path.cloned(), tree),
            Err(problem) => self.error(problem, index),
        }
    }

    pub(super) fn json(&mut self, layer: Layer, value: &serde_json::Value) {
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
            self.sources.push(Source {
                layer,
                path,
                tree: rest,
            });
        }
    }

    /// Takes out of foreign layers what they may not decide.
    pub(super) fn restrict(&mut self, trusted: Trusted) {
        let own: Vec<&Source> = self
            .sources
            .iter()
            .filter(|source| !source.layer.is_foreign())
            .collect();
        let (base, _) = merged(own.iter().copied());
        let offers = read::read::<Settings>(&base)
            .map_or_else(|_| Offers::default(), |settings| Offers::of(&settings));
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
    pub(super) fn finish(mut self, environment: &Environment, found: &FoundAgents) -> Loaded {
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
                    names
                        .get(index)
                        .is_some_and(|name| *name == (source.layer, source.path.clone()))
                })
            };
            self.sources
                .retain(|source| source.layer <= Layer::Environment || !at_fault(source));
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

    fn loaded(
        mut self,
        tree: &Node,
        settings: Settings,
        environment: &Environment,
        found: &FoundAgents,
    ) -> Loaded {
        let layer_at = |node: &Node| self.names.get(node.place.source).map(|(layer, _)| *layer);
        let layer_of = |keys: &[&str]| layer_at(tree.at(&Path::of(keys))?);
        let caps = self.caps();
        let config = resolve::resolve(
            settings,
            resolve::Surroundings {
                environment,
                found,
                caps,
                layer_of: &layer_of,
            },
        );
        let mut origins = BTreeMap::new();
        let mut values = BTreeMap::new();
        tree.leaves(&Path::default(), &mut |path, node| {
            let key = path.to_string();
            let hidden = key.starts_with("providers.") && key.contains(".headers.");
            values.insert(
                key.clone(),
                if hidden {
                    "(not shown)".into()
                } else {
                    node.to_json()
                },
            );
            origins.insert(key, layer_at(node).unwrap_or(Layer::Default));
        });
        for problem in advice::advise(&config, environment, tree) {
            let index = problem.place.unwrap_or_default().source;
            self.warning(problem, index);
        }
        Loaded {
            config,
            origins,
            values,
            errors: self.errors,
            warnings: self.warnings,
        }
    }

    /// The caps of the user's layers together, and of each foreign layer by itself.
    fn caps(&self) -> Vec<Cap> {
        let own = merged(self.sources.iter().filter(|source| !source.layer.is_foreign())).0;
        let foreign = self
            .sources
            .iter()
            .filter(|source| source.layer.is_foreign())
            .map(|source| &source.tree);
        let mut caps = Vec::new();
        for tree in std::iter::once(&own).chain(foreign) {
            let Ok(settings) = read::read::<Settings>(tree) else {
                continue;
            };
            let layer_of = |keys: &[&str]| {
                let place = tree.nearest_place(&Path::of(keys));
                self.names
                    .get(place.source)
                    .map_or(Layer::Default, |(layer, _)| *layer)
            };
            caps.extend(resolve::caps(&settings.limits, &layer_of));
        }
        caps
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

/// All layers laid over each other.
fn merged<'s>(sources: impl Iterator<Item = &'s Source>) -> (Node, Vec<Problem>) {
    let mut tree = Node::empty(tree::Place::default());
    let mut warnings = Vec::new();
    for source in sources {
        layer::lay(&mut tree, &source.tree, source.layer, &mut warnings);
    }
    (tree, warnings)
}
