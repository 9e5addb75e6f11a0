//! The patch as text that `git apply` accepts.

use std::fmt::Write;

use super::hunks::text_edits;
use super::{Change, FileChange, FileMode, Patch};
use crate::workspace::lines::{self, Edit};

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

impl Patch {
    /// The whole patch. A binary file that is too large is named in a line before its header, which
    /// `git apply` skips.
    pub fn to_unified(&self) -> String {
        self.files.iter().map(FileChange::to_unified).collect()
    }
}

impl FileChange {
    /// The part of the patch for this file.
    pub fn to_unified(&self) -> String {
        let mut text = String::new();
        if self.binary && self.binary_patch.is_none() && self.base_blob != self.result_blob {
            let _ = writeln!(
                text,
                "# {}: a binary file that is too large to be shown",
                quoted("", &self.path)
            );
            return text;
        }
        let old_path = self.old_path.as_deref().unwrap_or(&self.path);
        let (old_name, new_name) = (quoted("a/", old_path), quoted("b/", &self.path));
        let _ = writeln!(text, "diff --git {old_name} {new_name}");
        self.write_header(&mut text, old_path);
        let (old_name, new_name) = match self.change {
            Change::Added => ("/dev/null".to_owned(), new_name),
            Change::Deleted => (old_name, "/dev/null".to_owned()),
            Change::Modified | Change::Renamed => (old_name, new_name),
        };
        if let Some(binary) = &self.binary_patch {
            let _ = write!(text, "GIT binary patch\n{binary}");
            return text;
        }
        let edits = text_edits(self);
        if !edits.is_empty() {
            let _ = writeln!(text, "--- {}\n+++ {}", with_tab(&old_name), with_tab(&new_name));
            self.write_hunks(&mut text, edits);
        }
        text
    }

    fn write_header(&self, text: &mut String, old_path: &str) {
        match (self.old_mode, self.mode) {
            (None, Some(mode)) => {
                let _ = writeln!(text, "new file mode {}", mode.octal());
            }
            (Some(mode), None) => {
                let _ = writeln!(text, "deleted file mode {}", mode.octal());
            }
            (Some(old), Some(new)) if old != new => {
                let _ = writeln!(text, "old mode {}\nnew mode {}", old.octal(), new.octal());
            }
            _ => {}
        }
        if self.change == Change::Renamed {
            let similarity = self.similarity.unwrap_or(100);
            let (from, to) = (quoted("", old_path), quoted("", &self.path));
            let _ = writeln!(
                text,
                "similarity index {similarity}%\nrename from {from}\nrename to {to}"
            );
        }
        if self.base_blob != self.result_blob {
            let known = self.base_blob.as_ref().or(self.result_blob.as_ref());
            let none = "0".repeat(known.map_or(0, String::len));
            let blob = |blob: &Option<String>| blob.clone().unwrap_or_else(|| none.clone());
            let _ = write!(
                text,
                "index {}..{}",
                blob(&self.base_blob),
                blob(&self.result_blob)
            );
            match self
                .mode
                .filter(|_| self.mode == self.old_mode)
                .map(FileMode::octal)
            {
                Some(mode) => {
                    let _ = writeln!(text, " {mode}");
                }
                None => text.push('\n'),
            }
        }
    }

    fn write_hunks(&self, text: &mut String, edits: Vec<Edit>) {
        let base = lines::split(self.base_text.as_deref().unwrap_or_default());
        let result = lines::split(self.result_text.as_deref().unwrap_or_default());
        let mut groups: Vec<Vec<Edit>> = Vec::new();
        for edit in edits {
            match groups.last_mut() {
                Some(group)
                    if group
                        .last()
                        .is_some_and(|last| edit.old.start - last.old.end <= 2 * CONTEXT_LINES) =>
                {
                    group.push(edit);
                }
                _ => groups.push(vec![edit]),
            }
        }
        for group in groups {
            write_group(text, &group, &base, &result);
        }
    }
}

fn write_group(text: &mut String, group: &[Edit], base: &[&str], result: &[&str]) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return;
    };
    let before = first.old.start.min(CONTEXT_LINES);
    let after = (base.len() - last.old.end).min(CONTEXT_LINES);
    let old = first.old.start - before..last.old.end + after;
    let new = first.new.start - before..last.new.end + after;
    let _ = writeln!(text, "@@ -{} +{} @@", span(&old), span(&new));
    let mut at = old.start;
    for edit in group {
        write_lines(text, ' ', base.get(at..edit.old.start).unwrap_or_default());
        write_lines(text, '-', base.get(edit.old.clone()).unwrap_or_default());
        write_lines(text, '+', result.get(edit.new.clone()).unwrap_or_default());
        at = edit.old.end;
    }
    write_lines(text, ' ', base.get(at..old.end).unwrap_or_default());
}

fn span(range: &std::ops::Range<usize>) -> String {
    match range.len() {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        length => format!("{},{length}", range.start + 1),
    }
}

fn write_lines(text: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// A name with a space is ended by a tab, so that what follows cannot be read as a time.
fn with_tab(name: &str) -> String {
    if name.contains(' ') && !name.starts_with('"') {
        format!("{name}\t")
    } else {
        name.to_owned()
    }
}

/// A path as git writes it: in quotes when a character in it would be misread.
fn quoted(prefix: &str, path: &str) -> String {
    let plain = |c: char| !c.is_control() && c != '"' && c != '\\';
    if path.chars().all(plain) {
        return format!("{prefix}{path}");
    }
    let mut text = format!("\"{prefix}");
    for c in path.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            other if plain(other) => text.push(other),
            other => {
                let mut bytes = [0; 4];
                for byte in other.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:03o}");
                }
            }
        }
    }
    text.push('"');
    text
}
