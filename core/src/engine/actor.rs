//! The actor of one run: events in order, each durable before its effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::admission::Place;
use super::takeover::Part;
use super::transition::Account;
use super::{Notice, Shared, locked};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::id::{ApprovalId, BlobId, PipelineId, StepId};
use crate::pipeline::{Answer, Effect, Event, GateRequest, Machine, RunEvent, Status, StepFailure};
use crate::router::Router;
use crate::store::RunRow;
use crate::workspace::Repository;

/// Messages of a run's agents that wait to be taken in.
const INBOX_MAX: usize = 256;
/// How long a step that was told to end may take to do so.
const STEP_END_TIMEOUT: Duration = Duration::from_secs(10);

/// What reaches a run from its own work.
#[derive(Debug)]
pub(super) enum Message {
    /// Something happened.
    Event(Box<Event>),
    /// An agent asks a person and waits.
    Ask {
        step: StepId,
        request: GateRequest,
        reply: oneshot::Sender<Answer>,
    },
    /// An agent tells something.
    Tell(Vec<RunEvent>),
}

/// What agents need to know about their run while they work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) paused: bool,
    pub(super) max_cost: Option<crate::money::Money>,
    pub(super) daily_limits_waived_at: Option<Timestamp>,
}

/// How others reach the actor.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    wake: Arc<Notify>,
    ended: CancellationToken,
}

impl Handle {
    /// As that of an actor that takes nothing in any more.
    #[cfg(test)]
    pub(super) fn deaf() -> Self {
        Self {
            wake: Arc::default(),
            ended: CancellationToken::new(),
        }
    }

    /// Whether both are of the same actor.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.wake, &other.wake)
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn ended(&self) {
        let _ = tokio::time::timeout(STEP_END_TIMEOUT + STEP_END_TIMEOUT, self.ended.cancelled()).await;
    }
}

/// Starts the actor of a run that this process owns under `row.fence`.
pub(super) async fn start(
    shared: &Arc<Shared>,
    row: RunRow,
    repository: Arc<Repository>,
    first: Option<Event>,
    part: Part,
) -> Result<()> {
    let machine: Machine = serde_json::from_str(&row.state).map_err(|error| {
        Error::new(
            Kind::Io,
            "storeCorrupt",
            format!("the state of `{}` cannot be read: {error}", row.id),
        )
    })?;
    let config = frozen(shared, &row.id, &machine.spec.config).await?;
    let (inbox_sender, inbox) = mpsc::channel(INBOX_MAX);
    let handle = Handle {
        wake: Arc::new(Notify::new()),
        ended: CancellationToken::new(),
    };
    let live = watch::Sender::new(live_of(&machine));
    let actor = Actor {
        shared: Arc::clone(shared),
        run: row.id.clone(),
        fence: row.fence,
        machine,
        repository,
        config,
        inbox_sender,
        router: OnceLock::new(),
        written: shared.services.store.last_entry(&row.id).await?,
        steps: BTreeMap::new(),
        waiting: BTreeMap::new(),
        timers: BTreeSet::new(),
        live,
        place: None,
        ended: false,
        part,
    };
    locked(&shared.halted).remove(&row.id);
    locked(&shared.actors).insert(row.id, handle.clone());
    handle.wake();
    tokio::spawn(actor.drive(inbox, handle, first).in_current_span());
    Ok(())
}

/// The configuration that a run froze; runs that froze the same one share it.
async fn frozen(shared: &Arc<Shared>, run: &PipelineId, id: &BlobId) -> Result<Arc<Config>> {
    if let Some(known) = locked(&shared.frozen).get(id).and_then(Weak::upgrade) {
        return Ok(known);
    }
    let text = shared.services.store.blob(id).await?;
    let config: Config = serde_json::from_slice(&text).map_err(|error| {
        Error::new(
            Kind::Io,
            "storeCorrupt",
            format!("the frozen configuration of `{run}` cannot be read: {error}"),
        )
    })?;
    let config = Arc::new(config);
    let mut frozen = locked(&shared.frozen);
    frozen.retain(|_, known| known.strong_count() > 0);
    frozen.insert(id.clone(), Arc::downgrade(&config));
    Ok(config)
}

pub(super) fn live_of(machine: &Machine) -> Live {
    Live {
        paused: machine.paused,
        max_cost: machine.limit(),
        daily_limits_waived_at: machine.daily_limits_waived_at,
    }
}

/// A step that runs in this process.
#[derive(Debug)]
pub(super) struct LiveStep {
    pub(super) attempt: u32,
    pub(super) cancel: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<()>,
}

pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) run: PipelineId,
    pub(super) fence: i64,
    pub(super) machine: Machine,
    pub(super) repository: Arc<Repository>,
    pub(super) config: Arc<Config>,
    pub(super) inbox_sender: mpsc::Sender<Message>,
    router: OnceLock<Arc<Router>>,
    /// The newest entry of the journal that this actor knows.
    pub(super) written: i64,
    pub(super) steps: BTreeMap<StepId, LiveStep>,
    pub(super) waiting: BTreeMap<ApprovalId, oneshot::Sender<Answer>>,
    pub(super) timers: BTreeSet<Timestamp>,
    pub(super) live: watch::Sender<Live>,
    place: Option<Place>,
    pub(super) ended: bool,
    pub(super) part: Part,
}

impl Actor {
    #[tracing::instrument(name = "pipeline", skip_all, fields(run = %self.run, fence = self.fence))]
    async fn drive(mut self, mut inbox: mpsc::Receiver<Message>, handle: Handle, first: Option<Event>) {
        let result = match self.part {
            Part::Record => self.record(first).await,
            Part::Drive => match self.begin(first).await {
                Ok(()) => self.serve(&mut inbox, &handle).await,
                failed => failed,
            },
        };
        if let Err(error) = &result {
            tracing::warn!(%error, code = %error.code, "the pipeline is not driven here any more");
        }
        self.park().await;
        if self.shared.services.store.is_superseded() {
            // Nothing here can be written any more: whoever can may take over.
            locked(&self.shared.lock).take();
        }
        if let Err(error) = result
            && error.code != "fenced"
            && !self.shared.stop.is_cancelled()
        {
            let hint = "what was done is stored: mend that, then resume the pipeline";
            locked(&self.shared.halted).insert(self.run.clone(), error.hint(hint));
        }
        self.sign_off(&handle);
        if let Err(error) = self.shared.services.store.release(&self.run, self.fence).await
            && error.code != "fenced"
        {
            tracing::warn!(%error, "ownership could not be given back yet");
            locked(&self.shared.unreleased).insert(self.run.clone(), self.fence);
        }
        handle.ended.cancel();
        let _ = self.shared.notices.send(Notice::Changed(self.run.clone()));
    }

    /// Whoever took the run up anew in this process stays.
    fn sign_off(&self, handle: &Handle) {
        let mut actors = locked(&self.shared.actors);
        if actors.get(&self.run).is_some_and(|known| known.is(handle)) {
            actors.remove(&self.run);
            locked(&self.shared.activity).remove(&self.run);
        }
    }

    async fn record(&mut self, first: Option<Event>) -> Result<()> {
        if let Some(event) = first {
            self.take_in(event).await?;
        }
        self.take_signals().await
    }

    async fn begin(&mut self, first: Option<Event>) -> Result<()> {
        if let Some(event) = first {
            self.take_in(event).await?;
            if self.machine.status() == Status::Running {
                let alert = RunEvent::Alert {
                    code: "resumed".to_owned(),
                    message: "goes on after its process ended".to_owned(),
                };
                self.tell(vec![alert]).await?;
            }
        }
        Ok(())
    }

    /// Waits among the others until it is admitted, or does not wait any more: it was paused or cancelled.
    async fn queue(&mut self, handle: &Handle) -> Result<()> {
        let admission = Arc::clone(&self.shared.admission);
        let admitted = admission.admit(self.machine.spec.task.priority);
        tokio::pin!(admitted);
        while self.machine.status() == Status::Queued {
            let sleep = self.until(self.timers.first().copied());
            tokio::select! {
                biased;
                place = &mut admitted => {
                    self.place = Some(place);
                    return self.take_in(Event::Admitted).await;
                }
                () = self.shared.stop.cancelled() => return Ok(()),
                () = handle.wake.notified() => self.take_signals().await?,
                () = sleep => {
                    let now = self.now();
                    self.timers.retain(|time| *time > now);
                    self.take_signals().await?;
                }
            }
        }
        Ok(())
    }

    async fn serve(&mut self, inbox: &mut mpsc::Receiver<Message>, handle: &Handle) -> Result<()> {
        // Whoever stores a control wakes us afterwards; what is there already is found now.
        self.take_signals().await?;
        loop {
            if self.machine.status() == Status::Queued {
                self.queue(handle).await?;
            }
            if self.ended && self.steps.is_empty() {
                // A control that came beside the last event may make it go on.
                self.take_signals().await?;
                if self.ended && self.steps.is_empty() {
                    return Ok(());
                }
            }
            let wake_at = self.timers.first().copied();
            let sleep = self.until(wake_at);
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return Ok(()),
                () = handle.wake.notified() => self.take_signals().await?,
                message = inbox.recv() => match message {
                    Some(message) => self.receive(message).await?,
                    None => return Ok(()),
                },
                () = sleep => {
                    let now = self.now();
                    self.timers.retain(|time| *time > now);
                    self.take_in(Event::TimeReached).await?;
                    self.take_signals().await?;
                }
            }
        }
    }

    fn until(&self, at: Option<Timestamp>) -> impl Future<Output = ()> + use<> {
        let wait = at.map(|at| Duration::from_millis(at.since_ms(self.shared.services.clock.now())));
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The router for the configuration that the run froze.
    pub(super) fn router(&self) -> Arc<Router> {
        let frozen = &self.machine.spec.config;
        let find = || super::routing::frozen(&self.shared, frozen, &self.config);
        Arc::clone(self.router.get_or_init(find))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.services.clock.now()
    }

    async fn receive(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Event(event) => {
                if let Event::StepFinished { step, attempt, .. } | Event::StepFailed { step, attempt, .. } =
                    &*event
                    && self.steps.get(step).is_some_and(|live| live.attempt == *attempt)
                {
                    self.steps.remove(step);
                }
                self.take_in(*event).await
            }
            Message::Ask { step, request, reply } => self.ask(step, request, reply).await,
            Message::Tell(events) => self.tell(events).await,
        }
    }

    async fn ask(
        &mut self,
        step: StepId,
        request: GateRequest,
        reply: oneshot::Sender<Answer>,
    ) -> Result<()> {
        let known = self.machine.gates.len();
        let effects = self.store(Event::Asked { step, request }, None).await?;
        let mut reply = Some(reply);
        for effect in effects {
            match effect {
                Effect::DeliverAnswer { answer, .. } if reply.is_some() => {
                    if let Some(reply) = reply.take() {
                        let _ = reply.send(answer);
                    }
                }
                other => self.perform(other),
            }
        }
        if let (Some(reply), Some(gate)) = (reply, self.machine.gates.get(known)) {
            self.waiting.insert(gate.id.clone(), reply);
        }
        Ok(())
    }

    /// Stores what an agent tells beside the machine's own events.
    async fn tell(&mut self, events: Vec<RunEvent>) -> Result<()> {
        let state = self.encode(&self.machine)?;
        self.commit(
            self.now(),
            state,
            self.machine.status(),
            "tell".to_owned(),
            events,
            Account::default(),
        )
        .await
    }

    pub(super) async fn take_in(&mut self, event: Event) -> Result<()> {
        let effects = self.store(event, None).await?;
        for effect in effects {
            self.perform(effect);
        }
        Ok(())
    }

    /// A run takes a place while it works, none while it waits for a person.
    pub(super) fn hold_place(&mut self) {
        match self.machine.status() {
            Status::Running if self.place.is_none() => self.place = Some(self.shared.admission.enter()),
            Status::Running | Status::Queued => {}
            _ => self.place = None,
        }
    }

    pub(super) fn encode(&self, value: &impl serde::Serialize) -> Result<String> {
        serde_json::to_string(value)
            .map_err(|error| Error::internal(format!("state of `{}` cannot be written: {error}", self.run)))
    }

    /// Ends what runs here; the stored state says how to go on.
    async fn park(&mut self) {
        self.waiting.clear();
        for step in std::mem::take(&mut self.steps).into_values() {
            step.cancel.cancel();
            let mut task = step.task;
            if tokio::time::timeout(STEP_END_TIMEOUT, &mut task).await.is_err() {
                task.abort();
            }
        }
    }

    pub(super) fn failed_step(step: StepId, attempt: u32, failure: StepFailure) -> Message {
        Message::Event(Box::new(Event::StepFailed {
            step,
            attempt,
            failure,
        }))
    }
}
