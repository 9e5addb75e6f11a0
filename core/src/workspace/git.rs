//! The only place that starts git, and always in the same hardened way.
//!
//! A repository is hostile input: its configuration, hooks, attributes and file names were written
//! by somebody else. So git runs with its directory pinned to one of ours, outside the tree, with an
//! environment of its own, and with everything switched off that would start another program.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::process::{Command, Confinement, End, Limits, Output, Spawner, Stdin, find_program};
use crate::{Error, Kind, Result};

/// The oldest git that knows `rev-parse --path-format=absolute`.
pub const OLDEST_GIT: (u32, u32) = (2, 31);
/// Time limit of a call that only looks something up.
const LOOKUP_LIMIT_MS: u64 = 30_000;
/// Time limit of a call that reads or writes a whole tree.
const TREE_LIMIT_MS: u64 = 180_000;
/// The most that one call may print.
const OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The most of the error text that is kept.
const ERROR_TEXT_BYTES_MAX: usize = 4 * 1024;

/// Switches that keep git from starting anything or asking anybody.
const HARDENED_SETTINGS: &[&str] = &[
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.safecrlf=false",
    "core.quotePath=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.logAllRefUpdates=false",
    "commit.gpgSign=false",
    "diff.external=",
    "diff.ignoreSubmodules=all",
    "credential.helper=",
    "safe.bareRepository=explicit",
    "protocol.allow=never",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "index.sparse=false",
];

/// The environment of every call; nothing is inherited.
const HARDENED_ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", "false"),
    ("GIT_ASKPASS", "false"),
    ("GIT_SSH_COMMAND", "false"),
    ("GIT_AUTHOR_NAME", "clode-ls"),
    ("GIT_AUTHOR_EMAIL", "clode-ls@localhost.invalid"),
    ("GIT_COMMITTER_NAME", "clode-ls"),
    ("GIT_COMMITTER_EMAIL", "clode-ls@localhost.invalid"),
];

/// Where the user's own git configuration lies; read only to find ignore rules and line endings.
#[derive(Debug, Clone, Default)]
pub struct UserHome {
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
}

/// The git program: an absolute path and a version that is known to be new enough.
#[derive(Debug, Clone)]
pub struct Git {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    spawner: Spawner,
    program: PathBuf,
    version: String,
    search_path: OsString,
    user: UserHome,
    neutral: PathBuf,
}

/// Whose configuration a call may read besides that of its git directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Configuration {
    None,
    User,
}

/// One call of git, built up and then run.
#[derive(Debug)]
#[must_use]
pub(crate) struct Call {
    git: Git,
    settings: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    limit: Duration,
    configuration: Configuration,
}

/// What a finished call left.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Git {
    /// Finds git on `search_path` (relative entries do not count) and checks its version. `neutral`
    /// is a directory outside any working tree; git runs there.
    pub async fn find(
        spawner: Spawner,
        search_path: &OsStr,
        user: UserHome,
        neutral: PathBuf,
    ) -> Result<Self> {
        let program = find_program("git", search_path).ok_or_else(|| {
            Error::new(Kind::Git, "gitMissing", "there is no `git` on PATH")
                .hint("install git 2.31 or newer and make sure that it is on PATH")
        })?;
        let absolute_only =
            std::env::join_paths(std::env::split_paths(search_path).filter(|entry| entry.is_absolute()))
                .unwrap_or_default();
        let mut shared = Shared {
            spawner,
            program,
            version: String::new(),
            search_path: absolute_only,
            user,
            neutral,
        };
        let probe = Self {
            shared: Arc::new(shared.clone()),
        };
        let printed = probe.call(["version"]).text().await?;
        let version = printed.trim().trim_start_matches("git version ").to_owned();
        if parse_version(&version).is_none_or(|found| found < OLDEST_GIT) {
            let (major, minor) = OLDEST_GIT;
            return Err(Error::new(
                Kind::Git,
                "gitTooOld",
                format!("git {version} is too old; {major}.{minor} is needed"),
            )
            .hint(format!("update git to {major}.{minor} or newer")));
        }
        shared.version = version;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The absolute path of the program.
    pub fn program(&self) -> &Path {
        &self.shared.program
    }

    /// The version as git prints it.
    pub fn version(&self) -> &str {
        &self.shared.version
    }

    /// Where the user's own git configuration lies.
    pub(crate) fn user(&self) -> &UserHome {
        &self.shared.user
    }

    /// A call with these arguments.
    pub(crate) fn call<I, S>(&self, args: I) -> Call
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        Call {
            git: self.clone(),
            settings: Vec::new(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            stdin: Vec::new(),
            limit: Duration::from_millis(LOOKUP_LIMIT_MS),
            configuration: Configuration::None,
        }
    }
}

impl Call {
    /// Pins the git directory.
    pub(crate) fn git_dir(self, path: &Path) -> Self {
        self.env("GIT_DIR", path)
    }

    /// Pins the directory that linked worktrees share.
    pub(crate) fn common_dir(self, path: &Path) -> Self {
        self.env("GIT_COMMON_DIR", path)
    }

    /// Pins the tree of files.
    pub(crate) fn work_tree(self, path: &Path) -> Self {
        self.env("GIT_WORK_TREE", path)
    }

    /// Pins the index file.
    pub(crate) fn index(self, path: &Path) -> Self {
        self.env("GIT_INDEX_FILE", path)
    }

    /// Where objects are written to (and read from, with what it names as alternates).
    pub(crate) fn objects(self, path: &Path) -> Self {
        self.env("GIT_OBJECT_DIRECTORY", path)
    }

    /// Adds one variable.
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds `-c key=value`.
    pub(crate) fn setting(mut self, setting: impl Into<OsString>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// What git reads from its standard input.
    pub(crate) fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = bytes;
        self
    }

    /// Allows the time that a whole tree may need.
    pub(crate) fn whole_tree(mut self) -> Self {
        self.limit = Duration::from_millis(TREE_LIMIT_MS);
        self
    }

    /// Lets the call see the user's own configuration, as `git config` would in a terminal.
    pub(crate) fn with_user_configuration(mut self) -> Self {
        self.configuration = Configuration::User;
        self
    }

    /// Runs and demands success.
    pub(crate) async fn bytes(self) -> Result<Vec<u8>> {
        let what = self.describe();
        let answer = self.answer().await?;
        if answer.code == 0 {
            Ok(answer.stdout)
        } else {
            Err(failed(&what, &answer))
        }
    }

    /// Runs, demands success and UTF-8, and removes the last line end.
    pub(crate) async fn text(self) -> Result<String> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes)
            .trim_end_matches(['\n', '\r'])
            .to_owned())
    }

    /// Runs to the end; the exit code is the caller's to judge.
    pub(crate) async fn answer(self) -> Result<Answer> {
        let what = self.describe();
        let limit = self.limit;
        let spawner = self.git.shared.spawner.clone();
        // a call that nobody waits for any more is dropped, and with it its child
        let never = CancellationToken::new();
        let output = spawner.run(self.command(), &never).await?;
        tracing::debug!(call = %what, end = %output.end, ms = output.duration.as_millis(), "git");
        judged(&what, limit, output)
    }

    /// The name of the call for people: `git write-tree`.
    fn describe(&self) -> String {
        let verb = self
            .args
            .iter()
            .find(|word| !word.to_string_lossy().starts_with('-'));
        format!(
            "git {}",
            verb.map(|word| word.to_string_lossy()).unwrap_or_default()
        )
    }

    /// What is started. Git is a program of ours that starts no other one, so there is no shim.
    fn command(self) -> Command {
        let shared = &self.git.shared;
        let limits = Limits::new(self.limit, OUTPUT_BYTES_MAX);
        let mut command = Command::new(&shared.program, &shared.neutral, Confinement::Direct, limits)
            .env("PATH", &shared.search_path);
        for (name, value) in HARDENED_ENVIRONMENT {
            command = command.env(*name, *value);
        }
        command = match self.configuration {
            Configuration::None => command
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_ATTR_NOSYSTEM", "1")
                .env("HOME", &shared.neutral)
                .env("XDG_CONFIG_HOME", &shared.neutral),
            Configuration::User => {
                let user = &shared.user;
                let places = [("HOME", &user.home), ("XDG_CONFIG_HOME", &user.config_home)];
                let set = places
                    .iter()
                    .filter_map(|(name, path)| Some((*name, path.as_ref()?)));
                set.fold(command, |command, (name, path)| command.env(name, path))
            }
        };
        for setting in HARDENED_SETTINGS {
            command = command.arg("-c").arg(*setting);
        }
        for setting in self.settings {
            command = command.arg("-c").arg(setting);
        }
        command.env.extend(self.env);
        let stdin = if self.stdin.is_empty() {
            Stdin::Null
        } else {
            Stdin::Bytes(self.stdin)
        };
        command.args(self.args).stdin(stdin)
    }
}

/// The answer of a call that ended by itself and whose output is complete.
fn judged(what: &str, limit: Duration, output: Output) -> Result<Answer> {
    let code = match output.end {
        End::Exited(code) => code,
        End::Signalled(_) => -1,
        End::TimedOut => {
            return Err(Error::new(
                Kind::Git,
                "gitTimeout",
                format!("`{what}` did not end within {} s", limit.as_secs()),
            )
            .hint("check whether the disk is slow or another git command holds the repository"));
        }
        End::Cancelled => return Err(Error::cancelled()),
    };
    if output.truncated {
        return Err(Error::new(
            Kind::Git,
            "gitOutputTooLarge",
            format!("`{what}` printed more than {OUTPUT_BYTES_MAX} bytes"),
        ));
    }
    if output.held_open {
        return Err(Error::new(
            Kind::Git,
            "gitOutputCut",
            format!("`{what}` ended while something else still held its output"),
        )
        .hint("try again; something may replace git by a script that leaves programs behind"));
    }
    let mut stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    stderr.truncate(floor_char_boundary(&stderr, ERROR_TEXT_BYTES_MAX));
    Ok(Answer {
        code,
        stdout: output.stdout,
        stderr,
    })
}

fn failed(what: &str, answer: &Answer) -> Error {
    let stderr = answer.stderr.trim();
    let text = if stderr.is_empty() {
        format!("exit code {}", answer.code)
    } else {
        stderr.to_owned()
    };
    let error = Error::new(Kind::Git, "gitFailed", format!("`{what}`: {text}"));
    if text.contains("No space left") {
        return Error {
            code: "diskFull".into(),
            ..error
        }
        .hint("free some disk space, then resume");
    }
    error
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut end = at.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
