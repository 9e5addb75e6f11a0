//! Room on the disk of the state directory: below a floor nothing begins that costs money, and a
//! reserve is given up when the disk is full, so that what was paid and what a person answered can
//! still be written down.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::{Error, Kind, Result};

/// Below this much free space (bytes) nothing begins.
pub(super) const FLOOR_BYTES: u64 = 64 * 1024 * 1024;
/// What is kept back (bytes): enough for the answers to everything that can be under way.
pub(super) const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// Name of the reserve in the state directory.
const RESERVE_NAME: &str = "reserve";
/// For people.
const MIB: u64 = 1024 * 1024;

/// The room of one state directory.
#[derive(Debug, Clone)]
pub(super) struct Space {
    state: PathBuf,
}

impl Space {
    pub(super) fn of(state: &Path) -> Self {
        Self {
            state: state.to_path_buf(),
        }
    }

    /// Fails below the floor. Above it a reserve that was given up is made again.
    pub(super) fn check(&self) -> Result<()> {
        let Some(free) = self.free() else { return Ok(()) };
        if free < FLOOR_BYTES {
            let message = format!(
                "only {} MiB are free on the disk of {}, and {} MiB are needed to begin anything",
                free / MIB,
                self.state.display(),
                FLOOR_BYTES / MIB
            );
            return Err(Error::new(Kind::Io, "diskFull", message)
                .hint("free some disk space, then resume; nothing that was acknowledged is lost"));
        }
        if free >= FLOOR_BYTES + RESERVE_BYTES
            && !self.has_reserve()
            && let Err(error) = self.make_reserve()
        {
            tracing::warn!("no space can be kept back: {error}");
        }
        Ok(())
    }

    /// Lets the reserve go before the disk is quite full.
    pub(super) fn make_way(&self) {
        if self.free().is_some_and(|free| free < RESERVE_BYTES) {
            self.give_up();
        }
    }

    /// The disk is full: lets the reserve go.
    pub(super) fn give_up(&self) {
        if !self.has_reserve() {
            return;
        }
        let given_up = fs::OpenOptions::new()
            .write(true)
            .open(self.reserve())
            .and_then(|file| file.set_len(0));
        match given_up {
            Ok(()) => tracing::warn!(
                "the disk is full: {} MiB of reserve are used now",
                RESERVE_BYTES / MIB
            ),
            Err(error) => tracing::error!("the disk is full and the reserve cannot be used: {error}"),
        }
    }

    /// What we may still write; nothing where that cannot be asked.
    fn free(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.state).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn reserve(&self) -> PathBuf {
        self.state.join(RESERVE_NAME)
    }

    fn has_reserve(&self) -> bool {
        fs::metadata(self.reserve()).is_ok_and(|found| found.len() >= RESERVE_BYTES)
    }

    fn make_reserve(&self) -> io::Result<()> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.reserve())?;
        allocate(&file).inspect_err(|_| drop(file.set_len(0)))
    }
}

/// Takes the space for real: a file with a hole in it would keep nothing back.
#[cfg(target_os = "linux")]
fn allocate(file: &File) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES).or_else(|_| fill(file))
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File) -> io::Result<()> {
    fill(file)
}

fn fill(mut file: &File) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), RESERVE_BYTES), &mut file)?;
    file.sync_data()
}
