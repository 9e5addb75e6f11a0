//! What types cannot say: names that must exist, numbers that must fit together, secrets that must
//! not be in a file. Works on the merged configuration and points at the line that said it.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use super::read::offer;
use super::roster;
use super::settings::{PipelineSettings, ProviderKind, ProviderSettings, RouteKind, Settings, TargetSettings, TeamEngine};
use super::tree::{Node, Path};

/// Most steps of one pipeline.
const STEPS_MAX: usize = 50;
/// Most sends of one call.
const ATTEMPTS_MAX: u32 = 20;
/// Most pipelines at once, and most kept working directories.
const PARALLEL_MAX: u32 = 64;
/// Most model calls of one step.
const TURNS_MAX: u32 = 1000;
/// Expected where an address is.
const ADDRESS: &str = "an address such as https://host/path, without a user or a password";

/// Everything that is wrong with the merged configuration.
pub(crate) fn validate(tree: &Node, settings: &Settings) -> Vec<Problem> {
    let mut checker = Checker { tree, settings, problems: Vec::new() };
    checker.plain_values();
    checker.providers();
    checker.routing();
    checker.limits();
    checker.agents();
    checker.pipelines();
    checker.surroundings();
    checker.problems
}

struct Checker<'a> {
    tree: &'a Node,
    settings: &'a Settings,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn wrong(&mut self, path: Path, code: &'static str, message: impl Into<String>, expected: impl Into<String>) {
        let place = self.tree.nearest_place(&path);
        self.problems.push(Problem::new(code, message).expected(expected).on(path).at(place));
    }

    fn plain_values(&mut self) {
        if let Some(version) = self.settings.version.filter(|version| *version != 1) {
            self.wrong(Path::of(&["version"]), "unknownVersion", format!("version {version} is not known"), "1");
        }
        if let Some(concurrency) = self.settings.concurrency.filter(|count| !(1..=PARALLEL_MAX).contains(count)) {
            let message = format!("{concurrency} is out of range");
            self.wrong(Path::of(&["concurrency"]), "outOfRange", message, format!("a whole number from 1 to {PARALLEL_MAX}"));
        }
        if let Some(zone) = &self.settings.zone
            && super::time_zone(zone).is_none()
        {
            let message = format!("there is no time zone `{zone}`");
            self.wrong(Path::of(&["zone"]), "unknownZone", message, "a name such as UTC or Europe/Berlin");
        }
        let retry = &self.settings.retry;
        if let Some(attempts) = retry.max_attempts.filter(|attempts| !(1..=ATTEMPTS_MAX).contains(attempts)) {
            let message = format!("{attempts} is out of range");
            self.wrong(Path::of(&["retry", "maxAttempts"]), "outOfRange", message, format!("a whole number from 1 to {ATTEMPTS_MAX}"));
        }
        if let (Some(initial), Some(longest)) = (retry.initial_ms, retry.max_ms)
            && initial > longest
        {
            let message = format!("the first wait ({initial} ms) is longer than the longest ({longest} ms)");
            // The stronger layer is the one that made them clash.
            let source = |key: &str| self.tree.nearest_place(&Path::of(&["retry", key])).source;
            let key = if source("maxMs") > source("initialMs") { "maxMs" } else { "initialMs" };
            self.wrong(Path::of(&["retry", key]), "outOfRange", message, "`retry.initialMs` at most `retry.maxMs`");
        }
        if self.settings.circuit_breaker.failures == Some(0) {
            self.wrong(Path::of(&["circuitBreaker", "failures"]), "outOfRange", "0 is out of range", "a whole number from 1");
        }
    }

    fn providers(&mut self) {
        for (id, provider) in &self.settings.providers {
            let path = Path::of(&["providers", id]);
            if !is_name(id) {
                self.wrong(path.clone(), "invalidName", format!("`{id}` is no id"), "letters, digits, `-`, `_` and `.`");
            }
            match provider.kind {
                None => {
                    let message = format!("the provider `{id}` has no kind");
                    let kinds = "a `kind`: anthropic, openai, openai-compatible, claude-code, acp or demo";
                    self.wrong(path.clone(), "missingKey", message, kinds);
                }
                Some(ProviderKind::OpenAiCompatible) if provider.base_url.is_none() => {
                    self.wrong(path.key("kind"), "missingKey", format!("the provider `{id}` has no address"), "a `baseUrl`");
                }
                Some(ProviderKind::Acp) if provider.command.is_none() => {
                    self.wrong(path.key("kind"), "missingKey", format!("the provider `{id}` has no program"), "a `command`");
                }
                Some(_) => {}
            }
            self.provider_secrets(&path, provider);
        }
    }

    fn provider_secrets(&mut self, path: &Path, provider: &ProviderSettings) {
        if let Some(address) = &provider.base_url
            && !is_address(address)
        {
            self.wrong(path.key("baseUrl"), "invalidAddress", "this is no address that a key may be sent to", ADDRESS);
        }
        if let Some(name) = &provider.api_key_env {
            // A key that was pasted here is not repeated in the message.
            let is_variable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
            if !is_variable {
                let message = "this is not the name of an environment variable";
                self.wrong(path.key("apiKeyEnv"), "secretInFile", message, "a name such as MY_API_KEY; the key itself stays in the environment");
            }
        }
        for (name, value) in &provider.headers {
            let path = path.key("headers").key(name);
            let lower = name.to_ascii_lowercase();
            if matches!(lower.as_str(), "authorization" | "x-api-key" | "api-key" | "cookie" | "proxy-authorization") {
                self.wrong(path, "secretInFile", "a key does not belong into a file", "`apiKeyEnv` with the name of an environment variable");
                continue;
            }
            let name_fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !name_fits || value.chars().any(char::is_control) {
                self.wrong(path, "invalidHeader", "this is no header", "a name of letters, digits and `-`, and one line of text");
            }
        }
    }

    fn known_provider(&mut self, id: &str, path: Path) {
        if self.settings.providers.contains_key(id) {
            return;
        }
        let known: Vec<&str> = self.settings.providers.keys().map(String::as_str).collect();
        let expected = offer(id, &known);
        self.wrong(path, "unknownProvider", format!("there is no provider `{id}`"), expected);
    }

    fn known_agent(&mut self, name: &str, path: Path) {
        if roster::is_built_in(name) || self.settings.agents.contains_key(name) {
            return;
        }
        let own = self.settings.agents.keys().map(String::as_str).filter(|name| !roster::is_built_in(name));
        let known: Vec<&str> = roster::BUILT_IN.into_iter().chain(own).collect();
        let expected = offer(name, &known);
        self.wrong(path, "unknownAgent", format!("there is no agent `{name}`"), expected);
    }

    fn target(&mut self, target: &TargetSettings, path: &Path) {
        self.known_provider(&target.provider, path.key("provider"));
        if target.model.as_deref().is_some_and(|model| model.trim().is_empty()) {
            self.wrong(path.key("model"), "invalidValue", "the model has no name", "the name of a model");
        }
    }

    fn routing(&mut self) {
        let routing = &self.settings.routing;
        let default = Path::of(&["routing", "default"]);
        for (agent, target) in &routing.default.map {
            let path = default.key("map").key(agent);
            self.known_agent(agent, path.clone());
            self.target(target, &path);
        }
        for agent in routing.default.needs.keys() {
            self.known_agent(agent, default.key("needs").key(agent));
        }
        match (&routing.default.provider, routing.default.kind) {
            (Some(provider), _) => self.known_provider(provider, default.key("provider")),
            (None, RouteKind::Fixed) => {
                self.wrong(default.key("type"), "missingKey", "a fixed route has no provider", "`provider` and `model` beside `type: fixed`");
            }
            (None, _) => {}
        }
        for (index, target) in routing.default.fallback.iter().enumerate() {
            self.target(target, &default.key("fallback").index(index));
        }
        for (index, rule) in routing.rules.iter().enumerate() {
            let path = Path::of(&["routing", "rules"]).index(index);
            self.target(&rule.target, &path.key("use"));
            if let Some(agent) = &rule.when.agent {
                self.known_agent(agent, path.key("when").key("agent"));
            }
        }
        if let Some(downgrade) = &routing.downgrade {
            for (index, target) in downgrade.to.iter().enumerate() {
                self.target(target, &Path::of(&["routing", "downgrade", "to"]).index(index));
            }
        }
    }

    fn limits(&mut self) {
        for (id, limits) in &self.settings.limits.per_provider {
            let path = Path::of(&["limits", "perProvider", id]);
            self.known_provider(id, path.clone());
            for (key, value) in [("rpm", limits.rpm), ("tpm", limits.tpm), ("concurrency", limits.concurrency)] {
                if value == Some(0) {
                    self.wrong(path.key(key), "outOfRange", "0 would let nothing through", "a whole number from 1; leave the key out for no limit");
                }
            }
        }
    }

    fn agents(&mut self) {
        for (name, agent) in &self.settings.agents {
            let path = Path::of(&["agents", name]);
            if !is_name(name) {
                self.wrong(path.clone(), "invalidName", format!("`{name}` is no id"), "letters, digits, `-`, `_` and `.`");
            } else if !roster::is_built_in(name) && agent.prompt.as_deref().is_none_or(|prompt| prompt.trim().is_empty()) {
                let near = super::suggest::nearest(name, roster::BUILT_IN).map_or(String::new(), |near| format!("`{near}`? or "));
                self.wrong(path.clone(), "unknownAgent", format!("`{name}` is not built in and has no prompt"), format!("{near}a `prompt` for an agent of your own"));
            }
            if agent.max_turns.is_some_and(|turns| !(1..=TURNS_MAX).contains(&turns)) {
                self.wrong(path.key("maxTurns"), "outOfRange", "this is out of range", format!("a whole number from 1 to {TURNS_MAX}"));
            }
        }
    }

    fn pipelines(&mut self) {
        for (name, pipeline) in &self.settings.pipelines.named {
            let path = Path::of(&["pipelines", name]);
            if !is_name(name) {
                self.wrong(path.clone(), "invalidName", format!("`{name}` is no id"), "letters, digits, `-`, `_` and `.`");
            }
            if pipeline.steps.is_empty() || pipeline.steps.len() > STEPS_MAX {
                self.wrong(path.key("steps"), "outOfRange", format!("the pipeline has {} steps", pipeline.steps.len()), format!("from 1 to {STEPS_MAX} steps"));
            }
            self.steps(pipeline, &path.key("steps"));
        }
    }

    fn steps(&mut self, pipeline: &PipelineSettings, path: &Path) {
        let ids: Vec<&str> = pipeline.steps.iter().map(|step| step.id.as_deref().unwrap_or(&step.agent)).collect();
        let mut seen = BTreeSet::new();
        for (index, (step, id)) in pipeline.steps.iter().zip(&ids).enumerate() {
            let path = path.index(index);
            self.known_agent(&step.agent, path.key("agent"));
            if !is_name(id) {
                self.wrong(path.key("id"), "invalidName", format!("`{id}` is no id"), "letters, digits, `-`, `_` and `.`");
            }
            if !seen.insert(*id) {
                self.wrong(path.clone(), "duplicateStep", format!("the step `{id}` is there twice"), "an `id` of its own for each step");
            }
            for (need, name) in step.needs.iter().flatten().enumerate() {
                if !ids.contains(&name.as_str()) {
                    let expected = offer(name, &ids);
                    self.wrong(path.key("needs").index(need), "unknownStep", format!("there is no step `{name}`"), expected);
                }
            }
        }
        let needs: BTreeMap<&str, Vec<&str>> = pipeline
            .steps
            .iter()
            .zip(&ids)
            .map(|(step, id)| (*id, step.needs.iter().flatten().map(String::as_str).collect()))
            .collect();
        if let Some(step) = in_a_circle(&needs) {
            self.wrong(path.clone(), "stepCircle", format!("the step `{step}` waits for itself"), "steps that need only what can be done before them");
        }
    }

    fn surroundings(&mut self) {
        for (index, test) in self.settings.tests.iter().enumerate() {
            let path = Path::of(&["tests"]).index(index);
            if let Some(pattern) = &test.success_regex
                && let Err(error) = regex::Regex::new(pattern)
            {
                let why = error.to_string().lines().last().unwrap_or_default().to_owned();
                self.wrong(path.key("successRegex"), "invalidPattern", format!("this is no regular expression: {why}"), "a regular expression");
            }
            if test.timeout_ms == Some(0) {
                self.wrong(path.key("timeoutMs"), "outOfRange", "0 leaves no time", "milliseconds from 1");
            }
        }
        let globs = [("context", "exclude", &self.settings.context.exclude), ("worktrees", "include", &self.settings.worktrees.include)];
        for (section, key, patterns) in globs {
            for (index, pattern) in patterns.iter().enumerate() {
                if let Err(error) = globset::Glob::new(pattern) {
                    self.wrong(Path::of(&[section, key]).index(index), "invalidPattern", format!("this is no glob: {}", error.kind()), "a glob such as **/*.min.js");
                }
            }
        }
        if self.settings.worktrees.pool.is_some_and(|pool| pool > PARALLEL_MAX) {
            self.wrong(Path::of(&["worktrees", "pool"]), "outOfRange", "this is out of range", format!("a whole number up to {PARALLEL_MAX}"));
        }
        for (key, paths) in [("readable", &self.settings.sandbox.readable), ("writable", &self.settings.sandbox.writable)] {
            for (index, path) in paths.iter().enumerate() {
                if !std::path::Path::new(path).is_absolute() {
                    self.wrong(Path::of(&["sandbox", key]).index(index), "invalidPath", "the path is relative", "an absolute path");
                }
            }
        }
        if self.settings.telemetry.endpoint.as_deref().is_some_and(|address| !is_address(address)) {
            self.wrong(Path::of(&["telemetry", "endpoint"]), "invalidAddress", "this is no address", ADDRESS);
        }
        if self.settings.team.engine == Some(TeamEngine::Temporal) && self.settings.team.address.is_none() {
            self.wrong(Path::of(&["team", "engine"]), "missingKey", "the engine `temporal` has no address", "an `address` such as localhost:7233");
        }
    }
}

/// A step that needs itself, directly or over others.
fn in_a_circle<'a>(needs: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<&'a str> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = done.len();
        for (step, needed) in needs {
            if needed.iter().all(|need| done.contains(need) || !needs.contains_key(need)) {
                done.insert(step);
            }
        }
        if done.len() == before {
            return needs.keys().find(|step| !done.contains(*step)).copied();
        }
    }
}

fn is_name(name: &str) -> bool {
    const CHARS_MAX: usize = 64;
    (1..=CHARS_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// An address of the web without credentials in it.
pub(crate) fn is_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none()
    })
}
