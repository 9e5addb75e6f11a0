//! A damaged database is set aside, never deleted; its last backup and the safety log take its place.
//!
//! One process does it while the turnstile keeps the others out; a mark in the state directory makes
//! whoever comes after a crash begin again. The new database has a new incarnation: nobody who has
//! the old files open can write any more, every fence is above those of before, and runs that had not
//! ended wait for a person.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::failure::{Failure, Outcome, damaged};
use super::guard::{Life, Turnstile};
use super::ledger_port::{Hold, Settlement};
use super::safety_log::{self, Logged, Promise};
use super::{audit, backup, connection, hold, ledger, migrations, restored, runs};
use crate::Error;
use crate::id::{IntentId, PipelineId, random_hex};

/// Where damaged files go, in a folder by the incarnation that ended with them.
const FOLDER: &str = "damaged";
/// Says that the files are being replaced.
const MARK: &str = "restoring";
/// Says that something damaged was read, so that the next opening looks at everything.
const SUSPICION: &str = "suspect";
/// In the folder of damaged files: what happened, for a person.
const ACCOUNT: &str = "what-happened.txt";
/// Fences of one incarnation; those of the next begin above.
const FENCES: i64 = 1 << 32;

/// Whether a replacement was begun and not ended.
pub(super) fn is_under_way(state: &Path) -> bool {
    state.join(MARK).exists()
}

/// Whether something damaged was read since the database was last looked at as a whole.
pub(super) fn is_suspect(state: &Path) -> bool {
    state.join(SUSPICION).exists()
}

/// Lets the next opening look at everything.
pub(super) fn suspect(state: &Path, error: &Error) {
    if let Err(error) = fs::write(state.join(SUSPICION), format!("{}\n", error.message)) {
        tracing::warn!("the next start will not know that the database is suspect: {error}");
    }
}

/// Everything was looked at and is sound.
pub(super) fn acquit(state: &Path) {
    drop(fs::remove_file(state.join(SUSPICION)));
}

/// What a person should know about the last time that the database was replaced, as long as the
/// damaged files are kept.
pub(super) fn account(state: &Path) -> Option<String> {
    let folder = set_aside(state).into_iter().max()?;
    fs::read_to_string(state.join(FOLDER).join(folder.to_string()).join(ACCOUNT)).ok()
}

/// A database that is sound but older than what lies beside it lost its own log: SQLite takes a damaged
/// one for the end of it.
pub(super) fn refuse_loss(state: &Path, path: &Path, version: i64, connection: &Connection) -> Outcome<()> {
    let newest = safety_log::numbers(state).into_iter().max();
    let is_behind = if version == 0 {
        newest.is_some() || backup::path(state).exists()
    } else {
        Life::find(connection)?.is_some_and(|life| newest > Some(life.log))
    };
    if is_behind {
        let message = format!("{} lost what was written last", path.display());
        return Err(damaged(message).into());
    }
    Ok(())
}

/// Replaces the database, unless another process has done so since.
pub(super) fn restore(state: &Path, turnstile: &Turnstile, damage: &Error) -> Outcome<()> {
    let _turn = turnstile.close()?;
    let path = state.join(connection::FILE_NAME);
    if !is_under_way(state) && connection::is_sound(state, &path) {
        return Ok(());
    }
    tracing::error!(code = %damage.code, "the database is replaced: {}", damage.message);
    let copy = usable_backup(state)?;
    let logged = safety_log::read(state)?;
    let before = set_aside(state).into_iter().max().map_or(1, |last| last + 1);
    let ended = copy.as_ref().map_or(1, |copy| copy.incarnation).max(before);
    let new = state.join(format!(".{}.unfinished", random_hex(8)?));
    let story =
        build(&new, copy.as_ref(), logged, ended + 1, state).inspect_err(|_| drop(fs::remove_file(&new)))?;
    let text = format!(
        "{}. The damaged files are kept in {}; {story}. Pipelines that had not ended are paused: look at each, then resume it.",
        damage.message,
        state.join(FOLDER).join(ended.to_string()).display(),
    );
    replace(state, &path, &new, ended, &text).map_err(|error| Failure::File(path.clone(), error))?;
    acquit(state);
    tracing::warn!("{text}");
    Ok(())
}

/// A backup that can take the place of the database.
struct Copy {
    path: PathBuf,
    incarnation: i64,
}

fn usable_backup(state: &Path) -> Outcome<Option<Copy>> {
    let path = backup::path(state);
    if !path.exists() {
        return Ok(None);
    }
    let looked_at = connection::open_alone(&path).and_then(|connection| {
        connection::quick_check(&connection, &path)?;
        let version = migrations::version(&connection)?;
        if version > migrations::latest() {
            return Err(Failure::Superseded(connection::newer(&path, version)));
        }
        Ok(Life::find(&connection)?.map_or(1, |life| life.incarnation))
    });
    match looked_at {
        Ok(incarnation) => Ok(Some(Copy { path, incarnation })),
        Err(failure) if failure.is_damage() => {
            tracing::error!("the backup is damaged as well: {failure:?}");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Makes the new database; answers what it holds, as part of a sentence.
fn build(new: &Path, copy: Option<&Copy>, logged: Logged, incarnation: i64, state: &Path) -> Outcome<String> {
    let at = |error: io::Error| Failure::File(new.to_path_buf(), error);
    match copy {
        Some(copy) => drop(fs::copy(&copy.path, new).map_err(at)?),
        None => drop(File::create_new(new).map_err(at)?),
    }
    fs::set_permissions(new, fs::Permissions::from_mode(0o600)).map_err(at)?;
    let mut database = connection::open_alone(new)?;
    migrations::migrate(&mut database, migrations::latest())?;
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let unreadable = logged.unreadable;
    let replayed = replay(&transaction, logged)?;
    let log = safety_log::numbers(state).into_iter().max().unwrap_or(0) + 1;
    let log = log.max(transaction.query_row("SELECT log FROM life", [], |row| row.get(0))?);
    transaction.execute("UPDATE life SET incarnation = ?1, log = ?2", [incarnation, log])?;
    let origin = if copy.is_some() {
        "the last backup took their place"
    } else {
        "there was no usable backup, so the pipelines in them are not known any more"
    };
    let paused = fence_off(&transaction, incarnation)?;
    transaction.commit()?;
    connection::quick_check(&database, new)?;
    drop(database);
    File::open(new).and_then(|file| file.sync_all()).map_err(at)?;
    let torn = if unreadable == 0 {
        String::new()
    } else {
        format!(" ({unreadable} lines of it could not be read)")
    };
    Ok(format!(
        "{origin}, {replayed} later entries about money and approvals came from the safety log{torn}, {paused} pipelines had not ended"
    ))
}

/// What the log says of one send.
#[derive(Default)]
struct Send {
    hold: Option<Hold>,
    settlement: Option<Settlement>,
}

/// Brings money and approvals to where the log left them. What is there already stays, so that it
/// does not matter how often this happens.
fn replay(transaction: &Connection, logged: Logged) -> Outcome<usize> {
    let mut order: Vec<IntentId> = Vec::new();
    let mut sends: HashMap<IntentId, Send> = HashMap::new();
    let mut replayed = 0;
    for promise in logged.promises {
        let (intent, hold, settlement) = match promise {
            Promise::Audited { record } => {
                if !audit::holds(transaction, &record)? {
                    audit::append(transaction, record)?;
                    replayed += 1;
                }
                continue;
            }
            Promise::Reserved { hold } => (hold.intent.clone(), Some(*hold), None),
            Promise::Settled { intent, settlement } => (intent, None, Some(settlement)),
        };
        // What is promised twice was not acknowledged the first time.
        let send = sends.entry(intent.clone()).or_insert_with(|| {
            order.push(intent);
            Send::default()
        });
        send.hold = hold.or_else(|| send.hold.take());
        send.settlement = settlement.or(send.settlement);
    }
    for intent in order {
        let send = sends.remove(&intent).unwrap_or_default();
        match replay_send(transaction, &intent, send) {
            Ok(true) => replayed += 1,
            Ok(false) => {}
            Err(failure) if failure.is_damage() => {
                tracing::error!(%intent, "this call cannot be brought up to date: {failure:?}");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(replayed)
}

fn replay_send(transaction: &Connection, intent: &IntentId, send: Send) -> Outcome<bool> {
    let known = hold::find(transaction, intent)?;
    let is_settled = known.as_ref().is_some_and(|entry| entry.settlement.is_some());
    let is_new = known.is_none();
    match (send.hold, is_new) {
        (Some(hold), true) => {
            // It was granted once; the caps of that moment do not matter any more.
            let caps = Vec::new();
            ledger::reserve(transaction, Hold { caps, ..hold })?;
        }
        (None, true) => return Ok(false),
        (_, false) => {}
    }
    match send.settlement {
        Some(settlement) if !is_settled => {
            ledger::settle(transaction, intent, settlement)?;
            Ok(true)
        }
        _ => Ok(is_new),
    }
}

/// Takes unfinished runs away from whoever drove them, and says why they wait.
fn fence_off(transaction: &Connection, incarnation: i64) -> Outcome<usize> {
    let mut statement = transaction.prepare("SELECT id FROM runs WHERE finished = 0")?;
    let ids: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut paused = 0;
    for id in ids.into_iter().map(PipelineId::new) {
        match runs::find(transaction, &id) {
            Ok(Some(mut row)) => {
                row.fence = row.fence.max((incarnation - 1).saturating_mul(FENCES)) + 1;
                row.owner = None;
                runs::update(transaction, &row)?;
                restored::insert(transaction, &id)?;
                paused += 1;
            }
            Ok(None) => {}
            Err(failure) => tracing::error!(run = %id, "a pipeline is damaged in the backup: {failure:?}"),
        }
    }
    Ok(paused)
}

/// Puts the new file in the place of the old ones. After a crash in here the mark is there, and
/// everything begins again.
fn replace(state: &Path, path: &Path, new: &Path, ended: i64, text: &str) -> io::Result<()> {
    let sync = |folder: &Path| File::open(folder).and_then(|folder| folder.sync_all());
    let folder = state.join(FOLDER).join(ended.to_string());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    fs::write(folder.join(ACCOUNT), format!("{text}\n"))?;
    fs::write(state.join(MARK), "")?;
    sync(state)?;
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{}{suffix}", connection::FILE_NAME);
        match fs::rename(state.join(&name), folder.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    keep_logs(state, &folder);
    sync(&folder)?;
    fs::rename(new, path)?;
    sync(state)?;
    fs::remove_file(state.join(MARK))?;
    sync(state)
}

/// The logs as they were, beside the files that they belong to: the next backup removes them.
fn keep_logs(state: &Path, folder: &Path) {
    let logs = safety_log::folder(state);
    for number in safety_log::numbers(state) {
        let (from, to) = (
            safety_log::path_of(&logs, number),
            safety_log::path_of(folder, number),
        );
        if let Err(error) = fs::hard_link(&from, &to) {
            tracing::debug!("{} is not kept: {error}", from.display());
        }
    }
}

/// The incarnations whose files were set aside.
fn set_aside(state: &Path) -> Vec<i64> {
    let entries = fs::read_dir(state.join(FOLDER)).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// What is told when a replacement was begun and not ended.
pub(super) fn interrupted() -> Error {
    damaged("the database was being replaced when a process died".to_owned())
}
