//! What a repository, or an editor that may have read it there, is allowed to decide.
//!
//! Until a person trusts the workspace, exactly [`UNTRUSTED_KEYS`] count. Even then
//! [`USER_ONLY_KEYS`] do not: where a key is sent and with what, programs, prices, the sandbox.

use std::collections::{BTreeMap, BTreeSet};

use super::layer::Layer;
use super::price;
use super::problem::Problem;
use super::roster;
use super::settings::{ProviderKind, Settings};
use super::tree::{Entry, Node, Path, Segment, Value};

/// What counts without trust; `*` is any one key, `**` everything below.
pub const UNTRUSTED_KEYS: [&[&str]; 10] = [
    &["version"],
    &["routing", "**"],
    &["agents", "*", "model"],
    &["agents", "*", "maxTurns"],
    &["agents", "*", "enabled"],
    &["pipelines", "*", "steps", "**"],
    &["approvals", "**"],
    &["limits", "**"],
    &["context", "exclude", "**"],
    &["ui", "**"],
];

/// What only the user's own file decides, trusted or not.
pub const USER_ONLY_KEYS: [&[&str]; 10] = [
    &["providers", "*", "kind"],
    &["providers", "*", "baseUrl"],
    &["providers", "*", "apiKeyEnv"],
    &["providers", "*", "headers"],
    &["providers", "*", "command"],
    &["providers", "*", "models", "*", "price"],
    &["retention"],
    &["sandbox"],
    &["trustClient"],
    &["zone"],
];

/// How to go on where something is ignored for want of trust.
const HOW_TO_TRUST: &str =
    "run `clode-ls trust` (or the command clode.trust) to look at it and trust this workspace";
/// How to go on where something belongs to the user's file.
const HOW_TO_OWN: &str = "write it into your user configuration (`clode-ls doctor` shows its place)";

/// Whether the person trusts what comes with the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trusted {
    Yes,
    No,
}

/// What the built-in table and the user's layers offer.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    providers: BTreeMap<String, (Option<ProviderKind>, BTreeSet<String>)>,
    agents: BTreeSet<String>,
}

impl Offers {
    pub(crate) fn of(settings: &Settings) -> Self {
        let providers = settings
            .providers
            .iter()
            .map(|(id, provider)| {
                (
                    id.clone(),
                    (provider.kind, provider.models.keys().cloned().collect()),
                )
            })
            .collect();
        let custom = settings.agents.keys().cloned();
        Self {
            providers,
            agents: roster::BUILT_IN
                .iter()
                .map(|name| (*name).to_owned())
                .chain(custom)
                .collect(),
        }
    }

    fn has(&self, provider: &str, model: Option<&str>) -> bool {
        let Some((kind, own)) = self.providers.get(provider) else {
            return false;
        };
        let Some(model) = model else { return true };
        let in_table = || {
            kind.and_then(price::vendor)
                .is_some_and(|vendor| price::find(&vendor.models, model).is_some())
        };
        let claude_code = || {
            model == roster::CLAUDE_CODE_MODEL
                && matches!(kind, Some(ProviderKind::Anthropic | ProviderKind::ClaudeCode))
        };
        own.contains(model) || in_table() || claude_code()
    }

    fn anywhere(&self, model: &str) -> bool {
        self.providers
            .keys()
            .any(|provider| self.has(provider, Some(model)))
    }
}

/// Takes out of a foreign layer what it may not decide; one warning for each key that was there.
pub(crate) fn restrict(
    tree: &mut Node,
    layer: Layer,
    trusted: Trusted,
    offers: &Offers,
    warnings: &mut Vec<Problem>,
) {
    let mut filter = Filter {
        layer,
        trusted,
        offers,
        warnings,
    };
    filter.walk(tree, &Path::default());
}

enum Verdict {
    Keep,
    Look,
    Drop(Problem),
}

struct Filter<'a> {
    layer: Layer,
    trusted: Trusted,
    offers: &'a Offers,
    warnings: &'a mut Vec<Problem>,
}

impl Filter<'_> {
    fn walk(&mut self, node: &mut Node, path: &Path) {
        match &mut node.value {
            Value::Mapping(entries) => {
                entries.retain_mut(|Entry { key, key_place, node }| {
                    let path = path.key(key);
                    let keep = self.judge(node, &path);
                    self.settle(keep, node, path, *key_place)
                });
            }
            Value::List(items) => {
                let mut index = 0;
                items.retain_mut(|item| {
                    let path = path.index(index);
                    index += 1;
                    let keep = self.judge(item, &path);
                    let place = item.place;
                    self.settle(keep, item, path, place)
                });
            }
            _ => {}
        }
    }

    fn settle(&mut self, verdict: Verdict, node: &mut Node, path: Path, place: super::tree::Place) -> bool {
        match verdict {
            Verdict::Keep => true,
            Verdict::Look => {
                let had_content = !node.entries().is_empty();
                self.walk(node, &path);
                !(had_content && node.entries().is_empty())
            }
            Verdict::Drop(problem) => {
                self.warnings.push(problem.on(path).at(place));
                false
            }
        }
    }

    fn judge(&self, node: &Node, path: &Path) -> Verdict {
        let keys: Vec<&str> = path
            .0
            .iter()
            .map(|segment| match segment {
                Segment::Key(key) => key.as_str(),
                Segment::Index(_) => "[]",
            })
            .collect();
        if USER_ONLY_KEYS
            .iter()
            .any(|pattern| fits(pattern, &keys) == Fit::Inside)
        {
            return Verdict::Drop(self.user_only());
        }
        if keys.first() == Some(&"approvals") && node.value == Value::Bool(false) {
            let message = format!(
                "ignored: the {} may add approvals, not take them away",
                self.layer.as_str()
            );
            return Verdict::Drop(
                Problem::new("approvalsOnlyAdded", message)
                    .expected("`true`; `false` only in your user configuration"),
            );
        }
        if self.trusted == Trusted::Yes {
            return Verdict::Look;
        }
        let fit = UNTRUSTED_KEYS
            .iter()
            .map(|pattern| fits(pattern, &keys))
            .max()
            .unwrap_or(Fit::Outside);
        let leads_nowhere = fit == Fit::Above && !matches!(node.value, Value::Mapping(_));
        let may_be_the_users = USER_ONLY_KEYS
            .iter()
            .any(|pattern| fits(pattern, &keys) == Fit::Above);
        if fit == Fit::Outside && may_be_the_users && !node.entries().is_empty() {
            // Each key below says for itself whether trust would help.
            return Verdict::Look;
        }
        if fit == Fit::Outside || leads_nowhere {
            return Verdict::Drop(untrusted("ignored: this workspace is not trusted"));
        }
        self.judge_value(node, &keys)
    }

    /// What an untrusted key may say.
    fn judge_value(&self, node: &Node, keys: &[&str]) -> Verdict {
        let target = match keys {
            ["routing", "default"]
            | ["routing", "default", "map", _]
            | ["routing", "default", "fallback", "[]"]
            | ["routing", "downgrade", "to", "[]"] => Some(node),
            ["routing", "rules", "[]"] => node.get("use"),
            _ => None,
        };
        if let Some(name) = target.and_then(|target| self.not_offered(target)) {
            return Verdict::Drop(untrusted(&format!(
                "ignored: nothing in your own layers offers {name}"
            )));
        }
        match keys {
            ["routing", "rules", "[]"] if self.rule_for_stranger(node) => Verdict::Drop(untrusted(
                "ignored: it is about an agent that is neither built in nor yours",
            )),
            ["routing", "default", "map" | "needs", name] if !self.offers.agents.contains(*name) => {
                Verdict::Drop(untrusted(
                    "ignored: an agent of this name is neither built in nor yours",
                ))
            }
            ["limits", "perProvider", id] if !self.offers.has(id, None) => Verdict::Drop(untrusted(
                "ignored: a provider of this name is neither built in nor yours",
            )),
            ["agents", name] if !self.offers.agents.contains(*name) => {
                Verdict::Drop(untrusted("ignored: an untrusted workspace adds no agents"))
            }
            ["agents", _, "model"] if node.text().is_some_and(|model| !self.offers.anywhere(model)) => {
                Verdict::Drop(untrusted("ignored: nothing in your own layers offers this model"))
            }
            ["agents", _, "enabled"] if node.value == Value::Bool(true) => Verdict::Drop(untrusted(
                "ignored: an untrusted workspace may only take agents away",
            )),
            ["pipelines", _, "steps"] => {
                let foreign = node
                    .items()
                    .iter()
                    .filter_map(|step| step.get("agent")?.text())
                    .find(|agent| !roster::is_built_in(agent));
                match foreign {
                    Some(agent) => Verdict::Drop(untrusted(&format!(
                        "ignored: it uses `{agent}`, and untrusted pipelines use built-in agents only"
                    ))),
                    None => Verdict::Keep,
                }
            }
            _ => Verdict::Look,
        }
    }

    /// The name of a target that the user's layers do not offer.
    fn not_offered(&self, target: &Node) -> Option<String> {
        let provider = target.get("provider").and_then(Node::text)?;
        let model = target.get("model").and_then(Node::text);
        let name = || model.map_or_else(|| provider.to_owned(), |model| format!("{provider}/{model}"));
        (!self.offers.has(provider, model)).then(name)
    }

    fn rule_for_stranger(&self, rule: &Node) -> bool {
        let agent = rule
            .get("when")
            .and_then(|when| when.get("agent"))
            .and_then(Node::text);
        agent.is_some_and(|agent| !self.offers.agents.contains(agent))
    }

    fn user_only(&self) -> Problem {
        let message = format!(
            "ignored: this comes from your user configuration only, never from the {}",
            self.layer.as_str()
        );
        Problem::new("userOnly", message).expected(HOW_TO_OWN)
    }
}

fn untrusted(message: &str) -> Problem {
    Problem::new("untrusted", message).expected(HOW_TO_TRUST)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Outside,
    /// The pattern may be met further down.
    Above,
    Inside,
}

fn fits(pattern: &[&str], keys: &[&str]) -> Fit {
    for (position, key) in keys.iter().enumerate() {
        match pattern.get(position) {
            None | Some(&"**") => return Fit::Inside,
            Some(&"*") => {}
            Some(expected) if expected == key => {}
            Some(_) => return Fit::Outside,
        }
    }
    match pattern.get(keys.len()) {
        None | Some(&"**") => Fit::Inside,
        Some(_) => Fit::Above,
    }
}

/// The parts of a repository's file that count only with trust, by dotted key; `None` when the
/// text is no configuration. What counts for the user only is not among them: it never counts here.
pub(crate) fn keys_beyond_untrusted(text: &str) -> Option<Vec<(String, serde_json::Value)>> {
    let tree = Node::from_yaml(text, 0).ok()?;
    let mut found = Vec::new();
    collect(&tree, &Path::default(), &mut Vec::new(), &mut found);
    Some(found)
}

fn collect<'t>(
    node: &'t Node,
    path: &Path,
    keys: &mut Vec<&'t str>,
    found: &mut Vec<(String, serde_json::Value)>,
) {
    for Entry { key, node, .. } in node.entries() {
        keys.push(key);
        let path = path.key(key);
        let never = USER_ONLY_KEYS
            .iter()
            .any(|pattern| fits(pattern, keys) == Fit::Inside);
        let fit = UNTRUSTED_KEYS
            .iter()
            .map(|pattern| fits(pattern, keys))
            .max()
            .unwrap_or(Fit::Outside);
        let below = USER_ONLY_KEYS
            .iter()
            .any(|pattern| fits(pattern, keys) == Fit::Above);
        match fit {
            _ if never => {}
            Fit::Inside => {}
            Fit::Above => collect(node, &path, keys, found),
            Fit::Outside if (below || keys.len() == 1) && !node.entries().is_empty() => {
                collect(node, &path, keys, found);
            }
            Fit::Outside => found.push((path.to_string(), node.to_json())),
        }
        keys.pop();
    }
}
