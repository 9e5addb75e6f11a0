//! Watches the editor's process: a server whose parent died has nobody to serve.

use std::io;
use std::thread;

use waitpid_any::WaitHandle;

/// Calls `died` on a thread of its own once the process has ended, at once if it is gone already. A process
/// that cannot be watched counts as alive: the end of the input tells then.
pub(crate) fn watch(process_id: i64, died: impl FnOnce() + Send + 'static) {
    let Ok(process_id) = i32::try_from(process_id) else {
        return;
    };
    if process_id <= 0 {
        return;
    }
    let watching = thread::Builder::new()
        .name("lsp-parent".into())
        .spawn(move || match wait(process_id) {
            Ok(()) => died(),
            Err(error) => tracing::warn!(process_id, %error, "the editor's process cannot be watched"),
        });
    if let Err(error) = watching {
        tracing::warn!(process_id, %error, "the editor's process cannot be watched");
    }
}

fn wait(process_id: i32) -> io::Result<()> {
    match WaitHandle::open(process_id) {
        Ok(mut process) => process.wait(),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Windows says "invalid parameter" of an id that nobody has.
#[cfg(windows)]
fn is_gone(error: &io::Error) -> bool {
    const ERROR_INVALID_PARAMETER: i32 = 87;
    error.raw_os_error() == Some(ERROR_INVALID_PARAMETER)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[expect(
        clippy::disallowed_methods,
        reason = "the test needs a process that is no child of the server's"
    )]
    fn process() -> std::process::Child {
        Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn the_end_of_the_process_is_noticed() {
        let mut editor = process();
        let (told, death) = mpsc::channel();
        watch(i64::from(editor.id()), move || told.send(()).unwrap());
        assert_eq!(
            death.recv_timeout(Duration::from_millis(50)),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        drop(editor.stdin.take());
        editor.wait().unwrap();
        assert_eq!(death.recv_timeout(LIMIT), Ok(()));
    }

    #[test]
    fn a_process_that_is_gone_already_counts_as_dead() {
        let mut editor = process();
        drop(editor.stdin.take());
        editor.wait().unwrap();
        let (told, death) = mpsc::channel();
        watch(i64::from(editor.id()), move || told.send(()).unwrap());
        assert_eq!(death.recv_timeout(LIMIT), Ok(()));
    }

    #[test]
    fn ids_that_no_process_has_are_ignored() {
        for impossible in [0, -1, i64::MAX] {
            watch(impossible, || unreachable!("nobody died"));
        }
    }
}
