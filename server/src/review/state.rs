//! The state of each hunk: what was decided about it, checked against what is there.

use std::collections::BTreeMap;
use std::ops::Range;

use clode_core::id::HunkId;
use clode_core::pipeline::{HunkRecord, HunkState, Machine, PatchStage};
use clode_core::workspace::{self, Change, Conflict, FileChange, FileMode, Hunk, HunkKind, Placed};

use super::observe::{Content, FileNow, Seen};

/// A hunk where it lies now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HunkNow {
    pub(crate) id: HunkId,
    pub(crate) state: HunkState,
    /// In the text that is seen.
    pub(crate) bytes: Range<usize>,
    pub(crate) conflict: Option<Conflict>,
    pub(crate) reason: Option<String>,
}

/// Whether hunks can still be decided at the patch gate; once it is closed, what is undone is reverted.
pub(crate) fn is_open(machine: &Machine) -> bool {
    machine.ending.is_none() && machine.patch_stage != PatchStage::Settled
}

/// What was decided so far, for placing. A hunk that was taken back counts as never applied.
pub(crate) fn decided(machine: &Machine, file: &FileChange) -> BTreeMap<HunkId, HunkState> {
    file.hunks
        .iter()
        .filter_map(|hunk| Some((hunk.id.clone(), state_of(machine, &hunk.id)?)))
        .filter(|(_, state)| *state != HunkState::Reverted)
        .collect()
}

fn state_of(machine: &Machine, id: &HunkId) -> Option<HunkState> {
    machine
        .hunks
        .iter()
        .find(|record| record.id == *id)
        .map(|record| record.state)
}

/// Every hunk of the file, in the order of the file.
pub(crate) fn hunks_now(file: &FileChange, machine: &Machine, now: &FileNow) -> Vec<HunkNow> {
    let decided = decided(machine, file);
    let seen = now.shown(file);
    let text = match &seen.content {
        _ if file.binary => None,
        Content::Text(text) => Some(&**text),
        Content::Absent | Content::Other => None,
    };
    let placed = workspace::review::place(file, &decided, text);
    file.hunks
        .iter()
        .zip(placed)
        .map(|(hunk, placed)| {
            let durable = state_of(machine, &hunk.id);
            let placed = by_kind(file, hunk, now, decided.get(&hunk.id).copied(), placed);
            let was_open = if is_open(machine) {
                Gate::Open
            } else {
                Gate::Closed
            };
            judged(durable, placed, seen, was_open)
        })
        .collect()
}

/// Whether the hunk is in the user's text, as far as is known: only that can be taken back.
pub(crate) fn can_go_back(record: Option<&HunkRecord>, now: &HunkNow) -> bool {
    let was_applied =
        record.is_some_and(|record| matches!(record.state, HunkState::Applied | HunkState::Unconfirmed));
    was_applied || now.state == HunkState::Applied
}

/// The run as if nothing had been decided about its hunks: so the way back of a patch begins.
pub(crate) fn nothing_decided(machine: &Machine) -> Machine {
    let mut machine = machine.clone();
    machine.hunks.clear();
    machine
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

fn judged(durable: Option<HunkState>, placed: Placed, seen: &Seen, gate: Gate) -> HunkNow {
    let found = placed.state;
    let was_applied = matches!(durable, Some(HunkState::Applied | HunkState::Unconfirmed));
    let is_gone = matches!(found, HunkState::Pending | HunkState::Conflict);
    let (state, reason) = match durable {
        Some(HunkState::Unconfirmed) if is_gone && !seen.is_synced() => (
            HunkState::Unconfirmed,
            Some("the editor has not shown the file since".to_owned()),
        ),
        Some(HunkState::Reverted) if found != HunkState::Applied => (HunkState::Reverted, placed.reason),
        _ if was_applied && is_gone && gate == Gate::Closed => (
            HunkState::Reverted,
            placed
                .reason
                .or_else(|| Some("its text is not there any more".to_owned())),
        ),
        _ => (found, placed.reason),
    };
    HunkNow {
        id: placed.id,
        state,
        bytes: placed.bytes,
        conflict: placed.conflict,
        reason,
    }
}

/// Corrects what text alone cannot tell: moves, modes, and bytes.
fn by_kind(
    file: &FileChange,
    hunk: &Hunk,
    now: &FileNow,
    decided: Option<HunkState>,
    placed: Placed,
) -> Placed {
    let seen = now.shown(file);
    let told = |found: Found| told(&placed, decided, found);
    if hunk.kind == HunkKind::Mode {
        let wanted = file.mode == Some(FileMode::Executable);
        return match seen.executable {
            Some(executable) if executable == wanted => told(Found::Done),
            Some(_) => told(Found::Fits),
            None => told(Found::Clashes(format!("{} is not there any more", file.path))),
        };
    }
    if file.change == Change::Renamed && now.at_old.as_ref().is_some_and(Seen::is_absent) {
        let arrived = !now.at.is_absent();
        let was_applied = matches!(decided, Some(HunkState::Applied | HunkState::Unconfirmed));
        let same = !file.binary && file.result_text.as_deref() == now.at.text();
        return match () {
            () if arrived && (was_applied || same || file.binary) => told(Found::Done),
            () => {
                let old = file.old_path.as_deref().unwrap_or(&file.path);
                told(Found::Clashes(format!("{old} is not there any more")))
            }
        };
    }
    if file.binary {
        return binary(file, seen, decided, &placed);
    }
    if seen.content == Content::Other {
        return told(Found::Clashes(format!("{} is no text any more", file.path)));
    }
    placed
}

enum Found {
    Fits,
    Done,
    Clashes(String),
}

fn told(placed: &Placed, decided: Option<HunkState>, found: Found) -> Placed {
    let kept = decided.filter(|state| matches!(state, HunkState::Rejected | HunkState::Superseded));
    let (state, reason) = match found {
        Found::Fits => (
            kept.or(decided.filter(|state| *state == HunkState::Failed))
                .unwrap_or(HunkState::Pending),
            None,
        ),
        Found::Done => (kept.unwrap_or(HunkState::Applied), None),
        Found::Clashes(reason) => (
            kept.unwrap_or(HunkState::Conflict),
            kept.is_none().then_some(reason),
        ),
    };
    Placed {
        state,
        reason,
        conflict: None,
        ..placed.clone()
    }
}

fn binary(file: &FileChange, seen: &Seen, decided: Option<HunkState>, placed: &Placed) -> Placed {
    let was_applied = matches!(decided, Some(HunkState::Applied | HunkState::Unconfirmed));
    let found = match (file.change, seen.is_absent()) {
        (Change::Added | Change::Modified, false) if was_applied => Found::Done,
        (Change::Added, true) | (Change::Deleted | Change::Renamed | Change::Modified, false) => Found::Fits,
        (Change::Added, false) => Found::Clashes("a file of that name is there already".to_owned()),
        (Change::Deleted, true) => Found::Done,
        (Change::Modified | Change::Renamed, true) => {
            Found::Clashes(format!("{} is not there any more", file.path))
        }
    };
    told(placed, decided, found)
}
