//! Brings hunks into the user's files on disk, for the command line, under the same rules as in an
//! editor: what the user changed meanwhile is kept, and a conflict changes nothing.
//!
//! Each file is written by temporary file and rename after its content was checked once more; no link
//! is followed on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::beneath::{Existing, Permissions, Replacement, Root, is_link, is_regular};
use super::overlay::Executable;
use super::patch::{Change, FileChange, FileMode, HunkKind};
use super::review::{self, Placed};
use crate::id::HunkId;
use crate::pipeline::HunkState;
use crate::{Error, Kind, Result};

/// The largest file that is changed on disk.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is to be done to one file.
#[derive(Debug, Clone, Copy)]
pub struct DiskChange<'a> {
    /// The change.
    pub file: &'a FileChange,
    /// What was decided before.
    pub decided: &'a BTreeMap<HunkId, HunkState>,
    /// The hunks to bring in.
    pub wanted: &'a BTreeSet<HunkId>,
    /// The bytes before, as git has them.
    pub base_bytes: Option<&'a [u8]>,
    /// The bytes afterwards, as git has them.
    pub result_bytes: Option<&'a [u8]>,
}

/// How it went for one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileOutcome {
    /// Relative to the top of the repository.
    pub path: String,
    /// What became of it.
    pub result: Applied,
    /// A stable code when it was not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// All hunks of the file as they are now.
    pub hunks: Vec<Placed>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Applied {
    /// The wanted hunks are in it.
    Applied,
    /// The user changed the same; nothing was written.
    Conflict,
    /// It could not be written.
    Failed,
}

/// Brings the wanted hunks of one file into the user's files.
pub fn apply_to_disk(top_level: &Path, change: &DiskChange<'_>) -> FileOutcome {
    let applied = Root::open(top_level).and_then(|root| change.apply(&root).map(|()| root));
    let (result, code, message) = match &applied {
        Ok(_) => (Applied::Applied, None, None),
        Err(error) if error.code == "conflict" || error.code == "changedMeanwhile" => (
            Applied::Conflict,
            Some(error.code.to_string()),
            Some(error.message.clone()),
        ),
        Err(error) => (
            Applied::Failed,
            Some(error.code.to_string()),
            Some(error.message.clone()),
        ),
    };
    let hunks = change.hunks_now(top_level, result);
    FileOutcome {
        path: change.file.path.clone(),
        result,
        code,
        message,
        hunks,
    }
}

fn conflict(message: impl Into<String>) -> Error {
    Error::new(Kind::Conflict, "conflict", message)
}

impl DiskChange<'_> {
    fn apply(&self, root: &Root) -> Result<()> {
        if let Some(missing) = self
            .wanted
            .iter()
            .find(|id| !self.file.hunks.iter().any(|hunk| hunk.id == **id))
        {
            return Err(conflict(format!("{} has no hunk {missing}", self.file.path)));
        }
        if self.wanted.is_empty() {
            return Ok(());
        }
        match self.file.change {
            Change::Added => self.create(root),
            Change::Deleted => self.delete(root),
            Change::Renamed => self.rename(root),
            Change::Modified => self.modify(root),
        }
    }

    fn create(&self, root: &Root) -> Result<()> {
        let path = &self.file.path;
        if let Some(found) = root.look(path)? {
            let same_kind = if self.file.mode == Some(FileMode::Symlink) {
                is_link(&found)
            } else {
                is_regular(&found)
            };
            let same = same_kind && root.content(path, FILE_BYTES_MAX)?.as_deref() == self.result_bytes;
            return if same {
                Ok(())
            } else {
                Err(conflict(format!("{path} is there already")))
            };
        }
        let permissions = Permissions::New(executable(self.file.mode));
        root.replace(
            path,
            self.as_result(self.result()?, permissions),
            Existing::Refuse,
        )
    }

    fn delete(&self, root: &Root) -> Result<()> {
        let path = &self.file.path;
        let Some(found) = self.existing(root, path)? else {
            return Ok(());
        };
        let unchanged = self.is_base(&found);
        if !unchanged {
            return Err(conflict(format!("you changed {path}, which would be deleted")));
        }
        root.demand(path, &found)?;
        root.remove(path)?;
        root.remove_empty_parents(path);
        Ok(())
    }

    fn rename(&self, root: &Root) -> Result<()> {
        let (path, old_path) = (
            &self.file.path,
            self.file.old_path.as_ref().unwrap_or(&self.file.path),
        );
        let Some(found) = self.existing(root, old_path)? else {
            let done = root.content(path, FILE_BYTES_MAX)?.as_deref() == self.result_bytes
                && self.result_bytes.is_some();
            return if done {
                Ok(())
            } else {
                Err(conflict(format!("{old_path} is not there any more")))
            };
        };
        let (text, bytes);
        let content: &[u8] = match self.current_text(&found) {
            Some(current) if self.file.mode != Some(FileMode::Symlink) => {
                text = self.with_hunks(current)?;
                text.as_bytes()
            }
            _ if self.is_base(&found) => {
                bytes = self.result()?;
                bytes
            }
            _ => return Err(conflict(format!("you changed {old_path}, which would be moved"))),
        };
        let permissions = self.permissions(root, old_path)?;
        root.replace(path, self.as_result(content, permissions), Existing::Refuse)?;
        let removed = root.demand(old_path, &found).and_then(|()| root.remove(old_path));
        if let Err(error) = removed {
            // half a move is none
            let _ = root.remove(path);
            return Err(error);
        }
        root.remove_empty_parents(old_path);
        Ok(())
    }

    fn modify(&self, root: &Root) -> Result<()> {
        let path = &self.file.path;
        let Some(found) = self.existing(root, path)? else {
            return Err(conflict(format!("{path} is not there any more")));
        };
        let text;
        let wants_content = self.wants(|kind| kind != HunkKind::Mode);
        let content: &[u8] = match self.current_text(&found) {
            _ if !wants_content => &found,
            Some(current) if self.file.mode != Some(FileMode::Symlink) => {
                text = self.with_hunks(current)?;
                text.as_bytes()
            }
            _ if self.is_base(&found) => self.result()?,
            _ if self.result_bytes == Some(&found) => &found,
            _ => return Err(conflict(format!("you changed {path}"))),
        };
        let mut permissions = self.permissions(root, path)?;
        if !self.wants(|kind| kind == HunkKind::Mode || kind == HunkKind::Binary) {
            permissions = Permissions::of(root.look(path)?.as_ref());
        }
        if content == found && permissions == Permissions::of(root.look(path)?.as_ref()) {
            return Ok(());
        }
        root.replace(path, self.as_result(content, permissions), Existing::Only(&found))
    }

    /// What stands at the path, if it is of the kind that the change is about.
    fn existing(&self, root: &Root, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(found) = root.look(path)? else {
            return Ok(None);
        };
        let expected = if self.file.old_mode == Some(FileMode::Symlink) {
            is_link(&found)
        } else {
            is_regular(&found)
        };
        if !expected {
            return Err(conflict(format!("{path} is something else than it was")));
        }
        root.content(path, FILE_BYTES_MAX)
    }

    fn current_text<'t>(&self, found: &'t [u8]) -> Option<&'t str> {
        if self.file.binary {
            None
        } else {
            std::str::from_utf8(found).ok()
        }
    }

    /// Whether this is what the agent began from; for text but for line ends.
    fn is_base(&self, found: &[u8]) -> bool {
        let text = self.file.base_text.as_deref().zip(self.current_text(found));
        self.base_bytes == Some(found) || text.is_some_and(|(base, current)| review::same_text(base, current))
    }

    fn with_hunks(&self, current: &str) -> Result<String> {
        let text_hunks: BTreeSet<HunkId> = self
            .file
            .hunks
            .iter()
            .filter(|hunk| hunk.kind != HunkKind::Mode && self.wanted.contains(&hunk.id))
            .map(|hunk| hunk.id.clone())
            .collect();
        let found =
            review::replacements(self.file, self.decided, current, &text_hunks).map_err(|misfits| {
                let ids: Vec<&str> = misfits.iter().map(|placed| placed.id.as_str()).collect();
                conflict(format!(
                    "you changed the lines of {} in {}",
                    ids.join(", "),
                    self.file.path
                ))
            })?;
        Ok(review::apply(current, &found))
    }

    fn wants(&self, kind: impl Fn(HunkKind) -> bool) -> bool {
        self.file
            .hunks
            .iter()
            .any(|hunk| kind(hunk.kind) && self.wanted.contains(&hunk.id))
    }

    fn result(&self) -> Result<&[u8]> {
        self.result_bytes.ok_or_else(|| {
            Error::new(
                Kind::Git,
                "fileTooLarge",
                format!("the new content of {} is too large", self.file.path),
            )
        })
    }

    fn permissions(&self, root: &Root, path: &str) -> Result<Permissions> {
        let kept = Permissions::of(root.look(path)?.as_ref());
        let changed = self.file.mode.filter(|_| self.file.mode != self.file.old_mode);
        Ok(changed.map_or(kept, |mode| kept.with(executable(Some(mode)))))
    }

    fn as_result<'b>(&self, content: &'b [u8], permissions: Permissions) -> Replacement<'b> {
        match self.file.mode {
            Some(FileMode::Symlink) => Replacement::Link(content),
            _ => Replacement::File(content, permissions),
        }
    }

    fn hunks_now(&self, top_level: &Path, result: Applied) -> Vec<Placed> {
        let mut decided = self.decided.clone();
        if result == Applied::Applied {
            decided.extend(self.wanted.iter().map(|id| (id.clone(), HunkState::Applied)));
        }
        let path = match (self.file.change, result) {
            (Change::Renamed, Applied::Conflict | Applied::Failed) => {
                self.file.old_path.as_ref().unwrap_or(&self.file.path)
            }
            // a move that is done has nothing at its old path
            (Change::Renamed, Applied::Applied) => return review::place(self.file, &decided, None),
            _ => &self.file.path,
        };
        let content = Root::open(top_level)
            .and_then(|root| root.content(path, FILE_BYTES_MAX))
            .ok()
            .flatten();
        let text = content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        review::place(self.file, &decided, text.as_deref())
    }
}

fn executable(mode: Option<FileMode>) -> Executable {
    if mode == Some(FileMode::Executable) {
        Executable::Yes
    } else {
        Executable::No
    }
}
