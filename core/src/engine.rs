//! Owns runs: takes what happens to them, makes the machine's new state durable, then performs its effects.
//!
//! One actor per run that this process owns ([`actor`]); nobody else changes a run. A control from
//! anywhere (editor, command line, another process) is a durable signal that the owner takes in.
//! Who owns a run is decided by a lock that the kernel holds for the owner, never by a clock.

mod actor;
mod admission;
mod adoption;
mod cache;
mod configuration;
mod context;
mod controls;
mod documents;
mod effects;
mod export;
mod gates;
mod hands;
mod pipelines;
mod restored;
mod retention;
mod routing;
mod signal;
#[cfg(test)]
mod simulation;
mod start;
mod status;
mod takeover;
mod transition;
mod upkeep;
mod view;
mod wait;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::future::BoxFuture;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub use cache::Kept;
pub use configuration::{ClientSettings, Configurations, Configured};
pub use context::{Files, ModelAnswer, ResumePoint, StepContext, WorkingDirectory};
pub use documents::{Elsewhere, OPEN_ELSEWHERE};
pub use effects::Snapshots;
pub use export::{StepChanges, Verified, verify};
pub use hands::Hands;
pub use signal::{Orphan, Signal};
pub use start::{Buffers, StartRequest, Started};
pub use status::{BudgetView, DayView, ProviderView};
pub use view::{ErrorView, MetricsView, PipelineDetail, PipelineSummary, StepView, TaskView, file_uri};
pub use wait::{Until, Waited};

use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::error::Result;
use crate::id::{BlobId, OwnerId, PipelineId, RepositoryId, random_hex};
use crate::pipeline::{HunkOutcome, RunEvent};
use crate::process::Spawner;
use crate::redact::Redactor;
use crate::store::{OwnerLock, Store};
use crate::workspace::{Repository, Workspaces};

/// Notices that a slow listener may miss before it takes a fresh look.
const NOTICES_MAX: usize = 1024;

/// What the engine drives.
#[derive(Debug, Clone)]
pub struct Services {
    /// The database.
    pub store: Store,
    /// Snapshots, slots, patches.
    pub workspaces: Arc<Workspaces>,
    /// Children.
    pub spawner: Spawner,
    /// The process environment as it was at the start.
    pub environment: Arc<Environment>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Keeps secrets out of what is stored and shown.
    pub redactor: Arc<Redactor>,
    /// Configuration by repository.
    pub configurations: Arc<Configurations>,
    /// State directory, for files that are opened by an editor.
    pub state: PathBuf,
    /// Cache directory, for private homes and temporary files of children.
    pub cache: PathBuf,
}

/// The port to whoever can change the user's files: an editor's buffers, or the disk.
pub trait Editor: Send + Sync + std::fmt::Debug {
    /// Applies every hunk of this run that is pending, clean and needs no person; says what became of each.
    fn apply_pending<'a>(&'a self, run: &'a PipelineId) -> BoxFuture<'a, Vec<HunkOutcome>>;
}

/// Something that listeners may want to show.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Its state is another one.
    Changed(PipelineId),
    /// It told something; durable, numbered.
    Event {
        /// Which run.
        run: PipelineId,
        /// Its number in that run.
        seq: u64,
        /// What.
        event: RunEvent,
    },
    /// Nobody drives these any more: their process ended. Told of workspaces that are open here.
    Orphaned {
        /// Where they work.
        repository: RepositoryId,
        /// Which.
        runs: Vec<PipelineId>,
    },
    /// What an agent does right now; only the latest counts.
    Activity {
        /// Which run.
        run: PipelineId,
        /// A few words.
        text: String,
    },
}

/// What an agent does right now, beside the journal.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// The model that was last chosen.
    pub model: Option<String>,
    /// A few words.
    pub text: String,
}

/// The engine; clones share it.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    services: Services,
    owner: OwnerId,
    lock: Mutex<Option<OwnerLock>>,
    hands: Arc<dyn hands::Hands>,
    actors: Mutex<BTreeMap<PipelineId, actor::Handle>>,
    activity: Mutex<HashMap<PipelineId, Activity>>,
    /// Runs that may be this process's although it does not drive them: something failed on the way.
    doubtful: Mutex<BTreeSet<PipelineId>>,
    /// Runs that this process had to leave, and why.
    halted: Mutex<HashMap<PipelineId, crate::Error>>,
    /// Runs that this process left but still owns, under which fence: it could not store that it left them.
    unreleased: Mutex<BTreeMap<PipelineId, i64>>,
    /// Held while a run is begun or taken up, until its actor is in `actors`.
    takeovers: tokio::sync::Mutex<()>,
    editor: Mutex<Option<Arc<dyn Editor>>>,
    repositories: Mutex<HashMap<RepositoryId, Arc<Repository>>>,
    /// Workspaces that are open here, and their runs that nobody drove when they were last looked for.
    orphans: Mutex<BTreeMap<RepositoryId, BTreeSet<PipelineId>>>,
    http: Option<crate::provider::http::Http>,
    /// Configurations that runs froze, as long as one of them is here.
    frozen: Mutex<HashMap<BlobId, Weak<Config>>>,
    routers: Mutex<HashMap<String, Arc<crate::router::Router>>>,
    admission: Arc<admission::Admission>,
    notices: broadcast::Sender<Notice>,
    stop: CancellationToken,
}

/// What an engine is put together from.
struct Parts {
    services: Services,
    owner: OwnerId,
    lock: Option<OwnerLock>,
    hands: Arc<dyn hands::Hands>,
    http: Option<crate::provider::http::Http>,
    concurrency: usize,
}

impl Engine {
    /// Takes the owner's lock, settles what dead owners left in the ledger, and begins to watch for
    /// what other processes do.
    pub async fn open(services: Services) -> Result<Self> {
        Self::open_with(services, Arc::new(hands::Real)).await
    }

    /// As [`Engine::open`], with others who carry out what runs ask for.
    pub async fn open_with(services: Services, hands: Arc<dyn Hands>) -> Result<Self> {
        let owner = OwnerId::new(random_hex(8)?);
        let writable = services.store.mode() == crate::store::StoreMode::ReadWrite;
        let lock = if writable {
            Some(services.store.register_owner(&owner, "clode-ls")?)
        } else {
            None
        };
        let http = crate::provider::http::Http::new()
            .inspect_err(|error| tracing::warn!(%error, "no provider can be reached"))
            .ok();
        let concurrency = services
            .configurations
            .global()
            .map_or(1, |loaded| loaded.config.concurrency as usize);
        let parts = Parts {
            services,
            owner,
            lock,
            hands,
            http,
            concurrency,
        };
        let engine = Self::assemble(parts).await?;
        watch::start(&engine.shared);
        upkeep::start(&engine.shared);
        Ok(engine)
    }

    /// Settles what dead owners left in the ledger; does nothing by itself yet.
    async fn assemble(parts: Parts) -> Result<Self> {
        let Parts {
            services,
            owner,
            lock,
            hands,
            http,
            concurrency,
        } = parts;
        let mut doubtful = BTreeSet::new();
        if services.store.mode() == crate::store::StoreMode::ReadWrite {
            let store = services.store.clone();
            let alive = store.clone();
            let settled = store
                .ledger()
                .reconcile(move |owner| alive.is_alive(owner), services.clock.now())
                .await?;
            tracing::debug!(
                settled = settled.len(),
                "holds of dead owners settled as unconfirmed"
            );
            doubtful = restored::pause_all(&services, &owner).await?;
            documents::forget_dead(&services.store).await;
        }
        let shared = Arc::new(Shared {
            services,
            owner,
            lock: Mutex::new(lock),
            hands,
            actors: Mutex::default(),
            activity: Mutex::default(),
            doubtful: Mutex::new(doubtful),
            halted: Mutex::default(),
            unreleased: Mutex::default(),
            takeovers: tokio::sync::Mutex::default(),
            editor: Mutex::default(),
            repositories: Mutex::default(),
            orphans: Mutex::default(),
            http,
            frozen: Mutex::default(),
            routers: Mutex::default(),
            admission: Arc::new(admission::Admission::new(concurrency)),
            notices: broadcast::channel(NOTICES_MAX).0,
            stop: CancellationToken::new(),
        });
        Ok(Self { shared })
    }

    /// Who applies patches in this process.
    pub fn set_editor(&self, editor: Arc<dyn Editor>) {
        *locked(&self.shared.editor) = Some(editor);
    }

    /// What it drives.
    pub fn services(&self) -> &Services {
        &self.shared.services
    }

    /// What is told from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }

    /// What an agent of this run does right now, if it runs in this process.
    pub fn activity(&self, run: &PipelineId) -> Option<Activity> {
        locked(&self.shared.activity).get(run).cloned()
    }

    /// Why this process had to leave a run that has not ended, if it had to.
    pub fn halted(&self, run: &PipelineId) -> Option<crate::Error> {
        locked(&self.shared.halted).get(run).cloned()
    }

    /// The repository of a folder; remembered, so that its runs can be driven.
    pub async fn repository(&self, folder: &std::path::Path) -> Result<Arc<Repository>> {
        let repository = Arc::new(self.shared.services.workspaces.repository(folder).await?);
        locked(&self.shared.repositories).insert(repository.id.clone(), Arc::clone(&repository));
        Ok(repository)
    }

    /// Ends the work of this process: children die, runs are parked where they are durable.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        let handles = std::mem::take(&mut *locked(&self.shared.actors));
        for handle in handles.values() {
            handle.ended().await;
        }
        locked(&self.shared.lock).take();
    }
}

/// The value behind a leaf lock that is never held across an await; a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
