//! The user's files, read only; our snapshots, slots and patches.
//!
//! The user's repository is never written: no ref, object, index entry, worktree registration or
//! configuration of ours is in it, and no hook of its runs. What the agents start from is a commit
//! in a private repository of ours, what they work in is a slot outside the user's, and what comes
//! back is a [`Patch`] that is merged onto what the user sees then.

mod bench;
mod beneath;
mod binding;
mod collect;
mod combine;
pub mod disk;
mod files;
pub mod git;
mod lines;
mod merge;
mod overlay;
pub mod patch;
mod paths;
mod pool;
mod repository;
pub mod review;
mod scan;
mod scratch;
mod secrets;
mod slot;
mod snapshot;
mod tidy;
mod vault;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

pub use crate::pipeline::HunkState;
pub use beneath::{Root, resolve_beneath};
pub use collect::Collected;
pub use combine::Combined;
pub use disk::{Applied, DiskChange, FileOutcome, apply_to_disk};
pub use git::{Git, UserHome};
pub use patch::{Change, Direction, FileChange, FileMode, Hunk, HunkKind, Patch};
pub use paths::{Verdict, check_path, is_dot_git, verdict};
pub use pool::{KeptSlot, SlotUsage, Swept};
pub use repository::Repository;
pub use review::{Conflict, Placed, Replacement, Take};
pub use scan::Refusal;
pub use slot::{Slot, SlotNote};
pub use snapshot::{Buffer, Snapshot};
pub use tidy::{Salvaged, Tidied, Unmerged};

use crate::id::{CommitId, HunkId, TreeId, random_hex};
use crate::process::Spawner;
use crate::{Error, Result};

/// Bytes of randomness in the name of a process's scratch directory.
const SCRATCH_NAME_BYTES: usize = 8;
/// The largest file that is handed out whole.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Directories of ours, and where the user's own git configuration lies.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// What must survive.
    pub state: PathBuf,
    /// What only costs time when it is deleted.
    pub cache: PathBuf,
    /// For the user's ignore rules and line-ending settings.
    pub user: UserHome,
}

/// The door to repositories, snapshots, slots and patches.
#[derive(Debug)]
pub struct Workspaces {
    places: Places,
    git: Git,
    scratch: PathBuf,
    /// Held as long as this process lives, so that its scratch directory is known to be in use.
    _life: File,
}

impl Workspaces {
    /// Finds git and prepares our directories. Git is started by `spawner`.
    pub async fn open(places: Places, spawner: Spawner, search_path: OsString) -> Result<Self> {
        files::private_dir(&places.state)?;
        files::private_dir(&places.cache)?;
        let places = Places {
            state: canonical(&places.state)?,
            cache: canonical(&places.cache)?,
            ..places
        };
        let neutral = places.state.join("neutral");
        files::private_dir(&neutral)?;
        let git = Git::find(spawner, &search_path, places.user.clone(), neutral).await?;
        let scratch = places.state.join("scratch").join(random_hex(SCRATCH_NAME_BYTES)?);
        files::private_dir(&scratch)?;
        let life = files::open_lock(&scratch.join("lock"))?;
        life.try_lock()
            .map_err(|error| Error::internal(format!("a fresh scratch directory is locked: {error}")))?;
        Ok(Self {
            places,
            git,
            scratch,
            _life: life,
        })
    }

    /// The git program that is used.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// The repository that holds this folder.
    pub async fn repository(&self, folder: &Path) -> Result<Repository> {
        let found = repository::discover(&self.git, folder).await?;
        let locked = binding::lock(&self.repositories()).await?;
        let id = binding::bind(&self.git, &self.repositories(), &found).await?;
        let repository = found.named(id);
        // made under the lock, so that nobody meets half of it
        self.vault(&repository).await?;
        drop(locked);
        Ok(repository)
    }

    /// What the user sees, as a commit of ours.
    pub async fn snapshot(&self, repository: &Repository, buffers: &[Buffer]) -> Result<Snapshot> {
        let vault = self.vault(repository).await?;
        let _writing = vault.writing().await?;
        snapshot::take(&self.git, repository, &vault, buffers).await
    }

    /// The bytes of a file in a commit of ours; `None` when it is not there.
    pub async fn file_at(
        &self,
        repository: &Repository,
        commit: &CommitId,
        path: &str,
    ) -> Result<Option<Vec<u8>>> {
        check_path(path)?;
        let vault = self.vault(repository).await?;
        let Some(entry) = vault.entry_at(commit.as_str(), path).await? else {
            return Ok(None);
        };
        Ok(vault
            .blobs(&[entry.object], FILE_BYTES_MAX)
            .await?
            .pop()
            .flatten())
    }

    /// Makes a patch independent of the user's objects: from now on it can be shown, applied and
    /// compared again even when the user prunes or rewrites what it began from.
    pub async fn keep(&self, repository: &Repository, patch: &Patch) -> Result<()> {
        let vault = self.vault(repository).await?;
        let blobs = patch
            .files
            .iter()
            .flat_map(|file| [file.base_blob.clone(), file.result_blob.clone()]);
        let blobs: Vec<String> = blobs.flatten().collect();
        let _writing = vault.writing().await?;
        vault.keep(&[&patch.base, &patch.result], &blobs).await
    }

    /// Lets go of a commit of ours, and of the snapshot's secret files with it: the next clean-up of
    /// our store may remove it.
    pub async fn forget(&self, repository: &Repository, commit: &CommitId) -> Result<()> {
        let vault = self.vault(repository).await?;
        if let Ok((visible, _)) = vault.visible(commit).await {
            vault.forget(&visible).await?;
        }
        vault.forget(commit).await
    }

    /// The tree of a commit of ours as agents see it.
    pub async fn tree_of(&self, repository: &Repository, commit: &CommitId) -> Result<TreeId> {
        let vault = self.vault(repository).await?;
        Ok(vault.visible(commit).await?.1.tree)
    }

    /// What changed from one commit of ours to another.
    pub async fn patch(&self, repository: &Repository, base: &CommitId, result: &CommitId) -> Result<Patch> {
        let vault = self.vault(repository).await?;
        patch::between(&self.git, repository, &vault, base, result).await
    }

    /// Applies hunks of one file to the user's files on disk, for the command line. Whether the file
    /// may be changed at all (its verdict) is for the caller to have asked.
    pub async fn apply_to_disk(
        &self,
        repository: &Repository,
        file: &FileChange,
        decided: &BTreeMap<HunkId, HunkState>,
        wanted: &BTreeSet<HunkId>,
    ) -> Result<FileOutcome> {
        let vault = self.vault(repository).await?;
        let blob = async |id: &Option<String>| -> Result<Option<Vec<u8>>> {
            let ids: Vec<String> = id.iter().cloned().collect();
            Ok(vault.blobs(&ids, FILE_BYTES_MAX).await?.pop().flatten())
        };
        let (base_bytes, result_bytes) = (blob(&file.base_blob).await?, blob(&file.result_blob).await?);
        let (top, file) = (repository.top_level.clone(), file.clone());
        let (decided, wanted) = (decided.clone(), wanted.clone());
        let work = move || {
            let (base_bytes, result_bytes) = (base_bytes.as_deref(), result_bytes.as_deref());
            apply_to_disk(
                &top,
                &DiskChange {
                    file: &file,
                    decided: &decided,
                    wanted: &wanted,
                    base_bytes,
                    result_bytes,
                },
            )
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::internal(error.to_string()))
    }

    fn repositories(&self) -> PathBuf {
        self.places.state.join("repositories")
    }

    fn cache_of(&self, repository: &str) -> PathBuf {
        self.places.cache.join(repository)
    }

    /// Removes scratch directories of processes that died.
    fn sweep_scratch(&self) -> Result<()> {
        let scratch = self.places.state.join("scratch");
        for name in files::list(&scratch)? {
            let path = scratch.join(&name);
            let lock = files::open_lock(&path.join("lock"))?;
            if lock.try_lock().is_ok() {
                files::remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Workspaces {
    fn drop(&mut self) {
        let _ = files::remove_tree(&self.scratch);
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).map_err(|error| Error::io(format!("opening {}", path.display()), &error))
}
