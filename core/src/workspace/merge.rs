//! Carries a hunk from the base onto what the user's text is now. Pure: texts in, places out.
//!
//! The texts are first brought to the line ends and the final line end that the user's text has, so
//! that only what somebody changed is seen as a change.

use std::borrow::Cow;
use std::ops::Range;

use super::lines::{self, Edit, LineEnd};
use super::patch::Direction;

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
    /// It was applied and its text is there, but somebody typed right beside it.
    Beside(Range<usize>),
    /// Somebody changed these lines as well.
    Taken(Clash),
}

/// Lines that both sides changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clash {
    /// The lines in the current text.
    pub(crate) current: Range<usize>,
    /// What the base (with what was applied) has there.
    pub(crate) base: String,
    /// What stands there now.
    pub(crate) mine: String,
    /// What the piece would make of it.
    pub(crate) theirs: String,
}

/// The user's text and the pieces of a file, brought to the same line ends.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    base: Vec<String>,
    current: Vec<&'a str>,
    pieces: Vec<Piece>,
    direction: Direction,
}

impl<'a> Merge<'a> {
    /// Prepares to place `pieces` (in order, not touching each other) of `base` in `current`.
    pub(crate) fn new(base: &str, current: &'a str, pieces: &[Piece], direction: Direction) -> Self {
        let has = |text: &str| lines::line_end(text);
        let theirs = has(base).or_else(|| pieces.iter().find_map(|piece| has(&piece.new_text)));
        let end = has(current).filter(|end| Some(*end) != theirs);
        let translate = |text: &str| {
            end.map_or(Cow::Borrowed(text), |end: LineEnd| {
                lines::with_line_end(text, end)
            })
            .into_owned()
        };
        Self {
            base: lines::split(&translate(base))
                .into_iter()
                .map(str::to_owned)
                .collect(),
            current: lines::split(current),
            pieces: pieces
                .iter()
                .map(|piece| Piece {
                    base: piece.base.clone(),
                    new_text: translate(&piece.new_text),
                })
                .collect(),
            direction,
        }
    }

    /// The lines of the current text.
    pub(crate) fn current(&self) -> &[&'a str] {
        &self.current
    }

    /// What to write into the lines `at` of the current text to bring in a piece.
    pub(crate) fn bring(&self, piece: usize, at: &Range<usize>, end: FinalEnd) -> String {
        self.pieces
            .get(piece)
            .map_or_else(String::new, |piece| self.fitted(piece.new_text.clone(), at, end))
    }

    fn base_lines(&self, piece: &Piece) -> String {
        self.base.get(piece.base.clone()).unwrap_or_default().concat()
    }

    /// Keeps the final line end of the current text where it is the user's own.
    fn fitted(&self, mut text: String, at: &Range<usize>, end: FinalEnd) -> String {
        if end == FinalEnd::Same || at.end != self.current.len() || text.is_empty() {
            return text;
        }
        let line_end = if self.current.iter().any(|line| line.ends_with("\r\n")) {
            "\r\n"
        } else {
            "\n"
        };
        let ends = self.current.last().is_some_and(|line| line.ends_with('\n'));
        if ends && !text.ends_with('\n') {
            text.push_str(line_end);
        } else if !ends && text.ends_with('\n') {
            text.truncate(text.len() - lines::end_of(&text).len());
        }
        let before = at.start.checked_sub(1).and_then(|line| self.current.get(line));
        if before.is_some_and(|line| !line.ends_with('\n')) {
            format!("{line_end}{text}")
        } else {
            text
        }
    }

    /// Whether a piece adds or removes the final line end of the base.
    fn changes_final_end(&self, piece: &Piece) -> bool {
        let old = self.base_lines(piece);
        let at_end = piece.base.end == self.base.len();
        at_end
            && !old.is_empty()
            && !piece.new_text.is_empty()
            && old.ends_with('\n') != piece.new_text.ends_with('\n')
    }

    /// Where each piece lies, given which of them were applied before.
    pub(crate) fn places(&self, applied: impl Fn(usize) -> bool) -> Placement {
        let mut left: Vec<&str> = Vec::new();
        let mut spans: Vec<Span> = Vec::new();
        let mut at = 0;
        for (number, piece) in self.pieces.iter().enumerate() {
            left.extend(
                self.base
                    .get(at..piece.base.start)
                    .unwrap_or_default()
                    .iter()
                    .map(String::as_str),
            );
            let start = left.len();
            let (now, other) = (
                self.base.get(piece.base.clone()).unwrap_or_default(),
                lines::split(&piece.new_text),
            );
            if applied(number) {
                left.extend(other);
                spans.push(Span {
                    lines: start..left.len(),
                    brings: None,
                });
            } else {
                left.extend(now.iter().map(String::as_str));
                spans.push(Span {
                    lines: start..left.len(),
                    brings: Some(other),
                });
            }
            at = piece.base.end;
        }
        left.extend(self.base.get(at..).unwrap_or_default().iter().map(String::as_str));

        let counts = self.pieces.iter().any(|piece| self.changes_final_end(piece));
        let end = if counts {
            FinalEnd::Same
        } else {
            final_end(&left, &self.current)
        };
        if let (FinalEnd::Users, Some(last), Some(now)) = (end, left.last_mut(), self.current.last()) {
            *last = now;
        }
        let edits = lines::edits(&left, &self.current);
        let view = View {
            left: &left,
            current: &self.current,
            edits: &edits,
            tolerant: !counts,
            direction: self.direction,
        };
        Placement {
            places: spans.iter().map(|span| view.place(span)).collect(),
            end,
        }
    }
}

/// Where all pieces lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    /// By piece.
    pub(crate) places: Vec<Place>,
    /// Whose the final line end is.
    pub(crate) end: FinalEnd,
}

/// Whether the user's text ends like what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinalEnd {
    /// It does, or it matters that it does not.
    Same,
    /// The user's text has a final line end that the other lacks, or the other way round, and nothing
    /// else is different there: an editor that adds or trims it on saving changes nothing that counts.
    Users,
}

fn final_end(left: &[&str], current: &[&str]) -> FinalEnd {
    match (left.last(), current.last()) {
        (Some(last), Some(now))
            if lines::content(last) == lines::content(now) && last.ends_with('\n') != now.ends_with('\n') =>
        {
            FinalEnd::Users
        }
        _ => FinalEnd::Same,
    }
}

/// Lines of the left text, and what a piece that is not applied would put there.
struct Span<'a> {
    lines: Range<usize>,
    brings: Option<Vec<&'a str>>,
}

/// Two texts, compared.
struct View<'a> {
    left: &'a [&'a str],
    current: &'a [&'a str],
    edits: &'a [Edit],
    /// The final line end does not count.
    tolerant: bool,
    direction: Direction,
}

impl View<'_> {
    fn place(&self, span: &Span<'_>) -> Place {
        let Self {
            left, current, edits, ..
        } = *self;
        let touching: Vec<&Edit> = edits
            .iter()
            .filter(|edit| edit.old.end >= span.lines.start && edit.old.start <= span.lines.end)
            .collect();
        let (Some(first), Some(last)) = (touching.first(), touching.last()) else {
            let start = carry(span.lines.start, edits);
            let lines = start..start + span.lines.len();
            let Some(brings) = &span.brings else {
                return Place::Present(lines);
            };
            let there = self.same(brings, &lines);
            return if there {
                Place::Present(lines)
            } else {
                Place::Free(lines)
            };
        };
        if span.brings.is_none() && touching.iter().all(|edit| is_outside(edit, &span.lines)) {
            let start = carry_past(span.lines.start, edits);
            return Place::Beside(start..start + span.lines.len());
        }
        let wide = span.lines.start.min(first.old.start)..span.lines.end.max(last.old.end);
        let start = if wide.start == first.old.start {
            first.new.start
        } else {
            carry(wide.start, edits)
        };
        let now = start..last.new.end + (wide.end - last.old.end);
        let mut theirs: Vec<&str> = left
            .get(wide.start..span.lines.start)
            .unwrap_or_default()
            .to_vec();
        match &span.brings {
            Some(brings) => theirs.extend(brings),
            None => theirs.extend(left.get(span.lines.clone()).unwrap_or_default()),
        }
        theirs.extend(left.get(span.lines.end..wide.end).unwrap_or_default());
        let mine = current.get(now.clone()).unwrap_or_default();
        if let Some(brings) = &span.brings
            && self.same(&theirs, &now)
        {
            let begin = now.start + span.lines.start - wide.start;
            return Place::Present(begin..begin + brings.len());
        }
        if self.direction == Direction::Back && touching.iter().all(|edit| is_outside(edit, &span.lines)) {
            let start = carry_past(span.lines.start, edits);
            return Place::Free(start..start + span.lines.len());
        }
        let base = left.get(wide).unwrap_or_default().concat();
        Place::Taken(Clash {
            current: now,
            base,
            mine: mine.concat(),
            theirs: theirs.concat(),
        })
    }

    /// Whether the current text has these lines there.
    fn same(&self, expected: &[&str], at: &Range<usize>) -> bool {
        let found = self.current.get(at.clone()).unwrap_or_default();
        let last = expected.len().saturating_sub(1);
        let tolerant = self.tolerant && at.end == self.current.len();
        let same = |(number, (one, other)): (usize, (&&str, &&str))| {
            one == other || (tolerant && number == last && lines::content(one) == lines::content(other))
        };
        expected.len() == found.len() && expected.iter().zip(found).enumerate().all(same)
    }
}

fn is_outside(edit: &Edit, lines: &Range<usize>) -> bool {
    edit.old.end <= lines.start || edit.old.start >= lines.end
}

/// A line of the left text in the current one; an edit that ends right before it counts as touching
/// and is not passed.
fn carry(line: usize, edits: &[Edit]) -> usize {
    let before = edits.iter().rev().find(|edit| edit.old.end < line);
    before.map_or(line, |edit| line - edit.old.end + edit.new.end)
}

/// The same, with edits that end right before it behind it.
fn carry_past(line: usize, edits: &[Edit]) -> usize {
    let before = edits.iter().rev().find(|edit| edit.old.end <= line);
    before.map_or(line, |edit| line - edit.old.end + edit.new.end)
}
