//! Room on the disk of the state directory: below a floor nothing begins that costs money, and a
//! reserve is given up when the disk is full, so that what was paid and what a person answered can
//! still be written down.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::{Error, Kind, Result};

/// Below this much free space (bytes) nothing begins; on a small disk below [`FLOOR_SHARE`] of it.
const FLOOR_BYTES: u64 = 64 * 1024 * 1024;
/// The part of a small disk that has to be free.
const FLOOR_SHARE: u64 = 16;
/// What is kept back (bytes): enough for the answers to everything that can be under way. On a small
/// disk it is [`RESERVE_SHARE`] of it.
pub(super) const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// The part of a small disk that is kept back.
const RESERVE_SHARE: u64 = 32;
/// Name of the reserve in the state directory.
const RESERVE_NAME: &str = "reserve";
/// For people.
const KIB: u64 = 1024;

/// What a disk has (bytes).
#[derive(Debug, Clone, Copy)]
struct Room {
    free: u64,
    whole: u64,
}

impl Room {
    fn floor(self) -> u64 {
        FLOOR_BYTES.min(self.whole / FLOOR_SHARE)
    }

    fn reserve(self) -> u64 {
        RESERVE_BYTES.min(self.whole / RESERVE_SHARE)
    }
}

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
        let Some(room) = self.room() else { return Ok(()) };
        if room.free < room.floor() {
            let message = format!(
                "only {} KiB are free on the disk of {}, and {} KiB are needed to begin anything",
                room.free / KIB,
                self.state.display(),
                room.floor() / KIB
            );
            return Err(Error::new(Kind::Io, "diskFull", message)
                .hint("free some disk space, then resume; nothing that was acknowledged is lost"));
        }
        if room.free >= room.floor() + room.reserve()
            && !self.has_reserve()
            && let Err(error) = self.make_reserve(room.reserve())
        {
            tracing::warn!("no space can be kept back: {error}");
        }
        Ok(())
    }

    /// Lets the reserve go before the disk is quite full.
    pub(super) fn make_way(&self) {
        if self.room().is_some_and(|room| room.free < room.reserve()) {
            self.give_up();
        }
    }

    /// The disk is full: lets the reserve go.
    pub(super) fn give_up(&self) {
        let held = fs::metadata(self.reserve()).map_or(0, |found| found.len());
        if held == 0 {
            return;
        }
        let given_up = fs::OpenOptions::new()
            .write(true)
            .open(self.reserve())
            .and_then(|file| file.set_len(0));
        match given_up {
            Ok(()) => tracing::warn!("the disk is full: the reserve of {} KiB is used now", held / KIB),
            Err(error) => tracing::error!("the disk is full and the reserve cannot be used: {error}"),
        }
    }

    /// What we may still write, and of how much; nothing where that cannot be asked.
    fn room(&self) -> Option<Room> {
        let found = rustix::fs::statvfs(&self.state).ok()?;
        Some(Room {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            whole: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    fn reserve(&self) -> PathBuf {
        self.state.join(RESERVE_NAME)
    }

    fn has_reserve(&self) -> bool {
        fs::metadata(self.reserve()).is_ok_and(|found| found.len() > 0)
    }

    fn make_reserve(&self, bytes: u64) -> io::Result<()> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.reserve())?;
        allocate(&file, bytes).inspect_err(|_| drop(file.set_len(0)))
    }
}

/// Takes the space for real: a file with a hole in it would keep nothing back.
#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    fallocate(file, FallocateFlags::empty(), 0, bytes).or_else(|_| fill(file, bytes))
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    fill(file, bytes)
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
    file.sync_data()
}
