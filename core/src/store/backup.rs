//! A copy of the database for the day when the disk damages it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::failure::{Failure, Outcome, busy};
use super::{Store, connection, safety_log};
use crate::id::random_hex;
use crate::{Error, Result};

/// Folder in the state directory.
const FOLDER: &str = "backup";
/// Name of the lock file in the state directory.
const LOCK_NAME: &str = "backup.lock";

impl Store {
    /// Replaces `<state>/backup/clode.db` by a copy of the database as it is now, beside the
    /// store's own threads, and begins a new safety log. Contents with files of their own are not
    /// copied. Error `storeBusy` while another process does the same.
    pub async fn back_up(&self) -> Result<PathBuf> {
        self.writable()?;
        let _alone = alone(self.state()).map_err(|failure| failure.into_error(self.path()))?;
        let log = self.write(safety_log::rotate).await?;
        let (path, state) = (self.path().to_path_buf(), self.state().to_path_buf());
        let copied = tokio::task::spawn_blocking(move || copy(&path, &state, log)).await;
        let copied = copied.map_err(|error| Error::internal(format!("copying the store: {error}")))?;
        // A failed copy says nothing about the database: the store goes on.
        copied.map_err(|failure| failure.into_error(self.path()))
    }
}

/// Where the backup of a state directory lives.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join(FOLDER).join(connection::FILE_NAME)
}

/// Two copies at once would remove each other's log. The lock goes with the answer.
fn alone(state: &Path) -> Outcome<File> {
    let path = state.join(LOCK_NAME);
    let at = |error: std::io::Error| Failure::File(path.clone(), error);
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(at)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(busy("another process makes a backup right now".to_owned()).into())
        }
        Err(TryLockError::Error(error)) => Err(at(error)),
    }
}

/// Copies the database, then removes the logs before `log`: the copy holds what they hold.
fn copy(path: &Path, state: &Path, log: i64) -> Outcome<PathBuf> {
    let folder = &state.join(FOLDER);
    let target = folder.join(connection::FILE_NAME);
    let at = |error: std::io::Error| Failure::File(target.clone(), error);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(at)?;
    remove_unfinished(folder);
    let unfinished = folder.join(format!(".{}.unfinished", random_hex(8)?));
    let name = unfinished.to_string_lossy().into_owned();
    let source = connection::open_beside(path)?;
    let copied = source
        .execute("VACUUM INTO ?1", [&name])
        .map_err(Failure::from)
        .and_then(|_| {
            fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600)).map_err(at)?;
            File::open(&unfinished)
                .and_then(|file| file.sync_all())
                .map_err(at)?;
            fs::rename(&unfinished, &target).map_err(at)?;
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(at)
        });
    if copied.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    copied?;
    safety_log::remove_before(state, log);
    Ok(target)
}

/// What a killed process left.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "unfinished")
        {
            drop(fs::remove_file(entry.path()));
        }
    }
}
