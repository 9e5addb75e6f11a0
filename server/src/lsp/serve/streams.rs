//! The two threads at the pipes: one reads frames, one writes messages.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::Ending;
use crate::lsp::frame::{Frame, FrameReader, Limits};
use crate::lsp::pump::Drain;

/// Frames that wait for the loop.
const INBOX_FRAMES_MAX: usize = 64;
const BUFFER_BYTES: usize = 64 << 10;

/// What the reader hands to the loop.
#[derive(Debug)]
pub(super) enum Inbound {
    Frame(Frame),
    Failed,
}

/// Reads on a thread of its own until the end of the input. The thread may outlive the loop, blocked in a read.
pub(super) fn read(input: impl Read + Send + 'static) -> mpsc::Receiver<Inbound> {
    let (sender, inbox) = mpsc::channel(INBOX_FRAMES_MAX);
    let reading = thread::Builder::new().name("lsp-input".into()).spawn(move || {
        let mut frames = FrameReader::new(BufReader::with_capacity(BUFFER_BYTES, input), Limits::default());
        loop {
            let inbound = match frames.next_frame() {
                Ok(frame) => Inbound::Frame(frame),
                Err(error) => {
                    tracing::error!(%error, "reading from the editor failed");
                    Inbound::Failed
                }
            };
            let last = matches!(inbound, Inbound::Failed | Inbound::Frame(Frame::End(_)));
            if sender.blocking_send(inbound).is_err() || last {
                return;
            }
        }
    });
    if let Err(error) = reading {
        tracing::error!(%error, "the thread that reads cannot be started");
    }
    inbox
}

/// Writes on a thread of its own until the outbox is closed and empty; the future is done then. A failure ends the
/// loop.
pub(super) fn write(
    output: impl Write + Send + 'static,
    drain: Drain,
    end: mpsc::Sender<Ending>,
) -> impl Future<Output = ()> {
    let (done, written) = oneshot::channel::<()>();
    let writing = thread::Builder::new().name("lsp-output".into()).spawn(move || {
        if let Err(error) = write_all(output, &drain) {
            tracing::warn!(%error, "writing to the editor failed");
            let _ = end.blocking_send(Ending::OutputFailed);
        }
        drop(done);
    });
    if let Err(error) = writing {
        tracing::error!(%error, "the thread that writes cannot be started");
    }
    async move {
        let _ = written.await;
    }
}

fn write_all(output: impl Write, drain: &Drain) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, output);
    while let Some(first) = drain.next_blocking() {
        let mut next = Some(first);
        while let Some(text) = &next {
            write!(output, "Content-Length: {}\r\n\r\n", text.len())?;
            output.write_all(text.as_bytes())?;
            next = drain.next_now();
        }
        output.flush()?;
    }
    Ok(())
}
