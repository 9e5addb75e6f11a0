//! A working directory for one agent: files, a private git directory, and our own record of both.
//!
//! The agent may do with files and git directory as it likes. Our record (index, ignore rules, state)
//! lies outside, so that nothing the agent writes is ever taken for ours.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use super::repository::Repository;
use super::scan::Rules;
use crate::id::{CommitId, PipelineId, StepId, random_hex};
use crate::{Error, Kind, Result};

/// How files are written in a slot, whatever the user's file system can do.
pub(crate) const SLOT_FILE_SYSTEM: &[&str] = &["core.filemode=true", "core.symlinks=true"];
/// Bytes of randomness in the name of something in the trash.
const TRASH_NAME_BYTES: usize = 8;

/// Who works in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotNote {
    /// The run.
    pub run: PipelineId,
    /// The step.
    pub step: StepId,
    /// The fencing number of the run's owner.
    pub fence: i64,
    /// Ignored build output is kept for, and taken over from, users with this same trust hash. To be
    /// given only when all children of the step run sandboxed; `None` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
}

/// A working directory that is the holder's alone until it is released.
#[derive(Debug)]
pub struct Slot {
    /// The top folder of the files.
    pub root: PathBuf,
    /// The opened folder inside it.
    pub folder: PathBuf,
    /// Its number in the pool of the repository.
    pub number: u32,
    pub(crate) repository: Repository,
    pub(crate) at: CommitId,
    pub(crate) note: SlotNote,
    pub(crate) place: SlotPlace,
    /// Held by the kernel for us; a dead process holds none.
    pub(crate) _lock: File,
}

impl Slot {
    /// The private git directory, writable for the agent.
    pub fn git_dir(&self) -> PathBuf {
        self.place.git_dir()
    }

    /// The commit that the files began from, as agents see it.
    pub fn at(&self) -> &CommitId {
        &self.at
    }
}

/// In which state a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Phase {
    Busy,
    Dirty,
    Ready,
}

/// What we know about a slot, outside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) note: SlotNote,
    pub(crate) at: CommitId,
    /// The trust hash under which ignored build output was kept.
    pub(crate) build_output: Option<String>,
}

/// Where the parts of a slot lie.
#[derive(Debug, Clone)]
pub(crate) struct SlotPlace {
    cache: PathBuf,
    number: u32,
}

impl SlotPlace {
    pub(crate) fn new(cache: &Path, number: u32) -> Self {
        Self {
            cache: cache.to_owned(),
            number,
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn slot(&self) -> PathBuf {
        self.cache.join("slots").join(self.number.to_string())
    }

    pub(crate) fn git_dir(&self) -> PathBuf {
        self.slot().join("git")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.slot().join("wt")
    }

    fn record(&self) -> PathBuf {
        self.cache.join("records").join(self.number.to_string())
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.record().join("index")
    }

    pub(crate) fn rules(&self) -> PathBuf {
        self.record().join("rules.json")
    }

    fn state(&self) -> PathBuf {
        self.record().join("state.json")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.cache.join("trash")
    }

    /// The lock, if nobody holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<File>> {
        files::private_dir(&self.record())?;
        let path = self.record().join("lock");
        let lock = files::open_lock(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(Error::io(format!("locking {}", path.display()), &error))
            }
        }
    }

    pub(crate) fn read_state(&self) -> Result<Option<State>> {
        files::read_json(&self.state())
    }

    pub(crate) fn write_state(&self, state: &State) -> Result<()> {
        files::write_json(&self.state(), state)
    }

    /// Renames the slot into the trash and forgets its record; the deletion comes later.
    pub(crate) fn discard(&self) -> Result<()> {
        let trash = self.trash();
        files::private_dir(&trash)?;
        for gone in [self.state(), self.index(), self.rules()] {
            let _ = std::fs::remove_file(gone);
        }
        move_to_trash(&self.slot(), &trash)
    }

    /// The bytes that the `.git` file must have.
    fn git_file(&self) -> Vec<u8> {
        let mut text = b"gitdir: ".to_vec();
        text.extend_from_slice(self.git_dir().as_os_str().as_encoded_bytes());
        text.push(b'\n');
        text
    }

    /// Whether the `.git` file is byte for byte ours.
    pub(crate) fn git_file_is_ours(&self) -> bool {
        let path = self.files().join(".git");
        let expected = self.git_file();
        std::fs::symlink_metadata(&path)
            .is_ok_and(|found| found.is_file() && found.len() == expected.len() as u64)
            && std::fs::read(&path).is_ok_and(|found| found == expected)
    }

    /// Puts our `.git` file back, whatever stands there now.
    pub(crate) fn restore_git_file(&self) -> Result<()> {
        let path = self.files().join(".git");
        if !self.git_file_is_ours() {
            move_to_trash(&path, &self.trash())?;
            files::write_atomically(&path, &self.git_file())?;
        }
        Ok(())
    }

    pub(crate) fn read_rules(&self) -> Result<Rules> {
        files::read_json(&self.rules())?.ok_or_else(|| {
            Error::new(
                Kind::Git,
                "slotUnknown",
                format!("the record of slot {} is gone", self.number),
            )
        })
    }
}

/// Renames something into the trash; nothing there is fine. Takes no time whatever its size is.
pub(crate) fn move_to_trash(path: &Path, trash: &Path) -> Result<()> {
    files::private_dir(trash)?;
    let target = trash.join(random_hex(TRASH_NAME_BYTES)?);
    let moved = std::fs::rename(path, &target).or_else(|error| {
        // a folder can only be moved by who may write into it
        if error.kind() == std::io::ErrorKind::PermissionDenied && files::open_up(path) {
            return std::fs::rename(path, &target);
        }
        Err(error)
    });
    match moved {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let what = format!("moving {} into the trash", path.display());
            Err(Error::io(what, &error))
        }
        _ => Ok(()),
    }
}
