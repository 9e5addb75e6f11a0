//! Bringing a patch into the files on disk, or out of them again, and telling its run what became of each hunk.

use std::fmt::Write as _;

use clode_core::Result;
use clode_core::engine::{Engine, Orphan, Signal, file_uri};
use clode_core::id::{HunkId, PipelineId};
use clode_core::pipeline::{Gate, HunkOutcome, HunkState};
use clode_core::redact::neutralise;
use clode_core::workspace::{Applied, FileOutcome};
use serde_json::{Value, json};

use super::desk::by_command_line;
use super::disk::{self, Consent, Report, Wanted};

/// Applies and tells.
pub(super) async fn decide(
    engine: &Engine,
    run: &PipelineId,
    wanted: &Wanted,
    consent: Consent,
    orphan: Orphan,
) -> Result<Report> {
    let report = disk::apply(engine, run, wanted, consent).await?;
    if !report.outcomes.is_empty() {
        let outcomes = report.outcomes.clone();
        engine
            .signal_with(
                run,
                Signal::Decide {
                    outcomes,
                    comment: None,
                    by: by_command_line(),
                },
                orphan,
            )
            .await?;
    }
    Ok(report)
}

/// Takes back and tells. What could not be taken back stays as it was, in the files and in the run.
pub(super) async fn revert(engine: &Engine, run: &PipelineId, wanted: &Wanted) -> Result<Report> {
    let report = disk::revert(engine, run, wanted).await?;
    let outcomes: Vec<HunkOutcome> = report
        .outcomes
        .iter()
        .filter(|outcome| outcome.state == HunkState::Reverted)
        .cloned()
        .collect();
    if !outcomes.is_empty() {
        let signal = Signal::Decide {
            outcomes,
            comment: None,
            by: by_command_line(),
        };
        engine.signal(run, signal).await?;
    }
    Ok(report)
}

/// A yes to the patch gate: it goes to the audit, and the patch to the disk.
pub(super) async fn accept(
    engine: &Engine,
    run: &PipelineId,
    gate: &Gate,
    consent: Consent,
    orphan: Orphan,
) -> Result<Report> {
    let detail = json!({"approvalId": gate.id, "gate": gate.kind, "approved": true, "byPolicy": consent == Consent::Policy});
    engine
        .record(run, "approvalAnswered", &by_command_line(), &detail)
        .await;
    decide(engine, run, &Wanted::default(), consent, orphan).await
}

/// What became of some hunks of a file; hunks of one file may fare differently.
struct Row<'a> {
    file: &'a FileOutcome,
    state: HunkState,
    hunks: Vec<&'a HunkId>,
}

/// What may become of a hunk here.
const STATES: [HunkState; 4] = [
    HunkState::Applied,
    HunkState::Reverted,
    HunkState::Conflict,
    HunkState::Failed,
];

const fn is_done(state: HunkState) -> bool {
    matches!(state, HunkState::Applied | HunkState::Reverted)
}

fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for file in &report.files {
        for state in STATES {
            let is_here = |outcome: &&HunkOutcome| {
                outcome.state == state && file.hunks.iter().any(|hunk| hunk.id == outcome.id)
            };
            let hunks: Vec<&HunkId> = report
                .outcomes
                .iter()
                .filter(is_here)
                .map(|outcome| &outcome.id)
                .collect();
            if !hunks.is_empty() {
                rows.push(Row { file, state, hunks });
            }
        }
    }
    rows
}

/// For people: a line for each file.
pub(super) fn lines(report: &Report) -> String {
    let mut text = String::new();
    for Row { file, state, .. } in rows(report) {
        let word = match state {
            HunkState::Applied => "applied ",
            HunkState::Reverted => "reverted",
            HunkState::Conflict => "conflict",
            _ => "failed  ",
        };
        let why = file.message.as_deref().filter(|_| !is_done(state));
        let why = why.map(|message| format!(" ({message})")).unwrap_or_default();
        let _ = writeln!(text, "{word} {}{}", neutralise(&file.path), neutralise(&why));
    }
    for (path, reason) in &report.left {
        let _ = writeln!(
            text,
            "left     {} ({}: a person decides)",
            neutralise(path),
            neutralise(reason)
        );
    }
    text
}

/// As `clode.pipeline.apply` and `clode.pipeline.revert` answer.
pub(super) fn json(report: &Report, top_level: &std::path::Path) -> Value {
    let row = |Row { file, state, hunks }: Row<'_>| {
        let mut shown = json!({"uri": file_uri(&top_level.join(&file.path)), "path": file.path, "result": state, "hunks": hunks});
        if let (Some(code), Some(object), true) = (&file.code, shown.as_object_mut(), !is_done(state)) {
            object.insert("code".to_owned(), json!(code));
            object.insert("message".to_owned(), json!(file.message));
        }
        shown
    };
    json!({ "files": rows(report).into_iter().map(row).collect::<Vec<_>>() })
}

/// Whether everything that was wanted is in the files now, or out of them.
pub(super) fn is_whole(report: &Report) -> bool {
    report.left.is_empty() && report.files.iter().all(|file| file.result == Applied::Applied)
}
