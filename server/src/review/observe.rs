//! What stands at a path now: in an editor's buffer, or on the disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use clode_core::workspace::{Change, FileChange, FileMode, Root};
use ropey::Rope;

/// The largest file whose text is looked at.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Absent,
    Text(Arc<str>),
    /// Something that is no text, or cannot be read.
    Other,
}

/// What was seen at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) content: Content,
    /// The version of the editor's document; without one it was seen on the disk.
    pub(crate) version: Option<i32>,
    /// Whether the file on the disk may be executed; unknown when it is not there.
    pub(crate) executable: Option<bool>,
}

impl Seen {
    pub(crate) const ABSENT: Self = Self {
        content: Content::Absent,
        version: None,
        executable: None,
    };

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Absent | Content::Other => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.content == Content::Absent
    }

    /// Whether an editor showed it.
    pub(crate) fn is_synced(&self) -> bool {
        self.version.is_some()
    }
}

/// What stands at the places of a file change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileNow {
    pub(crate) at: Seen,
    /// For a renamed file: at its old path.
    pub(crate) at_old: Option<Seen>,
    /// The addresses as the editor writes them, where it has the files open.
    pub(crate) uri: Option<String>,
    pub(crate) old_uri: Option<String>,
}

impl FileNow {
    /// The place whose text the hunks are about: the old path until the file has moved.
    pub(crate) fn shown(&self, file: &FileChange) -> &Seen {
        match &self.at_old {
            Some(old) if file.change == Change::Renamed && !old.is_absent() => old,
            _ => &self.at,
        }
    }

    pub(crate) fn text_rope(&self, file: &FileChange) -> Rope {
        Rope::from_str(self.shown(file).text().unwrap_or_default())
    }
}

/// Looks at the disk; blocking. Links inside the tree are followed, none that leave it.
pub(crate) fn file_on_disk(top_level: &Path, file: &FileChange) -> FileNow {
    FileNow {
        at: on_disk(top_level, &file.path, is_link(file)),
        at_old: file
            .old_path
            .as_deref()
            .map(|path| on_disk(top_level, path, is_link(file))),
        uri: None,
        old_uri: None,
    }
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    File,
    /// The text is where a symbolic link leads.
    Link,
}

pub(crate) fn is_link(file: &FileChange) -> Expect {
    if file.mode == Some(FileMode::Symlink) || file.old_mode == Some(FileMode::Symlink) {
        Expect::Link
    } else {
        Expect::File
    }
}

/// What stands at one path on the disk; blocking.
pub(crate) fn on_disk(top_level: &Path, path: &str, expect: Expect) -> Seen {
    let full = top_level.join(path);
    let Ok(metadata) = std::fs::symlink_metadata(&full) else {
        return Seen::ABSENT;
    };
    let content = match expect {
        Expect::Link if metadata.is_symlink() => std::fs::read_link(&full)
            .ok()
            .and_then(|target| Some(target.to_str()?.to_owned())),
        Expect::File if metadata.is_file() => read_text(top_level, path),
        Expect::File | Expect::Link => None,
    };
    Seen {
        content: content.map_or(Content::Other, |text| Content::Text(text.into())),
        version: None,
        executable: metadata
            .is_file()
            .then(|| metadata.permissions().mode() & 0o100 != 0),
    }
}

fn read_text(top_level: &Path, path: &str) -> Option<String> {
    let bytes = Root::open(top_level)
        .and_then(|root| root.read(path, TEXT_BYTES_MAX))
        .ok()?;
    String::from_utf8(bytes).ok()
}
