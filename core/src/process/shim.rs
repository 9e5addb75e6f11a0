//! The second mode of our own executable: it stands between the server and one program, owns the
//! program's whole tree, and confines the program.
//!
//! Life of a shim: read the specification from stdin (not a byte more) → own session, reaper of all
//! orphans below, lifeline to the server → prepare confinement → report → start the program, confined →
//! watch: a signal is passed on, the server's death or SIGUSR1 kills the tree → when the program ends,
//! kill what is left of its tree and end in the same way. The shim itself is never confined, so that it
//! stays able to kill. It has one thread; nothing here may start another.

#[cfg(target_os = "linux")]
mod capabilities;
mod confine;
mod launch;
#[cfg(target_os = "linux")]
mod seccomp;
mod signals;
mod supervise;
#[cfg(target_os = "linux")]
mod toolchain;

use std::io::Write;
use std::process::ExitCode;

use secrecy::zeroize::Zeroizing;

use super::wire::{self, Report, Specification};
use crate::{Error, Kind, Result};

/// First argument that puts the executable into this mode.
pub const SHIM_ARGUMENT: &str = "__shim";

/// Exit code of a shim that was started by hand or never understood what to do.
const EXIT_USAGE: u8 = 2;

/// Makes this process unreadable for others of the same user (no core dumps, no attaching, `/proc`
/// entries that belong to root), keeps descriptors that it was born with from its children, and hears of
/// their ends. To be called before any child is started.
pub fn harden_self() {
    signals::hear_of_children();
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "this process stays readable for others of the same user");
        }
        keep_descriptors();
    }
}

/// Editors leak descriptors into what they start; ours are made to close on exec anyway.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "close_range has no safe interface")]
fn keep_descriptors() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: with this flag nothing is closed now; descriptors only get the mark "close on exec". An old
    // kernel answers with an error, which changes nothing.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// The shim's main function. The executable calls it first when its first argument is
/// [`SHIM_ARGUMENT`], before it starts any thread.
pub fn shim_main() -> ExitCode {
    harden_self();
    // Signals are held back from here on: none may end the shim while it has a tree to kill.
    let signals = match signals::Signals::hold() {
        Ok(signals) => signals,
        Err(error) => return refuse(&Error::io("the shim cannot watch signals", &error)),
    };
    let specification = match read_specification() {
        Ok(specification) => specification,
        Err(error) => return refuse(&error),
    };
    supervise::run(specification, &signals)
}

fn read_specification() -> Result<Specification> {
    let mut prefix = [0_u8; wire::PREFIX_BYTES];
    read_exactly(&mut prefix)?;
    let length = wire::announced(prefix, wire::SPECIFICATION_BYTES_MAX)
        .ok_or_else(|| Error::internal("a process specification is too large"))?;
    let mut json = Zeroizing::new(vec![0_u8; length]);
    read_exactly(&mut json)?;
    wire::parse(&json)
}

/// Reads from stdin past every buffer: what follows belongs to the program.
fn read_exactly(mut buffer: &mut [u8]) -> Result<()> {
    while !buffer.is_empty() {
        match rustix::io::read(rustix::stdio::stdin(), &mut *buffer) {
            Ok(0) => {
                return Err(
                    Error::new(Kind::Usage, "shimInput", "the shim's input ended early")
                        .hint("this mode is for clode-ls itself: it is not started by hand"),
                );
            }
            Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::io("the shim's input", &error.into())),
        }
    }
    Ok(())
}

/// Writes one report to stderr, `mark` before it.
fn report(mark: &str, report: &Report) {
    if let Ok(frame) = wire::frame(report) {
        let mut bytes = mark.as_bytes().to_vec();
        bytes.extend_from_slice(&frame);
        // A server that is gone is noticed by the lifeline.
        let _ = std::io::stderr().write_all(&bytes);
    }
}

/// Says in the first report why nothing was started.
fn refuse(error: &Error) -> ExitCode {
    report("", &Report::failed(&error.code, &error.message));
    ExitCode::from(EXIT_USAGE)
}
