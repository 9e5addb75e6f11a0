//! What can go wrong underneath, and the error that a person sees for it.
//!
//! Closures that run on the store's threads return [`Outcome`], so that the thread can tell a
//! refusal (the state does not allow it) from a disk that can no longer be believed.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::{Error, Kind};

/// Code of what can no longer be believed.
pub(super) const DAMAGED: &str = "storeCorrupt";

/// Result of work on one of the store's threads.
pub(super) type Outcome<T> = Result<T, Failure>;

/// Why work on one of the store's threads did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The state does not allow it, or a row is damaged: says so itself.
    Refused(Error),
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// A file beside the database.
    File(PathBuf, io::Error),
    /// The time of this process is over: a newer program or another file took over.
    Superseded(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// What follows from a failure for the store as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Full,
    ReadOnly,
    Busy,
    /// The disk, or what is on it, can no longer be believed: nothing is retried.
    Broken,
    Damaged,
    Other,
}

impl Failure {
    /// Whether nothing may be written any more: a failed write or fsync leaves unknown what is on
    /// the disk, and a second try may report success without it (the kernel drops the pages).
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, Self::Superseded(_)) || matches!(self.class(), Class::Broken | Class::Damaged)
    }

    /// Whether opening for reading is worth a try.
    pub(super) fn is_read_only(&self) -> bool {
        let cannot_open =
            matches!(self, Self::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen));
        cannot_open || self.class() == Class::ReadOnly
    }

    /// Whether what is on the disk is damaged.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code == DAMAGED) || self.class() == Class::Damaged
    }

    /// Whether there is no space left.
    pub(super) fn is_full(&self) -> bool {
        self.class() == Class::Full
    }

    /// Whether another process holds the lock.
    pub(super) fn is_busy(&self) -> bool {
        self.class() == Class::Busy
    }

    fn class(&self) -> Class {
        match self {
            Self::File(_, source) => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::Full,
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Class::ReadOnly,
                io::ErrorKind::NotFound => Class::Other,
                _ => Class::Broken,
            },
            Self::Sql(rusqlite::Error::SqliteFailure(error, _)) => match error.code {
                ErrorCode::DiskFull => Class::Full,
                // The shared-memory index beside the log could not grow: the disk is full.
                ErrorCode::SystemIoFailure if error.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Class::Full,
                ErrorCode::SystemIoFailure => Class::Broken,
                ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Class::ReadOnly,
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Class::Busy,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Class::Damaged,
                _ => Class::Other,
            },
            Self::Refused(_) | Self::Superseded(_) | Self::Sql(_) => Class::Other,
        }
    }

    /// The error for a person. `path` is the database.
    pub(super) fn into_error(self, path: &Path) -> Error {
        let class = self.class();
        let (what, cause) = match self {
            Self::Refused(error) | Self::Superseded(error) => return error,
            Self::Sql(error) => (path.to_path_buf(), error.to_string()),
            Self::File(what, source) => (what, source.to_string()),
        };
        let what = what.display();
        match class {
            Class::Full => Error::new(
                Kind::Io,
                "diskFull",
                format!("no space left to write {what}: {cause}"),
            )
            .hint("free some disk space, then resume; nothing that was acknowledged is lost"),
            Class::ReadOnly => read_only(format!("{what} cannot be written: {cause}")),
            Class::Busy => busy(format!("{what} is held by another process: {cause}")),
            Class::Broken => Error::new(
                Kind::Io,
                "storeIo",
                format!("reading or writing {what} failed: {cause}"),
            )
            .hint("check the disk and the system log, then start clode-ls again"),
            Class::Damaged => damaged(format!("{what} is damaged: {cause}")),
            Class::Other => Error::internal(format!("the store at {what}: {cause}")),
        }
    }
}

/// The state directory cannot be written.
pub(super) fn read_only(message: String) -> Error {
    Error::new(Kind::Io, "stateReadOnly", message)
        .hint("make the state directory writable, or name another one with CLODE_STATE_DIR")
}

/// Somebody else holds the lock, or too much waits before us.
pub(super) fn busy(message: String) -> Error {
    Error::state("storeBusy", message)
        .hint("try again; if it stays so, look for a process that holds the file")
}

/// The whole file can no longer be believed.
pub(super) fn damaged(message: String) -> Error {
    Error::new(Kind::Io, DAMAGED, message)
        .hint("start clode-ls again: it sets the damaged files aside and goes on from the last backup")
        .hint("check the disk: a sound one damages nothing")
}

/// The path leads to another file than the one that is open, or to another life of it.
pub(super) fn replaced(path: &Path) -> Error {
    Error::state(
        "storeReplaced",
        format!(
            "{} was replaced while this process had it open: it writes nothing any more",
            path.display()
        ),
    )
    .hint("start clode-ls again, in this editor too")
}

/// One row can no longer be believed.
pub(super) fn damaged_row(table: &str, key: &str) -> Error {
    Error::new(
        Kind::Io,
        DAMAGED,
        format!("the row `{key}` of table `{table}` does not match its checksum"),
    )
    .hint("check the disk; a damaged pipeline can be deleted and started again, the others are not affected")
}

/// An earlier write failed, so nothing is written any more.
pub(super) fn failed_before(earlier: &Error) -> Error {
    if earlier.kind == Kind::State {
        return earlier.clone();
    }
    Error::new(
        Kind::Io,
        "storeFailed",
        format!(
            "the store stopped writing after an earlier failure: {}",
            earlier.message
        ),
    )
    .hint("check the disk, then start clode-ls again: what was acknowledged before is kept")
}
