//! Hunks under review: where each of them lies in what the user's text is now, in which state it is,
//! and which replacements bring it in. Pure; nothing here reads or writes.

mod scatter;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::lines;
use super::merge::{Clash, FinalEnd, Merge, Piece, Place, Placement};
use super::patch::{FileChange, Hunk, HunkKind};
use crate::id::HunkId;
use crate::pipeline::HunkState;
use scatter::{Presence, Scattered, scattered};
use whole::{Whole, whole_file};

pub(crate) use whole::same_text;

/// Said of an applied hunk whose lines the user edited.
const CHANGED_SINCE: &str = "it was changed since it was applied";

impl HunkState {
    fn is_applied(self) -> bool {
        matches!(self, Self::Applied | Self::Unconfirmed)
    }
}

/// Where a hunk lies now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    /// Which hunk.
    pub id: HunkId,
    /// Its state, computed anew.
    pub state: HunkState,
    /// The lines of the current text that it is about, from 0; lines end at `\n`.
    pub lines: Range<u32>,
    /// The same as bytes of the current text.
    pub bytes: Range<usize>,
    /// What the sides hold, for a conflict of lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the three sides of a conflict hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// What both began from.
    pub base: String,
    /// What the user has now.
    pub mine: String,
    /// What the agent makes of it.
    pub theirs: String,
}

/// Text that replaces a part of the current text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// Bytes of the current text.
    pub bytes: Range<usize>,
    /// The same as lines, from 0.
    pub lines: Range<u32>,
    /// What stands there afterwards.
    pub new_text: String,
}

/// How a person decides a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Take {
    /// What the user has.
    Mine,
    /// What the agent makes of it.
    Theirs,
    /// The user's lines, then the agent's.
    Both,
}

/// Where each hunk of `file` lies in `current` (`None`: the file is absent), given what was decided
/// so far. For a renamed file `current` is the text at the old path.
pub fn place(file: &FileChange, decided: &BTreeMap<HunkId, HunkState>, current: Option<&str>) -> Vec<Placed> {
    let Some(text) = current else {
        return file
            .hunks
            .iter()
            .map(|hunk| place_absent(file, hunk, decided))
            .collect();
    };
    let review = Review::of(file, decided, text);
    file.hunks.iter().map(|hunk| review.placed(hunk)).collect()
}

/// Replacements in `current` that bring in exactly these hunks, first to last. What is there already
/// needs none. Fails with the hunks that do not fit; then nothing is to be changed.
pub fn replacements(
    file: &FileChange,
    decided: &BTreeMap<HunkId, HunkState>,
    current: &str,
    wanted: &BTreeSet<HunkId>,
) -> Result<Vec<Replacement>, Vec<Placed>> {
    let review = Review::of(file, decided, current);
    let mut found = Vec::new();
    let mut misfits: Vec<Placed> = unknown(file, wanted).collect();
    for hunk in file.hunks.iter().filter(|hunk| wanted.contains(&hunk.id)) {
        match review.find(hunk) {
            Found::Text(number, Place::Free(lines)) => {
                found.push(review.replace(lines, review.merge.bring(number, lines, review.end)));
            }
            Found::Text(_, Place::Present(_) | Place::Beside(_)) => {}
            Found::Text(number, Place::Taken(_)) if review.is_applied(number) => {}
            Found::Text(_, Place::Taken(_)) => misfits.push(review.placed(hunk)),
            Found::Scattered(_, parts) => {
                found.extend(review.missing(parts));
            }
            Found::Whole => match whole_file(file, hunk, current) {
                Whole::Fits(Some(text)) if text != current => found.extend(review.rewrite(&text)),
                Whole::Fits(_) | Whole::Done => {}
                Whole::Clashes(_) => misfits.push(review.placed(hunk)),
            },
        }
    }
    if misfits.is_empty() {
        Ok(found)
    } else {
        Err(misfits)
    }
}

/// The replacement that decides a conflict as a person says; none when nothing is to be changed.
pub fn resolve(
    file: &FileChange,
    decided: &BTreeMap<HunkId, HunkState>,
    current: &str,
    hunk: &HunkId,
    take: Take,
) -> Option<Replacement> {
    let review = Review::of(file, decided, current);
    let hunk = file.hunks.iter().find(|known| known.id == *hunk)?;
    let (lines, mine, theirs) = match review.find(hunk) {
        Found::Text(_, Place::Taken(clash)) => {
            (clash.current.clone(), clash.mine.clone(), clash.theirs.clone())
        }
        Found::Text(number, Place::Free(lines)) => (
            lines.clone(),
            String::new(),
            review.merge.bring(number, lines, review.end),
        ),
        _ => return None,
    };
    let gap = if mine.is_empty() || mine.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    match take {
        Take::Mine => None,
        Take::Theirs => Some(review.replace(&lines, theirs)),
        Take::Both => Some(review.replace(&lines, format!("{mine}{gap}{theirs}"))),
    }
}

/// The current text with everything in it that fits without a conflict.
pub fn merged(file: &FileChange, decided: &BTreeMap<HunkId, HunkState>, current: &str) -> String {
    let placed = place(file, decided, Some(current));
    let fits = placed
        .into_iter()
        .filter(|placed| matches!(placed.state, HunkState::Pending | HunkState::Failed));
    let wanted = fits.map(|placed| placed.id).collect();
    replacements(file, decided, current, &wanted)
        .map_or_else(|_| current.to_owned(), |found| apply(current, &found))
}

/// The text after these replacements, which are in order and do not overlap.
pub fn apply(current: &str, replacements: &[Replacement]) -> String {
    let mut text = String::with_capacity(current.len());
    let mut at = 0;
    for replacement in replacements {
        text.push_str(current.get(at..replacement.bytes.start).unwrap_or_default());
        text.push_str(&replacement.new_text);
        at = replacement.bytes.end;
    }
    text.push_str(current.get(at..).unwrap_or_default());
    text
}

fn unknown<'a>(file: &'a FileChange, wanted: &'a BTreeSet<HunkId>) -> impl Iterator<Item = Placed> + 'a {
    let missing = wanted
        .iter()
        .filter(|id| !file.hunks.iter().any(|hunk| hunk.id == **id));
    missing.map(|id| Placed {
        id: id.clone(),
        state: HunkState::Superseded,
        lines: 0..0,
        bytes: 0..0,
        conflict: None,
        reason: Some(format!("{} has no such hunk", file.path)),
    })
}

/// A file and the current text, compared.
struct Review<'a> {
    file: &'a FileChange,
    decided: &'a BTreeMap<HunkId, HunkState>,
    text: &'a str,
    merge: Merge<'a>,
    /// Of the text hunks, in order.
    ids: Vec<&'a HunkId>,
    places: Vec<Place>,
    end: FinalEnd,
    undone: BTreeSet<usize>,
    scattered: BTreeMap<usize, Scattered>,
    starts: Vec<usize>,
}

enum Found<'a> {
    Text(usize, &'a Place),
    Scattered(usize, &'a Scattered),
    Whole,
}

impl<'a> Review<'a> {
    fn of(file: &'a FileChange, decided: &'a BTreeMap<HunkId, HunkState>, text: &'a str) -> Self {
        let hunks: Vec<&Hunk> = file
            .hunks
            .iter()
            .filter(|hunk| hunk.kind == HunkKind::Text)
            .collect();
        let pieces: Vec<Piece> = hunks
            .iter()
            .map(|hunk| Piece {
                base: hunk.base_lines.start as usize..hunk.base_lines.end as usize,
                new_text: hunk.new_text.clone(),
            })
            .collect();
        let ids: Vec<&HunkId> = hunks.iter().map(|hunk| &hunk.id).collect();
        let merge = Merge::new(
            file.base_text.as_deref().unwrap_or_default(),
            text,
            &pieces,
            file.direction,
        );
        let was_applied = |number: usize| {
            ids.get(number)
                .and_then(|id| decided.get(*id))
                .is_some_and(|state| state.is_applied())
        };
        let (placement, undone) = settle(&merge, was_applied);
        let still = |number: usize| was_applied(number) && !undone.contains(&number);
        let scattered = scattered(file, text, &hunks, &placement, still);
        let Placement { places, end } = placement;
        let mut starts = vec![0];
        for line in merge.current() {
            starts.push(starts.last().copied().unwrap_or(0) + line.len());
        }
        Self {
            file,
            decided,
            text,
            merge,
            ids,
            places,
            end,
            undone,
            scattered,
            starts,
        }
    }

    fn find(&self, hunk: &Hunk) -> Found<'_> {
        let number = self.ids.iter().position(|id| **id == hunk.id);
        match number.and_then(|number| Some((number, self.places.get(number)?))) {
            Some((number, place)) => match self.scattered.get(&number) {
                Some(scattered) => Found::Scattered(number, scattered),
                None => Found::Text(number, place),
            },
            None => Found::Whole,
        }
    }

    fn is_applied(&self, number: usize) -> bool {
        let state = self.ids.get(number).and_then(|id| self.decided.get(*id));
        state.is_some_and(|state| state.is_applied()) && !self.undone.contains(&number)
    }

    fn placed(&self, hunk: &Hunk) -> Placed {
        let decided = self.decided.get(&hunk.id).copied();
        let (state, lines, conflict, reason) = match self.find(hunk) {
            Found::Whole => return self.placed_whole(hunk, decided),
            Found::Text(_, Place::Free(lines)) => (free(decided), lines.clone(), None, None),
            Found::Scattered(number, scattered) => {
                let there = scattered
                    .parts
                    .iter()
                    .all(|part| part.presence == Presence::There);
                let (state, reason) = match (there, self.is_applied(number)) {
                    (true, _) => (settled(decided, HunkState::Applied), None),
                    (false, true) => (HunkState::Applied, Some(CHANGED_SINCE.to_owned())),
                    (false, false) => (free(decided), None),
                };
                (state, scattered.lines.clone(), None, reason)
            }
            Found::Text(_, Place::Present(lines) | Place::Beside(lines)) => {
                (settled(decided, HunkState::Applied), lines.clone(), None, None)
            }
            Found::Text(number, Place::Taken(clash)) if self.is_applied(number) => {
                let reason = Some(CHANGED_SINCE.to_owned());
                (HunkState::Applied, clash.current.clone(), None, reason)
            }
            Found::Text(_, Place::Taken(clash)) => {
                let state = settled(decided, HunkState::Conflict);
                let reason = (state == HunkState::Conflict).then(|| "you changed the same lines".to_owned());
                (state, clash.current.clone(), Some(conflict(clash)), reason)
            }
        };
        Placed {
            id: hunk.id.clone(),
            state,
            bytes: self.bytes(&lines),
            lines: narrow(&lines),
            conflict,
            reason,
        }
    }

    fn placed_whole(&self, hunk: &Hunk, decided: Option<HunkState>) -> Placed {
        let (state, reason) = match whole_file(self.file, hunk, self.text) {
            Whole::Done => (settled(decided, HunkState::Applied), None),
            Whole::Fits(_) if matches!(hunk.kind, HunkKind::Mode | HunkKind::Binary) => {
                (decided.unwrap_or(HunkState::Pending), None)
            }
            Whole::Fits(_) => (free(decided), None),
            Whole::Clashes(reason) => {
                let state = settled(decided, HunkState::Conflict);
                (state, (state == HunkState::Conflict).then_some(reason))
            }
        };
        let lines = 0..if hunk.kind == HunkKind::Mode {
            0
        } else {
            self.merge.current().len()
        };
        Placed {
            id: hunk.id.clone(),
            state,
            bytes: self.bytes(&lines),
            lines: narrow(&lines),
            conflict: None,
            reason,
        }
    }

    fn bytes(&self, lines: &Range<usize>) -> Range<usize> {
        let at = |line: usize| self.starts.get(line).copied().unwrap_or(self.text.len());
        at(lines.start)..at(lines.end)
    }

    fn replace(&self, lines: &Range<usize>, new_text: String) -> Replacement {
        Replacement {
            bytes: self.bytes(lines),
            lines: narrow(lines),
            new_text,
        }
    }

    /// A replacement for each change that is missing.
    fn missing(&self, of: &Scattered) -> Vec<Replacement> {
        let parts = of.parts.iter().filter(|part| part.presence == Presence::Missing);
        parts
            .map(|part| self.replace(&part.lines, part.bring.clone()))
            .collect()
    }

    /// The smallest replacements that make the current text this one.
    fn rewrite(&self, text: &str) -> Vec<Replacement> {
        let new = lines::split(text);
        let edits = lines::edits(self.merge.current(), &new);
        edits
            .into_iter()
            .map(|edit| self.replace(&edit.old, new.get(edit.new).unwrap_or_default().concat()))
            .collect()
    }
}

/// Places all pieces; applied ones whose old text is back count as not applied.
fn settle(merge: &Merge<'_>, was_applied: impl Fn(usize) -> bool) -> (Placement, BTreeSet<usize>) {
    let placement = merge.places(&was_applied);
    let doubtful: BTreeSet<usize> = placement
        .places
        .iter()
        .enumerate()
        .filter(|(number, place)| was_applied(*number) && matches!(place, Place::Taken(_) | Place::Beside(_)))
        .map(|(number, _)| number)
        .collect();
    if doubtful.is_empty() {
        return (placement, doubtful);
    }
    let without = merge.places(|number| was_applied(number) && !doubtful.contains(&number));
    let is_free = |number: &usize| matches!(without.places.get(*number), Some(Place::Free(_)));
    let undone: BTreeSet<usize> = doubtful.iter().copied().filter(is_free).collect();
    if undone.is_empty() {
        return (placement, undone);
    }
    (
        merge.places(|number| was_applied(number) && !undone.contains(&number)),
        undone,
    )
}

fn place_absent(file: &FileChange, hunk: &Hunk, decided: &BTreeMap<HunkId, HunkState>) -> Placed {
    let decided = decided.get(&hunk.id).copied();
    let (state, reason) = match hunk.kind {
        HunkKind::Create if decided.is_some_and(HunkState::is_applied) => (HunkState::Pending, None),
        HunkKind::Create => (free(decided), None),
        HunkKind::Delete => (settled(decided, HunkState::Applied), None),
        HunkKind::Rename if decided.is_some_and(HunkState::is_applied) => (HunkState::Applied, None),
        _ => {
            let state = settled(decided, HunkState::Conflict);
            (
                state,
                (state == HunkState::Conflict).then(|| format!("{} is not there any more", file.path)),
            )
        }
    };
    Placed {
        id: hunk.id.clone(),
        state,
        lines: 0..0,
        bytes: 0..0,
        conflict: None,
        reason,
    }
}

/// The state of a hunk that fits.
fn free(decided: Option<HunkState>) -> HunkState {
    match decided {
        Some(
            state @ (HunkState::Failed | HunkState::Rejected | HunkState::Superseded | HunkState::Reverted),
        ) => state,
        _ => HunkState::Pending,
    }
}

/// What a person decided stays; else what was found.
fn settled(decided: Option<HunkState>, found: HunkState) -> HunkState {
    match decided {
        Some(state @ (HunkState::Rejected | HunkState::Superseded | HunkState::Reverted)) => state,
        _ => found,
    }
}

fn conflict(clash: &Clash) -> Conflict {
    Conflict {
        base: clash.base.clone(),
        mine: clash.mine.clone(),
        theirs: clash.theirs.clone(),
    }
}

fn narrow(lines: &Range<usize>) -> Range<u32> {
    let small = |line: usize| u32::try_from(line).unwrap_or(u32::MAX);
    small(lines.start)..small(lines.end)
}

#[cfg(test)]
mod tests;
