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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

mod queue;

use queue::{Next, Queue};

/// All that may wait to be written.
const QUEUE_BYTES_MAX: u32 = 32 << 20;
/// What a message costs at least, which bounds their number to 256.
const MESSAGE_COST_MIN_BYTES: u32 = QUEUE_BYTES_MAX / 256;
/// Shortest time between two reports of one token.
const REPORT_INTERVAL_MS: u64 = 100;

/// The editor cannot be reached any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the editor is gone")]
pub(crate) struct Closed;

/// Why a message was not taken at once.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The editor does not read fast enough; the message comes back.
    Full(String),
    Closed,
}

/// A message that is ready to be written; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) text: String,
    _room: Option<OwnedSemaphorePermit>,
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
    changed: Condvar,
    room: Arc<Semaphore>,
}

/// An empty queue.
pub(crate) fn outbox() -> (Outbox, Drain) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue::new(Duration::from_millis(REPORT_INTERVAL_MS))),
        changed: Condvar::new(),
        room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
    });
    (
        Outbox {
            shared: Arc::clone(&shared),
        },
        Drain { shared },
    )
}

impl Outbox {
    /// Puts a message in line and waits while the queue is full.
    pub(crate) async fn send(&self, message: &impl Serialize) -> Result<(), Closed> {
        let Some(text) = to_text(message) else {
            return Ok(());
        };
        let room = Arc::clone(&self.shared.room)
            .acquire_many_owned(cost(&text))
            .await
            .map_err(|_| Closed)?;
        self.shared.push(|queue| {
            queue.push(Outgoing {
                text,
                _room: Some(room),
            })
        })
    }

    /// Puts a message in line if there is room.
    pub(crate) fn try_send(&self, message: &impl Serialize) -> Result<(), NotTaken> {
        let Some(text) = to_text(message) else {
            return Ok(());
        };
        match Arc::clone(&self.shared.room).try_acquire_many_owned(cost(&text)) {
            Ok(room) => self
                .shared
                .push(|queue| {
                    queue.push(Outgoing {
                        text,
                        _room: Some(room),
                    })
                })
                .map_err(|Closed| NotTaken::Closed),
            Err(TryAcquireError::NoPermits) => Err(NotTaken::Full(text)),
            Err(TryAcquireError::Closed) => Err(NotTaken::Closed),
        }
    }

    /// Sends one `$/progress`. A `report` never waits: it takes the place of an earlier one that has not left.
    pub(crate) async fn progress(&self, token: &Value, value: &Value) -> Result<(), Closed> {
        let message =
            json!({ "jsonrpc": "2.0", "method": "$/progress", "params": { "token": token, "value": value } });
        let Some(text) = to_text(&message) else {
            return Ok(());
        };
        let token = token.to_string();
        match value.get("kind").and_then(Value::as_str) {
            Some("report") => self
                .shared
                .push(|queue| queue.push_report(token, Outgoing { text, _room: None })),
            kind => {
                let ends = kind == Some("end");
                let room = Arc::clone(&self.shared.room)
                    .acquire_many_owned(cost(&text))
                    .await;
                let outgoing = Outgoing {
                    text,
                    _room: Some(room.map_err(|_| Closed)?),
                };
                self.shared
                    .push(|queue| queue.push_progress(token, outgoing, ends))
            }
        }
    }

    /// Takes nothing more; what is in line still leaves.
    pub(crate) fn close(&self) {
        self.shared.close();
    }
}

impl Drain {
    /// The next message, waiting for it; `None` once the queue is closed and empty. To be called from a thread
    /// of its own.
    pub(crate) fn next_blocking(&self) -> Option<Outgoing> {
        let mut queue = self.shared.lock();
        loop {
            queue = match queue.pop(Instant::now()) {
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
    pub(crate) fn next_now(&self) -> Option<Outgoing> {
        match self.shared.lock().pop(Instant::now()) {
            Next::Message(message) => Some(message),
            Next::Closed | Next::Empty | Next::At(_) => None,
        }
    }
}

/// Nobody writes any more: whoever waits for room must not wait for ever.
impl Drop for Drain {
    fn drop(&mut self) {
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

    fn close(&self) {
        self.lock().close();
        self.room.close();
        self.changed.notify_all();
    }
}

fn cost(text: &str) -> u32 {
    u32::try_from(text.len())
        .unwrap_or(u32::MAX)
        .clamp(MESSAGE_COST_MIN_BYTES, QUEUE_BYTES_MAX)
}

fn to_text(message: &impl Serialize) -> Option<String> {
    serde_json::to_string(message)
        .inspect_err(|error| tracing::error!(%error, "a message to the editor cannot be written as JSON"))
        .ok()
}

#[cfg(test)]
mod tests;
