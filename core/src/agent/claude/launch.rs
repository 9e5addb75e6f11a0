//! The one command line, and the environment that is complete as it stands here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::config::Environment;
use crate::money::Money;
use crate::process::{Command, Confinement, Limits, SecretDescriptor, Spawner, Stdin, toolchain_environment};
use crate::{Error, Kind, Result};

/// The oldest version that does what is relied on here.
pub(crate) const VERSION_MIN: (u32, u32, u32) = (2, 1, 300);
/// How long the question for the version may take.
const VERSION_LIMIT: Limits = Limits::new(Duration::from_secs(60), 8 * 1024);
/// A session has limits of its own; this one is for a driver that forgot.
const SESSION_LIMITS: Limits = Limits::new(Duration::from_secs(7 * 24 * 60 * 60), 256 * 1024);
/// The variable that tells which descriptor to read the key from.
const KEY_DESCRIPTOR: &str = "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR";
/// The tools that the Developer has.
pub(crate) const DEVELOPER_TOOLS: &str = "Read,Edit,Write,Bash,Grep,Glob";

/// Whose account pays.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    /// The key of a provider; the program gets a home of its own.
    Key(SecretString),
    /// The login of the user, in the user's own home.
    Login,
}

/// Which conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Talk {
    /// A new one under this name.
    New(String),
    /// An earlier one.
    Resume(String),
}

/// What the system prompt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SystemPrompt {
    /// The program's own, and this file after it.
    Appended(PathBuf),
    /// This file alone.
    Replaced(PathBuf),
}

/// The program and what it always gets.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// Arguments before ours, as the user configured them.
    pub(crate) first_args: Vec<String>,
    pub(crate) account: Account,
    pub(crate) base_url: Option<String>,
}

impl Program {
    /// What it must be able to read of itself.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let real = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = real.parent().map(Path::to_path_buf);
        [self.path.clone(), real].into_iter().chain(folder).collect()
    }
}

/// One start.
#[derive(Debug, Clone)]
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Program,
    pub(crate) environment: &'a Environment,
    pub(crate) cwd: &'a Path,
    /// A folder of the session's own, with `home`, `config` and `tmp` in it.
    pub(crate) private: &'a Path,
    pub(crate) confinement: Confinement,
    pub(crate) talk: &'a Talk,
    pub(crate) system: &'a SystemPrompt,
    /// Names with commas between them; empty for none.
    pub(crate) tools: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) turns_max: u32,
    /// A second line behind our own meter: the program looks at it only after each call.
    pub(crate) budget: Option<Money>,
    /// Most tokens of one answer.
    pub(crate) answer_tokens_max: u64,
    /// How often it repeats a failed model call by itself.
    pub(crate) retries: u32,
}

impl Launch<'_> {
    /// The command.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(
            &self.program.path,
            self.cwd,
            self.confinement.clone(),
            SESSION_LIMITS,
        )
        .args(&self.program.first_args)
        .args(self.args())
        .stdin(Stdin::Piped);
        command.env = self.env();
        if let Account::Key(key) = &self.program.account {
            command.secret = Some(SecretDescriptor {
                env_name: KEY_DESCRIPTOR.to_owned(),
                value: key.clone(),
            });
        }
        command
    }

    fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = [
            "-p",
            "--input-format",
            "stream-json",
            "--output-format",
            "stream-json",
            "--verbose",
            "--include-partial-messages",
            "--permission-prompt-tool",
            "stdio",
            "--permission-mode",
            "acceptEdits",
            "--await-initialize",
            "--setting-sources",
            "",
            "--strict-mcp-config",
            "--restricted",
            "--tools",
            self.tools,
        ]
        .map(OsString::from)
        .into();
        let mut add = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
        if let Some(model) = self.model {
            add("--model", model.into());
        }
        add("--max-turns", self.turns_max.to_string().into());
        if let Some(budget) = self.budget {
            add("--max-budget-usd", format!("{:.4}", budget.usd()).into());
        }
        match self.talk {
            Talk::New(id) => add("--session-id", id.into()),
            Talk::Resume(id) => add("--resume", id.into()),
        }
        match self.system {
            SystemPrompt::Appended(file) => add("--append-system-prompt-file", file.into()),
            SystemPrompt::Replaced(file) => add("--system-prompt-file", file.into()),
        }
        args
    }

    fn env(&self) -> BTreeMap<OsString, OsString> {
        let mut env = base_environment(self.environment);
        match self.program.account {
            Account::Key(_) => {
                env.insert("HOME".into(), self.private.join("home").into());
                env.insert("CLAUDE_CONFIG_DIR".into(), self.private.join("config").into());
            }
            Account::Login => env.extend(user_homes(self.environment)),
        }
        env.insert("TMPDIR".into(), self.private.join("tmp").into());
        if let Some(address) = &self.program.base_url {
            env.insert("ANTHROPIC_BASE_URL".into(), address.into());
        }
        let switches = [
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
            ("CLAUDE_ENABLE_BYTE_WATCHDOG", "1"),
            ("CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS", "60000"),
            ("API_TIMEOUT_MS", "120000"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("PYTEST_ADDOPTS", "-p no:cacheprovider"),
        ];
        env.extend(switches.map(|(name, value)| (name.into(), value.into())));
        let numbers = [
            ("CLAUDE_CODE_MAX_RETRIES", u64::from(self.retries)),
            ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", self.answer_tokens_max),
        ];
        env.extend(numbers.map(|(name, number)| (name.into(), number.to_string().into())));
        env
    }
}

fn base_environment(environment: &Environment) -> BTreeMap<OsString, OsString> {
    let mut env = environment.child_baseline();
    env.extend(toolchain_environment(&environment.search_path()));
    env
}

/// Where the user's own login is.
fn user_homes(environment: &Environment) -> BTreeMap<OsString, OsString> {
    let homes = ["HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"];
    homes
        .into_iter()
        .filter_map(|name| Some((name.into(), environment.path(name)?.into_os_string())))
        .collect()
}

/// Asks the program for its version and refuses one that is too old.
pub(crate) async fn check_version(
    spawner: &Spawner,
    program: &Program,
    environment: &Environment,
    home: &Path,
    cancel: &CancellationToken,
) -> Result<String> {
    let mut command = Command::new(&program.path, "/", Confinement::Supervised, VERSION_LIMIT)
        .args(&program.first_args)
        .arg("--version");
    command.env = base_environment(environment);
    command.env.insert("HOME".into(), home.into());
    command
        .env
        .insert("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC".into(), "1".into());
    let output = spawner.run(command, cancel).await.map_err(|error| {
        if error.code == "cancelled" {
            error
        } else {
            missing(&error.message)
        }
    })?;
    let text = output.stdout_text().trim().to_owned();
    match version(&text) {
        Some(found) if found >= VERSION_MIN => Ok(text),
        Some(_) => {
            let (major, minor, patch) = VERSION_MIN;
            let message = format!("Claude Code {text} is too old: {major}.{minor}.{patch} is needed");
            Err(Error::new(Kind::Provider, "claudeTooOld", message).hint("run `claude update`"))
        }
        None => Err(missing(&format!(
            "{} does not tell its version ({})",
            program.path.display(),
            output.end
        ))),
    }
}

/// There is no program.
pub(crate) fn missing(why: &str) -> Error {
    Error::new(
        Kind::Provider,
        "claudeMissing",
        format!("Claude Code cannot be started: {why}"),
    )
    .hint("install it (`npm install -g @anthropic-ai/claude-code`), or set `agents.developer.mode: sdk`")
}

/// `2.1.330 (Claude Code)`.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split_whitespace().next()?.split('.');
    let mut part = || {
        parts
            .next()?
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    Some((part()?, part()?, part()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        assert_eq!(version("2.1.330 (Claude Code)"), Some((2, 1, 330)));
        assert!(
            version("2.1.99").expect("read") < VERSION_MIN
                && version("2.10.0-beta.1").expect("read") > VERSION_MIN
        );
        assert_eq!(version("command not found"), None);
    }

    #[test]
    fn the_command_line_is_the_measured_one_and_the_key_is_in_neither_it_nor_the_environment() {
        let environment = Environment::from_pairs([
            ("PATH", "/usr/bin"),
            ("ANTHROPIC_API_KEY", "hunter2"),
            ("HOME", "/home/ann"),
            ("CLAUDECODE", "1"),
        ]);
        let program = Program {
            path: "/usr/bin/claude".into(),
            first_args: Vec::new(),
            account: Account::Key("hunter2".to_owned().into()),
            base_url: Some("http://127.0.0.1:9".to_owned()),
        };
        let launch = Launch {
            program: &program,
            environment: &environment,
            cwd: Path::new("/srv"),
            private: Path::new("/private"),
            confinement: Confinement::Supervised,
            talk: &Talk::New("id".to_owned()),
            system: &SystemPrompt::Appended("/private/system.md".into()),
            tools: DEVELOPER_TOOLS,
            model: Some("claude-sonnet-5"),
            turns_max: 20,
            budget: Money::from_usd(1.5),
            answer_tokens_max: 32_000,
            retries: 2,
        };
        let command = launch.command();
        let args: Vec<&str> = command
            .args
            .iter()
            .map(|arg| arg.to_str().expect("text"))
            .collect();
        assert_eq!(
            args.join(" "),
            "-p --input-format stream-json --output-format stream-json --verbose --include-partial-messages \
             --permission-prompt-tool stdio --permission-mode acceptEdits --await-initialize --setting-sources  \
             --strict-mcp-config --restricted --tools Read,Edit,Write,Bash,Grep,Glob --model claude-sonnet-5 \
             --max-turns 20 --max-budget-usd 1.5000 --session-id id --append-system-prompt-file /private/system.md"
        );
        assert!(
            !format!("{:?}", command.env).contains("hunter2")
                && !command.env.contains_key(std::ffi::OsStr::new("CLAUDECODE"))
        );
        assert_eq!(
            command.env.get(std::ffi::OsStr::new("HOME")),
            Some(&OsString::from("/private/home"))
        );
        assert!(command.secret.is_some());

        let own = Program {
            account: Account::Login,
            ..program.clone()
        };
        let command = Launch {
            program: &own,
            ..launch
        }
        .command();
        assert_eq!(
            command.env.get(std::ffi::OsStr::new("HOME")),
            Some(&OsString::from("/home/ann"))
        );
        assert!(command.secret.is_none() && !format!("{:?}", command.env).contains("hunter2"));
    }
}
