//! What was promised about money and approvals, a second time, outside of the database:
//! `<state>/log/<number>.log`, one line each.
//!
//! A line is written and synced before the transaction that it belongs to, so that the newest backup
//! and the lines together hold everything that was acknowledged. A line without its transaction (the
//! process died in between) was never acknowledged; replaying it errs on the side of money spent.
//! Lines are appended under the write lock of the database, so those of several processes never mix.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::AuditRecord;
use super::checksum::Seal;
use super::failure::{Failure, Outcome};
use super::ledger_port::{Hold, Settlement};
use crate::Error;
use crate::id::IntentId;

const FOLDER: &str = "log";
const EXTENSION: &str = "log";
/// What the checksum of a line begins with.
const SEAL: &str = "safety log";

/// Something that was acknowledged and must outlive the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub(super) enum Promise {
    /// Money is held.
    Reserved { hold: Box<Hold> },
    /// What a send came to.
    Settled {
        intent: IntentId,
        settlement: Settlement,
    },
    /// Who did what.
    Audited { record: AuditRecord },
}

/// Where promises of a transaction are kept until it ends; what undoes a write undoes them too.
pub(super) fn prepare(connection: &Connection) -> Outcome<()> {
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.execute_batch("CREATE TEMP TABLE IF NOT EXISTS promised (body TEXT NOT NULL)")?;
    Ok(())
}

/// Makes a promise part of the transaction.
pub(super) fn promise(transaction: &Connection, promise: &Promise) -> Outcome<()> {
    let body = serde_json::to_string(promise)
        .map_err(|error| Error::internal(format!("a promise cannot be written: {error}")))?;
    transaction
        .prepare_cached("INSERT INTO temp.promised (body) VALUES (?1)")?
        .execute([body])?;
    Ok(())
}

/// The promises of the transaction; it has none afterwards.
pub(super) fn take(transaction: &Connection) -> Outcome<Vec<String>> {
    let mut statement = transaction.prepare_cached("SELECT body FROM temp.promised ORDER BY rowid")?;
    let bodies: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if !bodies.is_empty() {
        transaction
            .prepare_cached("DELETE FROM temp.promised")?
            .execute([])?;
    }
    Ok(bodies)
}

/// Begins a new log with the next transaction; answers its number. What a backup that is made
/// afterwards does not hold is in it or in a later one.
pub(super) fn rotate(transaction: &Connection) -> Outcome<i64> {
    let sql = "UPDATE life SET log = log + 1 RETURNING log";
    Ok(transaction.query_row(sql, [], |row| row.get(0))?)
}

/// The writing end.
#[derive(Debug)]
pub(super) struct SafetyLog {
    folder: PathBuf,
    open: Option<(i64, File)>,
}

impl SafetyLog {
    /// Of this state directory.
    pub(super) fn of(state: &Path) -> Self {
        Self {
            folder: folder(state),
            open: None,
        }
    }

    /// Appends promises; they are on the disk afterwards.
    pub(super) fn append(&mut self, number: i64, bodies: &[String]) -> Outcome<()> {
        if bodies.is_empty() {
            return Ok(());
        }
        let path = path_of(&self.folder, number);
        let at = |error: io::Error| Failure::File(path.clone(), error);
        let file = match self.open.take() {
            Some((open, file)) if open == number => file,
            _ => create(&self.folder, &path).map_err(at)?,
        };
        // A line that a dying process left half written ends here, whatever follows it.
        let mut lines = String::from("\n");
        for body in bodies {
            lines.push_str(&seal(body));
            lines.push(' ');
            lines.push_str(body);
            lines.push('\n');
        }
        (&file).write_all(lines.as_bytes()).map_err(at)?;
        file.sync_data().map_err(at)?;
        self.open = Some((number, file));
        Ok(())
    }
}

/// What all logs hold.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// In the order in which they were made.
    pub(super) promises: Vec<Promise>,
    /// Lines that are torn, damaged or of a newer program.
    pub(super) unreadable: usize,
}

/// Reads every log of a state directory.
pub(super) fn read(state: &Path) -> Outcome<Logged> {
    let mut logged = Logged::default();
    for number in numbers(state) {
        let path = path_of(&folder(state), number);
        let bytes = fs::read(&path).map_err(|error| Failure::File(path, error))?;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match parse(line) {
                Some(promise) => logged.promises.push(promise),
                None => logged.unreadable += 1,
            }
        }
    }
    Ok(logged)
}

/// The numbers of the logs that there are, ascending.
pub(super) fn numbers(state: &Path) -> Vec<i64> {
    let entries = fs::read_dir(folder(state)).into_iter().flatten().flatten();
    let mut numbers: Vec<i64> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION))
        .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Where the logs live.
pub(super) fn folder(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

/// Where a log lives.
pub(super) fn path_of(folder: &Path, number: i64) -> PathBuf {
    folder.join(format!("{number}.{EXTENSION}"))
}

/// Removes the logs before this one: a backup holds what they hold.
pub(super) fn remove_before(state: &Path, number: i64) {
    for old in numbers(state).into_iter().filter(|old| *old < number) {
        let path = path_of(&folder(state), old);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!("{} stays behind: {error}", path.display());
        }
    }
}

fn create(folder: &Path, path: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn seal(body: &str) -> String {
    Seal::of(SEAL, "").text(body).finish()
}

fn parse(line: &[u8]) -> Option<Promise> {
    let (checksum, body) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if checksum != seal(body) {
        return None;
    }
    serde_json::from_str(body).ok()
}
