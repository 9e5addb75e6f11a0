//! What the user sees, as a commit of ours: HEAD, staged and unstaged changes, untracked files that
//! git does not ignore, and the unsaved text of open documents.
//!
//! The user's index is copied and the copy is brought up to date, so nothing of the user's is
//! written. HEAD and index are read again afterwards: a snapshot across a checkout is no snapshot.

mod buffers;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::git::Git;
use super::overlay::{Attributes, Content};
use super::repository::{FileSettings, Repository};
use super::scratch::Scratch;
use super::vault::{CommitNote, Vault, nul_separated, os_path};
use super::{files, secrets};
use buffers::Usable;

use crate::id::{CommitId, TreeId};
use crate::{Error, Kind, Result};

/// How often a snapshot is begun anew when the repository changes under it.
const TRIES: u32 = 3;
/// Pause before the next try.
const PAUSE_MS: u64 = 150;

/// The unsaved text of an open document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Relative to the top of the repository, with `/`.
    pub path: String,
    /// The text as it would be saved.
    pub text: Vec<u8>,
}

/// The user's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The commit in our own store; the same state gives the same id.
    pub commit: CommitId,
    /// Its tree; a key for caches.
    pub tree: TreeId,
    /// The user's HEAD, if there is a commit yet.
    pub head: Option<String>,
    /// Secret files that are in the snapshot but that agents do not get.
    pub withheld: Vec<String>,
    /// Files that could not be read and are as HEAD and index have them.
    pub unreadable: Vec<String>,
}

/// Takes the snapshot, three tries.
pub(crate) async fn take(
    git: &Git,
    repository: &Repository,
    vault: &Vault,
    buffers: &[Buffer],
) -> Result<Snapshot> {
    let mut last_error = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
        let before = Fingerprint::read(git, repository).await?;
        if before.locked {
            continue;
        }
        let scan = Scan {
            git,
            repository,
            vault,
            buffers,
            head: before.head.clone(),
        };
        let scanned = scan.run().await;
        if Fingerprint::read(git, repository).await? != before {
            continue;
        }
        match scanned {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(|| {
        Error::new(
            Kind::Git,
            "repositoryBusy",
            format!("{} changes while it is read", repository.top_level.display()),
        )
        .hint("let the running git command end, then try again; `index.lock` of a crashed git can be removed")
    }))
}

/// What must be the same before and after a scan.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    head: Option<String>,
    symbolic: Option<Vec<u8>>,
    index: Option<(u64, SystemTime)>,
    in_progress: Vec<Option<SystemTime>>,
    locked: bool,
}

/// Files and folders of a git directory that mean an operation in progress.
const IN_PROGRESS: &[&str] = &[
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "rebase-merge",
    "rebase-apply",
    "BISECT_LOG",
];

impl Fingerprint {
    async fn read(git: &Git, repository: &Repository) -> Result<Self> {
        let modified = |name: &str| {
            std::fs::metadata(repository.git_dir.join(name))
                .and_then(|found| found.modified())
                .ok()
        };
        let index = std::fs::metadata(repository.git_dir.join("index"))
            .and_then(|found| Ok((found.len(), found.modified()?)))
            .ok();
        Ok(Self {
            symbolic: std::fs::read(repository.git_dir.join("HEAD")).ok(),
            head: repository.head(git).await?,
            index,
            in_progress: IN_PROGRESS.iter().map(|name| modified(name)).collect(),
            locked: repository.git_dir.join("index.lock").exists(),
        })
    }
}

struct Scan<'a> {
    git: &'a Git,
    repository: &'a Repository,
    vault: &'a Vault,
    buffers: &'a [Buffer],
    head: Option<String>,
}

/// Paths on disk, sorted by what is to be done with them.
#[derive(Debug, Default)]
struct Worklist {
    updated: Vec<Vec<u8>>,
    removed: Vec<Vec<u8>>,
    withheld: BTreeSet<Vec<u8>>,
    unreadable: Vec<String>,
}

impl Scan<'_> {
    async fn run(&self) -> Result<Snapshot> {
        let settings = self.repository.file_settings(self.git).await?;
        let scratch = Scratch::new(self.vault, &settings)?;
        self.copy_index(&scratch)?;
        self.look_at_everything(&scratch, &settings).await?;
        let buffers = self.usable_buffers(&scratch, &settings).await?;
        let mut work = self.worklist(&scratch, &settings).await?;
        let (sealed, open): (Vec<_>, Vec<_>) = buffers.into_iter().partition(|buffer| buffer.secret);
        work.withheld
            .extend(sealed.iter().map(|buffer| buffer.path.clone()));

        scratch.take_out(work.removed.iter().map(Vec::as_slice)).await?;
        self.add_from_disk(&scratch, &settings, &work.updated, self.vault.objects())
            .await?;
        self.add_buffers(&scratch, &settings, open, self.vault.objects())
            .await?;
        let tree = scratch.write_tree(self.vault.objects()).await?;
        let withheld: Vec<String> = work
            .withheld
            .iter()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        let head = self.head.as_deref();
        let note = CommitNote {
            withheld: withheld.clone(),
            visible: None,
        };
        let commit = self
            .vault
            .commit(self.vault.objects(), &tree, head, "snapshots", &note)
            .await?;
        let unreadable = work.unreadable;
        if withheld.is_empty() {
            return Ok(Snapshot {
                commit,
                tree,
                head: self.head.clone(),
                withheld,
                unreadable,
            });
        }

        let on_disk: Vec<Vec<u8>> = work
            .withheld
            .into_iter()
            .filter(|path| self.exists(path))
            .collect();
        self.add_from_disk(&scratch, &settings, &on_disk, self.vault.sealed())
            .await?;
        self.add_buffers(&scratch, &settings, sealed, self.vault.sealed())
            .await?;
        let tree = scratch.write_tree(self.vault.sealed()).await?;
        let note = CommitNote {
            withheld: withheld.clone(),
            visible: Some(commit),
        };
        let commit = self
            .vault
            .commit(self.vault.sealed(), &tree, head, "sealed", &note)
            .await?;
        Ok(Snapshot {
            commit,
            tree,
            head: self.head.clone(),
            withheld,
            unreadable,
        })
    }

    fn top(&self) -> &Path {
        &self.repository.top_level
    }

    fn exists(&self, path: &[u8]) -> bool {
        std::fs::symlink_metadata(self.top().join(os_path(path))).is_ok()
    }

    /// The user's index with its time, and what a split index refers to.
    fn copy_index(&self, scratch: &Scratch) -> Result<()> {
        let index = self.repository.git_dir.join("index");
        if index.is_file() {
            files::copy_index(&index, &scratch.index())?;
        }
        for name in files::list(&self.repository.git_dir)? {
            if name.to_string_lossy().starts_with("sharedindex.") {
                files::copy_index(
                    &self.repository.git_dir.join(&name),
                    &scratch.git_dir().join(&name),
                )?;
            }
        }
        Ok(())
    }

    /// Takes the marks off files of which the user told git not to look at them: the user sees them.
    async fn look_at_everything(&self, scratch: &Scratch, settings: &FileSettings) -> Result<()> {
        let listed = self
            .on_disk(scratch, settings, &["ls-files", "-z", "-v"])
            .bytes()
            .await?;
        let marked = entries(&listed).filter(|line| line.first().is_some_and(u8::is_ascii_lowercase));
        let marked = nul_separated(marked.filter_map(|line| line.get(2..)));
        if !marked.is_empty() {
            let call = self.on_disk(
                scratch,
                settings,
                &["update-index", "-z", "--no-assume-unchanged", "--stdin"],
            );
            call.stdin(marked).bytes().await?;
        }
        Ok(())
    }

    /// What differs between the index and the files.
    async fn worklist(&self, scratch: &Scratch, settings: &FileSettings) -> Result<Worklist> {
        let changed = self
            .on_disk(
                scratch,
                settings,
                &[
                    "diff-files",
                    "-z",
                    "--name-only",
                    "--no-renames",
                    "--ignore-submodules=all",
                ],
            )
            .bytes();
        let others = self
            .on_disk(
                scratch,
                settings,
                &["ls-files", "-z", "--others", "--exclude-standard"],
            )
            .bytes();
        let (changed, others) = tokio::try_join!(changed, others)?;
        let mut work = Worklist::default();
        for path in entries(&changed) {
            self.sort_changed(&mut work, path);
        }
        for path in entries(&others) {
            self.sort_untracked(&mut work, path);
        }
        Ok(work)
    }

    fn sort_changed(&self, work: &mut Worklist, path: &[u8]) {
        let full = self.top().join(os_path(path));
        match std::fs::symlink_metadata(&full) {
            Ok(found) if found.is_symlink() || (found.is_file() && readable(&full)) => {
                work.updated.push(path.to_vec());
            }
            Ok(found) if found.is_file() => work.unreadable.push(String::from_utf8_lossy(path).into_owned()),
            _ => work.removed.push(path.to_vec()),
        }
    }

    fn sort_untracked(&self, work: &mut Worklist, path: &[u8]) {
        if path.ends_with(b"/") {
            // a repository inside the repository: not ours to read
            return;
        }
        let full = self.top().join(os_path(path));
        let name = String::from_utf8_lossy(path);
        let link = std::fs::symlink_metadata(&full).is_ok_and(|found| found.is_symlink());
        if !link && !readable(&full) {
            work.unreadable.push(name.into_owned());
        } else if secrets::looks_secret(&name, || secrets::beginning_of(&full)) {
            work.withheld.insert(path.to_vec());
        } else {
            work.updated.push(path.to_vec());
        }
    }

    fn on_disk(&self, scratch: &Scratch, settings: &FileSettings, args: &[&str]) -> super::git::Call {
        let call = scratch.call(args.iter().copied(), self.top());
        settings
            .file_system
            .iter()
            .fold(call, |call, setting| call.setting(setting.clone()))
    }

    async fn add_from_disk(
        &self,
        scratch: &Scratch,
        settings: &FileSettings,
        list: &[Vec<u8>],
        objects: &Path,
    ) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        let list = nul_separated(list.iter().map(Vec::as_slice));
        self.on_disk(
            scratch,
            settings,
            &["update-index", "-z", "--add", "--remove", "--replace", "--stdin"],
        )
        .objects(objects)
        .stdin(list)
        .bytes()
        .await?;
        Ok(())
    }

    async fn add_buffers(
        &self,
        scratch: &Scratch,
        settings: &FileSettings,
        buffers: Vec<Usable>,
        objects: &Path,
    ) -> Result<()> {
        let entries: Vec<(Vec<u8>, Content)> = buffers
            .into_iter()
            .map(|buffer| {
                (
                    buffer.path,
                    Content::File {
                        bytes: buffer.text,
                        executable: buffer.executable,
                    },
                )
            })
            .collect();
        let settings: Vec<&str> = settings.file_system.iter().map(String::as_str).collect();
        scratch.put(&entries, objects, &settings, Attributes::Index).await
    }
}

fn entries(printed: &[u8]) -> impl Iterator<Item = &[u8]> {
    printed.split(|byte| *byte == 0).filter(|path| !path.is_empty())
}

#[cfg(unix)]
fn readable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

#[cfg(not(unix))]
fn readable(path: &Path) -> bool {
    std::fs::File::open(path).is_ok()
}
