//! The actor of one run: events in order, each durable before its effects.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::admission::Place;
use super::signal::{Outcome, Signal};
use super::{Engine, Notice, Shared, locked};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::id::{ApprovalId, PipelineId, StepId};
use crate::pipeline::{Answer, Effect, Event, GateRequest, Machine, RunEvent, Status, StepFailure};
use crate::plan::Plan;
use crate::store::{AuditRecord, Finished, RunRow, SignalId, Transition};
use crate::workspace::Repository;

/// Messages of a run's agents that wait to be taken in.
const INBOX_MAX: usize = 256;
/// How long a step that was told to end may take to do so.
const STEP_END_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait before a transition that could not be stored is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Tries to store a transition before the run is left where it is durable.
const STORE_ATTEMPTS_MAX: u32 = 5;

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
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn ended(&self) {
        let _ = tokio::time::timeout(STEP_END_TIMEOUT + STEP_END_TIMEOUT, self.ended.cancelled()).await;
    }
}

/// What a process does with a run that it adopts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All that the run asks for.
    Drive,
    /// Takes in what was sent to it and starts nothing; whoever adopts it next goes on from there.
    Record,
}

/// Makes sure that somebody alive has the run: nothing if somebody does, else this process.
pub(super) async fn ensure(shared: &Arc<Shared>, run: &PipelineId, part: Part) -> Result<()> {
    if locked(&shared.actors).contains_key(run) {
        return Ok(());
    }
    let store = &shared.services.store;
    let row = store.run(run).await?.ok_or_else(|| unknown(run))?;
    let elsewhere = |owner: &crate::id::OwnerId| *owner != shared.owner && store.is_alive(owner);
    if row.owner.as_ref().is_some_and(elsewhere) {
        return Ok(());
    }
    if row.machine_version()? != crate::pipeline::MACHINE_VERSION {
        return Err(Error::state(
            "otherVersion",
            format!("pipeline `{run}` was started by another version of clode-ls"),
        )
        .hint("open it with that version; this one shows it and leaves it alone"));
    }
    let repository = repository_of(shared, &row).await?;
    let Some(fence) = store.adopt(run, row.fence, &shared.owner).await? else {
        return Ok(());
    };
    tracing::info!(%run, fence, "adopted");
    let ended = row.finished;
    let row = RunRow {
        fence,
        owner: Some(shared.owner.clone()),
        ..row
    };
    // A run that was parked in good order has steps under way as well, as far as its state knows.
    let first = (!ended).then_some(Event::Recovered);
    start(shared, row, repository, first, part).await
}

async fn repository_of(shared: &Arc<Shared>, row: &RunRow) -> Result<Arc<Repository>> {
    if let Some(repository) = locked(&shared.repositories).get(&row.repository).cloned() {
        return Ok(repository);
    }
    let engine = Engine {
        shared: Arc::clone(shared),
    };
    let repository = engine.repository(std::path::Path::new(&row.folder)).await?;
    if repository.id == row.repository {
        Ok(repository)
    } else {
        Err(Error::new(
            Kind::Git,
            "repositoryMoved",
            format!("another repository is at {} now", row.folder),
        )
        .hint("put the repository of this pipeline back in its place, or start the task anew"))
    }
}

pub(super) fn unknown(run: &PipelineId) -> Error {
    Error::usage("unknownPipeline", format!("there is no pipeline `{run}`"))
        .hint("`clode.pipeline.list` lists them")
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
    let frozen = shared.services.store.blob(&machine.spec.config).await?;
    let config: Config = serde_json::from_slice(&frozen).map_err(|error| {
        Error::new(
            Kind::Io,
            "storeCorrupt",
            format!("the frozen configuration of `{}` cannot be read: {error}", row.id),
        )
    })?;
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
        config: Arc::new(config),
        inbox_sender,
        steps: HashMap::new(),
        waiting: HashMap::new(),
        timers: Vec::new(),
        live,
        place: None,
        ended: false,
        part,
    };
    locked(&shared.halted).remove(&row.id);
    locked(&shared.actors).insert(row.id, handle.clone());
    handle.wake();
    tokio::spawn(actor.drive(inbox, handle, first));
    Ok(())
}

fn live_of(machine: &Machine) -> Live {
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
    pub(super) steps: HashMap<StepId, LiveStep>,
    pub(super) waiting: HashMap<ApprovalId, oneshot::Sender<Answer>>,
    pub(super) timers: Vec<Timestamp>,
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
            Part::Drive => match self.begin(first, &handle).await {
                Ok(()) => self.serve(&mut inbox, &handle).await,
                failed => failed,
            },
        };
        if let Err(error) = &result {
            tracing::warn!(%error, code = %error.code, "the pipeline is not driven here any more");
        }
        self.park().await;
        if let Err(error) = result
            && error.code != "fenced"
            && !self.shared.stop.is_cancelled()
        {
            let hint = "what was done is stored: mend that, then resume the pipeline";
            locked(&self.shared.halted).insert(self.run.clone(), error.hint(hint));
        }
        locked(&self.shared.actors).remove(&self.run);
        locked(&self.shared.activity).remove(&self.run);
        if let Err(error) = self.shared.services.store.release(&self.run, self.fence).await {
            tracing::debug!(%error, "ownership could not be given back");
        }
        handle.ended.cancel();
        let _ = self.shared.notices.send(Notice::Changed(self.run.clone()));
    }

    async fn record(&mut self, first: Option<Event>) -> Result<()> {
        if let Some(event) = first {
            self.take_in(event).await?;
        }
        self.take_signals().await
    }

    async fn begin(&mut self, first: Option<Event>, handle: &Handle) -> Result<()> {
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
        if self.machine.status() == Status::Queued {
            let admission = Arc::clone(&self.shared.admission);
            let admitted = admission.admit(self.machine.spec.task.priority);
            tokio::pin!(admitted);
            loop {
                tokio::select! {
                    place = &mut admitted => {
                        self.place = Some(place);
                        break;
                    }
                    () = self.shared.stop.cancelled() => return Ok(()),
                    () = handle.wake.notified() => self.take_signals().await?,
                }
                if self.machine.status() != Status::Queued {
                    break;
                }
            }
            if self.machine.status() == Status::Queued {
                self.take_in(Event::Admitted).await?;
            }
        }
        Ok(())
    }

    async fn serve(&mut self, inbox: &mut mpsc::Receiver<Message>, handle: &Handle) -> Result<()> {
        loop {
            self.take_signals().await?;
            if self.ended && self.steps.is_empty() {
                return Ok(());
            }
            let wake_at = self.timers.iter().min().copied();
            let sleep = self.until(wake_at);
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return Ok(()),
                message = inbox.recv() => match message {
                    Some(message) => self.receive(message).await?,
                    None => return Ok(()),
                },
                () = handle.wake.notified() => {}
                () = sleep => {
                    let now = self.now();
                    self.timers.retain(|time| *time > now);
                    self.take_in(Event::TimeReached).await?;
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
            state,
            self.machine.status(),
            "tell".to_owned(),
            events,
            Vec::new(),
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

    async fn take_signals(&mut self) -> Result<()> {
        for row in self.shared.services.store.pending_signals(&self.run).await? {
            let outcome = self.take_signal(row.id, &row.payload).await;
            match outcome {
                Ok(effects) => {
                    for effect in effects {
                        self.perform(effect);
                    }
                }
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => {
                    let outcome = self.encode(&Outcome::Rejected(error))?;
                    let state = self.encode(&self.machine)?;
                    self.commit(
                        state,
                        self.machine.status(),
                        "rejected".to_owned(),
                        Vec::new(),
                        vec![(row.id, outcome)],
                    )
                    .await?;
                }
            }
        }
        Ok(())
    }

    async fn take_signal(&mut self, id: SignalId, payload: &str) -> Result<Vec<Effect>> {
        let signal: Signal = serde_json::from_str(payload)
            .map_err(|error| Error::internal(format!("a control cannot be read: {error}")))?;
        let event = self.event_of(signal).await?;
        let record = self.audit_record(&event);
        let effects = self.store(event, Some(id)).await?;
        if let Some(record) = record
            && let Err(error) = self.shared.services.store.audit(record).await
        {
            tracing::error!(%error, "an answer could not be written into the audit");
        }
        Ok(effects)
    }

    /// What the audit keeps of a person's decision: who, from where, about exactly what.
    fn audit_record(&self, event: &Event) -> Option<AuditRecord> {
        let (by, action, detail) = match event {
            Event::Answered {
                approval,
                gate,
                answer,
                by,
                ..
            } => {
                let id = self.machine.find_gate(approval.clone(), *gate).ok()?;
                (
                    by,
                    "approval",
                    serde_json::json!({"approvalId": id, "answer": answer, "from": by.detail}),
                )
            }
            Event::HunksDecided { outcomes, by, .. } => (
                by,
                "hunks",
                serde_json::json!({"outcomes": outcomes, "from": by.detail}),
            ),
            Event::Cancelled { by } => (by, "cancel", serde_json::json!({"from": by.detail})),
            _ => return None,
        };
        Some(AuditRecord {
            at: self.now(),
            run: Some(self.run.clone()),
            actor: by.surface.clone(),
            action: action.to_owned(),
            detail: detail.to_string(),
        })
    }

    async fn event_of(&self, signal: Signal) -> Result<Event> {
        Ok(match signal {
            Signal::Answer {
                approval,
                gate,
                answer,
                by,
            } => {
                let plan_document = match &answer.plan {
                    Some(plan) if answer.approved => {
                        Plan::parse(plan, &|agent| crate::agent::find(agent).is_some())?;
                        Some(
                            self.shared
                                .services
                                .store
                                .put_blob(plan.clone().into_bytes())
                                .await?,
                        )
                    }
                    _ => None,
                };
                Event::Answered {
                    approval,
                    gate,
                    answer: Answer { plan: None, ..answer },
                    plan_document,
                    by,
                }
            }
            Signal::Draft { plan } => Event::PlanDrafted {
                draft: self.shared.services.store.put_blob(plan.into_bytes()).await?,
            },
            Signal::Decide {
                outcomes,
                comment,
                by,
            } => Event::HunksDecided {
                outcomes,
                comment,
                by,
            },
            Signal::Pause => Event::Paused,
            Signal::Resume => Event::Resumed,
            Signal::Cancel { by } => Event::Cancelled { by },
            Signal::Retry { from, pipeline } => {
                super::routing::router(&self.shared, &self.config).forgive();
                let steps = match pipeline {
                    Some(name) => Some(super::pipelines::steps(&self.config, &name, None)?),
                    None => None,
                };
                Event::Retried { from, steps }
            }
        })
    }

    /// The transition: the machine's new state and all that belongs to it in one commit.
    async fn store(&mut self, event: Event, signal: Option<SignalId>) -> Result<Vec<Effect>> {
        let mut next = self.machine.clone();
        let journal = self.encode(&event)?;
        let transitioned = next.next(self.now(), event)?;
        let (published, effects): (Vec<Effect>, Vec<Effect>) = transitioned
            .effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Publish { .. }));
        let published = published.into_iter().filter_map(|effect| {
            if let Effect::Publish { event } = effect {
                Some(event)
            } else {
                None
            }
        });
        let consumed = match signal {
            Some(id) => vec![(id, self.encode(&Outcome::Accepted)?)],
            None => Vec::new(),
        };
        let state = self.encode(&next)?;
        self.commit(state, next.status(), journal, published.collect(), consumed)
            .await?;
        self.machine = next;
        self.ended = self.machine.ending.is_some();
        self.live.send_replace(live_of(&self.machine));
        self.hold_place();
        Ok(effects)
    }

    /// Writes until it is written; only a stale fence or the end of the process give up.
    async fn commit(
        &self,
        state: String,
        status: Status,
        journal: String,
        events: Vec<RunEvent>,
        consumed: Vec<(SignalId, String)>,
    ) -> Result<()> {
        let finished = match status {
            Status::Completed => Finished::Yes {
                reuse: self
                    .machine
                    .base_tree
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            },
            Status::Failed | Status::Cancelled => Finished::Yes { reuse: String::new() },
            _ => Finished::No,
        };
        let bodies: Vec<String> = events
            .iter()
            .map(|event| self.encode(event))
            .collect::<Result<_>>()?;
        let mut attempt = 1;
        loop {
            let transition = Transition {
                run: self.run.clone(),
                fence: self.fence,
                state: state.clone(),
                status: status.as_str().to_owned(),
                finished: finished.clone(),
                journal: journal.clone(),
                events: bodies.clone(),
                consumed: consumed.clone(),
                blobs: Vec::new(),
                at: self.now(),
            };
            match self.shared.services.store.commit(transition).await {
                Ok(committed) => {
                    for (seq, event) in committed.seqs.into_iter().zip(events) {
                        let _ = self.shared.notices.send(Notice::Event {
                            run: self.run.clone(),
                            seq,
                            event,
                        });
                    }
                    let _ = self.shared.notices.send(Notice::Changed(self.run.clone()));
                    return Ok(());
                }
                Err(error) if error.code == "fenced" || self.shared.stop.is_cancelled() => return Err(error),
                Err(error) if attempt >= STORE_ATTEMPTS_MAX => return Err(error),
                Err(error) => {
                    attempt += 1;
                    tracing::error!(%error, code = %error.code, "the state cannot be stored; trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }

    /// A run takes a place while it works, none while it waits for a person.
    fn hold_place(&mut self) {
        match self.machine.status() {
            Status::Running if self.place.is_none() => self.place = Some(self.shared.admission.enter()),
            Status::Running | Status::Queued => {}
            _ => self.place = None,
        }
    }

    fn encode(&self, value: &impl serde::Serialize) -> Result<String> {
        serde_json::to_string(value)
            .map_err(|error| Error::internal(format!("state of `{}` cannot be written: {error}", self.run)))
    }

    /// Ends what runs here; the stored state says how to go on.
    async fn park(&mut self) {
        self.waiting.clear();
        for (_, step) in self.steps.drain() {
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

/// Whether the run cannot be driven on, whatever the control was.
fn is_fatal(error: &Error) -> bool {
    error.code == "fenced" || error.kind == Kind::Io
}
