//! A store in memory for simulation: the same statements in the same transactions, carried out where they
//! are asked for. Several simulated processes share one disk, and each request has a fate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::keep_plans;
use super::failure::{Failure, Outcome, busy};
use super::scope::Scope;
use super::space::Space;
use super::worker::{Asked, Health, Worker};
use super::{Hold, Settlement, Shared, Store, StoreMode, batch, hold, migrations, owner, restored, signal};
use crate::id::PipelineId;
use crate::{Error, Result};

/// Statements that stay prepared from schedule to schedule.
const STATEMENTS_CACHED: usize = 256;

/// The pages of a file in memory: what changes in one is kept whole until the transaction ends.
const PAGE_BYTES: u32 = 1_024;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Looking.
    Read,
    /// Changing.
    Write,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done, and the caller hears so.
    Done,
    /// It is not done, and the caller hears so; the next one may be.
    Refused,
    /// It is done, but the caller hears that nobody knows.
    Unanswered,
    /// It is not done, but the caller hears that it is: only broken disks do that.
    Forgotten,
    /// The disk fails: this process can write nothing more.
    Broken,
    /// The process dies before it is done.
    DiesBefore,
    /// It is done, and the process dies before it hears so.
    DiesAfter,
}

/// Who decides about requests of one process.
pub(crate) trait Fates: Send + Sync + std::fmt::Debug {
    /// What becomes of the next one.
    fn next(&self, access: Access) -> Fate;

    /// Whether others get on while it waits for its turn, or its answer for the caller.
    fn is_slow(&self) -> bool;
}

/// The file, as all processes see it.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    connection: Arc<Mutex<Connection>>,
    wipe: Arc<[String]>,
}

impl Memory {
    /// An empty database with the present schema.
    pub(crate) fn new() -> Result<Self> {
        let made = Connection::open_in_memory()
            .map_err(Failure::from)
            .and_then(|mut connection| {
                connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
                connection.pragma_update(None, "page_size", PAGE_BYTES)?;
                // Runs are not deleted here, and without the look at what refers to them the file is emptied at once.
                connection.pragma_update(None, "foreign_keys", false)?;
                keep_plans(&connection)?;
                migrations::migrate(&mut connection, migrations::latest())?;
                // Each schedule begins with an empty file.
                connection.execute_batch("DROP TRIGGER IF EXISTS audit_is_never_deleted")?;
                let wipe = wipe_of(&connection)?;
                Ok((connection, wipe))
            });
        let (connection, wipe) = made.map_err(|failure| failure.into_error(&place()))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            wipe: wipe.into(),
        })
    }

    /// Empties it; statements stay prepared.
    pub(crate) fn wipe(&self) -> Result<()> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let wiped = Scope::transaction(&connection).and_then(|transaction| {
            for delete in self.wipe.iter() {
                connection.prepare_cached(delete)?.execute([])?;
            }
            transaction.keep()
        });
        wiped.map_err(|failure| failure.into_error(&place()))
    }

    /// Somebody restored the file while it was open: this run came back from the backup.
    pub(crate) fn came_back(&self, run: &PipelineId) -> Result<()> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        restored::insert(&connection, run).map_err(|failure| failure.into_error(&place()))
    }

    /// Every control that was ever sent to a run, with what came of it.
    pub(crate) fn signals(&self, run: &PipelineId) -> Result<Vec<(String, Option<String>)>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        signal::all(&connection, run).map_err(|failure| failure.into_error(&place()))
    }

    /// Every send that money was ever held for, with what it came to.
    pub(crate) fn sends(&self) -> Result<Vec<(Hold, Option<Settlement>)>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let entries =
            hold::select(&connection, "1 = 1", []).map_err(|failure| failure.into_error(&place()))?;
        Ok(entries
            .into_iter()
            .map(|entry| (entry.hold, entry.settlement))
            .collect())
    }
}

fn place() -> PathBuf {
    PathBuf::from("/simulated/clode.db")
}

fn wipe_of(connection: &Connection) -> Outcome<Vec<String>> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name NOT LIKE 'sqlite_%' OR name = 'sqlite_sequence')";
    let mut statement = connection.prepare(tables)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(format!("DELETE FROM {}", name?))).collect()
}

/// The file, as one process reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    memory: Memory,
    fates: Arc<dyn Fates>,
}

impl Disk {
    pub(super) async fn run<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Outcome<T>,
        health: &Health,
    ) -> Result<T> {
        let fate = self.begin(Access::Read, health).await?;
        let result = {
            let mut connection = self.lock();
            work(&mut connection).map_err(|failure| health.conclude(failure))
        };
        self.end(fate, result).await
    }

    pub(super) async fn write<T, F>(&self, work: F, health: &Health) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let fate = self.begin(Access::Write, health).await?;
        if fate == Fate::Forgotten {
            let connection = self.lock();
            let done = Scope::transaction(&connection).and_then(|_undone| work(&connection));
            return done.map_err(|failure| health.conclude(failure));
        }
        let (answer, mut answered) = oneshot::channel();
        {
            let connection = self.lock();
            batch::perform(
                &connection,
                vec![batch::write(work, Asked::now(), answer)],
                health,
                None,
            );
        }
        let result = answered
            .try_recv()
            .unwrap_or_else(|_| Err(Error::internal("a write without an answer")));
        self.end(fate, result).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.memory
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, access: Access, health: &Health) -> Result<Fate> {
        self.wait().await;
        match self.fates.next(access) {
            Fate::Refused => Err(busy("the simulated disk is busy; this was not done".to_owned())),
            Fate::Broken => {
                let error = std::io::Error::other("the simulated disk fails");
                Err(health.conclude(Failure::File(place(), error)))
            }
            Fate::DiesBefore => std::future::pending().await,
            fate => Ok(fate),
        }
    }

    async fn end<T>(&self, fate: Fate, result: Result<T>) -> Result<T> {
        self.wait().await;
        match fate {
            Fate::Unanswered => Err(busy(
                "the simulated disk did not answer; whether it was done is unknown".to_owned(),
            )),
            Fate::DiesAfter => std::future::pending().await,
            _ => result,
        }
    }

    async fn wait(&self) {
        if self.fates.is_slow() {
            tokio::task::yield_now().await;
        }
    }
}

impl Store {
    /// The store as one simulated process has it.
    pub(crate) fn simulated(
        memory: &Memory,
        fates: Arc<dyn Fates>,
        liveness: Arc<dyn owner::Liveness>,
    ) -> Self {
        let state = PathBuf::from("/simulated");
        let space = Space::of(&state);
        let health = Health::new(place(), space.clone());
        let disk = Disk {
            memory: memory.clone(),
            fates,
        };
        Self {
            shared: Arc::new(Shared {
                state,
                mode: StoreMode::ReadWrite,
                writer: Some(Worker::here(disk.clone(), health.clone())),
                reader: Worker::here(disk, health.clone()),
                health,
                space,
                liveness,
            }),
        }
    }
}

thread_local! {
    static FORGETS_FENCES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the store of this thread is the broken one that lets everybody write.
pub(super) fn forgets_fences() -> bool {
    FORGETS_FENCES.get()
}

/// Breaks the store of this thread, or mends it.
pub(crate) fn forget_fences(forgets: bool) {
    FORGETS_FENCES.set(forgets);
}
