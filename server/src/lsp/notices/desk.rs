//! Where commands leave what they want of the watcher.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clode_core::id::PipelineId;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::alerts::Alerts;
use super::status::Usage;

/// Orders that may wait.
const ORDERS_MAX: usize = 256;
/// Longest time for an order; behind it the answer leaves all the same.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a command wants.
#[derive(Debug)]
pub(super) enum Order {
    /// Send the events of a run, those after this number at once.
    Subscribe {
        run: PipelineId,
        token: Value,
        after: u64,
        done: oneshot::Sender<()>,
    },
    /// Show the progress of a run under the token of a request.
    Under {
        run: PipelineId,
        token: Value,
        done: oneshot::Sender<()>,
    },
    /// A request is about to be answered: send what there is, take its token away.
    Settle {
        run: PipelineId,
        token: Option<Value>,
        done: oneshot::Sender<()>,
    },
    /// Take a fresh look at everything.
    LookAgain,
}

/// The way to the watcher, and what it shares with the commands.
#[derive(Debug)]
pub(crate) struct Desk {
    orders: mpsc::Sender<Order>,
    inbox: Mutex<Option<mpsc::Receiver<Order>>>,
    /// Tokens of requests (as JSON) under which a progress runs.
    given: Mutex<HashMap<String, PipelineId>>,
    alerts: Mutex<Alerts>,
    usage: Mutex<Usage>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        Self {
            orders,
            inbox: Mutex::new(Some(inbox)),
            given: Mutex::default(),
            alerts: Mutex::default(),
            usage: Mutex::default(),
        }
    }

    pub(super) fn take_orders(&self) -> Option<mpsc::Receiver<Order>> {
        locked(&self.inbox).take()
    }

    /// Sends the events of a run under this token: those after `after` before this returns, later ones as
    /// they come.
    pub(crate) async fn subscribe(&self, run: &PipelineId, token: Value, after: u64) {
        let run = run.clone();
        self.order(|done| Order::Subscribe {
            run,
            token,
            after,
            done,
        })
        .await;
    }

    /// Shows the progress of a run under the token of a request, if it brought one. To be ended before the
    /// answer; dropped (the request was cancelled), it ends by itself.
    pub(crate) async fn under(&self, run: &PipelineId, token: Option<Value>) -> Under<'_> {
        let under = Under {
            desk: self,
            run: run.clone(),
            token: token.clone(),
            is_ended: false,
        };
        if let Some(token) = token {
            locked(&self.given).insert(token.to_string(), run.clone());
            let run = run.clone();
            self.order(|done| Order::Under { run, token, done }).await;
        }
        under
    }

    /// Takes a fresh look at everything.
    pub(crate) async fn look_again(&self) {
        let _ = tokio::time::timeout(ORDER_TIMEOUT, self.orders.send(Order::LookAgain)).await;
    }

    /// The run whose progress has this token.
    pub(super) fn run_of(&self, token: &Value) -> Option<PipelineId> {
        if let Some(run) = locked(&self.given).get(&token.to_string()) {
            return Some(run.clone());
        }
        token
            .as_str()?
            .split_once('/')
            .map(|(run, _)| PipelineId::new(run))
    }

    pub(super) fn alerts(&self) -> MutexGuard<'_, Alerts> {
        locked(&self.alerts)
    }

    pub(super) fn usage(&self) -> MutexGuard<'_, Usage> {
        locked(&self.usage)
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, is_done) = oneshot::channel();
        let exchange = async {
            if self.orders.send(order(done)).await.is_ok() {
                let _ = is_done.await;
            }
        };
        if tokio::time::timeout(ORDER_TIMEOUT, exchange).await.is_err() {
            tracing::warn!("what a command wanted to be shown takes too long");
        }
    }
}

/// A progress under the token of a request.
#[derive(Debug)]
pub(crate) struct Under<'a> {
    desk: &'a Desk,
    run: PipelineId,
    token: Option<Value>,
    is_ended: bool,
}

impl Under<'_> {
    /// Sends what there is to say about the run and takes the progress away; the answer comes after it.
    pub(crate) async fn end(mut self) {
        self.is_ended = true;
        self.forget();
        let (run, token) = (self.run.clone(), self.token.take());
        self.desk.order(|done| Order::Settle { run, token, done }).await;
    }

    fn forget(&self) {
        if let Some(token) = &self.token {
            locked(&self.desk.given).remove(&token.to_string());
        }
    }
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        if self.is_ended || self.token.is_none() {
            return;
        }
        self.forget();
        let (done, _) = oneshot::channel();
        let order = Order::Settle {
            run: self.run.clone(),
            token: self.token.take(),
            done,
        };
        if self.desk.orders.try_send(order).is_err() {
            tracing::warn!(run = %self.run, "a progress outlives its request");
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
