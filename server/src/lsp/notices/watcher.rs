//! The task that listens to the engine.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use clode_core::engine::{Engine, Notice};
use clode_core::id::{ApprovalId, PipelineId};
use clode_core::pipeline::{Machine, RunEvent};
use clode_core::store::{ROWS_MAX, RunRow};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alerts::Alert;
use super::bar::Bar;
use super::desk::Order;
use super::prompt;
use super::status::status_of;
use super::words::{self, Shown};
use crate::lsp::handshake::left_behind;
use crate::lsp::review;
use crate::lsp::session::Session;

/// Shortest time between two looks at the runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Shortest time between two status notifications.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Subscriptions of one run.
const SUBSCRIPTIONS_MAX: usize = 16;

/// Listens until the server ends.
pub(super) async fn run(session: Session, engine: Engine, mut orders: mpsc::Receiver<Order>) {
    let mut notices = engine.notices();
    let stop = session.stop().clone();
    let mut watcher = Watcher {
        session,
        engine,
        runs: HashMap::new(),
        changed: BTreeSet::new(),
        look_at: Instant::now(),
        status_at: None,
        status_sent: None,
    };
    loop {
        let look_at = watcher.look_at;
        let status_at = watcher.status_at;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            order = orders.recv() => match order {
                Some(order) => watcher.order(order).await,
                None => return,
            },
            notice = notices.recv() => {
                match notice {
                    Ok(notice) => watcher.take(notice).await,
                    Err(RecvError::Lagged(_)) => watcher.look_again().await,
                    Err(RecvError::Closed) => return,
                }
                watcher.drain(&mut notices).await;
            }
            () = tokio::time::sleep_until(look_at), if !watcher.changed.is_empty() => watcher.look().await,
            () = until(status_at), if status_at.is_some() => watcher.send_status().await,
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Watcher {
    session: Session,
    engine: Engine,
    runs: HashMap<PipelineId, Watched>,
    changed: BTreeSet<PipelineId>,
    look_at: Instant,
    status_at: Option<Instant>,
    status_sent: Option<Instant>,
}

/// What is shown of a run.
#[derive(Default)]
struct Watched {
    subscriptions: Vec<Subscription>,
    bar: Option<Bar>,
    prompts: HashMap<ApprovalId, CancellationToken>,
    told: Option<Value>,
}

/// Somebody who gets the events of a run.
struct Subscription {
    token: Value,
    /// Number of the last one that was sent.
    sent: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        for closed in self.prompts.values() {
            closed.cancel();
        }
    }
}

impl Watcher {
    async fn order(&mut self, order: Order) {
        match order {
            Order::LookAgain => self.look_again().await,
            Order::Subscribe {
                run,
                token,
                after,
                done,
            } => {
                let watched = self.runs.entry(run.clone()).or_default();
                watched.subscriptions.retain(|known| known.token != token);
                if watched.subscriptions.len() >= SUBSCRIPTIONS_MAX {
                    watched.subscriptions.remove(0);
                }
                watched.subscriptions.push(Subscription { token, sent: after });
                self.send_events(&run).await;
                let _ = done.send(());
            }
            Order::Under { run, token, done } => {
                self.look_at_run(&run).await;
                let Ok(row) = self.engine.row(&run).await else {
                    return;
                };
                let client = self.session.client();
                let watched = self.runs.entry(run.clone()).or_default();
                watched
                    .bar
                    .get_or_insert_with(|| Bar::start(client, &run, &row.title))
                    .under(token, done);
            }
            Order::Settle { run, token, done } => {
                self.changed.remove(&run);
                self.look_at_run(&run).await;
                let bar = self.runs.get(&run).and_then(|watched| watched.bar.as_ref());
                match bar {
                    Some(bar) => bar.leave(token, done),
                    None => drop(done.send(())),
                }
                self.let_go(&run).await;
            }
        }
    }

    async fn drain(&mut self, notices: &mut broadcast::Receiver<Notice>) {
        loop {
            match notices.try_recv() {
                Ok(notice) => self.take(notice).await,
                Err(TryRecvError::Lagged(_)) => self.look_again().await,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    async fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Changed(run) | Notice::Activity { run, .. } => {
                self.changed.insert(run);
            }
            Notice::Event { run, event, .. } => {
                if let RunEvent::Alert { code, message } = event {
                    self.alert(&run, code, message).await;
                }
                self.changed.insert(run);
            }
            Notice::Orphaned { repository, runs } => {
                self.changed.extend(runs.iter().cloned());
                let (session, engine) = (self.session.clone(), self.engine.clone());
                tokio::spawn(async move { left_behind(&session, &engine, &repository, &runs).await });
            }
        }
    }

    async fn alert(&mut self, run: &PipelineId, code: String, message: String) {
        let Ok(row) = self.engine.row(run).await else {
            return;
        };
        if !self.session.has_repository(&row.repository) {
            return;
        }
        let at = Some(self.engine.services().clock.now().rfc3339());
        let message = format!("{}: {message}", row.title);
        let alert = Alert {
            code,
            message,
            severity: "warning",
            pipeline_id: Some(run.clone()),
            at,
        };
        self.session.client().custom_notify("clode/alert", &alert).await;
        self.session.desk().alerts().add(alert);
    }

    /// Everything may have changed: all that is shown, and all that has not ended.
    async fn look_again(&mut self) {
        self.changed.extend(self.runs.keys().cloned());
        for repository in self.session.repositories() {
            match self.engine.unfinished(Some(repository.id.clone())).await {
                Ok(rows) => self.changed.extend(rows.into_iter().map(|row| row.id)),
                Err(error) => tracing::warn!(%error, "runs cannot be listed"),
            }
        }
        self.status_soon();
    }

    async fn look(&mut self) {
        for run in std::mem::take(&mut self.changed) {
            self.look_at_run(&run).await;
            self.let_go(&run).await;
        }
        self.look_at = Instant::now() + LOOK_INTERVAL;
    }

    async fn look_at_run(&mut self, run: &PipelineId) {
        self.send_events(run).await;
        let row = match self.engine.row(run).await {
            Ok(row) => row,
            Err(error) => {
                tracing::debug!(%error, %run, "a run is gone");
                self.runs.remove(run);
                review::run_changed(&self.session, run);
                return self.status_soon();
            }
        };
        if !self.session.has_repository(&row.repository) {
            return;
        }
        self.tell(&row).await;
        if let Ok(machine) = row.machine() {
            self.show(&row, &machine).await;
            self.prompt(&row, &machine).await;
        }
        review::run_changed(&self.session, run);
        self.status_soon();
    }

    /// Sends the events that each subscriber has not got yet.
    async fn send_events(&mut self, run: &PipelineId) {
        let Some(watched) = self.runs.get_mut(run) else {
            return;
        };
        for subscription in &mut watched.subscriptions {
            loop {
                let events = match self
                    .engine
                    .services()
                    .store
                    .events(run, subscription.sent, ROWS_MAX)
                    .await
                {
                    Ok(events) if !events.is_empty() => events,
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, %run, "events cannot be read");
                        break;
                    }
                };
                for event in events {
                    let body = serde_json::from_str(&event.body).unwrap_or_default();
                    let value = on_the_wire(run, event.seq, body);
                    self.session.client().progress(&subscription.token, &value).await;
                    subscription.sent = event.seq;
                }
            }
        }
    }

    /// The summary, where it says something new.
    async fn tell(&mut self, row: &RunRow) {
        if self.session.capabilities().clode.is_none() {
            return;
        }
        let Ok(summary) = self.engine.summary_of(row).await else {
            return;
        };
        let Ok(summary) = serde_json::to_value(&summary) else {
            return;
        };
        let mut timeless = summary.clone();
        if let Some(metrics) = timeless.get_mut("metrics").and_then(Value::as_object_mut) {
            metrics.remove("durationMs");
        }
        let watched = self.runs.entry(row.id.clone()).or_default();
        if watched.told.as_ref() != Some(&timeless) {
            watched.told = Some(timeless);
            self.session
                .client()
                .custom_notify("clode/didChangePipeline", &summary)
                .await;
        }
    }

    async fn show(&mut self, row: &RunRow, machine: &Machine) {
        let watched = self.runs.entry(row.id.clone()).or_default();
        let activity = self.engine.activity(&row.id);
        let totals = self
            .engine
            .services()
            .store
            .ledger()
            .run_totals(&row.id)
            .await
            .unwrap_or_default();
        let model = activity.and_then(|activity| activity.model);
        let mut shown = words::shown(machine, model.as_deref(), totals.cost);
        let is_driven = row
            .owner
            .as_ref()
            .is_some_and(|owner| self.engine.services().store.is_alive(owner));
        if !is_driven && matches!(shown, Shown::Working { .. }) {
            shown = Shown::Idle {
                message: "Interrupted".to_owned(),
            };
        }
        if watched.bar.is_none()
            && matches!(shown, Shown::Working { .. })
            && self.session.capabilities().work_done_progress
        {
            watched.bar = Some(Bar::start(self.session.client(), &row.id, &row.title));
        }
        if let Some(bar) = &mut watched.bar {
            bar.show(&shown).await;
        }
    }

    /// Asks the person, where this editor is the one to ask.
    async fn prompt(&mut self, row: &RunRow, machine: &Machine) {
        let watched = self.runs.entry(row.id.clone()).or_default();
        watched.prompts.retain(|id, closed| {
            let is_open = machine.open_gates().any(|gate| gate.id == *id);
            if !is_open {
                closed.cancel();
            }
            is_open
        });
        let capabilities = self.session.capabilities();
        let can_ask =
            capabilities.show_message_request || capabilities.clode.is_some_and(|clode| clode.input);
        if !can_ask || !self.engine.drives(&row.id) || !self.wants_prompts(row).await {
            return;
        }
        let watched = self.runs.entry(row.id.clone()).or_default();
        for gate in machine.open_gates() {
            if watched.prompts.contains_key(&gate.id) {
                continue;
            }
            let closed = self.session.stop().child_token();
            watched.prompts.insert(gate.id.clone(), closed.clone());
            tokio::spawn(prompt::ask(
                self.session.clone(),
                self.engine.clone(),
                row.id.clone(),
                gate.clone(),
                closed,
            ));
        }
    }

    async fn wants_prompts(&self, row: &RunRow) -> bool {
        let repositories = self.session.repositories();
        let Some(repository) = repositories.iter().find(|found| found.id == row.repository) else {
            return false;
        };
        self.engine
            .configuration(repository)
            .await
            .is_ok_and(|configured| configured.loaded.config.ui.prompts)
    }

    /// Keeps nothing of a run that has ended and that nobody listens to.
    async fn let_go(&mut self, run: &PipelineId) {
        if let Ok(row) = self.engine.row(run).await
            && row.finished
            && let Some(watched) = self.runs.get_mut(run)
        {
            watched.bar = None;
            if watched.subscriptions.is_empty() && watched.prompts.is_empty() {
                self.runs.remove(run);
            }
        }
    }

    fn status_soon(&mut self) {
        if self.status_at.is_none() && self.session.capabilities().clode.is_some() {
            let next = self
                .status_sent
                .map_or_else(Instant::now, |sent| sent + STATUS_INTERVAL);
            self.status_at = Some(next.max(Instant::now()));
        }
    }

    async fn send_status(&mut self) {
        self.status_at = None;
        self.status_sent = Some(Instant::now());
        match status_of(&self.session, None).await {
            Ok(status) => {
                let client = self.session.client();
                client.custom_notify("clode/didChangeStatus", &status).await;
            }
            Err(error) => tracing::debug!(%error, "no status to tell"),
        }
    }
}

/// An event as clients get it.
pub(super) fn on_the_wire(run: &PipelineId, seq: u64, body: Value) -> Value {
    let mut value = json!({ "kind": "clode", "seq": seq, "pipelineId": run });
    if let (Some(value), Value::Object(body)) = (value.as_object_mut(), body) {
        value.extend(body);
    }
    value
}
