//! The words of this room: what to start, within which limits, and how it ended.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// A program to start. Nothing is inherited: the environment is complete as it stands here.
#[derive(Clone)]
pub struct Command {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// What it reads.
    pub stdin: Stdin,
    /// What it is kept from.
    pub confinement: Confinement,
    /// How long it may run, how much of what it writes is kept.
    pub limits: Limits,
    /// A secret that it gets through a descriptor; needs the shim.
    pub secret: Option<SecretDescriptor>,
}

impl Command {
    /// This program with an empty environment, without input, confined as told.
    pub fn new(
        program: impl Into<PathBuf>,
        cwd: impl Into<PathBuf>,
        confinement: Confinement,
        limits: Limits,
    ) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            stdin: Stdin::Null,
            confinement,
            limits,
            secret: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets what it reads.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }
}

/// Environment values stay out of logs: only their names are shown.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .field("stdin", &self.stdin)
            .field("confinement", &self.confinement)
            .field("limits", &self.limits)
            .field("secret", &self.secret.as_ref().map(|secret| &secret.env_name))
            .finish()
    }
}

/// What a program reads.
#[derive(Clone)]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// What [`super::ChildInput`] writes.
    Piped,
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Piped => f.write_str("Piped"),
        }
    }
}

/// What a program is kept from.
#[derive(Debug, Clone)]
pub enum Confinement {
    /// Our own hardened git and probes: started directly, no shim.
    Direct,
    /// Through the shim, which ends the whole tree; no limits on files. For programs that the user
    /// configured.
    Supervised,
    /// Through the shim, with landlock and seccomp. For everything that runs what others wrote.
    Sandboxed(SandboxPolicy),
}

/// What a sandboxed program may reach, beside the system and toolchain roots that it may read.
#[derive(Debug, Clone, Default)]
pub struct SandboxPolicy {
    /// Folders (or files) that it may change; each must exist.
    pub writable: Vec<PathBuf>,
    /// Folders (or files) that it may read and run in addition; those that do not exist are skipped.
    pub readable: Vec<PathBuf>,
    /// Whom it may talk to.
    pub network: Network,
}

/// Whom a sandboxed program may talk to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Network {
    /// Nobody: no socket can be made.
    #[default]
    None,
    /// TCP to this port only (the gateway on 127.0.0.1); no UDP, no listening, no Unix sockets.
    Loopback {
        /// The port.
        port: u16,
    },
    /// Any TCP and UDP peer; no Unix sockets.
    Full,
}

/// How long a program may run, how much of what it writes is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start to the end.
    pub timeout: Duration,
    /// Longest silence on both pipes (writing to the program counts as a sound).
    pub idle: Option<Duration>,
    /// Kept of each of stdout and stderr, half from the head, half from the tail (of stderr always some
    /// KiB, for error messages). Of a [`super::Child`] only stderr is kept.
    pub output_bytes_max: usize,
}

impl Limits {
    /// This total time, no limit on silence, so many bytes of each pipe.
    pub const fn new(timeout: Duration, output_bytes_max: usize) -> Self {
        Self {
            timeout,
            idle: None,
            output_bytes_max,
        }
    }
}

/// A secret for one program: in no environment and no argument list, and not inherited any further
/// by programs that close what they do not know.
#[derive(Debug, Clone)]
pub struct SecretDescriptor {
    /// The variable that tells the program the number of the descriptor to read.
    pub env_name: String,
    /// What it reads there.
    pub value: SecretString,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which somebody else sent.
    Signalled(i32),
    /// By us, because of [`Limits`].
    TimedOut,
    /// By us, because somebody asked to stop.
    Cancelled,
}

impl End {
    /// Exit code 0.
    pub const fn success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// A program that ran to its end.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub end: End,
    /// What it wrote to stdout, within the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, within the limit.
    pub stderr: Vec<u8>,
    /// Whether the middle of one of them was left out (a line says so there).
    pub truncated: bool,
    /// Whether somebody still held one of them open after the end: what was written there later, or was
    /// not read by then, is missing.
    pub held_open: bool,
    /// From start to end.
    pub duration: Duration,
}

impl Output {
    /// Stdout as text; what is not UTF-8 becomes U+FFFD.
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Stderr as text; what is not UTF-8 becomes U+FFFD.
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

/// What stands between a sandboxed program and the rest of the machine, as probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SandboxTier {
    /// Landlock for files, TCP and signals; seccomp for the rest.
    Landlock {
        /// The kernel's version of the landlock interface.
        abi: u8,
    },
    /// Nothing that can be relied on.
    None {
        /// Why.
        reason: String,
    },
}

impl SandboxTier {
    /// Whether a sandboxed program is really kept from files that are not its own.
    pub const fn confines_files(&self) -> bool {
        matches!(self, Self::Landlock { .. })
    }
}

impl fmt::Display for SandboxTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Landlock { abi } => write!(f, "landlock (ABI {abi})"),
            Self::None { reason } => write!(f, "none: {reason}"),
        }
    }
}
