//! The progress of one run: a task of its own, because an editor may take its time to create one.

use clode_core::id::PipelineId;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::words::Shown;
use crate::lsp::client::Client;
use crate::lsp::progress::WorkDone;

/// Orders that may wait; reports beyond that are left out.
const ORDERS_MAX: usize = 64;

/// What the progress is to do.
#[derive(Debug)]
enum Order {
    Show(Shown),
    /// Go on under the token of a request.
    Under(Value, oneshot::Sender<()>),
    /// Leave the token of a request, if it is that.
    Leave(Option<Value>, oneshot::Sender<()>),
}

/// The way to a progress.
#[derive(Debug)]
pub(super) struct Bar {
    orders: mpsc::Sender<Order>,
    last: Option<Shown>,
}

impl Bar {
    /// A progress that shows nothing yet.
    pub(super) fn start(client: &Client, run: &PipelineId, title: &str) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let task = Task {
            client: client.clone(),
            run: run.clone(),
            title: format!("Clode: {title}"),
            epoch: 0,
        };
        tokio::spawn(task.run(inbox));
        Self { orders, last: None }
    }

    /// Shows where the run stands.
    pub(super) async fn show(&mut self, shown: &Shown) {
        if self.last.as_ref() == Some(shown) {
            return;
        }
        let order = Order::Show(shown.clone());
        let taken = match shown {
            // An end must not be lost; a report may.
            Shown::Idle { .. } => self.orders.send(order).await.is_ok(),
            Shown::Working { .. } => self.orders.try_send(order).is_ok(),
        };
        if taken {
            self.last = Some(shown.clone());
        }
    }

    /// Goes on under the token of a request.
    pub(super) fn under(&self, token: Value, done: oneshot::Sender<()>) {
        self.order(Order::Under(token, done));
    }

    /// Shows all that was ordered so far, and leaves the token of a request.
    pub(super) fn leave(&self, token: Option<Value>, done: oneshot::Sender<()>) {
        self.order(Order::Leave(token, done));
    }

    fn order(&self, order: Order) {
        let orders = self.orders.clone();
        tokio::spawn(async move { orders.send(order).await });
    }
}

struct Task {
    client: Client,
    run: PipelineId,
    title: String,
    /// Part of our tokens, so that none is used twice.
    epoch: u32,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let mut progress = self.progress();
        let mut shown = Shown::Idle {
            message: String::new(),
        };
        let mut given: Option<Value> = None;
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Show(new) => {
                    show(&mut progress, &new).await;
                    shown = new;
                }
                Order::Under(token, done) => {
                    progress.end("").await;
                    given = Some(token.clone());
                    progress = self.progress().under(token);
                    show(&mut progress, &shown).await;
                    let _ = done.send(());
                }
                Order::Leave(token, done) => {
                    if token.is_some() && token == given {
                        given = None;
                        progress.end("").await;
                        progress = self.progress();
                        let _ = done.send(());
                        show(&mut progress, &shown).await;
                    } else {
                        let _ = done.send(());
                    }
                }
            }
        }
    }

    fn progress(&mut self) -> WorkDone {
        self.epoch += 1;
        WorkDone::new(
            self.client.clone(),
            format!("{}/{}", self.run, self.epoch),
            &self.title,
        )
    }
}

async fn show(progress: &mut WorkDone, shown: &Shown) {
    match shown {
        Shown::Working { message, percentage } => progress.begin(message, *percentage).await,
        Shown::Idle { message } => progress.end(message).await,
    }
}
