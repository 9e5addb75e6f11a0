//! Signals as things to read instead of interruptions, and the lifeline to the parent.

use std::io;
use std::time::Duration;

use rustix::process::Pid;

/// What woke the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// The parent is gone: everything ends now.
    ParentGone,
    /// The server asks for the death of the whole tree (SIGUSR1).
    KillTree,
    /// To be passed on to the program (SIGINT, SIGTERM, SIGHUP).
    PassOn(i32),
    /// Some child may have ended, or it is time to look again.
    Look,
}

/// Held back: SIGINT, SIGTERM and SIGHUP are passed on, SIGUSR1 kills, SIGCHLD makes us look.
const HELD: [i32; 5] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGCHLD,
];

fn wake_for(signal: i32) -> Wake {
    match signal {
        libc::SIGUSR1 => Wake::KillTree,
        libc::SIGINT | libc::SIGTERM | libc::SIGHUP => Wake::PassOn(signal),
        _ => Wake::Look,
    }
}

#[expect(unsafe_code, reason = "signal masks have no safe interface")]
fn held_set() -> libc::sigset_t {
    // SAFETY: a signal set is plain data for which all zeroes is a value; `sigemptyset` and `sigaddset`
    // get a valid pointer to it and constants of this platform.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in HELD {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

#[expect(unsafe_code, reason = "signal masks have no safe interface")]
fn hold_back(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is an initialised signal set; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Gives the program signals as they come out of the box: nothing held back, nothing ignored (shells
/// and editors pass ignored signals on to what they start). Runs between fork and exec.
#[expect(unsafe_code, reason = "signal masks and dispositions have no safe interface")]
pub(super) fn reset() -> io::Result<()> {
    /// The signals before the real-time ones.
    const NUMBERS: std::ops::RangeInclusive<i32> = 1..=31;
    // SAFETY: restoring default actions touches no memory of ours, numbers that cannot be changed make the
    // call fail without effect, and the set is initialised before it is read.
    let outcome = unsafe {
        for number in NUMBERS {
            libc::signal(number, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(outcome))
    }
}

/// Undoes the one inherited disposition under which nobody can wait for a child: whoever ignores SIGCHLD
/// passes that on to what it starts, and the kernel then throws exit codes away. Other ignored signals
/// stay ignored: `nohup` and background shells mean them.
#[expect(unsafe_code, reason = "signal dispositions have no safe interface")]
pub(super) fn hear_of_children() {
    // SAFETY: restoring the default action of a signal touches no memory of ours.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// Ends this process by the signal that ended the program, so that whoever waits sees the same end.
#[expect(unsafe_code, reason = "signal dispositions have no safe interface")]
pub(super) fn end_by(signal: i32) {
    // SAFETY: restoring the default action of a signal and unblocking it touches no memory of ours
    // except the local set, which is initialised before it is used. An invalid number makes the calls
    // fail without effect.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{FromRawFd, OwnedFd};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, getppid, pidfd_open};

    use super::{Duration, Pid, Wake, held_set, hold_back, io, wake_for};

    /// The held signals, as a descriptor.
    #[derive(Debug)]
    pub(in super::super) struct Signals(OwnedFd);

    impl Signals {
        #[expect(unsafe_code, reason = "signalfd has no safe interface")]
        pub(in super::super) fn hold() -> io::Result<Self> {
            let set = held_set();
            hold_back(&set)?;
            // SAFETY: `set` is an initialised signal set; -1 asks for a new descriptor.
            let raw = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the descriptor was just made for us and nobody else knows it.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
        }

        fn next(&self) -> Option<Wake> {
            let mut information = [0_u8; size_of::<libc::signalfd_siginfo>()];
            rustix::io::read(&self.0, &mut information).ok()?;
            let number = information
                .first_chunk::<4>()
                .map(|bytes| u32::from_ne_bytes(*bytes))?;
            i32::try_from(number).ok().map(wake_for)
        }
    }

    /// Becomes readable when the parent dies, however it dies.
    #[derive(Debug)]
    pub(in super::super) struct Lifeline(OwnedFd);

    impl Lifeline {
        /// To the parent, which must be this process; an error if it is gone already.
        pub(in super::super) fn to(parent: Pid) -> io::Result<Self> {
            let descriptor = pidfd_open(parent, PidfdFlags::empty())?;
            // Only after the descriptor is open does this prove that it is the right process.
            if getppid() != Some(parent) {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the server is gone"));
            }
            Ok(Self(descriptor))
        }
    }

    /// Waits for the next thing to do.
    pub(in super::super) fn wait(signals: &Signals, lifeline: &Lifeline, at_most: Duration) -> Wake {
        let mut watched = [
            PollFd::new(&lifeline.0, PollFlags::IN),
            PollFd::new(&signals.0, PollFlags::IN),
        ];
        let timeout = Timespec::try_from(at_most).ok();
        if poll(&mut watched, timeout.as_ref()).is_err() {
            return Wake::Look;
        }
        let [parent, pending] = watched;
        if !parent.revents().is_empty() {
            return Wake::ParentGone;
        }
        if pending.revents().is_empty() {
            Wake::Look
        } else {
            signals.next().unwrap_or(Wake::Look)
        }
    }
}

/// Without descriptors for signals and processes: look often.
#[cfg(any(not(target_os = "linux"), test))]
mod polling {
    use rustix::process::getppid;

    use super::{Duration, HELD, Pid, Wake, held_set, hold_back, io, wake_for};

    /// How often.
    const INTERVAL: Duration = Duration::from_millis(50);

    #[derive(Debug)]
    pub(in super::super) struct Signals(());

    impl Signals {
        pub(in super::super) fn hold() -> io::Result<Self> {
            hold_back(&held_set())?;
            Ok(Self(()))
        }

        #[expect(unsafe_code, reason = "pending signals have no safe interface")]
        fn next() -> Option<Wake> {
            // SAFETY: both sets are plain data that is initialised before it is read; `sigwait` is called
            // only for a signal that is pending and held back, so it returns at once.
            unsafe {
                let mut pending: libc::sigset_t = std::mem::zeroed();
                if libc::sigpending(&raw mut pending) != 0 {
                    return None;
                }
                let signal = HELD
                    .into_iter()
                    .find(|signal| libc::sigismember(&raw const pending, *signal) == 1)?;
                let mut one: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&raw mut one);
                libc::sigaddset(&raw mut one, signal);
                let mut taken = 0;
                libc::sigwait(&raw const one, &raw mut taken);
                Some(wake_for(taken))
            }
        }
    }

    #[derive(Debug)]
    pub(in super::super) struct Lifeline(Pid);

    impl Lifeline {
        pub(in super::super) fn to(parent: Pid) -> io::Result<Self> {
            if getppid() == Some(parent) {
                Ok(Self(parent))
            } else {
                Err(io::Error::new(io::ErrorKind::NotFound, "the server is gone"))
            }
        }
    }

    pub(in super::super) fn wait(_signals: &Signals, lifeline: &Lifeline, at_most: Duration) -> Wake {
        if getppid() != Some(lifeline.0) {
            return Wake::ParentGone;
        }
        Signals::next().unwrap_or_else(|| {
            std::thread::sleep(at_most.min(INTERVAL));
            Wake::Look
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_held_signal_is_read_and_a_wrong_parent_is_gone() {
            let signals = Signals::hold().unwrap();
            let parent = getppid().unwrap();
            let lifeline = Lifeline::to(parent).unwrap();
            // Only this thread holds it back and only this thread gets it.
            #[expect(unsafe_code, reason = "to send a signal to one thread")]
            // SAFETY: the thread is the calling one.
            unsafe {
                libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1);
            }
            assert_eq!(wait(&signals, &lifeline, Duration::ZERO), Wake::KillTree);
            assert_eq!(wait(&signals, &lifeline, Duration::ZERO), Wake::Look);
            assert!(Lifeline::to(rustix::process::getpid()).is_err());
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{Lifeline, Signals, wait};
#[cfg(not(target_os = "linux"))]
pub(super) use polling::{Lifeline, Signals, wait};
