//! The person at the terminal: lines are read by a thread of its own, only when one is asked for, so that
//! an editor that is started meanwhile has the keyboard to itself.

use std::io::{BufRead, IsTerminal, Write};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Longest line that a person types (bytes).
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A person who can be asked.
#[derive(Debug)]
pub(super) struct Terminal {
    want: std::sync::mpsc::Sender<()>,
    got: UnboundedReceiver<Option<String>>,
    is_reading: bool,
}

impl Terminal {
    /// The person, if somebody sits there: keyboard and screen are both a terminal.
    pub(super) fn here() -> Option<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let (want, wanted) = std::sync::mpsc::channel();
        let (give, got) = unbounded_channel();
        std::thread::Builder::new()
            .name("clode-terminal".to_owned())
            .spawn(move || {
                while wanted.recv().is_ok() {
                    if give.send(read_line()).is_err() {
                        return;
                    }
                }
            })
            .ok()?;
        Some(Self {
            want,
            got,
            is_reading: false,
        })
    }

    /// Asks, and waits for one line without its end; `None` when nobody will answer any more. May be
    /// dropped while it waits: the next question gets the line.
    pub(super) async fn ask(&mut self, prompt: &str) -> Option<String> {
        let mut screen = std::io::stderr();
        let _ = screen.write_all(prompt.as_bytes()).and_then(|()| screen.flush());
        if !self.is_reading {
            self.want.send(()).ok()?;
            self.is_reading = true;
        }
        let line = self.got.recv().await.flatten();
        self.is_reading = false;
        line.map(|line| line.trim().to_owned())
    }
}

fn read_line() -> Option<String> {
    use std::io::Read;
    let mut line = String::new();
    let read = std::io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line);
    matches!(read, Ok(1..)).then_some(line)
}
