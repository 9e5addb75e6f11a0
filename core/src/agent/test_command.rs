//! Runs a test command in the working directory, as far confined as its origin demands: what a person
//! typed runs as the person's own, what a repository or a model proposes runs without network in the
//! sandbox, or after a person said yes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::private::PrivateFolder;
use crate::config::{Environment, NetworkSettings, Sandbox, SandboxMode};
use crate::engine::{StepContext, WorkingDirectory};
use crate::pipeline::{GateRequest, PermissionAsk, StepFailure, TestRun};
use crate::process::{
    Command, Confinement, End, Limits, Network, SandboxPolicy, SandboxTier, Spawner, find_program,
    toolchain_environment,
};
use crate::redact::{Redactor, neutralise};
use crate::task::{CommandOrigin, TEST_TIMEOUT_MS_DEFAULT, TestCommand};
use crate::{Error, Kind, Result};

/// Kept of what a command prints: head and tail.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Longest time limit that is accepted.
const TIMEOUT_MS_MAX: u64 = 6 * 60 * 60 * 1000;
/// Largest compiled `successRegex` (bytes).
const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Where the shell is looked for first.
const SHELL: &str = "/bin/sh";

/// What a test command needs of the machine.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub(super) spawner: Spawner,
    pub(super) environment: Arc<Environment>,
    pub(super) cache: PathBuf,
    pub(super) redactor: Arc<Redactor>,
    pub(super) sandbox: Sandbox,
    pub(super) place: WorkingDirectory,
}

/// How a command may run.
#[derive(Debug, Clone)]
pub(super) enum Permission {
    /// In this confinement.
    Run(Confinement),
    /// In this one, once a person said yes.
    AskThen(Confinement),
    /// Not at all.
    Refuse(Error),
}

/// Decides. Pure.
pub(super) fn permission(
    origin: CommandOrigin,
    tier: &SandboxTier,
    sandbox: &Sandbox,
    place: &WorkingDirectory,
    private: &Path,
) -> Permission {
    let confines = tier.confines_files() && sandbox.mode != SandboxMode::Off;
    if sandbox.mode == SandboxMode::Required && !confines {
        let message = format!("`sandbox.mode: required` is set, and there is no sandbox here ({tier})");
        return Permission::Refuse(
            Error::state("sandboxRequired", message)
                .hint("set `sandbox.mode: auto` to be asked for each command instead"),
        );
    }
    let sandboxed = |network| {
        let mut writable = vec![place.root.clone(), place.git_dir.clone(), private.to_owned()];
        writable.extend(sandbox.writable.iter().filter(|path| path.exists()).cloned());
        Confinement::Sandboxed(SandboxPolicy {
            writable,
            readable: sandbox.readable.clone(),
            network,
        })
    };
    let network = match sandbox.network {
        NetworkSettings::None => Network::None,
        NetworkSettings::Full => Network::Full,
    };
    match (origin, confines) {
        (CommandOrigin::Person, true) => Permission::Run(sandboxed(Network::Full)),
        (CommandOrigin::Person, false) => Permission::Run(Confinement::Supervised),
        (CommandOrigin::Repository | CommandOrigin::Model, true) => Permission::Run(sandboxed(network)),
        (CommandOrigin::Repository | CommandOrigin::Model, false) => {
            Permission::AskThen(Confinement::Supervised)
        }
    }
}

impl Bench {
    /// The bench of a step.
    pub(super) async fn of(context: &StepContext) -> Result<Self> {
        let services = context.services();
        Ok(Self {
            spawner: services.spawner.clone(),
            environment: Arc::clone(&services.environment),
            cache: services.cache.clone(),
            redactor: Arc::clone(&services.redactor),
            sandbox: context.config.sandbox.clone(),
            place: context.working_directory().await?,
        })
    }

    /// Runs a command to its end in this confinement.
    pub(super) async fn run(
        &self,
        test: &TestCommand,
        confinement: Confinement,
        private: &PrivateFolder,
        cancel: &CancellationToken,
    ) -> Result<TestRun> {
        let success = success_regex(test)?;
        let timeout_ms = test
            .timeout_ms
            .unwrap_or(TEST_TIMEOUT_MS_DEFAULT)
            .clamp(1, TIMEOUT_MS_MAX);
        let limits = Limits::new(Duration::from_millis(timeout_ms), OUTPUT_BYTES_MAX);
        let path = self.environment.search_path();
        let shell = find_program(SHELL, &path)
            .or_else(|| find_program("sh", &path))
            .ok_or_else(|| {
                Error::new(Kind::Io, "noShell", "there is no `sh` to run test commands with")
                    .hint("install a POSIX shell")
            })?;
        let mut command = Command::new(shell, &self.place.folder, confinement, limits)
            .arg("-c")
            .arg(format!("exec 2>&1\n{}", test.command));
        command.env = self.child_environment(private);
        let output = self.spawner.run(command, cancel).await?;
        if output.end == End::Cancelled {
            return Err(Error::cancelled());
        }
        let mut printed = output.stdout_text().into_owned();
        printed.push_str(&output.stderr_text());
        if output.end == End::TimedOut {
            let _ = writeln!(
                printed,
                "\n(stopped: it ran longer than {} s)",
                timeout_ms.div_ceil(1000)
            );
        }
        let found = success.is_none_or(|regex| regex.is_match(&printed));
        let plain = without_colours(&printed);
        Ok(TestRun {
            command: test.command.clone(),
            exit_code: match output.end {
                End::Exited(code) => Some(code),
                _ => None,
            },
            passed: output.end.success() && found,
            duration_ms: u64::try_from(output.duration.as_millis()).unwrap_or(u64::MAX),
            output: neutralise(&self.redactor.redact(&plain)).into_owned(),
        })
    }

    /// Nothing secret, a home of its own, and the toolchains of the search path.
    fn child_environment(&self, private: &PrivateFolder) -> BTreeMap<OsString, OsString> {
        let mut environment = self.environment.child_baseline();
        environment.extend(toolchain_environment(&self.environment.search_path()));
        let own: [(&str, OsString); 5] = [
            ("HOME", private.home().into()),
            ("TMPDIR", private.tmp().into()),
            // No traces in the working directory that nobody asked for.
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
            ("PYTEST_ADDOPTS", "-p no:cacheprovider".into()),
            ("NO_COLOR", "1".into()),
        ];
        environment.extend(own.map(|(name, value)| (OsString::from(name), value)));
        environment
    }
}

/// What became of a command that was to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ran {
    /// It ran.
    Done(TestRun),
    /// A person said no.
    Denied,
}

/// Runs one command of a step; asks first where it has to.
pub(super) async fn run(
    context: &StepContext,
    bench: &Bench,
    test: &TestCommand,
) -> Result<Ran, StepFailure> {
    let private = PrivateFolder::make(&bench.cache)?;
    let tier = bench.spawner.probe().await;
    let confinement = match permission(test.origin, &tier, &bench.sandbox, &bench.place, private.path()) {
        Permission::Run(confinement) => confinement,
        Permission::Refuse(error) => return Err(StepFailure::permanent(error)),
        Permission::AskThen(confinement) => {
            let ask = PermissionAsk {
                tool: "test".to_owned(),
                command: Some(test.command.clone()),
                paths: Vec::new(),
            };
            if !context.ask(GateRequest::Permission(ask)).await?.approved {
                return Ok(Ran::Denied);
            }
            confinement
        }
    };
    context.say(format!("runs {}", test.command));
    Ok(Ran::Done(
        bench.run(test, confinement, &private, &context.cancel).await?,
    ))
}

fn success_regex(test: &TestCommand) -> Result<Option<regex::Regex>> {
    let Some(pattern) = &test.success_regex else {
        return Ok(None);
    };
    regex::RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .multi_line(true)
        .build()
        .map(Some)
        .map_err(|error| {
            Error::usage(
                "invalidSuccessRegex",
                format!("`successRegex` of `{}` cannot be read: {error}", test.command),
            )
            .hint("use the regular expressions of Rust: no look-around, no back references")
        })
}

/// Without the sequences that colour a terminal.
fn without_colours(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after
            .find(|c: char| ('\u{40}'..='\u{7e}').contains(&c))
            .map_or(after.len(), |at| at + 1);
        rest = after.get(end..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests;
