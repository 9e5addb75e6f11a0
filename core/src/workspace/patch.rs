//! What an agent changed: files, and in them hunks that can be taken one by one.
//!
//! A hunk's id is made from what it does, not from where it is, so it stays the same while a person
//! types and in a later round that does the same.

mod binary;
mod hunks;
mod raw;
mod reverse;
mod unified;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::git::Git;
use super::paths::{self, Verdict};
use super::repository::Repository;
use super::vault::Vault;
use crate::Result;
use crate::id::{CommitId, HunkId};
use hunks::{count, hunks, text_edits};
use raw::{Raw, parse_raw, split_type_change};

/// The largest file whose text is carried in a patch.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest binary file whose bytes are carried in a patch.
const BINARY_BYTES_MAX: usize = 1024 * 1024;
/// Where git looks for a NUL to tell binary files.
const BINARY_PROBE_BYTES: usize = 8000;
/// Renames with changes are looked for among at most so many files.
const RENAME_CANDIDATES_MAX: &str = "-l1000";

/// Everything between two commits of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// What the agents began from.
    pub base: CommitId,
    /// What they ended with.
    pub result: CommitId,
    /// The changed files, by path.
    pub files: Vec<FileChange>,
}

/// The change of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// Relative to the top of the repository.
    pub path: String,
    /// Where it was, if it was renamed.
    pub old_path: Option<String>,
    /// What happens to it.
    pub change: Change,
    /// Whether it is anything but UTF-8 text.
    pub binary: bool,
    /// Its mode afterwards; `None` when it is deleted.
    pub mode: Option<FileMode>,
    /// Its mode before; `None` when it is added.
    pub old_mode: Option<FileMode>,
    /// Lines that come in.
    pub insertions: u32,
    /// Lines that go.
    pub deletions: u32,
    /// Whether a person must say yes to this file.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The text before, for text files.
    pub base_text: Option<String>,
    /// The text afterwards, for text files.
    pub result_text: Option<String>,
    /// The blob before.
    pub base_blob: Option<String>,
    /// The blob afterwards.
    pub result_blob: Option<String>,
    /// The bytes afterwards as git's binary patch, for binary files that are not too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_patch: Option<String>,
    /// How alike a renamed file is to what it was, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<u8>,
    /// Which way it goes; what is stored always comes in.
    #[serde(skip)]
    pub direction: Direction,
    /// What can be taken or left; never empty.
    pub hunks: Vec<Hunk>,
}

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is new.
    Added,
    /// It has other content or another mode.
    Modified,
    /// It goes.
    Deleted,
    /// It moves, perhaps with changes.
    Renamed,
}

/// Which way a change goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// It comes into the user's text.
    #[default]
    In,
    /// It was applied and goes out again. What the user typed right beside it does not stop it: whose
    /// lines are whose is known.
    Back,
}

/// What a path is in git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileMode {
    /// An ordinary file.
    Regular,
    /// A file that can be executed.
    Executable,
    /// A symbolic link; its text is the target.
    Symlink,
}

impl FileMode {
    /// As git writes it.
    pub fn octal(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }

    fn from_octal(text: &str) -> Option<Self> {
        match text {
            "100755" => Some(Self::Executable),
            "120000" => Some(Self::Symlink),
            "100644" | "100664" => Some(Self::Regular),
            _ => None,
        }
    }
}

/// A part of a change that can be taken by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hunk {
    /// Stable while texts around it change.
    pub id: HunkId,
    /// What it does.
    pub kind: HunkKind,
    /// The lines of the base that it replaces, from 0; lines end at `\n`.
    pub base_lines: Range<u32>,
    /// The lines of the result that it brings.
    pub result_lines: Range<u32>,
    /// What it takes away.
    pub old_text: String,
    /// What it brings.
    pub new_text: String,
}

/// What a hunk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HunkKind {
    /// Replaces lines.
    Text,
    /// Makes the file.
    Create,
    /// Removes the file.
    Delete,
    /// Moves the file, with its changes.
    Rename,
    /// Changes only the mode.
    Mode,
    /// Replaces bytes that are no text.
    Binary,
}

impl Patch {
    /// The hunk of this id, and its file.
    pub fn hunk(&self, id: &HunkId) -> Option<(&FileChange, &Hunk)> {
        self.files
            .iter()
            .find_map(|file| Some((file, file.hunks.iter().find(|hunk| hunk.id == *id)?)))
    }

    /// The change of this path.
    pub fn file(&self, path: &str) -> Option<&FileChange> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// The patch from one commit to another.
pub(crate) async fn between(
    git: &Git,
    repository: &Repository,
    vault: &Vault,
    base: &CommitId,
    result: &CommitId,
) -> Result<Patch> {
    let (visible_base, _) = vault.visible(base).await?;
    let (visible_result, _) = vault.visible(result).await?;
    let printed = vault
        .reading([
            "diff-tree",
            "-r",
            "-z",
            "--raw",
            "--no-abbrev",
            "-M",
            RENAME_CANDIDATES_MAX,
        ])
        .args([visible_base.as_str(), visible_result.as_str()])
        .whole_tree()
        .bytes()
        .await?;
    tracing::debug!(git = git.version(), %base, %result, "comparing");
    let raws = parse_raw(&printed)?;
    let ids: Vec<String> = raws
        .iter()
        .flat_map(|raw| [raw.old_blob.clone(), raw.blob.clone()])
        .flatten()
        .collect();
    let contents = vault.blobs(&ids, TEXT_BYTES_MAX).await?;
    let contents: BTreeMap<String, Option<Vec<u8>>> = ids.into_iter().zip(contents).collect();
    let read = |blob: Option<&String>| blob.and_then(|blob| contents.get(blob)).cloned().flatten();

    let mut files = Vec::new();
    for raw in raws {
        paths::check_path(&raw.path)?;
        let (old, new) = (read(raw.old_blob.as_ref()), read(raw.blob.as_ref()));
        if raw.status == 'T' {
            let (gone, come) = split_type_change(raw);
            files.push(file_change(gone, old.as_deref(), None, repository));
            files.push(file_change(come, None, new.as_deref(), repository));
        } else {
            files.push(file_change(raw, old.as_deref(), new.as_deref(), repository));
        }
    }
    Ok(Patch {
        base: base.clone(),
        result: result.clone(),
        files,
    })
}

fn file_change(raw: Raw, old: Option<&[u8]>, new: Option<&[u8]>, repository: &Repository) -> FileChange {
    let change = match raw.status {
        'A' => Change::Added,
        'D' => Change::Deleted,
        'R' => Change::Renamed,
        _ => Change::Modified,
    };
    let (base_text, result_text) = (as_text(old), as_text(new));
    let binary =
        (raw.old_blob.is_some() && base_text.is_none()) || (raw.blob.is_some() && result_text.is_none());
    let same_content = raw.old_blob == raw.blob;
    let mut file = FileChange {
        verdict: file_verdict(&raw, result_text.as_deref(), &repository.folder_path),
        path: raw.path,
        old_path: raw.old_path,
        change,
        binary,
        mode: raw.mode,
        old_mode: raw.old_mode,
        insertions: 0,
        deletions: 0,
        base_text: base_text.filter(|_| !binary),
        result_text: result_text.filter(|_| !binary),
        base_blob: raw.old_blob,
        result_blob: raw.blob,
        binary_patch: None,
        similarity: raw.similarity,
        direction: Direction::In,
        hunks: Vec::new(),
    };
    if binary && !same_content {
        file.binary_patch = new
            .filter(|bytes| bytes.len() <= BINARY_BYTES_MAX)
            .map(binary::literal);
        if change == Change::Deleted {
            file.binary_patch = Some(binary::literal(&[]));
        }
    }
    let edits = text_edits(&file);
    file.insertions = edits.iter().map(|edit| count(edit.new.len())).sum();
    file.deletions = edits.iter().map(|edit| count(edit.old.len())).sum();
    file.hunks = hunks(&file, edits);
    file
}

fn file_verdict(raw: &Raw, result: Option<&str>, opened: &str) -> Verdict {
    if raw.mode == Some(FileMode::Symlink) && result.is_some_and(|target| leads_out(&raw.path, target)) {
        return Verdict::Ask {
            reason: format!("{}: a link that leaves the repository", raw.path),
        };
    }
    let here = paths::verdict(&raw.path, opened);
    match (&here, &raw.old_path) {
        (Verdict::Allow, Some(old_path)) => paths::verdict(old_path, opened),
        _ => here,
    }
}

/// Whether a link at this path names something outside the tree.
fn leads_out(path: &str, target: &str) -> bool {
    let mut depth = path.split('/').count() - 1;
    if target.starts_with('/') || target.split(['/', '\\']).any(paths::is_dot_git) {
        return true;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

fn as_text(bytes: Option<&[u8]>) -> Option<String> {
    let bytes = bytes?;
    let probe = bytes.get(..BINARY_PROBE_BYTES.min(bytes.len()))?;
    if memchr::memchr(0, probe).is_some() {
        return None;
    }
    String::from_utf8(bytes.to_vec()).ok()
}

/// A text change made in memory, for the tests of what is pure.
#[cfg(test)]
pub(crate) fn text_change(base: &str, result: &str) -> FileChange {
    let raw = Raw {
        old_mode: Some(FileMode::Regular),
        mode: Some(FileMode::Regular),
        old_blob: Some("1".into()),
        blob: Some("2".into()),
        status: 'M',
        similarity: None,
        old_path: None,
        path: "file.txt".into(),
    };
    let repository = Repository {
        id: "r".into(),
        top_level: "/".into(),
        git_dir: "/".into(),
        common_dir: "/".into(),
        folder: "/".into(),
        folder_path: String::new(),
        object_format: "sha1".into(),
    };
    file_change(raw, Some(base.as_bytes()), Some(result.as_bytes()), &repository)
}
