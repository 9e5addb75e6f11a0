//! Lines and their differences: the one place where texts are compared.
//!
//! A line ends at `\n` and includes it, as git sees it; only the last one may lack it. Comparing is
//! bounded in time: a text that is too large is compared only at its beginning and end.

use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp};

/// Time limit of one comparison.
const DIFF_LIMIT_MS: u64 = 500;
/// Texts above this are only trimmed at both ends.
const DIFF_BYTES_MAX: usize = 2 * 1024 * 1024;
/// So are texts with a line above this.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Lines of the old text that were replaced by lines of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) old: Range<usize>,
    pub(crate) new: Range<usize>,
}

/// The lines of a text, each with its end.
pub(crate) fn split(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// What differs, in order; edits do not touch each other.
pub(crate) fn edits<T: AsRef<str>>(old: &[T], new: &[T]) -> Vec<Edit> {
    let old: Vec<&str> = old.iter().map(AsRef::as_ref).collect();
    let new: Vec<&str> = new.iter().map(AsRef::as_ref).collect();
    if too_large(&old) || too_large(&new) {
        return trimmed(&old, &new);
    }
    let deadline = Instant::now() + Duration::from_millis(DIFF_LIMIT_MS);
    let operations = similar::capture_diff_slices_deadline(Algorithm::Histogram, &old, &new, Some(deadline));
    let mut edits: Vec<Edit> = Vec::new();
    for operation in operations {
        if matches!(operation, DiffOp::Equal { .. }) {
            continue;
        }
        let (old, new) = (operation.old_range(), operation.new_range());
        match edits.last_mut() {
            Some(last) if last.old.end == old.start && last.new.end == new.start => {
                last.old.end = old.end;
                last.new.end = new.end;
            }
            _ => edits.push(Edit { old, new }),
        }
    }
    edits
}

/// Edits with fewer than `gap` equal lines between them, as one.
pub(crate) fn joined(edits: Vec<Edit>, gap: usize) -> Vec<Edit> {
    let mut joined: Vec<Edit> = Vec::new();
    for edit in edits {
        match joined.last_mut() {
            Some(last) if edit.old.start - last.old.end < gap => {
                last.old.end = edit.old.end;
                last.new.end = edit.new.end;
            }
            _ => joined.push(edit),
        }
    }
    joined
}

fn too_large(lines: &[&str]) -> bool {
    lines.iter().map(|line| line.len()).sum::<usize>() > DIFF_BYTES_MAX
        || lines.iter().any(|line| line.len() > LINE_BYTES_MAX)
}

fn trimmed(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let shorter = old.len().min(new.len());
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(shorter - start)
        .take_while(|(a, b)| a == b)
        .count();
    let edit = Edit {
        old: start..old.len() - end,
        new: start..new.len() - end,
    };
    if edit.old.is_empty() && edit.new.is_empty() {
        Vec::new()
    } else {
        vec![edit]
    }
}

/// How the lines of a text end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    Lf,
    CrLf,
}

/// How most lines of the text end; `None` without any line end.
pub(crate) fn line_end(text: &str) -> Option<LineEnd> {
    let all = memchr::memchr_iter(b'\n', text.as_bytes()).count();
    let with_return = text.as_bytes().windows(2).filter(|pair| pair == b"\r\n").count();
    match (all, with_return * 2 > all) {
        (0, _) => None,
        (_, true) => Some(LineEnd::CrLf),
        (_, false) => Some(LineEnd::Lf),
    }
}

/// The text with every line ended this way.
pub(crate) fn with_line_end(text: &str, end: LineEnd) -> Cow<'_, str> {
    match end {
        LineEnd::Lf if text.contains("\r\n") => Cow::Owned(text.replace("\r\n", "\n")),
        LineEnd::CrLf if text.contains('\n') => Cow::Owned(text.replace("\r\n", "\n").replace('\n', "\r\n")),
        _ => Cow::Borrowed(text),
    }
}

/// The line end that a text ends with; empty when there is none.
pub(crate) fn end_of(text: &str) -> &str {
    let length = if text.ends_with("\r\n") {
        2
    } else {
        usize::from(text.ends_with('\n'))
    };
    text.get(text.len() - length..).unwrap_or_default()
}

/// A line without its end.
pub(crate) fn content(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_large_is_compared_at_its_ends() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let old = format!("a\nb\n{long}\nc\n");
        let new = format!("a\nB\n{long}\nC\nc\n");
        assert_eq!(edits(&split(&old), &split(&new)), [Edit { old: 1..3, new: 1..4 }]);
        assert_eq!(edits(&split(&old), &split(&old)), []);
        let doubled = format!("{long}\n{long}\n");
        assert_eq!(
            edits(&split(&doubled), &split(&format!("{long}\n"))),
            [Edit { old: 1..2, new: 1..1 }]
        );
    }

    #[test]
    fn line_ends_are_told_apart_by_majority() {
        assert_eq!(line_end("a\r\nb\r\nc\n"), Some(LineEnd::CrLf));
        assert_eq!(line_end("a\nb"), Some(LineEnd::Lf));
        assert_eq!(line_end("a"), None);
        assert_eq!(with_line_end("a\r\nb\n", LineEnd::CrLf), "a\r\nb\r\n");
    }
}
