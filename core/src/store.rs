//! The one SQLite file: runs, journal, signals, events, contents, ledger, audit; the only SQL.
//!
//! Several processes (several editors) use it at once. Each [`Store`] has a thread for writing and
//! one for reading; its methods hand closures over and await the answer, so nobody waits inside
//! SQLite. A write that was acknowledged is on the disk. What the payloads mean is known only to
//! those who store them; that they come back unchanged is checked on every read.

mod answer;
mod audit;
mod backup;
mod batch;
mod blob;
mod cache;
mod checkpoint;
mod checksum;
mod commits;
mod connection;
mod document;
mod event;
#[cfg(debug_assertions)]
pub mod failpoint;
mod failure;
mod guard;
mod hold;
mod ledger;
mod ledger_port;
mod migrations;
mod owner;
mod place;
mod restore;
mod restored;
mod retention;
mod run;
mod runs;
mod safety_log;
mod scope;
mod setting;
mod signal;
#[cfg(test)]
pub(crate) mod simulated;
mod space;
mod sweep;
mod tally;
#[cfg(test)]
mod tests;
mod transition;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::{Error, Kind, Result};
use failure::{Failure, Outcome};
use space::Space;
use worker::{Health, Worker};

pub use audit::{AuditRecord, AuditRow};
pub use blob::{BLOB_BYTES_MAX, BLOB_INLINE_BYTES_MAX, blob_id};
pub use cache::{CACHE_ENTRY_BYTES_MAX, CacheEntry, CacheScope, CacheTrim};
pub use checkpoint::Checkpoint;
pub use document::{DOCUMENTS_MAX, UnsavedDocument};
pub use event::EventRow;
pub use ledger::{CostBy, CostRow, DayScope, Forfeited, Ledger, StepTotals, Totals};
pub use ledger_port::{
    BudgetRefusal, BudgetScope, Cap, Confirmation, Grant, Hold, Limits, Settlement, Usage,
};
#[cfg(test)]
pub(crate) use owner::Liveness;
pub use owner::OwnerLock;
pub use retention::{StoredRun, Weigh};
pub use run::{
    Committed, Created, FIRST_FENCE, Finished, JournalRow, NewRun, RUNS_MAX, RunFilter, RunRow, Transition,
    UnfinishedRun,
};
pub use signal::{SignalId, SignalRow};
pub use sweep::Swept;

/// Longest time for opening, which includes the check of the whole file.
const OPEN_MS_MAX: u64 = 60_000;
/// Longest text in one row.
pub const PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most rows in one answer.
pub const ROWS_MAX: usize = 10_000;

/// What may be done with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreMode {
    /// Everything.
    ReadWrite,
    /// Looking only.
    ReadOnly {
        /// Why; the answer to every write.
        reason: Error,
    },
}

/// Handle of the store; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: PathBuf,
    mode: StoreMode,
    writer: Option<Worker>,
    reader: Worker,
    health: Health,
    space: Space,
    liveness: Arc<dyn owner::Liveness>,
}

impl Store {
    /// Opens the store of a state directory; creates both where they are missing. Where nothing
    /// can be written it opens for reading, see [`Store::mode`].
    pub async fn open(state: &Path) -> Result<Self> {
        let state = state.to_path_buf();
        let opening = tokio::task::spawn_blocking(move || Self::open_here(state));
        match tokio::time::timeout(Duration::from_millis(OPEN_MS_MAX), opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => Err(Error::internal(format!("opening the store: {error}"))),
            Err(_) => Err(failure::busy(format!(
                "the store did not open within {} s",
                OPEN_MS_MAX / 1000
            ))),
        }
    }

    fn open_here(state: PathBuf) -> Result<Self> {
        let space = Space::of(&state);
        space.make_way();
        let opened = connection::open(&state)?;
        let health = Health::new(opened.path, space.clone());
        let start = |name, connection, guard| Worker::start(name, connection, health.clone(), guard);
        let writer = opened
            .writer
            .map(|(connection, guard)| start("clode-store-write", connection, Some(guard)))
            .transpose()?;
        let reader = start("clode-store-read", opened.reader, None)?;
        if writer.is_some() {
            owner::clean(&state);
            if let Err(error) = space.check() {
                tracing::warn!("{error}");
            }
        }
        let liveness = Arc::new(owner::KernelLocks { state: state.clone() });
        Ok(Self {
            shared: Arc::new(Shared {
                liveness,
                state,
                mode: opened.mode,
                writer,
                reader,
                health,
                space,
            }),
        })
    }

    /// Whether it can be written.
    pub fn mode(&self) -> StoreMode {
        self.shared.mode.clone()
    }

    /// The database.
    pub fn path(&self) -> &Path {
        self.shared.health.path()
    }

    /// Fails when nothing can be written (any more): nothing that costs money may begin then.
    pub fn writable(&self) -> Result<()> {
        match &self.shared.mode {
            StoreMode::ReadOnly { reason } => Err(reason.clone()),
            StoreMode::ReadWrite => self.shared.health.check(),
        }
    }

    /// Whether another program or another file took over, so that this process never writes again.
    pub fn is_superseded(&self) -> bool {
        self.writable().is_err_and(|error| error.kind == Kind::State)
    }

    /// Fails when the disk is too full to begin anything: what is under way can still be written.
    pub fn room(&self) -> Result<()> {
        self.shared.space.check()
    }

    /// What a person should know about a damaged database that was replaced, as long as its files
    /// are kept.
    pub fn restoration(&self) -> Option<String> {
        restore::account(self.state())
    }

    /// Bytes on the disk: the database, its log and the contents beside it.
    pub async fn size_bytes(&self) -> u64 {
        let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", self.path().display()));
        let files = [self.path().to_path_buf(), beside("-wal"), beside("-shm")];
        let measured = tokio::task::spawn_blocking(move || {
            files
                .iter()
                .filter_map(|file| std::fs::metadata(file).ok())
                .map(|found| found.len())
                .sum::<u64>()
        });
        let contents = self.read(|connection| {
            let sum = "SELECT coalesce(sum(size), 0) FROM blobs WHERE bytes IS NULL";
            Ok(connection.query_row(sum, [], |row| row.get::<_, i64>(0))?)
        });
        measured
            .await
            .unwrap_or(0)
            .saturating_add(contents.await.unwrap_or(0).unsigned_abs())
    }

    /// A number that changes when another process wrote; our own writes do not change it.
    pub async fn data_version(&self) -> Result<i64> {
        // Asked on the connection that writes: only there are our own commits left out.
        let worker = self.shared.writer.as_ref().unwrap_or(&self.shared.reader);
        worker
            .run(|connection| {
                Ok(
                    connection.query_row("SELECT data_version FROM pragma_data_version", [], |row| {
                        row.get(0)
                    })?,
                )
            })
            .await
    }

    /// Carries out what was asked so far and closes the files. Later calls answer `storeClosed`.
    pub async fn close(&self) {
        self.shared.reader.stop().await;
        if let Some(writer) = &self.shared.writer {
            writer.stop().await;
        }
    }

    fn state(&self) -> &Path {
        &self.shared.state
    }

    /// Runs `work` in a transaction that holds the write lock from its beginning. Once handed over
    /// it is carried out even if the caller goes away; an answer means that it is on the disk.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        self.writable()?;
        match &self.shared.writer {
            Some(writer) => writer.write(work).await,
            None => Err(Error::internal("a store without a writer")),
        }
    }

    /// As [`Store::write`], for what must not get lost: on a full disk once more, after the reserve
    /// was given up.
    async fn keep<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Clone + Send + 'static,
    {
        match self.write(work.clone()).await {
            Err(error) if error.lacks_space() => self.write(work).await,
            other => other,
        }
    }

    /// Runs `work`, which asks with one statement and so sees one consistent view; more than one belong into a
    /// [`scope::Scope::view`].
    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        self.shared.reader.run(|connection| work(connection)).await
    }

    /// The error for a failure outside the store's threads.
    fn conclude(&self, failure: Failure) -> Error {
        self.shared.health.conclude(failure)
    }
}

/// Refuses a text that is too large to be meant.
fn limit_payload(what: &str, payload: &str) -> Result<()> {
    if payload.len() <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "{what} of {} bytes is larger than {PAYLOAD_BYTES_MAX} bytes",
        payload.len()
    );
    Err(Error::new(Kind::Internal, "payloadTooLarge", message).hint("large contents belong into blobs"))
}

/// A page size within [`ROWS_MAX`].
fn page(limit: usize) -> i64 {
    i64::try_from(limit.min(ROWS_MAX)).unwrap_or(i64::MAX)
}
