//! States of hunks that text alone does not tell: modes, bytes, moves, earlier rounds. Hand-built changes.

use std::path::Path;

use clode_core::id::{BlobId, CommitId, HunkId, PipelineId, TaskId};
use clode_core::pipeline::HunkState::{
    self, Applied, Conflict, Failed, Pending, Rejected, Reverted, Superseded, Unconfirmed,
};
use clode_core::pipeline::{GatePolicy, HunkRecord, Machine, PatchStage, RunSpec};
use clode_core::task::{Priority, RunOptions, Task};
use clode_core::workspace::{Change, FileChange, FileMode, Hunk, HunkKind, Patch, Verdict};
use ropey::Rope;
use serde_json::json;

use super::observe::{Content, FileNow, Seen};
use super::{Reviewed, hunks_now, line_bytes};
use crate::lsp::encoding::PositionEncoding;

const BASE: &str = "a\nb\nc\n";

fn machine(records: &[(&str, HunkState)]) -> Machine {
    let task = Task {
        id: TaskId::new("t"),
        explicit_id: false,
        title: "t".to_owned(),
        description: String::new(),
        priority: Priority::Medium,
        tests: Vec::new(),
        constraints: Vec::new(),
        target_files: Vec::new(),
        origin: None,
        diagnostics: Vec::new(),
    };
    let spec = RunSpec {
        pipeline: PipelineId::new("p"),
        task,
        options: RunOptions::default(),
        steps: Vec::new(),
        plan_gate: GatePolicy::Ask,
        patch_gate: GatePolicy::Ask,
        rounds_max: 0,
        attempts_max: 1,
        retry_initial_ms: 0,
        retry_max_ms: 0,
        time_limit_ms: None,
        buffers: None,
        request: None,
        config: BlobId::new("c"),
        demo: false,
    };
    let mut machine = Machine::new(spec);
    machine.patch_stage = PatchStage::Review;
    machine.hunks = records
        .iter()
        .map(|(id, state)| HunkRecord {
            id: HunkId::new(*id),
            path: "f".to_owned(),
            state: *state,
            round: 1,
            ask: false,
            comment: None,
            reason: None,
        })
        .collect();
    machine
}

fn file(change: Change, kind: HunkKind) -> FileChange {
    let (base, result) = (BASE.to_owned(), BASE.replace('b', "B"));
    FileChange {
        path: "f".to_owned(),
        old_path: (change == Change::Renamed).then(|| "e".to_owned()),
        change,
        binary: kind == HunkKind::Binary,
        mode: (change != Change::Deleted).then_some(FileMode::Regular),
        old_mode: (change != Change::Added).then_some(FileMode::Regular),
        insertions: 1,
        deletions: 1,
        verdict: Verdict::Allow,
        base_text: (change != Change::Added && kind != HunkKind::Binary).then(|| base.clone()),
        result_text: (change != Change::Deleted && kind != HunkKind::Binary).then(|| result.clone()),
        base_blob: Some("1".to_owned()),
        result_blob: Some("2".to_owned()),
        binary_patch: None,
        similarity: None,
        direction: clode_core::workspace::Direction::In,
        hunks: vec![Hunk {
            id: HunkId::new("h"),
            kind,
            base_lines: 1..2,
            result_lines: 1..2,
            old_text: "b\n".to_owned(),
            new_text: "B\n".to_owned(),
        }],
    }
}

fn disk(content: Content) -> Seen {
    let executable = (content != Content::Absent).then_some(false);
    Seen {
        content,
        version: None,
        executable,
    }
}

fn buffer(text: &str) -> Seen {
    Seen {
        content: Content::Text(text.into()),
        version: Some(3),
        executable: Some(false),
    }
}

fn text(text: &str) -> Content {
    Content::Text(text.into())
}

fn now(at: Seen) -> FileNow {
    FileNow {
        at,
        at_old: None,
        uri: None,
        old_uri: None,
    }
}

fn moved(old: Content, new: Content) -> FileNow {
    FileNow {
        at: disk(new),
        at_old: Some(disk(old)),
        uri: None,
        old_uri: None,
    }
}

fn state(file: &FileChange, recorded: HunkState, now: &FileNow) -> HunkState {
    hunks_now(file, &machine(&[("h", recorded)]), now)[0].state
}

#[test]
fn what_was_applied_and_is_gone_waits_again_or_is_reverted_once_the_gate_is_closed() {
    let file = file(Change::Modified, HunkKind::Text);
    let mut machine = machine(&[("h", Applied)]);
    let gone = now(buffer(BASE));
    assert_eq!(hunks_now(&file, &machine, &gone)[0].state, Pending);
    machine.patch_stage = PatchStage::Settled;
    assert_eq!(hunks_now(&file, &machine, &gone)[0].state, Reverted);
    assert_eq!(
        hunks_now(&file, &machine, &now(buffer("a\nB\nc\n")))[0].state,
        Applied
    );
}

#[test]
fn an_unconfirmed_hunk_believes_a_buffer_but_not_a_disk_that_shows_the_old_text() {
    let file = file(Change::Modified, HunkKind::Text);
    assert_eq!(state(&file, Unconfirmed, &now(disk(text(BASE)))), Unconfirmed);
    assert_eq!(state(&file, Unconfirmed, &now(buffer(BASE))), Pending);
    assert_eq!(state(&file, Unconfirmed, &now(disk(text("a\nB\nc\n")))), Applied);
}

#[test]
fn a_persons_no_stays_and_a_failure_can_be_repeated() {
    let file = file(Change::Modified, HunkKind::Text);
    let there = now(buffer(BASE));
    for kept in [Rejected, Superseded, Failed, Reverted] {
        assert_eq!(state(&file, kept, &there), kept);
    }
    assert_eq!(
        state(&file, Reverted, &now(buffer("a\nB\nc\n"))),
        Applied,
        "redone"
    );
}

#[test]
fn a_file_that_is_gone_or_no_text_any_more_is_a_conflict() {
    let file = file(Change::Modified, HunkKind::Text);
    for content in [Content::Absent, Content::Other] {
        let found = &hunks_now(&file, &machine(&[("h", Pending)]), &now(disk(content)))[0];
        assert_eq!(found.state, Conflict);
        assert!(
            found
                .reason
                .as_deref()
                .is_some_and(|reason| reason.starts_with("f is ")),
            "{found:?}"
        );
    }
}

#[test]
fn a_mode_is_read_from_the_disk() {
    let file = FileChange {
        mode: Some(FileMode::Executable),
        ..file(Change::Modified, HunkKind::Mode)
    };
    let with = |executable| {
        now(Seen {
            executable: Some(executable),
            ..buffer(BASE)
        })
    };
    assert_eq!(state(&file, Pending, &with(false)), Pending);
    assert_eq!(state(&file, Pending, &with(true)), Applied);
    assert_eq!(state(&file, Applied, &with(false)), Pending);
    assert_eq!(state(&file, Rejected, &with(true)), Rejected);
    assert_eq!(state(&file, Pending, &now(Seen::ABSENT)), Conflict);
}

#[test]
fn a_move_is_done_when_the_old_place_is_empty_and_the_new_one_is_not() {
    let file = file(Change::Renamed, HunkKind::Rename);
    assert_eq!(
        state(&file, Pending, &moved(text(BASE), Content::Absent)),
        Pending
    );
    assert_eq!(
        state(&file, Applied, &moved(text(BASE), Content::Absent)),
        Pending
    );
    assert_eq!(
        state(&file, Pending, &moved(Content::Absent, text("a\nB\nc\n"))),
        Applied
    );
    assert_eq!(
        state(&file, Applied, &moved(Content::Absent, text("more\na\nB\nc\n"))),
        Applied
    );
    assert_eq!(
        state(&file, Applied, &moved(Content::Absent, Content::Absent)),
        Conflict
    );
    assert_eq!(
        state(&file, Pending, &moved(Content::Absent, text("something else\n"))),
        Conflict
    );
}

#[test]
fn bytes_are_judged_by_what_was_decided_and_whether_the_file_is_there() {
    let cases = [
        (Change::Added, Pending, Content::Absent, Pending),
        (Change::Added, Pending, Content::Other, Conflict),
        (Change::Added, Applied, Content::Other, Applied),
        (Change::Added, Applied, Content::Absent, Pending),
        (Change::Modified, Pending, Content::Other, Pending),
        (Change::Modified, Applied, Content::Other, Applied),
        (Change::Modified, Pending, Content::Absent, Conflict),
        (Change::Deleted, Pending, Content::Other, Pending),
        (Change::Deleted, Pending, Content::Absent, Applied),
    ];
    for (change, recorded, content, expected) in cases {
        let found = state(
            &file(change, HunkKind::Binary),
            recorded,
            &now(disk(content.clone())),
        );
        assert_eq!(found, expected, "{change:?} {recorded:?} {content:?}");
    }
}

#[test]
fn hunks_of_earlier_rounds_are_kept_in_their_file() {
    let patch = Patch {
        base: CommitId::new("1"),
        result: CommitId::new("2"),
        files: vec![file(Change::Modified, HunkKind::Text)],
    };
    let machine = machine(&[("h", Pending), ("old", Superseded)]);
    let run = PipelineId::new("p");
    let reviewed = Reviewed {
        run: &run,
        machine: &machine,
        patch: &patch,
        root: Path::new("/repo"),
        encoding: PositionEncoding::Utf16,
    };
    let files = reviewed.files(|_| now(buffer(BASE)));
    assert_eq!(files.len(), 1);
    let wire = serde_json::to_value(&files[0]).unwrap();
    assert_eq!(wire["hunks"][1]["state"], "superseded");
    let mut hunk = wire["hunks"][0].clone();
    assert_eq!(
        hunk["range"],
        json!({"start": {"line": 1, "character": 0}, "end": {"line": 2, "character": 0}})
    );
    assert_eq!(
        (hunk["version"].take(), hunk["round"].take()),
        (json!(3), json!(1))
    );
    let mut file = wire;
    file["hunks"].take();
    let expected = json!({
        "uri": "file:///repo/f", "path": "f", "change": "modified", "baseUri": "clode://pipeline/p/base/f",
        "resultUri": "clode://pipeline/p/result/f", "binary": false, "mode": "100644", "insertions": 1, "deletions": 1,
        "verdict": "allow", "hunks": null,
    });
    assert_eq!(file, expected);
}

#[test]
fn lines_of_a_patch_end_at_line_feeds_only() {
    let text = Rope::from_str("a\rb\nc\r\nd");
    assert_eq!(line_bytes(&text, &(0..1)), 0..4);
    assert_eq!(line_bytes(&text, &(1..2)), 4..7);
    assert_eq!(line_bytes(&text, &(2..3)), 7..8);
    assert_eq!(line_bytes(&text, &(3..3)), 8..8);
}
