//! One ordered way out for everything that the editor gets: answers, requests, notifications, progress.
//!
//! What is put in leaves in that order, so a progress end that was sent before an answer arrives before
//! it. Only `report`s of a `$/progress` are different: of each token the latest is kept, and at most
//! ten a second leave; `begin`, `end` and `kind: "clode"` are never dropped, and the last report leaves before
//! its `end`. A client that does not read makes reports coalesce and everybody else wait: the queue is bounded
//! in bytes and in messages.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

mod queue;

use queue::{Next, Queue};

/// All that may wait to be written before senders have to wait.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// What a message counts at least, which bounds their number to 256.
const MESSAGE_COST_MIN_BYTES: usize = QUEUE_BYTES_MAX / 256;
/// Shortest time between two reports of one token.
const REPORT_INTERVAL_MS: u64 = 100;

/// The editor cannot be reached any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the editor is gone")]
pub(crate) struct Closed;

/// Why a message was not taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The editor does not read fast enough.
    Full,
    Closed,
}

/// The way in. Clones are cheap and share one queue.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

/// The way out; there is one.
#[derive(Debug)]
pub(crate) struct Drain {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the thread that writes.
    changed: Condvar,
    /// Wakes the senders that wait for room.
    room: Notify,
}

/// An empty queue.
pub(crate) fn outbox() -> (Outbox, Drain) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue::new(Duration::from_millis(REPORT_INTERVAL_MS))),
        changed: Condvar::new(),
        room: Notify::new(),
    });
    (
        Outbox {
            shared: Arc::clone(&shared),
        },
        Drain { shared },
    )
}

impl Outbox {
    /// Puts a message in line at once, in the order of the calls, and then waits while more is in line than
    /// should be: whoever sends much waits before the next one.
    pub(crate) async fn send(&self, message: &impl Serialize) -> Result<(), Closed> {
        let Some(text) = to_text(message) else {
            return Ok(());
        };
        self.shared.push(|queue| queue.push(text))?;
        self.room().await;
        Ok(())
    }

    /// Puts a message in line if there is room.
    pub(crate) fn try_send(&self, message: &impl Serialize) -> Result<(), NotTaken> {
        let Some(text) = to_text(message) else {
            return Ok(());
        };
        if self.shared.lock().is_full() {
            return Err(NotTaken::Full);
        }
        self.shared
            .push(|queue| queue.push(text))
            .map_err(|Closed| NotTaken::Closed)
    }

    /// Sends one `$/progress`. A `report` never waits: it takes the place of an earlier one that has not left.
    pub(crate) async fn progress(&self, token: &Value, value: &Value) -> Result<(), Closed> {
        self.progress_now(token, value)?;
        if value.get("kind") != Some(&Value::from("report")) {
            self.room().await;
        }
        Ok(())
    }

    /// The same without waiting for room afterwards: for the rare end that nobody can wait for.
    pub(crate) fn progress_now(&self, token: &Value, value: &Value) -> Result<(), Closed> {
        let params = json!({ "token": token, "value": value });
        let message = json!({ "jsonrpc": "2.0", "method": "$/progress", "params": params });
        let Some(text) = to_text(&message) else {
            return Ok(());
        };
        let token = token.to_string();
        self.shared
            .push(|queue| match value.get("kind").and_then(Value::as_str) {
                Some("report") => queue.push_report(token, text),
                kind => queue.push_progress(&token, text, kind == Some("end")),
            })
    }

    /// Takes nothing more; what is in line still leaves.
    pub(crate) fn close(&self) {
        self.shared.close();
    }

    /// Waits until there is room, or nobody writes any more.
    async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            if !self.shared.lock().is_full() {
                return;
            }
            room.await;
        }
    }
}

impl Drain {
    /// The next message, waiting for it; `None` once the queue is closed and empty. To be called from a thread
    /// of its own.
    pub(crate) fn next_blocking(&self) -> Option<String> {
        let mut queue = self.shared.lock();
        loop {
            queue = match self.shared.pop(&mut queue) {
                Next::Message(message) => return Some(message),
                Next::Closed => return None,
                Next::Empty => self
                    .shared
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Next::At(due) => {
                    let pause = due.saturating_duration_since(Instant::now());
                    self.shared
                        .changed
                        .wait_timeout(queue, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// The next message if one may leave now.
    pub(crate) fn next_now(&self) -> Option<String> {
        match self.shared.pop(&mut self.shared.lock()) {
            Next::Message(message) => Some(message),
            Next::Closed | Next::Empty | Next::At(_) => None,
        }
    }
}

/// Nobody writes any more: whoever waits for room must not wait for ever.
impl Drop for Drain {
    fn drop(&mut self) {
        self.shared.lock().clear();
        self.shared.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, push: impl FnOnce(&mut Queue)) -> Result<(), Closed> {
        let mut queue = self.lock();
        if queue.is_closed() {
            return Err(Closed);
        }
        push(&mut queue);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    fn pop(&self, queue: &mut Queue) -> Next {
        let was_full = queue.is_full();
        let next = queue.pop(Instant::now());
        if was_full && !queue.is_full() {
            self.room.notify_waiters();
        }
        next
    }

    fn close(&self) {
        self.lock().close();
        self.changed.notify_all();
        self.room.notify_waiters();
    }
}

fn to_text(message: &impl Serialize) -> Option<String> {
    serde_json::to_string(message)
        .inspect_err(|error| tracing::error!(%error, "a message to the editor cannot be written as JSON"))
        .ok()
}

#[cfg(test)]
mod tests;
