//! Opening the database: for writing where that is possible, for reading where it is not.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::failure::{Failure, Outcome, damaged, read_only};
use super::guard::{Guard, Turnstile};
use super::{StoreMode, migrations, place, restore};
use crate::{Error, Kind, Result};

/// Name of the database in the state directory.
pub(super) const FILE_NAME: &str = "clode.db";
/// Wait for a lock that another process holds.
const BUSY_MS: u64 = 5_000;
/// Pause between two tries to switch the journal mode, which SQLite does not wait for by itself.
const BUSY_PAUSE_MS: u64 = 5;
/// The log is cut back to this after a checkpoint.
const JOURNAL_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// Statements that stay prepared.
const STATEMENTS_CACHED: usize = 64;

/// An open database: connections and what may be done with them.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) mode: StoreMode,
    pub(super) writer: Option<(Connection, Guard)>,
    pub(super) reader: Connection,
}

/// Opens `<state>/clode.db`, creating both where they are missing. A damaged one is replaced first.
pub(super) fn open(state: &Path) -> Result<Opened> {
    let path = state.join(FILE_NAME);
    prepare_directory(state)?;
    place::refuse_network(state)?;
    let turnstile = match Turnstile::of(state) {
        Ok(turnstile) => turnstile,
        Err(failure) if failure.is_read_only() && path.exists() => {
            return open_for_reading(path.clone(), cannot_write(&path));
        }
        Err(failure) => return Err(failure.into_error(&path)),
    };
    let damage = if restore::is_under_way(state) {
        restore::interrupted()
    } else {
        match open_whole(state, &turnstile)? {
            Whole::Open(opened) => return Ok(*opened),
            Whole::Damaged(damage) => damage,
        }
    };
    restore::restore(state, &turnstile, &damage).map_err(|failure| failure.into_error(&path))?;
    match open_whole(state, &turnstile)? {
        Whole::Open(opened) => Ok(*opened),
        Whole::Damaged(damage) => Err(damage),
    }
}

/// What came of opening.
enum Whole {
    Open(Box<Opened>),
    Damaged(Error),
}

/// Opens what is there, while nobody can replace it.
fn open_whole(state: &Path, turnstile: &Turnstile) -> Result<Whole> {
    let path = state.join(FILE_NAME);
    let _turn = turnstile.enter().map_err(|failure| failure.into_error(&path))?;
    prepare_file(&path)?;
    let opened = match open_for_writing(state, &path) {
        Err(failure) if failure.is_damage() => return Ok(Whole::Damaged(failure.into_error(&path))),
        Ok(Ok(writer)) => open_pair(state, path, writer),
        Ok(Err(reason)) => open_for_reading(path, reason),
        Err(failure) if failure.is_read_only() => {
            let reason = failure.into_error(&path);
            let reason = if reason.code == "stateReadOnly" {
                reason
            } else {
                cannot_write(&path)
            };
            open_for_reading(path, reason)
        }
        Err(failure) => Err(failure.into_error(&path)),
    };
    opened.map(|opened| Whole::Open(Box::new(opened)))
}

fn open_pair(state: &Path, path: PathBuf, writer: Connection) -> Result<Opened> {
    let pair = Turnstile::of(state)
        .and_then(|turnstile| Guard::new(turnstile, state, &writer))
        .and_then(|guard| Ok((guard, open_reader(&path, Access::Shared)?)));
    let (guard, reader) = pair.map_err(|failure| failure.into_error(&path))?;
    Ok(Opened {
        path,
        mode: StoreMode::ReadWrite,
        writer: Some((writer, guard)),
        reader,
    })
}

fn prepare_directory(state: &Path) -> Result<()> {
    match fs::metadata(state) {
        Ok(found) if found.is_dir() => {
            if found.permissions().mode() & 0o077 != 0 {
                close_to_others(state);
            }
            Ok(())
        }
        Ok(_) => Err(Error::new(
            Kind::Io,
            "storeIo",
            format!("{} is not a directory", state.display()),
        )
        .hint("name another state directory with CLODE_STATE_DIR")),
        Err(_) => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .map_err(|error| file_error(state, error)),
    }
}

/// An empty directory was made for us. One with other things in it may be a person's home or a
/// common place: its mode is not ours to change, and what we put into it is closed by itself.
fn close_to_others(state: &Path) {
    let is_empty = fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty || fs::set_permissions(state, fs::Permissions::from_mode(0o700)).is_err() {
        tracing::warn!("others may look into the state directory {}", state.display());
    }
}

/// The database is created with its mode, so that there is no moment when others could read it;
/// SQLite gives the files beside it the same mode.
fn prepare_file(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(found) => {
            if found.permissions().mode() & 0o077 != 0
                && let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            {
                tracing::warn!("others may read {}: {error}", path.display());
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let created = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path);
            match created {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    Err(file_error(path, error))
                }
                _ => Ok(()),
            }
        }
        Err(error) => Err(file_error(path, error)),
    }
}

fn file_error(path: &Path, error: std::io::Error) -> Error {
    Failure::File(path.to_path_buf(), error).into_error(path)
}

fn cannot_write(path: &Path) -> Error {
    read_only(format!(
        "{} cannot be written: the file or its directory is read-only",
        path.display()
    ))
}

/// A connection for writing, or the reason why there may only be one for reading.
fn open_for_writing(state: &Path, path: &Path) -> Outcome<Result<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    if connection.is_readonly(MAIN_DB)? {
        return Ok(Err(cannot_write(path)));
    }
    configure(&connection)?;
    let found = migrations::version(&connection)?;
    if found > migrations::latest() {
        return Ok(Err(newer(path, found)));
    }
    switch_to_wal(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES_MAX)?;
    if restore::is_suspect(state) {
        check(&connection, path, "integrity_check(1)")?;
        restore::acquit(state);
    } else {
        quick_check(&connection, path)?;
    }
    restore::refuse_loss(state, path, found, &connection)?;
    migrations::migrate(&mut connection, migrations::latest())?;
    Ok(Ok(connection))
}

/// A connection to a database that nobody else has: it is one file, without a log beside it.
pub(super) fn open_alone(path: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Whether the database can be opened for writing, by whichever program its schema is of.
pub(super) fn is_sound(state: &Path, path: &Path) -> bool {
    path.exists() && !open_for_writing(state, path).is_err_and(|failure| failure.is_damage())
}

fn configure(connection: &Connection) -> Outcome<()> {
    connection.busy_timeout(Duration::from_millis(BUSY_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "trusted_schema", false)?;
    keep_plans(connection)
}

/// A statement that was prepared once stays so: without this, one with `LIMIT ?` is planned anew for each value.
pub(super) fn keep_plans(connection: &Connection) -> Outcome<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn switch_to_wal(connection: &Connection) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        let switched =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match switched.map_err(Failure::from) {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                let message =
                    format!("the file system of the state directory allows only journal mode `{mode}`");
                return Err(Error::new(Kind::Io, "storeIo", message)
                    .hint("name a state directory on a local disk with CLODE_STATE_DIR")
                    .into());
            }
            Err(failure) if failure.is_busy() && begun.elapsed() < Duration::from_millis(BUSY_MS) => {
                std::thread::sleep(Duration::from_millis(BUSY_PAUSE_MS));
            }
            Err(failure) => return Err(failure),
        }
    }
}

pub(super) fn quick_check(connection: &Connection, path: &Path) -> Outcome<()> {
    check(connection, path, "quick_check(1)")
}

fn check(connection: &Connection, path: &Path, pragma: &str) -> Outcome<()> {
    let verdict: String = connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(damaged(format!("{} is damaged: {verdict}", path.display())).into())
    }
}

pub(super) fn newer(path: &Path, found: i64) -> Error {
    let message = format!(
        "{} was written by a newer clode-ls (schema {found}, this one knows {}): it is only read",
        path.display(),
        migrations::latest()
    );
    Error::state("storeNewer", message)
        .hint("update clode-ls, or name another state directory with CLODE_STATE_DIR")
}

/// How a reading connection sees the files.
#[derive(Clone, Copy)]
enum Access {
    /// Beside writers: needs the index file beside the log.
    Shared,
    /// Nobody can write and there is no log: the file alone is the truth.
    Frozen,
}

fn open_reader(path: &Path, access: Access) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match access {
        Access::Shared => Connection::open_with_flags(path, flags)?,
        Access::Frozen => {
            let unfit = |()| Failure::from(read_only(format!("{} is not an absolute path", path.display())));
            let absolute =
                std::path::absolute(path).map_err(|error| Failure::File(path.to_path_buf(), error))?;
            let mut address = url::Url::from_file_path(absolute).map_err(unfit)?;
            address.set_query(Some("immutable=1"));
            Connection::open_with_flags(address.as_str(), flags | OpenFlags::SQLITE_OPEN_URI)?
        }
    };
    configure(&connection)?;
    // Opening touches nothing yet; this does.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// One more reading connection, for work that must not hold the store's own threads up.
pub(super) fn open_beside(path: &Path) -> Outcome<Connection> {
    open_reader(path, Access::Shared)
}

fn open_for_reading(path: PathBuf, reason: Error) -> Result<Opened> {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let reader = match open_reader(&path, Access::Shared) {
        Err(failure) if failure.is_read_only() && fs::metadata(&log).map_or(0, |found| found.len()) == 0 => {
            open_reader(&path, Access::Frozen)
        }
        other => other,
    };
    let checked = reader.and_then(|reader| {
        quick_check(&reader, &path)?;
        let found = migrations::version(&reader)?;
        if found < migrations::latest() {
            let what = if found == 0 {
                "is empty"
            } else {
                "has an older schema"
            };
            return Err(read_only(format!(
                "{} {what} and cannot be brought forward: {}",
                path.display(),
                reason.message
            ))
            .into());
        }
        Ok(reader)
    });
    let reader = checked.map_err(|failure| failure.into_error(&path))?;
    tracing::warn!(code = %reason.code, "the store is only read: {}", reason.message);
    Ok(Opened {
        path,
        mode: StoreMode::ReadOnly { reason },
        writer: None,
        reader,
    })
}
