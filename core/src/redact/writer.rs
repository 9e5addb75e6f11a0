//! A sink that lets no secret through, however the text is cut into writes.

use std::io::{self, Write};

use super::{Redactor, units};

/// Holds back what is not complete yet (a line, a private key) and writes the rest redacted. What is
/// held back at the end is written when this is dropped.
#[derive(Debug)]
pub struct RedactingWriter<W: Write> {
    redactor: Redactor,
    inner: W,
    held: Vec<u8>,
}

impl<W: Write> RedactingWriter<W> {
    /// Writes to `inner` what `redactor` leaves.
    pub fn new(redactor: Redactor, inner: W) -> Self {
        Self {
            redactor,
            inner,
            held: Vec::new(),
        }
    }

    fn write_complete(&mut self, stream: units::Stream) -> io::Result<()> {
        let mut done = 0;
        let mut outcome = Ok(());
        while let Some(length) = units::first(self.held.get(done..).unwrap_or_default(), stream) {
            let unit = self.held.get(done..done + length).unwrap_or_default();
            done += length;
            let text = String::from_utf8_lossy(unit);
            outcome = self.inner.write_all(self.redactor.redact(&text).as_bytes());
            if outcome.is_err() {
                break;
            }
        }
        // Also after an error: nothing is written twice.
        self.held.drain(..done);
        outcome
    }
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        self.write_complete(units::Stream::Open)?;
        Ok(bytes.len())
    }

    /// Flushes what was complete; the rest stays held back.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        let _ = self.write_complete(units::Stream::Ended);
        let _ = self.inner.flush();
    }
}
