//! Parts of a change that can be taken by themselves, and their names.

use std::collections::HashMap;
use std::ops::Range;

use super::{Change, FileChange, FileMode, Hunk, HunkKind};
use crate::id::HunkId;
use crate::workspace::lines::{self, Edit};

/// Hunks have at least so many unchanged lines between them.
const LINES_BETWEEN_HUNKS: usize = 3;
/// Hexadecimal digits of a hunk's id.
const HUNK_ID_DIGITS: usize = 12;

pub(super) fn text_edits(file: &FileChange) -> Vec<Edit> {
    if file.binary {
        return Vec::new();
    }
    let base = lines::split(file.base_text.as_deref().unwrap_or_default());
    let result = lines::split(file.result_text.as_deref().unwrap_or_default());
    lines::edits(&base, &result)
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn hunks(file: &FileChange, edits: Vec<Edit>) -> Vec<Hunk> {
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
