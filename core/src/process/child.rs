//! A running program to talk to, line by line.

use std::ops::Range;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::command::{End, Limits};
use super::output::{Activity, Shared, drain};
use super::spawner::{Started, finish, stderr_buffer};
use super::warden::{self, Order};
use super::wire;
use crate::{Error, Kind, Result};

/// Longest line that is handed out; a longer one is skipped and its length told.
pub const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long pipes are read after the end of the program, in case somebody else holds them open.
pub(super) const AFTER_END_LIMIT: Duration = Duration::from_millis(250);
/// How long one line may need to get into the program's pipe.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// Read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Kept of stderr for error messages.
const STDERR_TAIL_BYTES: usize = 8 * 1024;

/// One line that a program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Without its line end.
    Text(Vec<u8>),
    /// Longer than [`LINE_BYTES_MAX`]; not kept.
    TooLong {
        /// How long it was.
        bytes: u64,
    },
}

/// A running program. Dropped, it is killed with its whole tree. [`Child::split`] gives its three sides
/// to different hands.
#[derive(Debug)]
pub struct Child {
    input: ChildInput,
    lines: ChildLines,
    control: ChildControl,
}

/// The side that writes to the program.
#[derive(Debug)]
pub struct ChildInput {
    pipe: Option<ChildStdin>,
    activity: Activity,
}

/// The side that reads what the program writes to stdout.
#[derive(Debug)]
pub struct ChildLines {
    pipe: Option<ChildStdout>,
    splitter: Splitter,
    chunk: Vec<u8>,
    activity: Activity,
    end: watch::Receiver<Option<End>>,
}

/// The side that watches and ends the program; as long as it lives, so may the program.
#[derive(Debug)]
pub struct ChildControl {
    orders: mpsc::Sender<Order>,
    end: watch::Receiver<Option<End>>,
    stderr: Shared,
    drains: [JoinHandle<()>; 1],
    mark: Option<String>,
    landlock_abi: Option<u8>,
    activity: Activity,
}

impl Child {
    pub(super) fn watched(started: Started, limits: Limits) -> Self {
        let activity = Activity::new();
        let stderr = stderr_buffer(limits.output_bytes_max);
        let (orders, inbox) = mpsc::channel(warden::ORDERS_MAX);
        let (sender, end) = watch::channel(None);
        let drains = [drain(started.stderr, stderr.clone(), activity.clone())];
        tokio::spawn(warden::guard(
            started.leash,
            limits,
            activity.clone(),
            inbox,
            sender,
        ));
        Self {
            input: ChildInput {
                pipe: started.stdin,
                activity: activity.clone(),
            },
            lines: ChildLines {
                pipe: Some(started.stdout),
                splitter: Splitter::new(LINE_BYTES_MAX),
                chunk: vec![0; CHUNK_BYTES],
                activity: activity.clone(),
                end: end.clone(),
            },
            control: ChildControl {
                orders,
                end,
                stderr,
                drains,
                mark: started.mark,
                landlock_abi: started.landlock_abi,
                activity,
            },
        }
    }

    /// Its three sides, for a reader and a writer that run at the same time.
    pub fn split(self) -> (ChildInput, ChildLines, ChildControl) {
        (self.input, self.lines, self.control)
    }

    /// See [`ChildInput::write_line`].
    pub async fn write_line(&mut self, line: &str) -> Result<()> {
        self.input.write_line(line).await
    }

    /// See [`ChildInput::close`].
    pub fn close_stdin(&mut self) {
        self.input.close();
    }

    /// See [`ChildLines::next`].
    pub async fn next_line(&mut self) -> Result<Option<Line>> {
        self.lines.next().await
    }

    /// See [`ChildControl::stderr_tail`].
    pub fn stderr_tail(&self) -> String {
        self.control.stderr_tail()
    }

    /// See [`ChildControl::landlock_abi`].
    pub fn landlock_abi(&self) -> Option<u8> {
        self.control.landlock_abi()
    }

    /// See [`ChildControl::interrupt`].
    pub fn interrupt(&self) {
        self.control.interrupt();
    }

    /// See [`ChildControl::terminate`].
    pub fn terminate(&self) {
        self.control.terminate();
    }

    /// See [`ChildControl::stop`].
    pub async fn stop(&mut self) -> Result<End> {
        self.control.stop().await
    }

    /// See [`ChildControl::kill_tree`].
    pub async fn kill_tree(&mut self) {
        self.control.kill_tree().await;
    }

    /// Waits for the end. What the program still writes to stdout is read and dropped, so that it can
    /// end; its input is closed.
    pub async fn wait(&mut self) -> Result<End> {
        self.input.close();
        let Self { lines, control, .. } = self;
        let dropping = async {
            while lines.next().await.is_ok_and(|line| line.is_some()) {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = control.wait() => end,
            () = dropping => Err(Error::internal("unreachable: a reader that never ends ended")),
        }
    }
}

impl ChildInput {
    /// Writes one line and its end.
    pub async fn write_line(&mut self, line: &str) -> Result<()> {
        let closed = || Error::new(Kind::Io, "programInput", "the program takes no more input");
        let pipe = self.pipe.as_mut().ok_or_else(closed)?;
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.activity.touch();
        match timeout(WRITE_LIMIT, pipe.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(Error::new(
                Kind::Io,
                "programInput",
                "the program does not read its input",
            )),
        }
    }

    /// Lets the program see the end of its input.
    pub fn close(&mut self) {
        self.pipe = None;
    }
}

impl ChildLines {
    /// The next line, or none at the end. Nothing is lost when the returned future is dropped.
    pub async fn next(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(line) = self.splitter.take_line() {
                return Ok(Some(line));
            }
            let Some(pipe) = self.pipe.as_mut() else {
                return Ok(self.splitter.take_rest());
            };
            let over = async {
                let _ = warden::end_of(&mut self.end).await;
                tokio::time::sleep(AFTER_END_LIMIT).await;
            };
            tokio::select! {
                biased;
                read = pipe.read(&mut self.chunk) => match read {
                    Ok(count) if count > 0 => {
                        self.activity.touch();
                        self.splitter.push(self.chunk.get(..count).unwrap_or_default());
                    }
                    Ok(_) => self.pipe = None,
                    Err(error) => {
                        self.pipe = None;
                        return Err(Error::io("what the program writes", &error));
                    }
                },
                () = over => self.pipe = None,
            }
        }
    }
}

impl ChildControl {
    /// Sends SIGINT to the program and its group.
    pub fn interrupt(&self) {
        let _ = self.orders.try_send(Order::Signal(Signal::INT));
    }

    /// Sends SIGTERM to the program and its group.
    pub fn terminate(&self) {
        let _ = self.orders.try_send(Order::Signal(Signal::TERM));
    }

    /// A sign of life that is not in the pipes: starts the limit on silence anew.
    pub fn keep_alive(&self) {
        self.activity.touch();
    }

    /// SIGTERM, a grace, then SIGKILL to the whole tree; waits until it is gone.
    pub async fn stop(&mut self) -> Result<End> {
        let _ = self.orders.send(Order::Stop).await;
        self.wait().await
    }

    /// SIGKILL to the whole tree; waits until it is gone.
    pub async fn kill_tree(&mut self) {
        let _ = self.orders.send(Order::Kill).await;
        let _ = warden::end_of(&mut self.end).await;
    }

    /// Waits for the end. Somebody has to read [`ChildLines`] meanwhile: a program whose pipe is full
    /// does not end.
    pub async fn wait(&mut self) -> Result<End> {
        let end = warden::end_of(&mut self.end).await?;
        if self.drains.iter().any(|drain| !drain.is_finished()) {
            finish(&mut self.drains).await;
        }
        let late = self
            .mark
            .as_ref()
            .and_then(|mark| wire::late_failure(self.stderr.lock().head(), mark));
        late.map_or(Ok(end), Err)
    }

    /// The end, if it was seen.
    pub fn ended(&self) -> Option<End> {
        *self.end.borrow()
    }

    /// The last that the program wrote to stderr, for error messages.
    pub fn stderr_tail(&self) -> String {
        let bytes = self.stderr.lock().bytes();
        let from = bytes.len().saturating_sub(STDERR_TAIL_BYTES);
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
    }

    /// The kernel's landlock interface, if files are confined by it.
    pub fn landlock_abi(&self) -> Option<u8> {
        self.landlock_abi
    }
}

/// Cuts a stream into lines and skips those that are too long.
#[derive(Debug)]
struct Splitter {
    buffer: Vec<u8>,
    /// Up to here lines were taken.
    start: usize,
    /// Up to here there is no line end.
    searched: usize,
    /// Length so far of a line that is being skipped.
    skipping: Option<u64>,
    line_bytes_max: usize,
}

impl Splitter {
    fn new(line_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            skipping: None,
            line_bytes_max,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        // All complete lines were taken by now: what moves to the front is one line at most.
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    fn take_line(&mut self) -> Option<Line> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', rest) else {
            self.searched = self.buffer.len();
            let length = self.buffer.len() - self.start;
            if self.skipping.is_some() || length > self.line_bytes_max {
                self.skipping = Some(self.skipping.unwrap_or(0).saturating_add(as_u64(length)));
                self.start = self.buffer.len();
            }
            return None;
        };
        let end = self.searched + found;
        let line = self.start..end;
        self.start = end + 1;
        self.searched = end + 1;
        Some(self.finished(line))
    }

    fn take_rest(&mut self) -> Option<Line> {
        let line = self.start..self.buffer.len();
        self.start = line.end;
        self.searched = line.end;
        (!line.is_empty() || self.skipping.is_some()).then(|| self.finished(line))
    }

    fn finished(&mut self, line: Range<usize>) -> Line {
        let length = as_u64(line.len());
        if let Some(skipped) = self.skipping.take() {
            return Line::TooLong {
                bytes: skipped.saturating_add(length),
            };
        }
        if line.len() > self.line_bytes_max {
            return Line::TooLong { bytes: length };
        }
        let text = self.buffer.get(line).unwrap_or_default();
        Line::Text(text.strip_suffix(b"\r").unwrap_or(text).to_vec())
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]], line_bytes_max: usize) -> Vec<Line> {
        let mut splitter = Splitter::new(line_bytes_max);
        let mut found = Vec::new();
        for piece in pieces {
            splitter.push(piece);
            found.extend(std::iter::from_fn(|| splitter.take_line()));
        }
        found.extend(splitter.take_rest());
        found
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_read() {
        let found = lines(&[b"short\r\n123", b"45", b"6789\nnext\n\nrest"], 6);
        let text = |text: &str| Line::Text(text.as_bytes().to_vec());
        assert_eq!(
            found,
            [
                text("short"),
                Line::TooLong { bytes: 9 },
                text("next"),
                text(""),
                text("rest")
            ]
        );
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_lines(stream in "[a-c\n]{0,60}", sizes in proptest::collection::vec(1_usize..9, 1..60)) {
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut rest = stream.as_bytes();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*size));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(lines(&pieces, 6), lines(&[stream.as_bytes()], 6));
        }
    }
}
