//! Carries a hunk from the base onto what the user's text is now. Pure: texts in, places out.
//!
//! The texts are first brought to the line ends and the final line end that the user's text has, so
//! that only what somebody changed is seen as a change.

use std::borrow::Cow;
use std::ops::Range;

use super::lines::{self, Edit, LineEnd};

/// A change of lines of the base, in base coordinates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Lines of the base that it replaces.
    pub(crate) base: Range<usize>,
    /// What it brings.
    pub(crate) new_text: String,
}

/// Where a piece lies in the user's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its lines are there unchanged; these lines of the current text would be replaced.
    Free(Range<usize>),
    /// The current text already holds what it brings.
    Present(Range<usize>),
    /// Somebody changed these lines as well.
    Taken {
        /// The lines in the current text.
        current: Range<usize>,
        /// What the base (with what was applied) has there.
        base: String,
        /// What stands there now.
        mine: String,
        /// What the piece would make of it.
        theirs: String,
    },
}

/// The user's text and the pieces of a file, brought to the same line ends.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    base: Vec<String>,
    current: Vec<&'a str>,
    pieces: Vec<Piece>,
}

impl<'a> Merge<'a> {
    /// Prepares to place `pieces` (in order, not touching each other) of `base` in `current`.
    pub(crate) fn new(base: &str, current: &'a str, pieces: &[Piece]) -> Self {
        let has = |text: &str| lines::line_end(text);
        let theirs = has(base).or_else(|| pieces.iter().find_map(|piece| has(&piece.new_text)));
        let end = has(current).filter(|end| Some(*end) != theirs);
        let translate = |text: &str| end.map_or(Cow::Borrowed(text), |end: LineEnd| lines::with_line_end(text, end)).into_owned();
        Self {
            base: lines::split(&translate(base)).into_iter().map(str::to_owned).collect(),
            current: lines::split(current),
            pieces: pieces
                .iter()
                .map(|piece| Piece { base: piece.base.clone(), new_text: translate(&piece.new_text) })
                .collect(),
        }
    }

    /// The lines of the current text.
    pub(crate) fn current(&self) -> &[&'a str] {
        &self.current
    }

    /// What a piece brings, in the current text's manner.
    pub(crate) fn new_text(&self, piece: usize) -> &str {
        self.pieces.get(piece).map_or("", |piece| piece.new_text.as_str())
    }

    /// What a piece takes away, in the current text's manner.
    pub(crate) fn old_text(&self, piece: usize) -> String {
        self.pieces.get(piece).map_or_else(String::new, |piece| self.base.get(piece.base.clone()).unwrap_or_default().concat())
    }

    /// Where each piece lies, given which of them were applied before. For an applied piece
    /// [`Place::Free`] and [`Place::Present`] mean that its new text is still there.
    pub(crate) fn places(&self, applied: impl Fn(usize) -> bool) -> Vec<Place> {
        let mut left: Vec<&str> = Vec::new();
        let mut spans: Vec<Span> = Vec::new();
        let mut at = 0;
        for (number, piece) in self.pieces.iter().enumerate() {
            left.extend(self.base.get(at..piece.base.start).unwrap_or_default().iter().map(String::as_str));
            let start = left.len();
            let (now, other) = (self.base.get(piece.base.clone()).unwrap_or_default(), lines::split(&piece.new_text));
            if applied(number) {
                left.extend(other);
                spans.push(Span { lines: start..left.len(), brings: None });
            } else {
                left.extend(now.iter().map(String::as_str));
                spans.push(Span { lines: start..left.len(), brings: Some(other) });
            }
            at = piece.base.end;
        }
        left.extend(self.base.get(at..).unwrap_or_default().iter().map(String::as_str));

        let left = end_as(left, &self.current);
        let left: Vec<&str> = left.iter().map(AsRef::as_ref).collect();
        let edits = lines::edits(&left, &self.current);
        spans.iter().map(|span| place(span, &left, &self.current, &edits)).collect()
    }
}

/// Lines of the left text, and what a piece that is not applied would put there.
struct Span<'a> {
    lines: Range<usize>,
    brings: Option<Vec<&'a str>>,
}

/// Brings the final line end of `left` to that of `current` when they differ in nothing else there:
/// an editor that adds or trims it on saving changes nothing that counts.
fn end_as<'a>(left: Vec<&'a str>, current: &[&str]) -> Vec<Cow<'a, str>> {
    let mut left: Vec<Cow<'a, str>> = left.into_iter().map(Cow::Borrowed).collect();
    if let (Some(last), Some(now)) = (left.last_mut(), current.last())
        && lines::content(last) == lines::content(now)
        && last.ends_with('\n') != now.ends_with('\n')
    {
        *last = Cow::Owned((*now).to_owned());
    }
    left
}

fn place(span: &Span<'_>, left: &[&str], current: &[&str], edits: &[Edit]) -> Place {
    let touching: Vec<&Edit> =
        edits.iter().filter(|edit| edit.old.end >= span.lines.start && edit.old.start <= span.lines.end).collect();
    let (Some(first), Some(last)) = (touching.first(), touching.last()) else {
        let start = carry(span.lines.start, edits);
        let lines = start..start + span.lines.len();
        return match &span.brings {
            Some(_) => Place::Free(lines),
            None => Place::Present(lines),
        };
    };
    let wide = span.lines.start.min(first.old.start)..span.lines.end.max(last.old.end);
    let now = carry_start(wide.start, first, edits)..carry_end(wide.end, last);
    let mut theirs: Vec<&str> = left.get(wide.start..span.lines.start).unwrap_or_default().to_vec();
    match &span.brings {
        Some(brings) => theirs.extend(brings),
        None => theirs.extend(left.get(span.lines.clone()).unwrap_or_default()),
    }
    theirs.extend(left.get(span.lines.end..wide.end).unwrap_or_default());
    let mine = current.get(now.clone()).unwrap_or_default();
    if same_lines(&theirs, mine, now.end == current.len()) && span.brings.is_some() {
        let before = span.lines.start - wide.start;
        let length = span.brings.as_ref().map_or(0, Vec::len);
        return Place::Present(now.start + before..now.start + before + length);
    }
    if span.brings.is_none() && touching.iter().all(|edit| is_outside(edit, &span.lines)) {
        // somebody typed right beside an applied hunk: it is still there
        let start = carry_inner(span.lines.start, edits);
        return Place::Present(start..start + span.lines.len());
    }
    Place::Taken {
        current: now,
        base: left.get(wide).unwrap_or_default().concat(),
        mine: mine.concat(),
        theirs: theirs.concat(),
    }
}

/// Equal lines; at the end of the text the final line end does not count.
fn same_lines(a: &[&str], b: &[&str], at_end: bool) -> bool {
    let equal = |(number, (one, other)): (usize, (&&str, &&str))| {
        one == other || (at_end && number + 1 == a.len() && lines::content(one) == lines::content(other))
    };
    a.len() == b.len() && a.iter().zip(b).enumerate().all(equal)
}

fn is_outside(edit: &Edit, lines: &Range<usize>) -> bool {
    edit.old.end <= lines.start || edit.old.start >= lines.end
}

/// A line of the left text that no edit touches, in the current text.
fn carry(line: usize, edits: &[Edit]) -> usize {
    let before = edits.iter().rev().find(|edit| edit.old.end < line || (edit.old.end == line && !edit.old.is_empty()));
    before.map_or(line, |edit| line - edit.old.end + edit.new.end)
}

/// The start of an applied hunk that edits only touch from outside.
fn carry_inner(line: usize, edits: &[Edit]) -> usize {
    let before = edits.iter().rev().find(|edit| edit.old.end <= line);
    before.map_or(line, |edit| line - edit.old.end + edit.new.end)
}

fn carry_start(line: usize, first: &Edit, edits: &[Edit]) -> usize {
    if line == first.old.start {
        first.new.start
    } else {
        let before = edits.iter().rev().find(|edit| edit.old.end < line);
        before.map_or(line, |edit| line - edit.old.end + edit.new.end)
    }
}

fn carry_end(line: usize, last: &Edit) -> usize {
    last.new.end + (line - last.old.end)
}
