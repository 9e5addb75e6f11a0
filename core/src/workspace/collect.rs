//! The result of an agent: our own scan of its files, as a commit in our own store.
//!
//! Nothing that the agent wrote for git is believed: not its index, not its commits, not its `.git`
//! file. Contents are read by us, without following links, and converted by the attributes of the
//! commit that the agent began from.

use serde::{Deserialize, Serialize};

use super::Workspaces;
use super::bench::Bench;
use super::beneath::{Root, is_link, is_regular};
use super::overlay::{Attributes, Content, Executable};
use super::repository::Repository;
use super::scan::Refusal;
use super::slot::{SLOT_FILE_SYSTEM, Slot};
use super::vault::CommitNote;
use crate::id::{CommitId, TreeId};
use crate::{Error, Kind, Result};

/// The largest file that is taken into a result.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most bytes of changed files in one result.
const RESULT_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The most files that one result may change.
const CHANGED_FILES_MAX: usize = 20_000;

/// A result, or a checkpoint on the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// The commit in our own store; the parent itself when nothing changed.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// How many paths differ from the parent.
    pub changed: usize,
    /// What is in the slot but not in the result.
    pub refused: Vec<Refusal>,
}

impl Workspaces {
    /// Takes the files of a slot as a commit on `parent`.
    pub async fn collect(
        &self,
        repository: &Repository,
        slot: &Slot,
        parent: &CommitId,
    ) -> Result<Collected> {
        let vault = self.vault(repository).await?;
        let _writing = vault.writing().await?;
        let (parent, parent_text) = vault.visible(parent).await?;
        let begin = vault.read_commit(slot.at.as_str()).await?;
        let settings = repository.file_settings(&self.git).await?;
        let bench = Bench {
            git: &self.git,
            repository,
            vault: &vault,
            place: &slot.place,
            settings,
        };
        let mut refused = Vec::new();
        if !slot.place.git_file_is_ours() {
            refused.push(Refusal {
                path: ".git".to_owned(),
                reason: "the agent changed it; it was put back".to_owned(),
            });
            slot.place.restore_git_file()?;
        }

        let tracked = bench.tracked().await?;
        let mut found = bench.scan(&tracked).await?;
        refused.append(&mut found.refused);
        let scratch = bench.scratch()?;
        let mut paths = bench.changed(&scratch).await?;
        paths.retain(|path| found.present.contains(path));
        let withheld = &parent_text.note.withheld;
        for path in &found.added {
            let name = String::from_utf8_lossy(path).into_owned();
            if withheld.contains(&name) {
                let reason = "you have a secret file of that name, which agents do not get".to_owned();
                refused.push(Refusal { path: name, reason });
            } else {
                paths.push(path.clone());
            }
        }
        let missing: Vec<Vec<u8>> = found.missing(&tracked).into_iter().map(<[u8]>::to_vec).collect();
        if paths.len() + missing.len() > CHANGED_FILES_MAX {
            let message = format!("the agent changed more than {CHANGED_FILES_MAX} files");
            return Err(Error::new(Kind::Git, "tooManyFiles", message).hint("add build output to .gitignore"));
        }
        let files = slot.place.files();
        let read = tokio::task::spawn_blocking(move || read_all(&Root::open(&files)?, paths));
        let (entries, unread) = read.await.map_err(|error| Error::internal(error.to_string()))??;
        refused.extend(unread);

        scratch.take_out(missing.iter().map(Vec::as_slice)).await?;
        scratch
            .put(
                &entries,
                vault.objects(),
                SLOT_FILE_SYSTEM,
                Attributes::Tree(&begin.tree),
            )
            .await?;
        let tree = scratch.write_tree(vault.objects()).await?;
        refused.sort_by(|a, b| a.path.cmp(&b.path));
        if tree == parent_text.tree {
            return Ok(Collected {
                commit: parent,
                tree,
                changed: 0,
                refused,
            });
        }
        let changed = vault
            .reading([
                "diff-tree",
                "-r",
                "-z",
                "--name-only",
                "--no-renames",
                parent_text.tree.as_str(),
                tree.as_str(),
            ])
            .bytes()
            .await?;
        let note = CommitNote {
            withheld: withheld.clone(),
            visible: None,
        };
        let commit = vault
            .commit(vault.objects(), &tree, Some(parent.as_str()), "results", &note)
            .await?;
        let changed = memchr::memchr_iter(0, &changed).count();
        Ok(Collected {
            commit,
            tree,
            changed,
            refused,
        })
    }
}

type Entries = Vec<(Vec<u8>, Content)>;

/// Reads what is to go into the result; what cannot be taken is named.
fn read_all(root: &Root, paths: Vec<Vec<u8>>) -> Result<(Entries, Vec<Refusal>)> {
    let (mut entries, mut refused, mut total) = (Vec::new(), Vec::new(), 0_usize);
    for path in paths {
        let content = std::str::from_utf8(&path)
            .map_err(|_| Error::new(Kind::Conflict, "refusedPath", "its name is not UTF-8"))
            .and_then(|name| read_one(root, name));
        match content {
            Ok(content) => {
                if let Content::File { bytes, .. } = &content {
                    total += bytes.len();
                }
                entries.push((path, content));
            }
            Err(error) => {
                let path = String::from_utf8_lossy(&path).into_owned();
                refused.push(Refusal {
                    path,
                    reason: error.message,
                });
            }
        }
        if total > RESULT_BYTES_MAX {
            let message = format!("the changed files hold more than {RESULT_BYTES_MAX} bytes");
            return Err(
                Error::new(Kind::Git, "resultTooLarge", message).hint("add build output to .gitignore")
            );
        }
    }
    Ok((entries, refused))
}

fn read_one(root: &Root, path: &str) -> Result<Content> {
    let found = root.look(path)?;
    match found {
        Some(found) if is_link(&found) => Ok(Content::Link(root.read_link(path)?)),
        Some(found) if is_regular(&found) => {
            let executable = if found.st_mode & 0o100 == 0 {
                Executable::No
            } else {
                Executable::Yes
            };
            Ok(Content::File {
                bytes: root.read_exactly(path, FILE_BYTES_MAX)?,
                executable,
            })
        }
        _ => Err(Error::new(Kind::Conflict, "notAFile", "it is no file or link")),
    }
}
