//! The editor as seen from the server: the one handle for every request and notification that goes out.
//!
//! Each method looks at the capabilities before it sends, waits for a limited time, and takes nothing for a yes
//! but a yes: `null`, errors of any code, and silence are "not done". Answers that come late are ignored.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::capabilities::ClientCapabilities;
use super::frame::message::{AnswerError, Id};
use super::pump::{self, Closed, Drain, Outbox};

mod calls;
mod text;

pub(crate) use calls::ShowDocument;

/// How long an editor may take to answer.
const ANSWER_LIMIT_MS: u64 = 10_000;

/// The way to the editor. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    outbox: Outbox,
    asked: Mutex<HashMap<i64, oneshot::Sender<Result<Value, AnswerError>>>>,
    next_id: AtomicI64,
    opening: RwLock<Arc<Opening>>,
}

/// What the editor said in `initialize`.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// The parameters as they came.
    pub(crate) params: Value,
    pub(crate) capabilities: ClientCapabilities,
}

/// Whether the editor did what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It says so. An editor may be wrong: what matters is checked.
    Yes,
    No {
        reason: String,
    },
    /// It never announced that it can; nothing was sent.
    Unsupported,
    /// No answer in time. It may still happen.
    Unanswered,
}

/// The answer to `workspace/applyEdit`.
pub(crate) type Applied = Outcome;

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoResult {
    Refused(AnswerError),
    Unsupported,
    Unanswered,
}

impl From<NoResult> for Outcome {
    fn from(no_result: NoResult) -> Self {
        match no_result {
            NoResult::Refused(error) => Self::No {
                reason: format!("{} ({})", text::plain(&error.message), error.code),
            },
            NoResult::Unsupported => Self::Unsupported,
            NoResult::Unanswered => Self::Unanswered,
        }
    }
}

/// How long an answer is worth waiting for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience<'a> {
    Limit(Duration),
    /// For what a person has to answer: until this is cancelled.
    Until(&'a CancellationToken),
}

impl Default for Patience<'_> {
    fn default() -> Self {
        Self::Limit(Duration::from_millis(ANSWER_LIMIT_MS))
    }
}

/// A client that is not connected yet, and the end that its messages come out of.
pub(crate) fn connect() -> (Client, Drain) {
    let (outbox, drain) = pump::outbox();
    let inner = Inner {
        outbox,
        asked: Mutex::default(),
        next_id: AtomicI64::new(1),
        opening: RwLock::default(),
    };
    (
        Client {
            inner: Arc::new(inner),
        },
        drain,
    )
}

impl Client {
    /// What the editor said in `initialize`; empty before.
    pub(crate) fn opening(&self) -> Arc<Opening> {
        Arc::clone(&self.inner.opening.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The ordered way out, for messages that have no method here.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    /// Called by the loop with the raw parameters, before the backend sees `initialize`.
    pub(super) fn open(&self, params: Value) {
        let capabilities = ClientCapabilities::from_initialize(&params);
        let opening = Arc::new(Opening { params, capabilities });
        *self.inner.opening.write().unwrap_or_else(PoisonError::into_inner) = opening;
    }

    /// Called by the loop with an answer; whether somebody had asked.
    pub(super) fn accept(&self, id: &Id, outcome: Result<Value, AnswerError>) -> bool {
        let Id::Number(id) = id else { return false };
        match self.inner.asked().remove(id) {
            Some(waiting) => {
                let _ = waiting.send(outcome);
                true
            }
            None => false,
        }
    }

    /// Called by the loop when it ends: nobody gets an answer any more, nothing new is sent.
    pub(super) fn close(&self) {
        self.inner.outbox.close();
        self.inner.asked().clear();
    }

    /// Sends a notification, whatever the client announced.
    pub(crate) async fn notify(&self, method: &str, params: &impl Serialize) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": to_value(params) });
        if self.inner.outbox.send(&message).await == Err(Closed) {
            tracing::debug!(method, "not sent: the editor is gone");
        }
    }

    /// Sends a request, whatever the client announced, and waits for its answer. When the waiting ends first, the
    /// editor is told by `$/cancelRequest`.
    pub(crate) async fn request(
        &self,
        method: &str,
        params: &impl Serialize,
        patience: Patience<'_>,
    ) -> Result<Value, NoResult> {
        let (sender, answer) = oneshot::channel();
        let question = Question::ask(&self.inner, sender);
        let message =
            json!({ "jsonrpc": "2.0", "id": question.id, "method": method, "params": to_value(params) });
        let exchange = async {
            self.inner
                .outbox
                .send(&message)
                .await
                .map_err(|Closed| NoResult::Unanswered)?;
            answer
                .await
                .map_err(|_| NoResult::Unanswered)?
                .map_err(NoResult::Refused)
        };
        let answered = match patience {
            Patience::Limit(limit) => tokio::time::timeout(limit, exchange).await.ok(),
            Patience::Until(cancelled) => cancelled.run_until_cancelled(exchange).await,
        };
        match answered.unwrap_or(Err(NoResult::Unanswered)) {
            Err(NoResult::Unanswered) => {
                tracing::debug!(method, "the editor did not answer");
                Err(NoResult::Unanswered)
            }
            Err(NoResult::Refused(error)) => {
                tracing::debug!(method, code = error.code, "the editor refused");
                Err(NoResult::Refused(error))
            }
            other => other,
        }
    }

    /// A request whose result says nothing: any answer but an error is a yes.
    async fn request_plain(&self, method: &str, params: &impl Serialize) -> Outcome {
        match self.request(method, params, Patience::default()).await {
            Ok(_) => Outcome::Yes,
            Err(no_result) => no_result.into(),
        }
    }
}

impl Inner {
    fn asked(&self) -> MutexGuard<'_, HashMap<i64, oneshot::Sender<Result<Value, AnswerError>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of ours that waits for its answer. Dropped unanswered, be it by a caller that was dropped itself, it is
/// forgotten and cancelled.
struct Question<'a> {
    inner: &'a Inner,
    id: i64,
}

impl<'a> Question<'a> {
    fn ask(inner: &'a Inner, sender: oneshot::Sender<Result<Value, AnswerError>>) -> Self {
        let id = inner.next_id.fetch_add(1, Ordering::Relaxed);
        inner.asked().insert(id, sender);
        Self { inner, id }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if self.inner.asked().remove(&self.id).is_some() {
            let cancel =
                json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": self.id } });
            let _ = self.inner.outbox.try_send(&cancel);
        }
    }
}

fn to_value(params: &impl Serialize) -> Value {
    serde_json::to_value(params)
        .inspect_err(|error| tracing::error!(%error, "parameters cannot be written as JSON"))
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod tests;
