//! What types cannot say: names that must exist, numbers that must fit together, secrets that must
//! not be in a file. Works on the merged configuration and points at the line that said it.

mod pipelines;
mod providers;
mod routing;

use super::problem::Problem;
use super::read::offer;
use super::roster;
use super::settings::{Settings, TeamEngine};
use super::tree::{Node, Path};

/// Most sends of one call.
const ATTEMPTS_MAX: u32 = 20;
/// Most pipelines at once, and most kept working directories.
const PARALLEL_MAX: u32 = 64;
/// Longest time that ended runs can be kept.
const RETENTION_DAYS_MAX: u32 = 3_650;
/// Expected where an address is.
const ADDRESS: &str = "an address such as https://host/path, without a user or a password";

/// Everything that is wrong with the merged configuration.
pub(crate) fn validate(tree: &Node, settings: &Settings) -> Vec<Problem> {
    let mut checker = Checker {
        tree,
        settings,
        problems: Vec::new(),
    };
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
    fn wrong(
        &mut self,
        path: Path,
        code: &'static str,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let place = self.tree.nearest_place(&path);
        self.problems
            .push(Problem::new(code, message).expected(expected).on(path).at(place));
    }

    fn plain_values(&mut self) {
        if let Some(version) = self.settings.version.filter(|version| *version != 1) {
            self.wrong(
                Path::of(&["version"]),
                "unknownVersion",
                format!("version {version} is not known"),
                "1",
            );
        }
        if let Some(concurrency) = self
            .settings
            .concurrency
            .filter(|count| !(1..=PARALLEL_MAX).contains(count))
        {
            let message = format!("{concurrency} is out of range");
            self.wrong(
                Path::of(&["concurrency"]),
                "outOfRange",
                message,
                format!("a whole number from 1 to {PARALLEL_MAX}"),
            );
        }
        if let Some(zone) = &self.settings.zone
            && super::time_zone(zone).is_none()
        {
            let message = format!("there is no time zone `{zone}`");
            self.wrong(
                Path::of(&["zone"]),
                "unknownZone",
                message,
                "a name such as UTC or Europe/Berlin",
            );
        }
        let retry = &self.settings.retry;
        if let Some(attempts) = retry
            .max_attempts
            .filter(|attempts| !(1..=ATTEMPTS_MAX).contains(attempts))
        {
            let message = format!("{attempts} is out of range");
            self.wrong(
                Path::of(&["retry", "maxAttempts"]),
                "outOfRange",
                message,
                format!("a whole number from 1 to {ATTEMPTS_MAX}"),
            );
        }
        if let (Some(initial), Some(longest)) = (retry.initial_ms, retry.max_ms)
            && initial > longest
        {
            let message = format!("the first wait ({initial} ms) is longer than the longest ({longest} ms)");
            // The stronger layer is the one that made them clash.
            let source = |key: &str| self.tree.nearest_place(&Path::of(&["retry", key])).source;
            let key = if source("maxMs") > source("initialMs") {
                "maxMs"
            } else {
                "initialMs"
            };
            self.wrong(
                Path::of(&["retry", key]),
                "outOfRange",
                message,
                "`retry.initialMs` at most `retry.maxMs`",
            );
        }
        if self.settings.circuit_breaker.failures == Some(0) {
            self.wrong(
                Path::of(&["circuitBreaker", "failures"]),
                "outOfRange",
                "0 is out of range",
                "a whole number from 1",
            );
        }
    }

    fn known_provider(&mut self, id: &str, path: Path) {
        if self.settings.providers.contains_key(id) {
            return;
        }
        let known: Vec<&str> = self.settings.providers.keys().map(String::as_str).collect();
        let expected = offer(id, &known);
        self.wrong(
            path,
            "unknownProvider",
            format!("there is no provider `{id}`"),
            expected,
        );
    }

    fn known_agent(&mut self, name: &str, path: Path) {
        if roster::is_built_in(name) || self.settings.agents.contains_key(name) {
            return;
        }
        let own = self
            .settings
            .agents
            .keys()
            .map(String::as_str)
            .filter(|name| !roster::is_built_in(name));
        let known: Vec<&str> = roster::BUILT_IN.into_iter().chain(own).collect();
        let expected = offer(name, &known);
        self.wrong(
            path,
            "unknownAgent",
            format!("there is no agent `{name}`"),
            expected,
        );
    }

    fn limits(&mut self) {
        for (id, limits) in &self.settings.limits.per_provider {
            let path = Path::of(&["limits", "perProvider", id]);
            self.known_provider(id, path.clone());
            for (key, value) in [
                ("rpm", limits.rpm),
                ("tpm", limits.tpm),
                ("concurrency", limits.concurrency),
            ] {
                if value == Some(0) {
                    self.wrong(
                        path.key(key),
                        "outOfRange",
                        "0 would let nothing through",
                        "a whole number from 1; leave the key out for no limit",
                    );
                }
            }
        }
    }

    fn surroundings(&mut self) {
        for (index, test) in self.settings.tests.iter().enumerate() {
            let path = Path::of(&["tests"]).index(index);
            if let Some(pattern) = &test.success_regex
                && let Err(error) = regex::Regex::new(pattern)
            {
                let why = error.to_string().lines().last().unwrap_or_default().to_owned();
                self.wrong(
                    path.key("successRegex"),
                    "invalidPattern",
                    format!("this is no regular expression: {why}"),
                    "a regular expression",
                );
            }
            if test.timeout_ms == Some(0) {
                self.wrong(
                    path.key("timeoutMs"),
                    "outOfRange",
                    "0 leaves no time",
                    "milliseconds from 1",
                );
            }
        }
        let globs = [
            ("context", "exclude", &self.settings.context.exclude),
            ("worktrees", "include", &self.settings.worktrees.include),
        ];
        for (section, key, patterns) in globs {
            for (index, pattern) in patterns.iter().enumerate() {
                if let Err(error) = globset::Glob::new(pattern) {
                    self.wrong(
                        Path::of(&[section, key]).index(index),
                        "invalidPattern",
                        format!("this is no glob: {}", error.kind()),
                        "a glob such as **/*.min.js",
                    );
                }
            }
        }
        if self
            .settings
            .worktrees
            .pool
            .is_some_and(|pool| pool > PARALLEL_MAX)
        {
            self.wrong(
                Path::of(&["worktrees", "pool"]),
                "outOfRange",
                "this is out of range",
                format!("a whole number up to {PARALLEL_MAX}"),
            );
        }
        let days = self.settings.retention.days;
        if days.is_some_and(|days| !(1..=RETENTION_DAYS_MAX).contains(&days)) {
            self.wrong(
                Path::of(&["retention", "days"]),
                "outOfRange",
                "this is out of range",
                format!("days from 1 to {RETENTION_DAYS_MAX}"),
            );
        }
        for (key, paths) in [
            ("readable", &self.settings.sandbox.readable),
            ("writable", &self.settings.sandbox.writable),
        ] {
            for (index, path) in paths.iter().enumerate() {
                if !std::path::Path::new(path).is_absolute() {
                    self.wrong(
                        Path::of(&["sandbox", key]).index(index),
                        "invalidPath",
                        "the path is relative",
                        "an absolute path",
                    );
                }
            }
        }
        if self
            .settings
            .telemetry
            .endpoint
            .as_deref()
            .is_some_and(|address| !is_address(address))
        {
            self.wrong(
                Path::of(&["telemetry", "endpoint"]),
                "invalidAddress",
                "this is no address",
                ADDRESS,
            );
        }
        if self.settings.team.engine == Some(TeamEngine::Temporal) && self.settings.team.address.is_none() {
            self.wrong(
                Path::of(&["team", "engine"]),
                "missingKey",
                "the engine `temporal` has no address",
                "an `address` such as localhost:7233",
            );
        }
    }
}

fn is_name(name: &str) -> bool {
    const CHARS_MAX: usize = 64;
    (1..=CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// An address of the web without credentials in it.
pub(crate) fn is_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    })
}
