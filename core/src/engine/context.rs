//! What an agent may do while it works. Everything that counts goes through here, so that it is
//! durable, paid for, pausable and cancellable without the agent's doing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Live, Message};
use super::cache::Reach;
use super::{Notice, Services, Shared, locked};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::id::{BlobId, CommitId, IntentId, OwnerId, PipelineId};
use crate::money::Money;
use crate::pipeline::{Answer, BudgetAsk, GateRequest, RunEvent, StepFailure, StepOrder};
use crate::provider::{FailureClass, Request, Response, Usage};
use crate::router::{
    BudgetRefusal, BudgetScope, CallScope, Confirmation, DailyLimits, Grant, RouteFailure, Router, Settlement,
};
use crate::task::Task;
use crate::workspace::{Collected, Repository, Slot, SlotNote};

/// Longest words of an agent that are shown while it works (characters).
const ACTIVITY_CHARS_MAX: usize = 120;

/// A model's answer and who gave it.
#[derive(Debug, Clone)]
pub struct ModelAnswer {
    /// What it said.
    pub response: Response,
    /// Whose.
    pub provider: String,
    /// Which.
    pub model: String,
    /// What the call cost, tries that failed included.
    pub cost: Money,
}

/// Where an earlier attempt of the step stood after its last whole turn.
#[derive(Debug, Clone)]
pub struct ResumePoint {
    /// The files then.
    pub files: Option<CommitId>,
    /// The transcript then (whatever the agent stored).
    pub transcript: Vec<u8>,
    /// The agent's own note.
    pub note: String,
}

/// The files that a checkpoint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Nothing touched them since the last checkpoint of this attempt, or since it began.
    Unchanged,
    /// As they are now.
    Changed,
}

/// Where an agent works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// The top folder of the files.
    pub root: PathBuf,
    /// The opened folder inside it: where tests run.
    pub folder: PathBuf,
    /// Its private git directory.
    pub git_dir: PathBuf,
}

/// The agent's side of its run. Lives as long as one attempt of one step.
#[derive(Debug)]
pub struct StepContext {
    /// What to do.
    pub order: StepOrder,
    /// What the person asked for.
    pub task: Arc<Task>,
    /// The run.
    pub run: PipelineId,
    /// The user's repository: read only.
    pub repository: Arc<Repository>,
    /// The configuration that the run froze.
    pub config: Arc<Config>,
    /// Fires when the step must end; everything awaited heeds it.
    pub cancel: CancellationToken,
    shared: Arc<Shared>,
    router: Arc<Router>,
    inbox: mpsc::Sender<Message>,
    live: watch::Receiver<Live>,
    pub(super) fence: i64,
    pub(super) reach: Reach,
    ordinal: AtomicU32,
    slot: Mutex<Option<Slot>>,
    /// The files of the last checkpoint.
    kept: Mutex<Option<CommitId>>,
}

impl StepContext {
    pub(super) fn new(actor: &Actor, order: StepOrder, cancel: CancellationToken) -> Self {
        Self {
            order,
            task: Arc::new(actor.machine.spec.task.clone()),
            run: actor.run.clone(),
            repository: Arc::clone(&actor.repository),
            config: Arc::clone(&actor.config),
            cancel,
            router: actor.router(),
            shared: Arc::clone(&actor.shared),
            inbox: actor.inbox_sender.clone(),
            live: actor.live.subscribe(),
            fence: actor.fence,
            reach: Reach::of(&actor.machine.spec),
            ordinal: AtomicU32::new(0),
            slot: Mutex::new(None),
            kept: Mutex::new(None),
        }
    }

    /// What the engine drives: workspaces, spawner, environment.
    pub fn services(&self) -> &Services {
        &self.shared.services
    }

    /// Says what it does right now, for progress; only the latest words count.
    pub fn say(&self, words: impl Into<String>) {
        let text: String = words.into().chars().take(ACTIVITY_CHARS_MAX).collect();
        locked(&self.shared.activity)
            .entry(self.run.clone())
            .or_default()
            .text
            .clone_from(&text);
        let _ = self.shared.notices.send(Notice::Activity {
            run: self.run.clone(),
            text,
        });
    }

    /// Tells something durable to whoever listens to the run.
    pub async fn tell(&self, event: RunEvent) {
        let _ = self.inbox.send(Message::Tell(vec![event])).await;
    }

    /// Waits while the run is paused; fails when the step must end.
    pub async fn pause_point(&self) -> Result<(), StepFailure> {
        let mut live = self.live.clone();
        let running = live.wait_for(|live| !live.paused);
        match self.cancel.run_until_cancelled(running).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(StepFailure::cancelled()),
        }
    }

    /// One model call: waits while paused, reserves its worst case, settles what it cost, and asks a
    /// person where a limit of money is reached. `request.model` is filled in by the router.
    pub async fn call(&self, request: Request) -> Result<ModelAnswer, StepFailure> {
        let mut cost = Money::ZERO;
        loop {
            self.pause_point().await?;
            let scope = self.scope();
            let observer = Observer {
                context: self,
                told: std::sync::Mutex::new(Vec::new()),
            };
            let answered = self
                .router
                .call(&scope, request.clone(), &observer, &self.cancel)
                .await;
            let told = observer
                .told
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            cost = told.iter().map(Told::cost).fold(cost, Money::plus);
            self.tell_calls(told).await;
            match answered {
                Ok(answer) => {
                    return Ok(ModelAnswer {
                        response: answer.response,
                        provider: answer.provider,
                        model: answer.model,
                        cost,
                    });
                }
                Err(RouteFailure::Budget(refusal)) => self.ask_for_money(&refusal).await?,
                Err(RouteFailure::Cancelled) => return Err(StepFailure::cancelled()),
                Err(RouteFailure::Failed(error, FailureClass::Truncated)) => {
                    return Err(StepFailure::outcome_unknown(error));
                }
                Err(RouteFailure::Failed(error, class)) if may_pass(class) => {
                    return Err(StepFailure::transient(error));
                }
                Err(RouteFailure::Failed(error, _)) => return Err(StepFailure::permanent(error)),
            }
        }
    }

    fn scope(&self) -> CallScope {
        let live = *self.live.borrow();
        let zone = self.config.time_zone();
        let today = self.shared.services.clock.now().day(&zone);
        let waived = live
            .daily_limits_waived_at
            .is_some_and(|at| at.day(&zone) == today);
        CallScope {
            run: self.run.clone(),
            step: self.order.step.clone(),
            agent: self.order.agent.clone(),
            attempt: self.order.attempt,
            ordinal: self.ordinal.fetch_add(1, Ordering::SeqCst),
            max_cost: live.max_cost,
            daily_limits: if waived {
                DailyLimits::Waived
            } else {
                DailyLimits::Hold
            },
            owner: self.shared.owner.clone(),
            repository: self.repository.id.clone(),
        }
    }

    async fn tell_calls(&self, told: Vec<Told>) {
        let mut events = Vec::new();
        for item in told {
            events.push(match item {
                Told::Decision(decision) => RunEvent::RouteDecision {
                    step_id: self.order.step.clone(),
                    decision,
                },
                Told::Usage {
                    provider,
                    model,
                    usage,
                    cost,
                } => self.usage_event(provider, model, usage, cost).await,
            });
        }
        if !events.is_empty() {
            let _ = self.inbox.send(Message::Tell(events)).await;
        }
    }

    async fn usage_event(&self, provider: String, model: String, usage: Usage, cost: Money) -> RunEvent {
        let total = self
            .shared
            .services
            .store
            .ledger()
            .run_totals(&self.run)
            .await
            .map(|totals| totals.cost)
            .unwrap_or_default();
        RunEvent::Usage {
            step_id: self.order.step.clone(),
            provider,
            model,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            cost_usd: cost.usd(),
            total_cost_usd: total.usd(),
        }
    }

    /// Opens the budget gate and waits; returns when a person raised the limit.
    pub async fn ask_for_money(&self, refusal: &BudgetRefusal) -> Result<(), StepFailure> {
        let ask = BudgetAsk {
            scope: scope_name(&refusal.scope),
            limit: refusal.limit,
            spent: refusal.spent.plus(refusal.reserved),
            needed: refusal.needed,
        };
        let answer = self.ask(GateRequest::Budget(ask)).await?;
        if answer.approved {
            Ok(())
        } else {
            Err(StepFailure::cancelled())
        }
    }

    /// Asks a person and waits for the answer, however long it takes; survives a crash.
    pub async fn ask(&self, request: GateRequest) -> Result<Answer, StepFailure> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Ask {
            step: self.order.step.clone(),
            request,
            reply,
        };
        if self.inbox.send(message).await.is_err() {
            return Err(StepFailure::cancelled());
        }
        match self.cancel.run_until_cancelled(answer).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(_)) | None => Err(StepFailure::cancelled()),
        }
    }

    /// Reserves money for work that is not routed by us, such as one session of an agent program.
    /// Asks a person where a limit is reached. The hold must be settled with [`StepContext::settle`].
    pub async fn reserve(&self, provider: &str, model: &str, amount: Money) -> Result<IntentId, StepFailure> {
        loop {
            self.pause_point().await?;
            let scope = self.scope();
            let intent = scope.intent(1);
            match self
                .router
                .reserve(&scope, &intent, provider, model, amount)
                .await?
            {
                Grant::Granted => return Ok(intent),
                Grant::Refused(refusal) => self.ask_for_money(&refusal).await?,
            }
        }
    }

    /// Settles a hold of [`StepContext::reserve`] and tells what it cost.
    pub async fn settle(
        &self,
        intent: &IntentId,
        provider: &str,
        model: &str,
        usage: Usage,
        cost: Money,
        confirmed: Confirmation,
    ) -> Result<()> {
        let at = self.shared.services.clock.now();
        self.router
            .settle(
                intent,
                Settlement {
                    cost,
                    usage,
                    confirmed,
                    at,
                },
            )
            .await?;
        let event = self
            .usage_event(provider.to_owned(), model.to_owned(), usage, cost)
            .await;
        self.tell(event).await;
        Ok(())
    }

    /// What this run may still spend, as its own limit says; none without a limit.
    pub async fn remaining(&self) -> Result<Option<Money>> {
        let totals = self.shared.services.store.ledger().run_totals(&self.run).await?;
        let limit = self.live.borrow().max_cost;
        Ok(limit.map(|limit| limit.minus(totals.cost.plus(totals.reserved))))
    }

    /// Who drives the run.
    pub fn owner(&self) -> &OwnerId {
        &self.shared.owner
    }

    /// Stored text.
    pub async fn text(&self, id: &BlobId) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.shared.services.store.blob(id).await?).into_owned())
    }

    /// Stored JSON.
    pub async fn json<T: DeserializeOwned>(&self, id: &BlobId) -> Result<T> {
        serde_json::from_slice(&self.shared.services.store.blob(id).await?)
            .map_err(|error| Error::usage("invalidParams", format!("stored JSON cannot be read: {error}")))
    }

    /// Stores text.
    pub async fn put_text(&self, text: &str) -> Result<BlobId> {
        self.shared
            .services
            .store
            .put_blob(text.as_bytes().to_vec())
            .await
    }

    /// The working directory of this step, set to `order.files` when it is first asked for.
    pub async fn working_directory(&self) -> Result<WorkingDirectory> {
        let mut slot = self.slot.lock().await;
        let slot = self.acquired(&mut slot).await?;
        Ok(WorkingDirectory {
            root: slot.root.clone(),
            folder: slot.folder.clone(),
            git_dir: slot.git_dir(),
        })
    }

    async fn acquired<'a>(&self, slot: &'a mut Option<Slot>) -> Result<&'a mut Slot> {
        if slot.is_none() {
            let note = SlotNote {
                run: self.run.clone(),
                step: self.order.step.clone(),
                fence: self.fence,
                trust: None,
            };
            *slot = Some(
                self.shared
                    .services
                    .workspaces
                    .acquire(&self.repository, &self.order.files, &note)
                    .await?,
            );
        }
        slot.as_mut()
            .ok_or_else(|| Error::internal("a slot vanished while it was acquired"))
    }

    /// The files in the working directory as they are now, as a commit on top of `order.files`.
    pub async fn collect(&self) -> Result<Collected> {
        let mut slot = self.slot.lock().await;
        let slot = self.acquired(&mut slot).await?;
        self.shared
            .services
            .workspaces
            .collect(&self.repository, slot, &self.order.files)
            .await
    }

    /// Puts these files into the working directory.
    pub async fn put_files(&self, files: &CommitId) -> Result<()> {
        let mut slot = self.slot.lock().await;
        let slot = self.acquired(&mut slot).await?;
        self.shared
            .services
            .workspaces
            .reset(&self.repository, slot, files)
            .await
    }

    /// Makes files and transcript durable together; a later attempt begins from here.
    pub async fn checkpoint(&self, transcript: Vec<u8>, files: Files, note: &str) -> Result<()> {
        let has_slot = self.slot.lock().await.is_some();
        let kept = self.kept.lock().await.clone();
        let files = match files {
            Files::Unchanged => kept.or_else(|| has_slot.then(|| self.order.files.clone())),
            Files::Changed if has_slot => Some(self.collect().await?.commit),
            Files::Changed => None,
        };
        self.kept.lock().await.clone_from(&files);
        let store = &self.shared.services.store;
        let transcript = store.put_blob(transcript).await?;
        store
            .save_checkpoint(
                &self.run,
                &self.order.step,
                self.fence,
                files,
                transcript,
                format!("{}\n{note}", self.checkpoint_round()),
                self.shared.services.clock.now(),
            )
            .await
    }

    /// The checkpoint of an earlier attempt in this very round, if there is one. Its files are put
    /// into the slot.
    pub async fn resume_point(&self) -> Result<Option<ResumePoint>> {
        let store = &self.shared.services.store;
        let Some(checkpoint) = store.checkpoint(&self.run, &self.order.step).await? else {
            return Ok(None);
        };
        let Some((round, note)) = checkpoint.note.split_once('\n') else {
            return Ok(None);
        };
        if round != self.checkpoint_round() {
            return Ok(None);
        }
        if let Some(files) = &checkpoint.files {
            self.put_files(files).await?;
        }
        self.kept.lock().await.clone_from(&checkpoint.files);
        let transcript = store.blob(&checkpoint.transcript).await?;
        Ok(Some(ResumePoint {
            files: checkpoint.files,
            transcript,
            note: note.to_owned(),
        }))
    }

    fn checkpoint_round(&self) -> String {
        format!("{}/{}", self.order.round, self.order.files)
    }

    pub(super) async fn end(&self) {
        if let Some(slot) = self.slot.lock().await.take() {
            let workspaces = Arc::clone(&self.shared.services.workspaces);
            tokio::spawn(async move { workspaces.release(slot).await });
        }
    }
}

fn may_pass(class: FailureClass) -> bool {
    matches!(class, FailureClass::Throttled { .. } | FailureClass::Transient)
}

/// As on the wire: `run`, `repositoryDay`, `userDay`, `providerDay:<id>`.
fn scope_name(scope: &BudgetScope) -> String {
    match scope {
        BudgetScope::Run => "run".to_owned(),
        BudgetScope::RepositoryDay => "repositoryDay".to_owned(),
        BudgetScope::UserDay => "userDay".to_owned(),
        BudgetScope::ProviderDay(id) => format!("providerDay:{id}"),
    }
}

enum Told {
    Decision(serde_json::Value),
    Usage {
        provider: String,
        model: String,
        usage: Usage,
        cost: Money,
    },
}

impl Told {
    fn cost(&self) -> Money {
        match self {
            Self::Usage { cost, .. } => *cost,
            Self::Decision(_) => Money::ZERO,
        }
    }
}

struct Observer<'a> {
    context: &'a StepContext,
    told: std::sync::Mutex<Vec<Told>>,
}

impl crate::router::CallObserver for Observer<'_> {
    fn route_decision(&self, decision: &crate::router::RouteDecision) {
        let shared = &self.context.shared;
        if let Some(chosen) = &decision.chosen {
            locked(&shared.activity)
                .entry(self.context.run.clone())
                .or_default()
                .model = Some(chosen.model.clone());
        }
        locked(&self.told).push(Told::Decision(serde_json::json!(decision)));
    }

    fn usage(&self, charge: &crate::router::Charge) {
        locked(&self.told).push(Told::Usage {
            provider: charge.provider.clone(),
            model: charge.model.clone(),
            usage: charge.usage,
            cost: charge.cost,
        });
    }

    fn delta(&self, _delta: &crate::provider::Delta) {}
}
