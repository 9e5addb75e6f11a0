//! What was asked for and cannot be done on this machine, or not as well as it seems: warnings.

use super::detect;
use super::environment::Environment;
use super::price::PriceAnswer;
use super::problem::Problem;
use super::roster;
use super::settings::TargetSettings;
use super::suggest::nearest;
use super::tree::{Node, Path};
use super::values::Config;

/// Warnings about the merged configuration, each at the line that asked for it.
pub(crate) fn advise(config: &Config, environment: &Environment, tree: &Node) -> Vec<Problem> {
    let mut advice: Vec<Problem> = detect::unusable_addresses(environment)
        .map(|(provider, variable)| {
            Problem::new(
                "invalidAddress",
                format!("{variable} is no address; the provider `{provider}` is not used"),
            )
            .expected("an address such as https://host/path, without a user or a password")
        })
        .collect();
    let map = config
        .routing
        .map
        .iter()
        .map(|(agent, target)| (Path::of(&["routing", "default", "map", agent]), target));
    let fixed = config
        .routing
        .fixed
        .iter()
        .map(|target| (Path::of(&["routing", "default"]), target));
    for (path, target) in map.chain(fixed) {
        advice.extend(readiness(config, target, &path.key("provider"), tree));
        advice.extend(model(config, target, &path.key("model"), tree));
    }
    advice
}

fn readiness(config: &Config, target: &TargetSettings, path: &Path, tree: &Node) -> Option<Problem> {
    let problem = config.providers.get(&target.provider)?.readiness.problem()?;
    let message = format!(
        "the provider `{}` cannot be used: {problem}; another one stands in",
        target.provider
    );
    let expected = "what it needs; `clode-ls doctor` shows what was found";
    Some(
        Problem::new("providerNotReady", message)
            .expected(expected)
            .on(path.clone())
            .at(tree.nearest_place(path)),
    )
}

fn model(config: &Config, target: &TargetSettings, path: &Path, tree: &Node) -> Option<Problem> {
    let model = target.model.as_deref()?;
    let provider = config.providers.get(&target.provider)?;
    let (code, message, expected) = if model == roster::CLAUDE_CODE_MODEL {
        let is_there = config.found.claude.is_some()
            || config.providers.values().any(|provider| {
                provider.kind == super::ProviderKind::ClaudeCode && !provider.command.is_empty()
            });
        if is_there {
            return None;
        }
        let message = "the program `claude` was not found; the tool loop stands in".to_owned();
        (
            "programNotFound",
            message,
            "Claude Code on the PATH, or `providers.claude-code.command`".to_owned(),
        )
    } else {
        let consequence = match config.price(&target.provider, model) {
            PriceAnswer::Known(_) => return None,
            PriceAnswer::Assumed(_) => "it is counted at the dearest of its provider",
            PriceAnswer::Unknown => "it is refused as long as a budget is set",
        };
        let near = nearest(model, provider.models.keys().map(String::as_str));
        let or = near.map_or_else(String::new, |near| format!("`{near}`? or "));
        (
            "unknownPrice",
            format!("the price of `{model}` is not known: {consequence}"),
            format!("{or}a `price` in `providers`"),
        )
    };
    Some(
        Problem::new(code, message)
            .expected(expected)
            .on(path.clone())
            .at(tree.nearest_place(path)),
    )
}
