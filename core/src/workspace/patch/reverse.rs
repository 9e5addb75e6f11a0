//! The way back: the patch that takes out again what was applied of another one.
//!
//! What is taken back is a change like any other, from the text with the applied hunks to the text
//! without them. So it is merged onto what the user has now under the same rules, and what they typed
//! since is kept. Hunks keep their names.

use super::hunks::{count, text_edits};
use super::{Change, Direction, FileChange, Hunk, HunkKind, Patch};
use crate::id::HunkId;
use crate::workspace::lines;

impl Patch {
    /// What takes back those hunks of this patch that were applied, last file first.
    #[must_use]
    pub fn reversed(&self, is_applied: impl Fn(&HunkId) -> bool) -> Self {
        Self {
            base: self.result.clone(),
            result: self.base.clone(),
            files: self
                .files
                .iter()
                .rev()
                .filter_map(|file| file.reversed(&is_applied))
                .collect(),
        }
    }
}

impl FileChange {
    /// The change of this file that takes its applied hunks back; nothing where none was applied.
    fn reversed(&self, is_applied: impl Fn(&HunkId) -> bool) -> Option<Self> {
        let applied: Vec<&Hunk> = self.hunks.iter().filter(|hunk| is_applied(&hunk.id)).collect();
        if applied.is_empty() {
            return None;
        }
        let keeps_mode = self.change == Change::Modified && !self.binary && !has(&applied, HunkKind::Mode);
        let (base_text, hunks) = match self.change {
            Change::Modified => self.with_applied(&applied),
            _ => (
                self.result_text.clone(),
                applied.into_iter().map(turned).collect(),
            ),
        };
        let mut file = Self {
            path: self.old_path.clone().unwrap_or_else(|| self.path.clone()),
            old_path: self.old_path.as_ref().map(|_| self.path.clone()),
            change: match self.change {
                Change::Added => Change::Deleted,
                Change::Deleted => Change::Added,
                Change::Modified => Change::Modified,
                Change::Renamed => Change::Renamed,
            },
            binary: self.binary,
            mode: self.old_mode,
            old_mode: if keeps_mode { self.old_mode } else { self.mode },
            insertions: 0,
            deletions: 0,
            verdict: self.verdict.clone(),
            base_text,
            result_text: self.base_text.clone(),
            base_blob: self.result_blob.clone(),
            result_blob: self.base_blob.clone(),
            binary_patch: None,
            similarity: self.similarity,
            direction: Direction::Back,
            hunks,
        };
        let edits = text_edits(&file);
        file.insertions = edits.iter().map(|edit| count(edit.new.len())).sum();
        file.deletions = edits.iter().map(|edit| count(edit.old.len())).sum();
        Some(file)
    }

    /// The base with these hunks of it in, and the hunks that lead from there to the base.
    fn with_applied(&self, applied: &[&Hunk]) -> (Option<String>, Vec<Hunk>) {
        let Some(base) = &self.base_text else {
            return (None, applied.iter().copied().map(turned).collect());
        };
        let base = lines::split(base);
        let (mut text, mut lines_so_far, mut at) = (String::new(), 0, 0);
        let mut hunks = Vec::new();
        for hunk in applied {
            if hunk.kind != HunkKind::Text {
                hunks.push(turned(hunk));
                continue;
            }
            let (start, end) = (hunk.base_lines.start as usize, hunk.base_lines.end as usize);
            let between = base.get(at..start).unwrap_or_default();
            text.extend(between.iter().copied());
            lines_so_far += between.len();
            let brought = lines::split(&hunk.new_text).len();
            text.push_str(&hunk.new_text);
            hunks.push(Hunk {
                base_lines: count(lines_so_far)..count(lines_so_far + brought),
                result_lines: hunk.base_lines.clone(),
                ..turned(hunk)
            });
            lines_so_far += brought;
            at = end;
        }
        text.extend(base.get(at..).unwrap_or_default().iter().copied());
        (Some(text), hunks)
    }
}

fn has(hunks: &[&Hunk], kind: HunkKind) -> bool {
    hunks.iter().any(|hunk| hunk.kind == kind)
}

/// The same hunk the other way round.
fn turned(hunk: &Hunk) -> Hunk {
    Hunk {
        id: hunk.id.clone(),
        kind: match hunk.kind {
            HunkKind::Create => HunkKind::Delete,
            HunkKind::Delete => HunkKind::Create,
            same => same,
        },
        base_lines: hunk.result_lines.clone(),
        result_lines: hunk.base_lines.clone(),
        old_text: hunk.new_text.clone(),
        new_text: hunk.old_text.clone(),
    }
}
