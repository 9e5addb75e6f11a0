//! The shim's work: prepare, start, watch, kill, end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use super::confine::Confinement;
use super::launch;
use super::signals::{self, Lifeline, Signals, Wake};
use super::{refuse, report};
use crate::process::tree;
use crate::process::wire::{self, Report, Resources, Specification};
use crate::{Error, Result};

/// How long a tree may resist SIGKILL (uninterruptible sleep, foreign users) before the shim gives up.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks while a tree dies.
const KILL_INTERVAL: Duration = Duration::from_millis(2);
/// Looks at its children at least so often, whatever signals were merged.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Added to a signal's number to make an exit code.
const SIGNAL_EXIT_BASE: i32 = 128;

/// Runs one specification to its end.
pub(super) fn run(specification: Specification, signals: &Signals) -> ExitCode {
    let prepared = prepare(&specification);
    let (lifeline, confinement) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return refuse(&error),
    };
    let mark = specification.mark.clone();
    report(
        "",
        &Report::Ready {
            landlock_abi: confinement.landlock_abi(),
        },
    );
    let program = match launch::start(specification, confinement) {
        Ok(program) => program,
        Err(error) => {
            report(&mark, &Report::failed(&error.code, &error.message));
            return ExitCode::from(wire::EXIT_NOT_STARTED);
        }
    };
    let end = watch(program, signals, &lifeline);
    kill_tree();
    match end {
        Some(status) => end_like(status),
        None => ExitCode::FAILURE,
    }
}

fn prepare(specification: &Specification) -> Result<(Lifeline, Confinement)> {
    // Fails only for a process that leads a group already, which changes nothing for us.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| Error::io("the shim cannot become the reaper of its tree", &error.into()))?;
    let parent = i32::try_from(specification.parent)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| Error::internal("a process specification without a parent"))?;
    let lifeline =
        Lifeline::to(parent).map_err(|error| Error::io("the shim's lifeline to the server", &error))?;
    limit(specification.resources)?;
    launch::check(specification)?;
    let confinement = Confinement::prepare(specification)?;
    Ok((lifeline, confinement))
}

/// Resource limits, inherited by the tree. Not the number of processes: that counts per user.
fn limit(resources: Resources) -> Result<()> {
    let set = |resource, name: &str, wanted: u64| {
        let hard = rustix::process::getrlimit(resource).maximum;
        let value = Some(hard.map_or(wanted, |hard| hard.min(wanted)));
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: value,
                maximum: value,
            },
        )
        .map_err(|error| Error::io(format!("resource limit {name}"), &error.into()))
    };
    set(Resource::Core, "core", 0)?;
    set(Resource::Nofile, "open files", resources.open_files)?;
    resources
        .file_bytes
        .map_or(Ok(()), |bytes| set(Resource::Fsize, "file size", bytes))
}

/// Until the program ends (its status), or everything has to (none).
fn watch(program: Pid, signals: &Signals, lifeline: &Lifeline) -> Option<WaitStatus> {
    loop {
        match signals::wait(signals, lifeline, LOOK_INTERVAL) {
            Wake::ParentGone => return None,
            Wake::KillTree => {
                let _ = rustix::process::kill_process(program, Signal::KILL);
            }
            Wake::PassOn(number) => {
                // Like a terminal: to the program's group. Not to ours, or it would come back.
                if let Some(signal) = Signal::from_named_raw(number) {
                    let _ = rustix::process::kill_process_group(program, signal);
                }
            }
            Wake::Look => {}
        }
        if let Reaped::Program(status) = reap(Some(program)) {
            // Its group may be out of reach of the walk where there are no child lists.
            let _ = rustix::process::kill_process_group(program, Signal::KILL);
            return Some(status);
        }
    }
}

enum Reaped {
    /// The program itself.
    Program(WaitStatus),
    /// Nobody is left.
    Nobody,
    /// The others still run.
    Others,
}

/// Takes the status of every child that ended.
fn reap(program: Option<Pid>) -> Reaped {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid) == program => return Reaped::Program(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Reaped::Others,
            Err(_) => return Reaped::Nobody,
        }
    }
}

/// Kills until no child is left: as the reaper we are the parent of every orphan.
fn kill_tree() {
    let started = Instant::now();
    loop {
        tree::kill_descendants(rustix::process::getpid());
        if matches!(reap(None), Reaped::Nobody) || started.elapsed() >= KILL_LIMIT {
            return;
        }
        std::thread::sleep(KILL_INTERVAL);
    }
}

fn end_like(status: WaitStatus) -> ExitCode {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => {
            signals::end_by(signal);
            SIGNAL_EXIT_BASE + signal
        }
        (None, None) => 1,
    };
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}
