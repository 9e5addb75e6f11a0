//! What must still be true whenever something is written: the path leads to the file that is open,
//! its schema is one that this program knows, and nobody replaces it at this moment.
//!
//! A process that was suspended, or that an upgrade left behind, finds out here that its time is over.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::failure::{Failure, Outcome, busy, replaced};
use super::safety_log::SafetyLog;
use super::{connection, migrations};

/// Name of the lock file in the state directory.
const LOCK_NAME: &str = "store.lock";
/// Longest wait for it.
const LOCK_MS_MAX: u64 = 20_000;
/// Pause between two tries to get it.
const LOCK_PAUSE_MS: u64 = 2;

/// Lets any number of processes write, or one replace the files.
#[derive(Debug)]
pub(super) struct Turnstile(File);

/// Held while something is written or replaced; dropping it lets others in.
#[derive(Debug)]
pub(super) struct Turn<'lock>(&'lock File);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!("the lock of the store cannot be given back: {error}");
        }
    }
}

impl Turnstile {
    /// Of this state directory.
    pub(super) fn of(state: &Path) -> Outcome<Self> {
        let path = state.join(LOCK_NAME);
        fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map(Self)
            .map_err(|error| Failure::File(path, error))
    }

    /// To write beside others.
    pub(super) fn enter(&self) -> Outcome<Turn<'_>> {
        self.wait(File::try_lock_shared)
    }

    /// To replace the files, alone.
    pub(super) fn close(&self) -> Outcome<Turn<'_>> {
        self.wait(File::try_lock)
    }

    fn wait(&self, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Outcome<Turn<'_>> {
        let begun = Instant::now();
        loop {
            match lock(&self.0) {
                Ok(()) => return Ok(Turn(&self.0)),
                Err(TryLockError::Error(error)) => return Err(Failure::File(LOCK_NAME.into(), error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < Duration::from_millis(LOCK_MS_MAX) => {
                    std::thread::sleep(Duration::from_millis(LOCK_PAUSE_MS));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(busy("another process replaces the database".to_owned()).into());
                }
            }
        }
    }
}

/// What is looked at in every transaction that writes.
#[derive(Debug)]
pub(super) struct Guard {
    turnstile: Turnstile,
    path: PathBuf,
    /// Device and number of the file that is open.
    file: (u64, u64),
    incarnation: i64,
    log: SafetyLog,
}

impl Guard {
    /// For a connection that was just opened under a turn of the turnstile.
    pub(super) fn new(turnstile: Turnstile, state: &Path, connection: &Connection) -> Outcome<Self> {
        let path = state.join(connection::FILE_NAME);
        Ok(Self {
            turnstile,
            file: identity(&path)?,
            path,
            incarnation: Life::read(connection)?.incarnation,
            log: SafetyLog::of(state),
        })
    }

    /// Does `work` while nobody can replace the file, if it still is the one that the path leads to.
    pub(super) fn during<T>(&mut self, work: impl FnOnce(Checked<'_>) -> Outcome<T>) -> Outcome<T> {
        let _turn = self.turnstile.enter()?;
        if !identity(&self.path).is_ok_and(|found| found == self.file) {
            return Err(Failure::Superseded(replaced(&self.path)));
        }
        work(Checked {
            path: &self.path,
            incarnation: self.incarnation,
            log: &mut self.log,
        })
    }
}

/// The file is the right one; the rest shows inside the transaction.
#[derive(Debug)]
pub(super) struct Checked<'guard> {
    path: &'guard Path,
    incarnation: i64,
    log: &'guard mut SafetyLog,
}

impl Checked<'_> {
    /// Looks, now that nobody else can write, whether we still may. Answers the log to promise in.
    pub(super) fn admit(&self, transaction: &Connection) -> Outcome<i64> {
        let life = Life::read(transaction)?;
        if life.schema > migrations::latest() {
            return Err(Failure::Superseded(connection::newer(self.path, life.schema)));
        }
        if life.incarnation != self.incarnation {
            return Err(Failure::Superseded(replaced(self.path)));
        }
        Ok(life.log)
    }

    /// Writes promises down, before the transaction ends.
    pub(super) fn promise(&mut self, log: i64, bodies: &[String]) -> Outcome<()> {
        self.log.append(log, bodies)
    }
}

/// What the database says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    schema: i64,
    pub(super) incarnation: i64,
    pub(super) log: i64,
}

impl Life {
    /// Of a database that may be older than the table.
    pub(super) fn find(connection: &Connection) -> Outcome<Option<Self>> {
        let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'life'";
        if connection.prepare(sql)?.exists([])? {
            Self::read(connection).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(super) fn read(connection: &Connection) -> Outcome<Self> {
        let sql = "SELECT (SELECT user_version FROM pragma_user_version), incarnation, log FROM life";
        Ok(connection.prepare_cached(sql)?.query_row([], |row| {
            Ok(Self {
                schema: row.get(0)?,
                incarnation: row.get(1)?,
                log: row.get(2)?,
            })
        })?)
    }
}

fn identity(path: &Path) -> Outcome<(u64, u64)> {
    let found = fs::metadata(path).map_err(|error| Failure::File(path.to_path_buf(), error))?;
    Ok((found.dev(), found.ino()))
}
