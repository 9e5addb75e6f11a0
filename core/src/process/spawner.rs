//! Starts children, directly or through the shim.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::child::{AFTER_END_LIMIT, Child};
use super::command::{Command, Confinement, Output, SandboxTier, Stdin};
use super::output::{Activity, Shared, drain};
use super::shim::SHIM_ARGUMENT;
use super::warden::{Leash, Order, Reach};
use super::wire::{self, Input, RawText, Report, Resources, Sandbox, Secret, Specification};
use super::{probe, warden};
use crate::{Error, Kind, Result, id};

/// How long a shim may need to say that it is ready; generous, for a machine under load.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Open files of one process beneath the shim.
const OPEN_FILES_MAX: u64 = 65_536;
/// Largest file that a sandboxed program may write.
const SANDBOXED_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Random bytes of the mark of a late report.
const MARK_BYTES: usize = 16;

/// Starts children. A clone is cheap and shares the probe's answer.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shim: PathBuf,
    protected: Vec<PathBuf>,
    tier: OnceCell<SandboxTier>,
}

/// A child that was started, before somebody watches it. Dropped, it is killed.
pub(super) struct Started {
    pub leash: Leash,
    pub stdin: Option<ChildStdin>,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
    pub mark: Option<String>,
    pub landlock_abi: Option<u8>,
}

impl Spawner {
    /// `shim` is our own executable, which enters the shim's mode with [`SHIM_ARGUMENT`].
    pub fn new(shim: PathBuf) -> Self {
        Self::protecting(shim, Vec::new())
    }

    /// Like [`Spawner::new`], and no folder that contains one of `protected` (state, configuration) is
    /// taken for a toolchain that sandboxed programs may read.
    pub fn protecting(shim: PathBuf, protected: Vec<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            shim,
            protected,
            tier: OnceCell::new(),
        }))
    }

    /// The running executable is the shim. On Linux it is reached so that an update which replaces its
    /// file does not matter: the shim is always of the same version.
    pub fn from_own_executable(protected: Vec<PathBuf>) -> Result<Self> {
        let shim = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().map_err(|error| Error::io("the path of this program", &error))?
        };
        Ok(Self::protecting(shim, protected))
    }

    /// What the sandbox is worth on this machine: tried out once, then remembered.
    pub async fn probe(&self) -> SandboxTier {
        self.0.tier.get_or_init(|| probe::try_out(self)).await.clone()
    }

    /// Runs a program to its end. `cancel` ends it, and with it its whole tree ([`super::End::Cancelled`];
    /// an error if it had not started yet). [`Stdin::Piped`] is an empty input here.
    pub async fn run(&self, mut command: Command, cancel: &CancellationToken) -> Result<Output> {
        let begun = Instant::now();
        let limits = command.limits;
        let bytes = take_bytes(&mut command).unwrap_or_default();
        let started = tokio::select! {
            started = self.start(&command) => started?,
            () = cancel.cancelled() => return Err(Error::cancelled()),
        };
        let activity = Activity::new();
        let (stdout, stderr) = (
            Shared::new(limits.output_bytes_max),
            stderr_buffer(limits.output_bytes_max),
        );
        let mut drains = [
            drain(started.stdout, stdout.clone(), activity.clone()),
            drain(started.stderr, stderr.clone(), activity.clone()),
        ];
        let feeding = started.stdin.map(|pipe| feed(pipe, bytes));
        let (orders, inbox) = tokio::sync::mpsc::channel(warden::ORDERS_MAX);
        let (sender, mut receiver) = tokio::sync::watch::channel(None);
        tokio::spawn(warden::guard(started.leash, limits, activity, inbox, sender));
        let waiting = warden::end_of(&mut receiver);
        tokio::pin!(waiting);
        let end = tokio::select! {
            end = &mut waiting => end?,
            () = cancel.cancelled() => {
                let _ = orders.try_send(Order::Stop);
                waiting.await?
            }
        };
        let held_open = finish(&mut drains).await == Pipes::HeldOpen;
        if let Some(feeding) = feeding {
            feeding.abort();
        }
        let (mut stdout, mut stderr) = (stdout.lock(), stderr.lock());
        if let Some(error) = started
            .mark
            .and_then(|mark| wire::late_failure(stderr.head(), &mark))
        {
            return Err(error);
        }
        Ok(Output {
            end,
            truncated: stdout.truncated() || stderr.truncated(),
            held_open,
            stdout: stdout.take(),
            stderr: stderr.take(),
            duration: begun.elapsed(),
        })
    }

    /// Starts a program to talk to. Its limits hold whether or not somebody polls it; dropped, it is
    /// killed with its whole tree.
    pub async fn spawn(&self, mut command: Command) -> Result<Child> {
        let bytes = take_bytes(&mut command);
        let mut started = self.start(&command).await?;
        if let Some(bytes) = bytes {
            // Ends with the pipe, which ends with the child.
            let _ = started.stdin.take().map(|pipe| feed(pipe, bytes));
        }
        Ok(Child::watched(started, command.limits))
    }

    async fn start(&self, command: &Command) -> Result<Started> {
        if !command.program.is_absolute() {
            let name = command.program.display();
            return Err(Error::internal(format!(
                "{name}: programs are started by absolute path"
            )));
        }
        match &command.confinement {
            Confinement::Direct => start_directly(command),
            Confinement::Supervised | Confinement::Sandboxed(_) => {
                timeout(START_LIMIT, self.start_through_shim(command))
                    .await
                    .unwrap_or_else(|_| {
                        Err(
                            Error::new(Kind::Io, "shimSilent", "the process supervisor does not answer")
                                .hint("the machine may be overloaded: try again"),
                        )
                    })
            }
        }
    }

    async fn start_through_shim(&self, command: &Command) -> Result<Started> {
        let mark = id::random_hex(MARK_BYTES)?;
        let frame = wire::frame(&self.specification(command, mark.clone()))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the module that starts children"
        )]
        let mut shim = tokio::process::Command::new(&self.0.shim);
        // Not killed when dropped: killing the shim would set its tree free. The leash does it right.
        shim.arg(SHIM_ARGUMENT).env_clear().current_dir("/");
        shim.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = shim.spawn().map_err(|error| {
            Error::io(
                format!("{} cannot be started as supervisor", self.0.shim.display()),
                &error,
            )
        })?;
        let mut started = Started::new(Leash::new(child, Reach::Shim), Some(mark))?;
        let report = match started.stdin.as_mut() {
            Some(pipe) => hand_over(pipe, &frame, &mut started.stderr).await?,
            None => return Err(Error::internal("a child without its pipes")),
        };
        if matches!(command.stdin, Stdin::Null) {
            started.stdin = None;
        }
        match report {
            Report::Ready { landlock_abi } => {
                started.landlock_abi = landlock_abi;
                tracing::debug!(program = %command.program.display(), ?landlock_abi, "started");
                Ok(started)
            }
            failed @ Report::Failed { .. } => Err(failed
                .into_error()
                .unwrap_or_else(|| Error::internal("a report without a reason"))),
        }
    }

    fn specification(&self, command: &Command, mark: String) -> Specification {
        let sandbox = match &command.confinement {
            Confinement::Sandboxed(policy) => Some(Sandbox {
                writable: raw(&policy.writable),
                readable: raw(&policy.readable),
                protected: raw(&self.0.protected),
                network: policy.network,
            }),
            Confinement::Direct | Confinement::Supervised => None,
        };
        Specification {
            program: command.program.as_os_str().into(),
            args: command
                .args
                .iter()
                .map(|arg| RawText::from(arg.as_os_str()))
                .collect(),
            env: command
                .env
                .iter()
                .map(|(name, value)| (RawText::from(name.as_os_str()), RawText::from(value.as_os_str())))
                .collect(),
            cwd: command.cwd.as_os_str().into(),
            stdin: if matches!(command.stdin, Stdin::Null) {
                Input::Null
            } else {
                Input::Rest
            },
            parent: std::process::id(),
            mark,
            resources: Resources {
                open_files: OPEN_FILES_MAX,
                file_bytes: sandbox.is_some().then_some(SANDBOXED_FILE_BYTES_MAX),
            },
            sandbox,
            secret: command.secret.as_ref().map(|secret| Secret {
                env_name: secret.env_name.clone(),
                value: Zeroizing::new(secret.value.expose_secret().to_owned()),
            }),
        }
    }
}

impl Started {
    fn new(mut leash: Leash, mark: Option<String>) -> Result<Self> {
        let child = leash.child();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        match (stdout, stderr) {
            (Some(stdout), Some(stderr)) => Ok(Self {
                leash,
                stdin,
                stdout,
                stderr,
                mark,
                landlock_abi: None,
            }),
            _ => Err(Error::internal("a child without its pipes")),
        }
    }
}

fn start_directly(command: &Command) -> Result<Started> {
    if command.secret.is_some() {
        return Err(Error::internal("a secret for a program that is started directly"));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the module that starts children"
    )]
    let mut direct = tokio::process::Command::new(&command.program);
    direct
        .args(&command.args)
        .env_clear()
        .envs(&command.env)
        .current_dir(&command.cwd);
    direct.process_group(0).kill_on_drop(true);
    direct.stdout(Stdio::piped()).stderr(Stdio::piped());
    direct.stdin(if matches!(command.stdin, Stdin::Null) {
        Stdio::null()
    } else {
        Stdio::piped()
    });
    let child = direct.spawn().map_err(|error| {
        let message = format!("{} cannot be started: {error}", command.program.display());
        Error::new(Kind::Io, "programNotStarted", message)
    })?;
    Started::new(Leash::new(child, Reach::Direct), None)
}

/// Writes the specification while the shim's answer is awaited: an early end is told on stderr.
async fn hand_over(pipe: &mut ChildStdin, frame: &[u8], stderr: &mut ChildStderr) -> Result<Report> {
    let (_, answer) = tokio::join!(pipe.write_all(frame), read_report(stderr));
    answer
}

async fn read_report(stderr: &mut ChildStderr) -> Result<Report> {
    let unusable = |error: std::io::Error| {
        Error::new(
            Kind::Io,
            "shimFailed",
            format!("the process supervisor ended early: {error}"),
        )
    };
    let mut prefix = [0_u8; wire::PREFIX_BYTES];
    stderr.read_exact(&mut prefix).await.map_err(unusable)?;
    let length = wire::announced(prefix, wire::REPORT_BYTES_MAX).ok_or_else(|| {
        Error::new(
            Kind::Io,
            "shimFailed",
            "what was started as process supervisor is something else",
        )
    })?;
    let mut json = vec![0_u8; length];
    stderr.read_exact(&mut json).await.map_err(unusable)?;
    wire::parse(&json)
}

/// A late report must fit, whatever the caller keeps.
pub(super) fn stderr_buffer(bytes_max: usize) -> Shared {
    Shared::new(bytes_max.max(4 * wire::REPORT_BYTES_MAX))
}

/// How a program left its pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipes {
    /// Everything was read.
    Read,
    /// Somebody still holds one.
    HeldOpen,
}

/// After the end of the program: what is in the pipes, but no waiting for who holds them open.
pub(super) async fn finish(drains: &mut [tokio::task::JoinHandle<()>]) -> Pipes {
    let until = Instant::now() + AFTER_END_LIMIT;
    let mut pipes = Pipes::Read;
    for drain in drains {
        if tokio::time::timeout_at(until, &mut *drain).await.is_err() {
            drain.abort();
            pipes = Pipes::HeldOpen;
        }
    }
    pipes
}

/// The bytes to feed, moved out: some may be large.
fn take_bytes(command: &mut Command) -> Option<Vec<u8>> {
    match &mut command.stdin {
        Stdin::Bytes(bytes) => {
            let bytes = std::mem::take(bytes);
            command.stdin = Stdin::Piped;
            Some(bytes)
        }
        Stdin::Null | Stdin::Piped => None,
    }
}

/// Writes everything, then closes. A program that does not read it all is free to do so.
fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let _ = pipe.write_all(&bytes).await;
        let _ = pipe.shutdown().await;
    })
}

fn raw(paths: &[PathBuf]) -> Vec<RawText> {
    paths.iter().map(|path| path.as_os_str().into()).collect()
}
