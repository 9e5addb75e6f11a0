//! Starts the program as the shim's child.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::io::FdFlags;
use rustix::process::Pid;

use super::confine::Confinement;
use super::signals;
use crate::process::find::is_executable;
use crate::process::wire::{Input, RawText, SECRET_BYTES_MAX, Secret, Specification};
use crate::{Error, Kind, Result};

/// What can be said before anything is started.
pub(super) fn check(specification: &Specification) -> Result<()> {
    let program = path(&specification.program);
    if !program.is_absolute() {
        return Err(Error::internal(format!(
            "{}: a program without an absolute path",
            program.display()
        )));
    }
    if !program.exists() {
        return Err(not_started(&program, "there is no such file"));
    }
    if !is_executable(&program) {
        return Err(not_started(&program, "it is not an executable file"));
    }
    let cwd = path(&specification.cwd);
    if !cwd.is_dir() {
        return Err(not_started(
            &program,
            &format!("its working directory {} is not there", cwd.display()),
        ));
    }
    Ok(())
}

fn not_started(program: &Path, why: &str) -> Error {
    Error::new(
        Kind::Io,
        "programNotStarted",
        format!("{} cannot be started: {why}", program.display()),
    )
}

fn path(text: &RawText) -> PathBuf {
    OsString::from(text.clone()).into()
}

/// Starts the program, confined, and lets go of everything that is only for it.
pub(super) fn start(specification: Specification, confinement: Confinement) -> Result<Pid> {
    let Specification {
        program,
        args,
        env,
        cwd,
        stdin,
        secret,
        ..
    } = specification;
    let program: PathBuf = OsString::from(program).into();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the module that starts children"
    )]
    let mut command = std::process::Command::new(&program);
    command
        .args(args.into_iter().map(OsString::from))
        .env_clear()
        .envs(
            env.into_iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        )
        .current_dir(OsString::from(cwd))
        .stdin(match stdin {
            Input::Null => Stdio::null(),
            Input::Rest => Stdio::inherit(),
        })
        .process_group(0);
    let descriptor = secret.map(secret_pipe).transpose()?;
    if let Some((name, pipe)) = &descriptor {
        command.env(name, pipe.as_raw_fd().to_string());
    }
    in_the_child(&mut command, descriptor.map(|(_, pipe)| pipe), confinement);
    let child = command.spawn().map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::PermissionDenied {
            " (inside the sandbox it, or the interpreter that it names, is not readable)"
        } else {
            ""
        };
        not_started(&program, &format!("{error}{hint}"))
    })?;
    let pid = Pid::from_child(&child);
    let_go();
    Ok(pid)
}

/// A pipe that holds the secret and is at its end after it.
fn secret_pipe(secret: Secret) -> Result<(String, OwnedFd)> {
    let failed = |error: std::io::Error| Error::io("the pipe for the program's key", &error);
    if secret.value.len() > SECRET_BYTES_MAX {
        return Err(Error::internal("a secret is too long for a pipe"));
    }
    let (reader, mut writer) = std::io::pipe().map_err(failed)?;
    writer.write_all(secret.value.as_bytes()).map_err(failed)?;
    Ok((secret.env_name, reader.into()))
}

/// What happens between fork and exec.
#[expect(unsafe_code, reason = "the one step that belongs between fork and exec")]
fn in_the_child(command: &mut std::process::Command, secret: Option<OwnedFd>, confinement: Confinement) {
    let shim = rustix::process::getpid();
    let mut confinement = Some(confinement);
    let prepare = move || -> std::io::Result<()> {
        // If somebody kills the shim itself, at least the program goes with it.
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if rustix::process::getppid() != Some(shim) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        signals::reset()?;
        if let Some(pipe) = &secret {
            rustix::io::fcntl_setfd(pipe, FdFlags::empty())?;
        }
        confinement.take().map_or(Ok(()), Confinement::enforce)
    };
    // SAFETY: the shim has one thread, so after fork no lock (the allocator's included) can be held by
    // a thread that does not exist in the child; the closure otherwise only makes system calls on
    // values that were made before.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// The pipes are the program's now: as long as the shim held them too, nobody would see their end.
fn let_go() {
    let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") else {
        return;
    };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}
