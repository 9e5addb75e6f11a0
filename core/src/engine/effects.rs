//! Performs what the machine asks for; each in a task of its own whose end comes back as an event.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::actor::{Actor, LiveStep, Message};
use super::context::StepContext;
use super::hands::Hands;
use super::start::Buffers;
use super::takeover::Part;
use super::{Services, locked};
use crate::error::{Error, Result};
use crate::id::{BlobId, CommitId, StepId};
use crate::pipeline::{
    Effect, Event, HunkRecord, HunkState, MergeOutcome, PreparedPatch, StepFailure, StepOrder,
};
use crate::workspace::{Buffer, Combined, Repository, Snapshot, Verdict};

/// Longest time for a snapshot or a patch.
const GIT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an agent that was told to end may take before it is dropped with all that it holds.
const AGENT_END_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time for applying a patch through an editor.
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

impl Actor {
    pub(super) fn perform(&mut self, effect: Effect) {
        if self.part == Part::Record {
            return;
        }
        match effect {
            Effect::TakeSnapshot { buffers } => self.take_snapshot(buffers),
            Effect::RunStep { order } => self.run_step(*order),
            Effect::AbortStep { step } => self.abort_step(&step),
            Effect::DeliverAnswer { approval, answer, .. } => {
                if let Some(reply) = self.waiting.remove(&approval) {
                    let _ = reply.send(answer);
                }
            }
            Effect::MergeResults {
                step,
                attempt,
                base,
                onto,
                result,
            } => self.merge_results(step, attempt, base, onto, result),
            Effect::PreparePatch { base, result } => self.prepare_patch(base, result),
            Effect::ApplyPatch => self.apply_patch(),
            Effect::SetTimer { at } => drop(self.timers.insert(at)),
            Effect::Publish { .. } => {}
            Effect::Ended => self.ended = true,
        }
    }

    /// Runs `work` beside the actor; its event comes back through the inbox.
    fn beside<F: Future<Output = Event> + Send + 'static>(&self, work: F) {
        let (inbox, stop) = (self.inbox_sender.clone(), self.shared.stop.clone());
        let told = async move {
            let Some(event) = stop.run_until_cancelled(work).await else {
                return;
            };
            let _ = inbox.send(Message::Event(Box::new(event))).await;
        };
        tokio::spawn(told.in_current_span());
    }

    fn take_snapshot(&self, buffers: Option<BlobId>) {
        let (services, repository) = (self.shared.services.clone(), Arc::clone(&self.repository));
        let hands = Arc::clone(&self.shared.hands);
        self.beside(async move {
            match limited("snapshot", hands.snapshot(&services, &repository, buffers)).await {
                Ok(snapshot) => Event::SnapshotTaken {
                    commit: snapshot.shown.commit,
                    tree: snapshot.shown.tree,
                    for_agents: snapshot.for_agents,
                    withheld: snapshot.shown.withheld,
                },
                Err(error) => Event::SnapshotFailed { error },
            }
        });
    }

    fn merge_results(&self, step: StepId, attempt: u32, base: CommitId, onto: CommitId, result: CommitId) {
        let (services, repository) = (self.shared.services.clone(), Arc::clone(&self.repository));
        let hands = Arc::clone(&self.shared.hands);
        self.beside(async move {
            let combined = hands.combine(&services, &repository, &base, &onto, &result);
            let outcome = match limited("merge", combined).await {
                Ok(Combined::Files(files)) => MergeOutcome::Merged { files },
                Ok(Combined::Collision(paths)) => MergeOutcome::Collided { paths },
                Err(error) => return Event::MergeFailed { step, attempt, error },
            };
            Event::ResultsMerged {
                step,
                attempt,
                onto,
                outcome,
            }
        });
    }

    fn prepare_patch(&self, base: CommitId, result: CommitId) {
        let (services, repository) = (self.shared.services.clone(), Arc::clone(&self.repository));
        let hands = Arc::clone(&self.shared.hands);
        self.beside(async move {
            match limited("patch", hands.patch(&services, &repository, &base, &result)).await {
                Ok(prepared) => Event::PatchPrepared {
                    prepared: Box::new(prepared),
                },
                Err(error) => Event::PatchFailed { error },
            }
        });
    }

    fn apply_patch(&self) {
        let editor = locked(&self.shared.editor).clone();
        let run = self.run.clone();
        self.beside(async move {
            let outcomes = match editor {
                Some(editor) => tokio::time::timeout(APPLY_TIMEOUT, editor.apply_pending(&run))
                    .await
                    .unwrap_or_default(),
                None => Vec::new(),
            };
            Event::ApplyFinished { outcomes }
        });
    }

    fn abort_step(&mut self, step: &StepId) {
        if let Some(live) = self.steps.get(step) {
            live.cancel.cancel();
        }
        let asked: Vec<_> = self
            .machine
            .gates
            .iter()
            .filter(|gate| gate.step.as_ref() == Some(step))
            .map(|gate| gate.id.clone())
            .collect();
        for id in asked {
            self.waiting.remove(&id);
        }
    }

    fn run_step(&mut self, order: StepOrder) {
        let (step, attempt) = (order.step.clone(), order.attempt);
        let before = self.steps.remove(&step);
        let cancel = self.shared.stop.child_token();
        let context = StepContext::new(self, order, cancel.clone());
        let inbox = self.inbox_sender.clone();
        let hands = Arc::clone(&self.shared.hands);
        let work = run_agent(hands, context, before, step.clone(), attempt, inbox);
        let span = tracing::info_span!("step", %step, attempt);
        let task = tokio::spawn(work.instrument(span));
        self.steps.insert(
            step,
            LiveStep {
                attempt,
                cancel,
                task,
            },
        );
    }
}

async fn limited<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(GIT_TIMEOUT, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            crate::Kind::Git,
            "gitTimedOut",
            format!("the {what} took longer than {} s", GIT_TIMEOUT.as_secs()),
        )
        .hint("see whether another program holds the repository, then retry"))
    })
}

/// What the person sees, and what agents see where that is something else.
#[derive(Debug)]
pub struct Snapshots {
    /// What the person sees.
    pub shown: Snapshot,
    /// What agents see, where that is something else.
    pub for_agents: Option<CommitId>,
}

pub(super) async fn snapshot(
    services: &Services,
    repository: &Repository,
    buffers: Option<BlobId>,
) -> Result<Snapshots> {
    let buffers: Buffers = match buffers {
        Some(id) => serde_json::from_slice(&services.store.blob(&id).await?)
            .map_err(|error| Error::internal(format!("stored buffers cannot be read: {error}")))?,
        None => Buffers::default(),
    };
    let shown = services.workspaces.snapshot(repository, &buffers.shown).await?;
    if buffers.for_agents.is_empty() {
        return Ok(Snapshots {
            shown,
            for_agents: None,
        });
    }
    let seen_differently =
        |buffer: &Buffer| buffers.for_agents.iter().find(|other| other.path == buffer.path);
    let theirs: Vec<Buffer> = buffers
        .shown
        .iter()
        .map(|buffer| seen_differently(buffer).unwrap_or(buffer).clone())
        .collect();
    let for_agents = services.workspaces.snapshot(repository, &theirs).await?.commit;
    Ok(Snapshots {
        shown,
        for_agents: Some(for_agents),
    })
}

pub(super) async fn prepare(
    services: &Services,
    repository: &Repository,
    base: &CommitId,
    result: &CommitId,
) -> Result<PreparedPatch> {
    let patch = services.workspaces.patch(repository, base, result).await?;
    // What the user prunes while the patch waits must not be missed.
    if let Err(error) = services.workspaces.keep(repository, &patch).await {
        tracing::warn!(%error, "the patch still leans on objects of the user's repository");
    }
    let mut hunks = Vec::new();
    for file in &patch.files {
        let ask = matches!(file.verdict, Verdict::Ask { .. });
        hunks.extend(file.hunks.iter().map(|hunk| HunkRecord {
            id: hunk.id.clone(),
            path: file.path.clone(),
            state: HunkState::Pending,
            round: 0,
            ask,
            comment: None,
            reason: None,
        }));
    }
    let stored = serde_json::to_vec(&patch)
        .map_err(|error| Error::internal(format!("a patch cannot be written: {error}")))?;
    Ok(PreparedPatch {
        patch: services.store.put_blob(stored).await?,
        result: result.clone(),
        hunks,
    })
}

/// Lets the agent work once an earlier attempt in this process has really ended.
async fn run_agent(
    hands: Arc<dyn Hands>,
    context: StepContext,
    before: Option<LiveStep>,
    step: StepId,
    attempt: u32,
    inbox: tokio::sync::mpsc::Sender<Message>,
) {
    if let Some(before) = before {
        before.cancel.cancel();
        let _ = before.task.await;
    }
    let cancel: CancellationToken = context.cancel.clone();
    let result = match hands.agent(context.order.agent.as_str()) {
        Some(agent) => {
            let work = AssertUnwindSafe(agent.run(&context)).catch_unwind();
            let overdue = async {
                cancel.cancelled().await;
                tokio::time::sleep(AGENT_END_TIMEOUT).await;
            };
            tokio::select! {
                done = work => done.unwrap_or_else(|_panic| {
                    Err(StepFailure::permanent(Error::internal(format!("the agent of step `{step}` panicked"))))
                }),
                () = overdue => Err(StepFailure::cancelled()),
            }
        }
        None => Err(StepFailure::permanent(Error::internal(format!(
            "there is no agent `{}`",
            context.order.agent
        )))),
    };
    context.end().await;
    let message = match result {
        Ok(output) if !cancel.is_cancelled() => Message::Event(Box::new(Event::StepFinished {
            step,
            attempt,
            output: Box::new(output),
        })),
        Ok(_) => Actor::failed_step(step, attempt, StepFailure::cancelled()),
        Err(failure) => Actor::failed_step(step, attempt, failure),
    };
    let _ = inbox.send(message).await;
}
