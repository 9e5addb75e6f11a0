//! A simulated process: the real engine on a runtime of its own, whose time stands still unless it is moved.
//! Killing it drops the runtime with all that was under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::broadcast::error::TryRecvError;

use super::house::House;
use super::money;
use super::ports::Ports;
use super::team::{Screen, Team};
use super::world::{Defect, World};
use crate::engine::watch::Seen;
use crate::engine::{Engine, Notice, Parts, Signal, locked};
use crate::id::{OwnerId, PipelineId};
use crate::store::Store;

/// Rounds of the scheduler after which something that should be done at once counts as stuck.
const PASSES_MAX: u32 = 400;
/// Rounds of the scheduler without a word to the outside after which a process waits for something.
const QUIET_PASSES: u32 = 6;
/// How many wishes in a thousand are given up before they are answered, and after how many rounds at most.
const IMPATIENT: u64 = 80;
const PATIENCE_MAX: u64 = 30;
/// How long a process may take to close in good order (its own time).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) ports: Ports,
    pub(super) owner: OwnerId,
    /// Stopped for a while, as a laptop that sleeps.
    pub(super) is_suspended: bool,
    pub(super) engine: Engine,
    seen: Seen,
    notices: tokio::sync::broadcast::Receiver<Notice>,
    runtime: Runtime,
}

impl Process {
    /// A server is started; nothing if it dies or fails before it is open.
    pub(super) fn start(world: &Arc<World>, house: &House, number: u32) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .ok()?;
        let ports = Ports::new(Arc::clone(world), number);
        let owner = OwnerId::new(format!("owner-{number}"));
        world.note(|| format!("process {number} starts"));
        world.set_alive(&owner, true);
        let store = Store::simulated(&house.memory, Arc::new(ports.clone()), Arc::clone(world) as _);
        let assembly = Parts {
            services: house.services(store.clone(), world),
            owner: owner.clone(),
            lock: None,
            hands: Arc::new(Team::new(&ports)),
            http: None,
            concurrency: 2,
        };
        let opened = runtime.block_on(at_once(Engine::assemble(assembly)));
        let Some(Ok(engine)) = opened else {
            ports.die("it could not be opened");
            world.set_alive(&owner, false);
            return None;
        };
        let shared = &engine.shared;
        locked(&shared.repositories).insert(house.repository.id.clone(), Arc::clone(&house.repository));
        locked(&shared.frozen).insert(house.frozen.clone(), Arc::downgrade(&house.config));
        locked(&shared.routers).insert(house.frozen.to_string(), money::router(&ports, store.ledger()));
        engine.set_editor(Arc::new(Screen {
            ports: ports.clone(),
            shared: Arc::downgrade(shared),
        }));
        let (opening, repository) = (engine.clone(), house.repository.id.clone());
        runtime.spawn(async move {
            for row in opening.orphans(&repository).await.unwrap_or_default() {
                let _ = opening.adopt(&row.id).await;
            }
        });
        Some(Self {
            ports,
            owner,
            is_suspended: false,
            notices: engine.notices(),
            engine,
            seen: Seen::default(),
            runtime,
        })
    }

    /// Lets it work for so many rounds of its scheduler.
    pub(super) fn work(&mut self, passes: u32) {
        self.runtime.block_on(rounds(passes));
        self.listen();
    }

    /// Lets it work until it waits for something: for a while it reached nothing outside.
    pub(super) fn work_on(&mut self) {
        let ports = &self.ports;
        self.runtime.block_on(async {
            let (mut seen, mut quiet) = (ports.reached(), 0);
            for _ in 0..PASSES_MAX {
                tokio::task::yield_now().await;
                let now = ports.reached();
                quiet = if now == seen { quiet + 1 } else { 0 };
                seen = now;
                if quiet == QUIET_PASSES {
                    break;
                }
            }
        });
        self.listen();
    }

    /// Its own time goes on.
    pub(super) fn move_time(&mut self, time: Duration) {
        self.runtime.block_on(tokio::time::advance(time));
    }

    /// It notices what others wrote, and who has died.
    pub(super) fn look_around(&mut self) {
        let (seen, shared) = (&mut self.seen, &self.engine.shared);
        let is_deaf = self.ports.world.defect == Some(Defect::DeafProcess);
        self.runtime.block_on(at_once(async {
            if !is_deaf {
                let _ = seen.changed(shared, false).await;
            }
            let _ = seen.look_for_orphans(shared).await;
        }));
        self.listen();
    }

    /// A person's wish; what comes of it is noted when it is known.
    pub(super) fn wish(&self, run: &PipelineId, signal: Signal, tag: &str) {
        let (engine, ports) = (self.engine.clone(), self.ports.clone());
        let (run, tag) = (run.clone(), tag.to_owned());
        ports
            .world
            .note(|| format!("process {}: {tag}: {signal:?} for {run}", ports.process));
        let is_named = matches!(
            signal,
            Signal::Answer { .. } | Signal::Cancel { .. } | Signal::Decide { .. }
        );
        let was_calm = ports.world.is_calm();
        let is_nobodys = ports.has(Defect::AnswerOfNobody) && ports.world.happens(200);
        ports.world.facts(|facts| {
            if !is_nobodys {
                facts.sent.insert(tag.clone());
            }
            if is_named {
                facts.named.insert(tag.clone());
            }
        });
        let patience = self.patience();
        self.runtime.spawn(async move {
            let Some(answer) = unless_given_up(patience, engine.signal(&run, signal)).await else {
                return ports.world.note(|| format!("{tag} is given up"));
            };
            ports.world.note(|| match &answer {
                Ok(()) => format!("{tag} is acknowledged"),
                Err(error) => format!("{tag} is refused: {}", error.code),
            });
            let is_silent = answer.as_ref().is_err_and(|error| error.code == "ownerSilent");
            ports.world.check(!was_calm || !is_silent, || {
                format!("nobody took in `{tag}` for `{run}`, although everybody was there")
            });
            if answer.is_ok() {
                ports.world.facts(|facts| facts.acknowledged.push((run, tag)));
            }
        });
    }

    /// A task is started here, unless it runs already.
    pub(super) fn begin(&self, house: &House, number: u64, shapes: usize) {
        let world = &self.ports.world;
        let Ok(new) = house.run(world, number, shapes, &self.owner) else {
            return world.violate("a run cannot be written");
        };
        world.note(|| format!("process {}: task {number} is started", self.ports.process));
        let (engine, repository) = (self.engine.clone(), Arc::clone(&house.repository));
        let patience = self.patience();
        self.runtime
            .spawn(async move { unless_given_up(patience, engine.launch(new, &repository)).await });
    }

    /// Rounds of the scheduler after which an editor takes a request back; nothing if it waits for the answer.
    fn patience(&self) -> Option<u32> {
        let world = &self.ports.world;
        let is_impatient = !world.is_calm() && world.happens(IMPATIENT);
        is_impatient.then(|| u32::try_from(world.below(PATIENCE_MAX)).unwrap_or(0))
    }

    /// Somebody wants it driven here.
    pub(super) fn adopt(&self, run: &PipelineId) {
        let (engine, run) = (self.engine.clone(), run.clone());
        self.runtime.spawn(async move { engine.adopt(&run).await });
    }

    /// Whether its disk has failed: it can only be started again.
    pub(super) fn is_broken(&self) -> bool {
        self.engine.services().store.writable().is_err()
    }

    /// Killed, without a word.
    pub(super) fn kill(self) {
        if !self.ports.is_dead() {
            self.ports.die("killed");
        }
        self.ports.world.set_alive(&self.owner, false);
        drop(self.runtime);
    }

    /// Ended in good order.
    pub(super) fn close(self) {
        self.ports
            .world
            .note(|| format!("process {} closes", self.ports.process));
        let engine = self.engine.clone();
        let closing = async { tokio::time::timeout(CLOSE_TIMEOUT, engine.shutdown()).await };
        if self.runtime.block_on(closing).is_err() && !self.ports.is_dead() {
            self.ports.world.violate("a process does not close");
        }
        self.kill();
    }

    /// As the server does: takes up what lost its process, and shows what is told.
    fn listen(&mut self) {
        loop {
            match self.notices.try_recv() {
                Ok(Notice::Event { run, seq, event }) => {
                    let body = serde_json::to_string(&event).unwrap_or_default();
                    self.ports.world.told(&run, seq, &body);
                }
                Ok(Notice::Orphaned { runs, .. }) => {
                    for run in runs {
                        self.adopt(&run);
                    }
                }
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

async fn rounds(passes: u32) {
    for _ in 0..passes {
        tokio::task::yield_now().await;
    }
}

/// Something that is dropped where it stands when patience ends; nothing if it was.
async fn unless_given_up<T>(patience: Option<u32>, work: impl Future<Output = T>) -> Option<T> {
    let Some(passes) = patience else {
        return Some(work.await);
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = rounds(passes) => None,
    }
}

/// Something that needs no time; nothing if the process dies in it.
async fn at_once<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = rounds(PASSES_MAX) => None,
    }
}
