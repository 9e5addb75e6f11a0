//! A hunk joins changes that lie close together. Where the user typed between them, each of its
//! changes may still fit by itself; then the hunk does.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::workspace::lines;
use crate::workspace::merge::{Merge, Piece, Place, Placement};
use crate::workspace::patch::{FileChange, Hunk};

/// A hunk whose changes fit one by one.
#[derive(Debug, Clone)]
pub(super) struct Scattered {
    /// From its first change to its last, in the current text.
    pub(super) lines: Range<usize>,
    /// Its changes, in order.
    pub(super) parts: Vec<Part>,
}

/// One change of a hunk.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where it is in the current text.
    pub(super) lines: Range<usize>,
    /// Whether it is there already.
    pub(super) presence: Presence,
    /// What brings it in.
    pub(super) bring: String,
}

/// Whether a change is in the current text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    Missing,
}

/// Those of the hunks that fit nowhere as a whole, but change by change.
pub(super) fn scattered(
    file: &FileChange,
    current: &str,
    hunks: &[&Hunk],
    whole: &Placement,
    applied: impl Fn(usize) -> bool,
) -> BTreeMap<usize, Scattered> {
    let is_doubtful = |number: usize| matches!(whole.places.get(number), Some(Place::Taken(_)));
    let (mut pieces, mut owners) = (Vec::new(), Vec::new());
    for (number, hunk) in hunks.iter().enumerate() {
        let parts = changes(hunk);
        owners.extend(parts.iter().map(|_| number));
        pieces.extend(parts);
    }
    let several = |number: usize| owners.iter().filter(|owner| **owner == number).count() > 1;
    if !(0..hunks.len()).any(|number| is_doubtful(number) && several(number)) {
        return BTreeMap::new();
    }
    let base = file.base_text.as_deref().unwrap_or_default();
    let merge = Merge::new(base, current, &pieces, file.direction);
    let apart = merge.places(|piece| owners.get(piece).is_some_and(|owner| applied(*owner)));
    let mut found = BTreeMap::new();
    for number in (0..hunks.len()).filter(|number| is_doubtful(*number)) {
        let own = owners.iter().enumerate().filter(|(_, owner)| **owner == number);
        let parts: Option<Vec<Part>> = own.map(|(piece, _)| part(&merge, &apart, piece)).collect();
        if let Some(parts) = parts
            && let (Some(first), Some(last)) = (parts.first(), parts.last())
        {
            found.insert(
                number,
                Scattered {
                    lines: first.lines.start..last.lines.end,
                    parts,
                },
            );
        }
    }
    found
}

/// The changes of a hunk, in base coordinates.
fn changes(hunk: &Hunk) -> Vec<Piece> {
    let (old, new) = (lines::split(&hunk.old_text), lines::split(&hunk.new_text));
    let start = hunk.base_lines.start as usize;
    let edits = lines::edits(&old, &new).into_iter();
    edits
        .map(|edit| Piece {
            base: start + edit.old.start..start + edit.old.end,
            new_text: new.get(edit.new).unwrap_or_default().concat(),
        })
        .collect()
}

fn part(merge: &Merge<'_>, apart: &Placement, piece: usize) -> Option<Part> {
    let (lines, presence) = match apart.places.get(piece)? {
        Place::Free(lines) => (lines.clone(), Presence::Missing),
        Place::Present(lines) | Place::Beside(lines) => (lines.clone(), Presence::There),
        Place::Taken(_) => return None,
    };
    let bring = merge.bring(piece, &lines, apart.end);
    Some(Part {
        lines,
        presence,
        bring,
    })
}
