//! Diagnostics of runs: hunks under review, conflicts, and what QA found.

use std::collections::BTreeMap;

use clode_core::pipeline::HunkState;
use clode_core::workspace::{Hunk, HunkKind, Verdict};
use serde_json::{Value, json};
use url::Url;

use super::review::{FileReview, RunReview};
use super::session::Session;
use crate::review::{HunkNow, at_line};

/// Longest first line in a message.
const LINE_CHARS_MAX: usize = 80;
const WARNING: u8 = 2;
const INFORMATION: u8 = 3;
const HINT: u8 = 4;

/// What is published for one document.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Published {
    pub(crate) version: Option<i32>,
    pub(crate) diagnostics: Vec<Value>,
}

/// The diagnostics of a run by document; none where `ui.diagnostics` is off.
pub(crate) fn of_run(session: &Session, run: &RunReview) -> BTreeMap<Url, Published> {
    let mut all: BTreeMap<Url, Published> = BTreeMap::new();
    if !run.is_under_review() {
        return all;
    }
    for file in &run.files {
        if !session.reviews().ui(session, &file.uri).diagnostics {
            continue;
        }
        let found = of_file(run, file);
        if !found.is_empty() {
            let published = all.entry(file.uri.clone()).or_default();
            published.version = run.change(file).and_then(|change| file.now.shown(change).version);
            published.diagnostics.extend(found);
        }
    }
    for (uri, diagnostic) in findings(run) {
        if session.reviews().ui(session, &uri).diagnostics {
            all.entry(uri).or_default().diagnostics.push(diagnostic);
        }
    }
    all
}

fn of_file(run: &RunReview, file: &FileReview) -> Vec<Value> {
    let asks = run.change(file).and_then(|change| match &change.verdict {
        Verdict::Allow => None,
        Verdict::Ask { reason } => Some(reason.as_str()),
    });
    run.hunks(file)
        .filter_map(|(hunk, now)| of_hunk(run, file, hunk, now, asks))
        .collect()
}

fn of_hunk(
    run: &RunReview,
    file: &FileReview,
    hunk: &Hunk,
    now: &HunkNow,
    asks: Option<&str>,
) -> Option<Value> {
    let (severity, code) = match now.state {
        HunkState::Pending => (INFORMATION, "hunk"),
        HunkState::Failed => (INFORMATION, "hunkFailed"),
        HunkState::Unconfirmed => (HINT, "hunkUnconfirmed"),
        HunkState::Conflict => (WARNING, "conflict"),
        HunkState::Applied | HunkState::Rejected | HunkState::Superseded | HunkState::Reverted => {
            return None;
        }
    };
    let mut message = summary(hunk);
    let mut add = |text: &str| {
        message.push('\n');
        message.push_str(text);
    };
    match now.state {
        HunkState::Conflict => add(&format!(
            "Conflict: {}",
            now.reason.as_deref().unwrap_or("you changed the same lines")
        )),
        HunkState::Failed => add(&format!(
            "Not applied: {}",
            now.reason.as_deref().unwrap_or("the editor did not take it")
        )),
        HunkState::Unconfirmed => add("Sent to the editor; not seen in the file yet."),
        _ => {}
    }
    if let Some(reason) = asks {
        add(&format!("Needs your own yes: {reason}"));
    }
    Some(diagnostic(
        run,
        run.range(file, now),
        severity,
        code,
        &message,
        &json!([hunk.id]),
    ))
}

fn diagnostic(
    run: &RunReview,
    range: lsp_types::Range,
    severity: u8,
    code: &str,
    message: &str,
    hunks: &Value,
) -> Value {
    json!({
        "range": range, "severity": severity, "source": "clode", "code": code, "message": message,
        "data": {"pipelineId": run.id, "hunkIds": hunks},
    })
}

fn findings(run: &RunReview) -> Vec<(Url, Value)> {
    let outputs = run.machine.steps.iter().filter_map(|step| step.output.as_ref());
    outputs
        .flat_map(|output| &output.findings)
        .filter_map(|finding| {
            let path = finding.path.as_deref()?;
            let file = run
                .files
                .iter()
                .find(|file| run.change(file).is_some_and(|change| change.path == path));
            let uri = file.map_or_else(|| run.uri(path), |file| Some(file.uri.clone()))?;
            let line = finding.line.unwrap_or(1).saturating_sub(1);
            let line = file.map_or(line, |file| line_now(run, file, line));
            let severity = if finding.severity == "info" {
                INFORMATION
            } else {
                WARNING
            };
            let message = format!("QA: {}", finding.message);
            Some((
                uri,
                diagnostic(run, at_line(line), severity, "finding", &message, &json!([])),
            ))
        })
        .collect()
}

/// From a line of the result to the line of now that it is nearest to.
fn line_now(run: &RunReview, file: &FileReview, line: u32) -> u32 {
    let mut shift = 0_i64;
    for (hunk, now) in run.hunks(file).filter(|(hunk, _)| hunk.kind == HunkKind::Text) {
        let place = run.range(file, now);
        if hunk.result_lines.contains(&line) {
            let last = if place.end.line > place.start.line {
                place.end.line - 1
            } else {
                place.start.line
            };
            return (place.start.line + (line - hunk.result_lines.start)).min(last);
        }
        if hunk.result_lines.end <= line {
            shift = i64::from(place.end.line) - i64::from(hunk.result_lines.end);
        }
    }
    u32::try_from(i64::from(line) + shift).unwrap_or(0)
}

/// `+3 −1 <first new line>`, in one line.
pub(crate) fn summary(hunk: &Hunk) -> String {
    let (removed, added) = changed_lines(hunk);
    let counts = format!("+{} −{}", added.len(), removed.len());
    let first = added
        .iter()
        .chain(&removed)
        .map(|line| line.trim())
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let first: String = first.chars().take(LINE_CHARS_MAX).collect();
    let what = match hunk.kind {
        HunkKind::Text => first,
        HunkKind::Create => format!("new file: {first}"),
        HunkKind::Delete => "the file is deleted".to_owned(),
        HunkKind::Rename => "the file is moved".to_owned(),
        HunkKind::Mode => "the file's mode changes".to_owned(),
        HunkKind::Binary => "the file's bytes change".to_owned(),
    };
    format!("{counts} {what}").trim_end().to_owned()
}

/// The lines that go and the lines that come, without equal ones at both ends.
fn changed_lines(hunk: &Hunk) -> (Vec<&str>, Vec<&str>) {
    let old: Vec<&str> = hunk.old_text.lines().collect();
    let new: Vec<&str> = hunk.new_text.lines().collect();
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - start;
    let end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(old, new)| old == new)
        .count();
    let middle = |lines: &[&str]| lines.get(start..lines.len() - end).unwrap_or_default().len();
    let (removed, added) = (middle(&old), middle(&new));
    (
        old.into_iter().skip(start).take(removed).collect(),
        new.into_iter().skip(start).take(added).collect(),
    )
}
