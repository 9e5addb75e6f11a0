//! Small file operations on directories of our own: private modes, atomic JSON, locks, removal.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::id::random_hex;
use crate::{Error, Result};

/// Bytes of randomness in a temporary name.
const TEMPORARY_NAME_BYTES: usize = 8;

/// Makes a directory that only the user can enter, with its parents.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|error| Error::io(format!("making {}", path.display()), &error))
}

/// The names in a directory, sorted; empty when there is none.
pub(crate) fn list(path: &Path) -> Result<Vec<OsString>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(format!("listing {}", path.display()), &error)),
    };
    let mut names: Vec<OsString> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
        .collect();
    names.sort();
    Ok(names)
}

/// Reads JSON; `None` when the file is absent or not what we write (a torn or foreign file).
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::io(format!("reading {}", path.display()), &error)),
    }
}

/// Writes JSON so that a reader sees the old or the new content, also after a crash.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|error| Error::internal(error.to_string()))?;
    write_atomically(path, &bytes)
}

/// Writes a file of ours by temporary file, sync and rename.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", random_hex(TEMPORARY_NAME_BYTES)?));
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Error::io(format!("writing {}", path.display()), &error)
    })
}

/// Writes a file of ours that may be lost in a crash.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| Error::io(format!("writing {}", path.display()), &error))
}

/// Makes a file as young as if it had just been written.
pub(crate) fn touch(path: &Path) -> Result<()> {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty())
        .map_err(|error| Error::io(format!("touching {}", path.display()), &error.into()))
}

/// Copies an index with its time: git compares file times with it to find racy entries.
pub(crate) fn copy_index(from: &Path, to: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::io(format!("copying {}", from.display()), &error);
    let modified = fs::metadata(from)
        .and_then(|found| found.modified())
        .map_err(failed)?;
    let bytes = fs::read(from).map_err(failed)?;
    let mut file = File::create(to).map_err(failed)?;
    file.write_all(&bytes)
        .and_then(|()| file.set_modified(modified))
        .map_err(failed)
}

/// Opens (and makes) a lock file.
pub(crate) fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| Error::io(format!("opening {}", path.display()), &error))
}

/// A lock that ends with this value. Closing the file would not be enough: a child that is just being
/// started by another thread has a copy of the descriptor until it becomes another program.
#[derive(Debug)]
pub(crate) struct Held(File);

impl Held {
    /// Takes care of a file that was locked.
    pub(crate) fn new(locked: File) -> Self {
        Self(locked)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "a lock ends with its file");
        }
    }
}

/// Removes a tree that somebody else wrote: no link is followed, closed directories are opened.
pub(crate) fn remove_tree(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    let removed = remove_below(path, &mut bytes);
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()), &error))
        }
        _ => Ok(bytes),
    }
}

/// Lets the user into a folder of the user's that somebody closed; false when it is none.
pub(crate) fn open_up(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
        && fs::set_permissions(path, fs::Permissions::from_mode(0o700)).is_ok()
}

fn remove_below(path: &Path, bytes: &mut u64) -> std::io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        *bytes += found.len();
        return fs::remove_file(path);
    }
    // one that stays closed makes the listing fail
    open_up(path);
    for entry in fs::read_dir(path)? {
        remove_below(&entry?.path(), bytes)?;
    }
    fs::remove_dir(path)
}

/// The size of a tree in bytes; what cannot be read counts nothing.
pub(crate) fn size_of_tree(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !found.is_dir() {
        return found.len();
    }
    fs::read_dir(path).map_or(0, |entries| {
        entries
            .filter_map(Result::ok)
            .map(|entry| size_of_tree(&entry.path()))
            .sum()
    })
}
