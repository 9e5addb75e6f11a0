//! What an agent may do while it works. Everything that counts goes through here, so that it is
//! durable, paid for, pausable and cancellable without the agent's doing.

mod calls;
mod files;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Live, Message};
use super::cache::Reach;
use super::{Notice, Services, Shared, locked};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::id::{BlobId, CommitId, OwnerId, PipelineId};
use crate::pipeline::{Answer, GateRequest, RunEvent, StepFailure, StepOrder};
use crate::router::Router;
use crate::task::Task;
use crate::workspace::{Repository, Slot};

pub use calls::ModelAnswer;
pub(super) use files::begun_from;
pub use files::{Files, ResumePoint, WorkingDirectory};

/// Longest words of an agent that are shown while it works (characters).
const ACTIVITY_CHARS_MAX: usize = 120;

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
}
