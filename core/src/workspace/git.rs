//! The only place that starts git, and always in the same hardened way.
//!
//! A repository is hostile input: its configuration, hooks, attributes and file names were written
//! by somebody else. So git runs with its directory pinned to one of ours, outside the tree, with an
//! environment of its own, and with everything switched off that would start another program.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

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

#[derive(Debug)]
struct Shared {
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
    pub async fn find(search_path: &OsStr, user: UserHome, neutral: PathBuf) -> Result<Self> {
        let program = find_git(search_path).ok_or_else(|| {
            Error::new(Kind::Git, "gitMissing", "there is no `git` on PATH")
                .hint("install git 2.31 or newer and make sure that it is on PATH")
        })?;
        let absolute_only =
            std::env::join_paths(std::env::split_paths(search_path).filter(|entry| entry.is_absolute()))
                .unwrap_or_default();
        let shared = Shared {
            program,
            version: String::new(),
            search_path: absolute_only,
            user,
            neutral,
        };
        let probe = Self {
            shared: Arc::new(shared),
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
        let Shared {
            program,
            search_path,
            user,
            neutral,
            ..
        } = Arc::try_unwrap(probe.shared).map_err(|_| Error::internal("the git probe is still in use"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                program,
                version,
                search_path,
                user,
                neutral,
            }),
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
        let started = std::time::Instant::now();
        let answer = tokio::time::timeout(limit, self.start()).await.map_err(|_| {
            Error::new(
                Kind::Git,
                "gitTimeout",
                format!("`{what}` did not end within {} s", limit.as_secs()),
            )
            .hint("check whether the disk is slow or another git command holds the repository")
        })??;
        tracing::debug!(call = %what, code = answer.code, ms = started.elapsed().as_millis(), "git");
        Ok(answer)
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

    /// Starts git and talks to it. This is the one function to replace when children are started
    /// by `process::Spawner`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the git room starts git; it moves behind process::Spawner"
    )]
    async fn start(self) -> Result<Answer> {
        let shared = &self.git.shared;
        let mut command = tokio::process::Command::new(&shared.program);
        command
            .env_clear()
            .env("PATH", &shared.search_path)
            .envs(HARDENED_ENVIRONMENT.iter().copied());
        match self.configuration {
            Configuration::None => {
                command
                    .env("GIT_CONFIG_NOSYSTEM", "1")
                    .env("GIT_CONFIG_GLOBAL", "/dev/null");
                command.env("GIT_ATTR_NOSYSTEM", "1").env("HOME", &shared.neutral);
                command.env("XDG_CONFIG_HOME", &shared.neutral);
            }
            Configuration::User => {
                command.envs(shared.user.home.iter().map(|path| ("HOME", path)));
                command.envs(
                    shared
                        .user
                        .config_home
                        .iter()
                        .map(|path| ("XDG_CONFIG_HOME", path)),
                );
            }
        }
        for setting in HARDENED_SETTINGS {
            command.arg("-c").arg(setting);
        }
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&shared.neutral).kill_on_drop(true);
        command.stdin(if self.stdin.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());

        let what = format!("starting {}", shared.program.display());
        let mut child = command.spawn().map_err(|error| Error::io(&what, &error))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async move {
            if let Some(mut pipe) = stdin {
                // git may end without reading all of it: its exit code says why
                let _ = pipe.write_all(&self.stdin).await;
                let _ = pipe.shutdown().await;
            }
            Ok::<(), Error>(())
        };
        let ((), out, err) = tokio::try_join!(
            feed,
            read_up_to(stdout, OUTPUT_BYTES_MAX),
            read_up_to(stderr, OUTPUT_BYTES_MAX)
        )?;
        let status = child
            .wait()
            .await
            .map_err(|error| Error::io("waiting for git", &error))?;
        let mut stderr = String::from_utf8_lossy(&err).into_owned();
        stderr.truncate(floor_char_boundary(&stderr, ERROR_TEXT_BYTES_MAX));
        Ok(Answer {
            code: status.code().unwrap_or(-1),
            stdout: out,
            stderr,
        })
    }
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

async fn read_up_to(pipe: Option<impl AsyncRead + Unpin>, bytes_max: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        pipe.take(limit)
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| Error::io("reading from git", &error))?;
    }
    if bytes.len() > bytes_max {
        return Err(Error::new(
            Kind::Git,
            "gitOutputTooLarge",
            format!("git printed more than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut end = at.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// The first executable `git` in an absolute entry of the search path.
fn find_git(search_path: &OsStr) -> Option<PathBuf> {
    let name = format!("git{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(search_path)
        .filter(|entry| entry.is_absolute())
        .map(|entry| entry.join(&name))
        .find(|candidate| is_executable(candidate))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
