//! Who is alive, by locks that the kernel holds and lets go when a process dies: never by a clock,
//! never by a process number that somebody else may have got since.
//!
//! `<state>/owners/<owner id>.lock`. The lock belongs to the open file, so it also tells owners of
//! one process apart. A file is removed only under its lock and only while the path still leads to
//! it: nobody's live lock loses its name.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Store;
use crate::id::OwnerId;
use crate::{Error, Result};

/// Tries to get a lock that a passing cleaner may hold for a moment.
const LOCK_TRIES: u32 = 50;
/// Pause between two tries.
const LOCK_PAUSE_MS: u64 = 2;
/// Longest owner id.
const ID_BYTES_MAX: usize = 128;

/// The port that tells who lives.
pub(crate) trait Liveness: Send + Sync + std::fmt::Debug {
    /// Whether the owner lives. What cannot be found out counts as alive: the money and the runs
    /// of a living owner are never taken.
    fn is_alive(&self, owner: &OwnerId) -> bool;
}

/// By the locks of a state directory.
#[derive(Debug)]
pub(super) struct KernelLocks {
    pub(super) state: PathBuf,
}

impl Liveness for KernelLocks {
    fn is_alive(&self, owner: &OwnerId) -> bool {
        let Ok(path) = lock_path(&self.state, owner) else {
            return false;
        };
        match File::open(&path) {
            Ok(file) => !matches!(file.try_lock_shared(), Ok(())),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Proof of life of an owner; dropping it, or dying, ends it.
#[derive(Debug)]
pub struct OwnerLock {
    id: OwnerId,
    path: PathBuf,
    /// Holds the lock while it is open.
    _file: File,
}

impl OwnerLock {
    /// Whose life it proves.
    pub fn id(&self) -> &OwnerId {
        &self.id
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Still locked, so the path leads to our own file.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!("{} stays behind: {error}", self.path.display());
        }
    }
}

impl Store {
    /// Declares an owner alive for as long as the answer is held. `note` is for people who look
    /// into the directory.
    pub fn register_owner(&self, id: &OwnerId, note: &str) -> Result<OwnerLock> {
        self.writable()?;
        let path = lock_path(self.state(), id)?;
        let at = |error: io::Error| Error::io(format!("the owner lock {}", path.display()), &error);
        let folder = self.state().join("owners");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(at)?;
        for _ in 0..LOCK_TRIES {
            let file = fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(at)?;
            match file.try_lock() {
                Ok(()) if leads_to(&path, &file) => {
                    file.set_len(0)
                        .and_then(|()| (&file).write_all(note.as_bytes()))
                        .map_err(at)?;
                    return Ok(OwnerLock {
                        id: id.clone(),
                        path,
                        _file: file,
                    });
                }
                // Removed between opening and locking: again, with a new file.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(std::time::Duration::from_millis(LOCK_PAUSE_MS));
                }
                Err(TryLockError::Error(error)) => return Err(at(error)),
            }
        }
        Err(Error::state(
            "ownerTaken",
            format!("another process lives under the owner id `{id}`"),
        ))
    }

    /// Whether the owner lives. What cannot be found out counts as alive: the money and the runs
    /// of a living owner are never taken.
    pub fn is_alive(&self, id: &OwnerId) -> bool {
        self.shared.liveness.is_alive(id)
    }
}

fn lock_path(state: &Path, id: &OwnerId) -> Result<PathBuf> {
    let name = id.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > ID_BYTES_MAX || !name.bytes().all(plain) {
        return Err(Error::internal(format!(
            "`{name}` cannot be an owner id: letters, digits, `-` and `_` only"
        )));
    }
    Ok(state.join("owners").join(format!("{name}.lock")))
}

/// Removes the lock files of dead owners.
pub(super) fn clean(state: &Path) {
    let Ok(entries) = fs::read_dir(state.join("owners")) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "lock")
            && let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
            && leads_to(&path, &file)
        {
            drop(fs::remove_file(&path));
        }
    }
}

fn leads_to(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => named.ino() == open.ino() && named.dev() == open.dev(),
        _ => false,
    }
}
