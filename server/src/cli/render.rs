//! How things look on a terminal. Pure: values go in, text comes out. Text of others (plans, patches,
//! commands) is made harmless first: it may hold sequences that a terminal obeys.

use std::fmt::Write as _;

use clode_core::Error;
use clode_core::engine::PipelineDetail;
use clode_core::pipeline::{Gate, GateKind, TestRun};
use clode_core::redact::neutralise;

use super::output::Colour;

/// Lines of a test's output that are shown when it failed.
const TEST_LINES_MAX: usize = 20;

/// Terminal sequences.
#[derive(Debug, Clone, Copy)]
pub(super) enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

/// The text in this style, if colours are on.
pub(super) fn paint(text: &str, style: Style, colour: Colour) -> String {
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Red => "31",
        Style::Green => "32",
        Style::Yellow => "33",
        Style::Cyan => "36",
    };
    match colour {
        Colour::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        Colour::Off => text.to_owned(),
    }
}

/// What went wrong, and what to do.
pub(super) fn error(error: &Error, colour: Colour) -> String {
    let mut text = format!("{} {}\n", paint("error:", Style::Red, colour), neutralise(&error.message));
    for hint in &error.hints {
        let _ = writeln!(text, "{} {}", paint("hint:", Style::Cyan, colour), neutralise(&in_our_words(hint)));
    }
    text
}

/// Hints of the core name commands of the protocol: here they are commands of the terminal.
pub(super) fn in_our_words(hint: &str) -> String {
    let words = [("clode.pipeline.get", "show"), ("clode.pipeline.list", "list"), ("clode.pipeline.retry", "retry"), ("clode.pipeline.apply", "apply")];
    words.iter().fold(hint.to_owned(), |hint, (wire, ours)| hint.replace(wire, &format!("clode-ls pipelines {ours}")))
}

/// Markdown, with its headings set off.
pub(super) fn markdown(text: &str, colour: Colour) -> String {
    let mut shown = String::new();
    for line in neutralise(text).lines() {
        let line = if line.starts_with('#') { paint(line, Style::Bold, colour) } else { line.to_owned() };
        let _ = writeln!(shown, "{line}");
    }
    shown
}

/// A patch as git colours it.
pub(super) fn patch(text: &str, colour: Colour) -> String {
    let mut shown = String::new();
    for line in neutralise(text).lines() {
        let style = if ["diff ", "--- ", "+++ ", "index ", "new file", "deleted", "rename", "similarity", "old mode", "new mode"]
            .iter()
            .any(|start| line.starts_with(start))
        {
            Some(Style::Bold)
        } else {
            match line.bytes().next() {
                Some(b'+') => Some(Style::Green),
                Some(b'-') => Some(Style::Red),
                Some(b'@') => Some(Style::Cyan),
                Some(b'#') => Some(Style::Yellow),
                _ => None,
            }
        };
        let line = style.map_or_else(|| line.to_owned(), |style| paint(line, style, colour));
        let _ = writeln!(shown, "{line}");
    }
    shown
}

/// A gate's heading with what belongs to it.
pub(super) fn gate(gate: &Gate, colour: Colour) -> String {
    let mut text = format!("\n{}\n", paint(&neutralise(&gate.title), Style::Bold, colour));
    // What is shown in full right below needs no summary.
    let is_shown_below = matches!(gate.kind, GateKind::Plan | GateKind::Knowledge);
    let summary = if is_shown_below { "" } else { gate.summary.as_str() };
    for part in [summary, gate.detail.as_str()] {
        if !part.trim().is_empty() {
            let _ = writeln!(text, "{}", neutralise(part.trim_end()));
        }
    }
    if let Some(estimate) = &gate.estimate {
        let _ = writeln!(text, "Likely cost: {} to {} ({})", estimate.min, estimate.max, neutralise(&estimate.basis));
    }
    if let Some(request) = gate.request.as_ref().filter(|request| !request.paths.is_empty()) {
        let _ = writeln!(text, "Paths: {}", neutralise(&request.paths.join(", ")));
    }
    text
}

/// What the tests came to, with the output of those that failed.
pub(super) fn tests(runs: &[TestRun], colour: Colour) -> String {
    let mut text = String::new();
    for run in last_of_each(runs) {
        let word = if run.passed { paint("passed", Style::Green, colour) } else { paint("failed", Style::Red, colour) };
        let code = run.exit_code.map_or_else(|| "killed".to_owned(), |code| format!("exit code {code}"));
        let _ = writeln!(text, "Test {word}: {} ({code}, {} ms)", neutralise(&run.command), run.duration_ms);
        if !run.passed {
            let lines: Vec<&str> = run.output.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(TEST_LINES_MAX)) {
                let _ = writeln!(text, "  | {}", neutralise(line));
            }
        }
    }
    text
}

/// A command may run once in every round: the last word counts.
fn last_of_each(runs: &[TestRun]) -> Vec<&TestRun> {
    let is_last = |at: usize, run: &TestRun| !runs.iter().skip(at + 1).any(|later| later.command == run.command);
    runs.iter().enumerate().filter(|(at, run)| is_last(*at, run)).map(|(_, run)| run).collect()
}

/// A run that ended or waits, in a few lines.
pub(super) fn summary(detail: &PipelineDetail, colour: Colour) -> String {
    let summary = &detail.summary;
    let status = summary.status.as_str();
    let style = match status {
        "completed" => Style::Green,
        "failed" | "cancelled" => Style::Red,
        _ => Style::Yellow,
    };
    let mut text = format!("{} {}\n", paint(status, style, colour), neutralise(&summary.task.title));
    if let Some(reason) = &summary.status_reason {
        let _ = writeln!(text, "Reason: {}", neutralise(reason));
    }
    if let Some(error) = &summary.error {
        let _ = writeln!(text, "{} {}", paint("error:", Style::Red, colour), neutralise(&error.message));
        if let Some(hint) = &error.hint {
            let _ = writeln!(text, "{} {}", paint("hint:", Style::Cyan, colour), neutralise(hint));
        }
    }
    text.push_str(&tests(&detail.test_runs, colour));
    let _ = writeln!(text, "Cost: ${:.4}{}", summary.metrics.total_cost, unconfirmed(summary.metrics.unconfirmed_cost));
    let _ = writeln!(text, "Pipeline: {}", summary.pipeline_id);
    text
}

fn unconfirmed(usd: f64) -> String {
    if usd > 0.0 { format!(" (${usd:.4} of it unconfirmed)") } else { String::new() }
}

/// Columns side by side, each as wide as its widest cell.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A word that a shell takes as it is.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Bytes, as a person reads them.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = count.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"TiB"))
}
