//! What an agent changed: files, and in them hunks that can be taken one by one.
//!
//! A hunk's id is made from what it does, not from where it is, so it stays the same while a person
//! types and in a later round that does the same.

mod binary;
mod unified;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::git::Git;
use super::lines::{self, Edit};
use super::paths::{self, Verdict};
use super::repository::Repository;
use super::vault::Vault;
use crate::id::{CommitId, HunkId};
use crate::{Error, Kind, Result};

/// The largest file whose text is carried in a patch.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest binary file whose bytes are carried in a patch.
const BINARY_BYTES_MAX: usize = 1024 * 1024;
/// Where git looks for a NUL to tell binary files.
const BINARY_PROBE_BYTES: usize = 8000;
/// Hunks have at least so many unchanged lines between them.
const LINES_BETWEEN_HUNKS: usize = 3;
/// Hexadecimal digits of a hunk's id.
const HUNK_ID_DIGITS: usize = 12;
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

/// One line of `git diff-tree --raw`.
#[derive(Debug)]
struct Raw {
    old_mode: Option<FileMode>,
    mode: Option<FileMode>,
    old_blob: Option<String>,
    blob: Option<String>,
    status: char,
    similarity: Option<u8>,
    old_path: Option<String>,
    path: String,
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
            files.push(file_change(gone, old, None, repository));
            files.push(file_change(come, None, new, repository));
        } else {
            files.push(file_change(raw, old, new, repository));
        }
    }
    Ok(Patch {
        base: base.clone(),
        result: result.clone(),
        files,
    })
}

/// A file that becomes a link, or the other way round, goes and comes.
fn split_type_change(raw: Raw) -> (Raw, Raw) {
    let gone = Raw {
        old_mode: raw.old_mode,
        mode: None,
        old_blob: raw.old_blob,
        blob: None,
        status: 'D',
        similarity: None,
        old_path: None,
        path: raw.path.clone(),
    };
    (
        gone,
        Raw {
            old_mode: None,
            old_blob: None,
            status: 'A',
            ..raw
        },
    )
}

fn parse_raw(printed: &[u8]) -> Result<Vec<Raw>> {
    let odd = || Error::internal("git diff-tree answered something unexpected");
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            Error::new(
                Kind::Git,
                "unsupportedPath",
                "a changed file has a name that is not UTF-8",
            )
        })
    };
    let mut fields = printed.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let mut raws = Vec::new();
    while let Some(head) = fields.next() {
        let head = text(head)?;
        let mut words = head.trim_start_matches(':').split(' ');
        let mut word = || words.next().ok_or_else(odd);
        let (old_mode, mode, old_blob, blob, status) = (word()?, word()?, word()?, word()?, word()?);
        let first = text(fields.next().ok_or_else(odd)?)?;
        let kind = status.chars().next().ok_or_else(odd)?;
        let (old_path, path) = match kind {
            'R' => (Some(first), text(fields.next().ok_or_else(odd)?)?),
            _ => (None, first),
        };
        if old_mode == "160000" || mode == "160000" {
            return Err(Error::new(
                Kind::Conflict,
                "refusedPath",
                format!("{path} is a submodule, which agents cannot change"),
            ));
        }
        let present = |blob: &str| blob.bytes().any(|byte| byte != b'0').then(|| blob.to_owned());
        raws.push(Raw {
            old_mode: FileMode::from_octal(old_mode),
            mode: FileMode::from_octal(mode),
            old_blob: present(old_blob),
            blob: present(blob),
            similarity: status.get(1..).and_then(|score| score.parse().ok()),
            status: kind,
            old_path,
            path,
        });
    }
    Ok(raws)
}

fn file_change(raw: Raw, old: Option<Vec<u8>>, new: Option<Vec<u8>>, repository: &Repository) -> FileChange {
    let change = match raw.status {
        'A' => Change::Added,
        'D' => Change::Deleted,
        'R' => Change::Renamed,
        _ => Change::Modified,
    };
    let (base_text, result_text) = (as_text(old.as_deref()), as_text(new.as_deref()));
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
        hunks: Vec::new(),
    };
    if binary && !same_content {
        file.binary_patch = new
            .filter(|bytes| bytes.len() <= BINARY_BYTES_MAX)
            .map(|bytes| binary::literal(&bytes));
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

fn text_edits(file: &FileChange) -> Vec<Edit> {
    if file.binary {
        return Vec::new();
    }
    let base = lines::split(file.base_text.as_deref().unwrap_or_default());
    let result = lines::split(file.result_text.as_deref().unwrap_or_default());
    lines::edits(&base, &result)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn hunks(file: &FileChange, edits: Vec<Edit>) -> Vec<Hunk> {
    let whole = |kind: HunkKind| Part {
        kind,
        edit: whole_file(file),
    };
    let mode_changed = file.old_mode.is_some() && file.mode.is_some() && file.old_mode != file.mode;
    let parts = match file.change {
        Change::Added => vec![whole(HunkKind::Create)],
        Change::Deleted => vec![whole(HunkKind::Delete)],
        Change::Renamed => vec![whole(HunkKind::Rename)],
        Change::Modified if file.binary => vec![whole(HunkKind::Binary)],
        Change::Modified => {
            let text = lines::joined(edits, LINES_BETWEEN_HUNKS).into_iter();
            let mut parts: Vec<Part> = text
                .map(|edit| Part {
                    kind: HunkKind::Text,
                    edit,
                })
                .collect();
            if mode_changed {
                parts.push(Part {
                    kind: HunkKind::Mode,
                    edit: Edit { old: 0..0, new: 0..0 },
                });
            }
            parts
        }
    };
    let base = lines::split(file.base_text.as_deref().unwrap_or_default());
    let result = lines::split(file.result_text.as_deref().unwrap_or_default());
    let mut seen = HashMap::new();
    parts
        .into_iter()
        .map(|part| hunk(file, part, &base, &result, &mut seen))
        .collect()
}

struct Part {
    kind: HunkKind,
    edit: Edit,
}

fn whole_file(file: &FileChange) -> Edit {
    let lines = |text: Option<&String>| text.map_or(0, |text| lines::split(text).len());
    Edit {
        old: 0..lines(file.base_text.as_ref()),
        new: 0..lines(file.result_text.as_ref()),
    }
}

fn hunk(
    file: &FileChange,
    part: Part,
    base: &[&str],
    result: &[&str],
    seen: &mut HashMap<blake3::Hash, u32>,
) -> Hunk {
    let old_text = base.get(part.edit.old.clone()).unwrap_or_default().concat();
    let new_text = result.get(part.edit.new.clone()).unwrap_or_default().concat();
    let mut hasher = blake3::Hasher::new();
    let mode = file.mode.map_or("", FileMode::octal);
    // what a binary or mode hunk does is not in its texts
    let beside_text = match part.kind {
        HunkKind::Text => String::new(),
        _ => format!(
            "{mode} {} {}",
            file.old_path.as_deref().unwrap_or_default(),
            file.result_blob.as_deref().unwrap_or_default()
        ),
    };
    for piece in [
        file.path.as_str(),
        kind_name(part.kind),
        &old_text,
        &new_text,
        &beside_text,
    ] {
        hasher
            .update(&(piece.len() as u64).to_le_bytes())
            .update(piece.as_bytes());
    }
    let occurrence = seen
        .entry(hasher.finalize())
        .and_modify(|number| *number += 1)
        .or_insert(0);
    hasher.update(&occurrence.to_le_bytes());
    let id = hasher.finalize().to_hex();
    let range = |range: Range<usize>| count(range.start)..count(range.end);
    Hunk {
        id: HunkId::new(id.get(..HUNK_ID_DIGITS).unwrap_or(&id)),
        kind: part.kind,
        base_lines: range(part.edit.old),
        result_lines: range(part.edit.new),
        old_text,
        new_text,
    }
}

fn kind_name(kind: HunkKind) -> &'static str {
    match kind {
        HunkKind::Text => "text",
        HunkKind::Create => "create",
        HunkKind::Delete => "delete",
        HunkKind::Rename => "rename",
        HunkKind::Mode => "mode",
        HunkKind::Binary => "binary",
    }
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
    file_change(
        raw,
        Some(base.as_bytes().to_vec()),
        Some(result.as_bytes().to_vec()),
        &repository,
    )
}
