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
    let mut text = format!(
        "{} {}\n",
        paint("error:", Style::Red, colour),
        neutralise(&in_our_words(&error.message))
    );
    for hint in &error.hints {
        let _ = writeln!(
            text,
            "{} {}",
            paint("hint:", Style::Cyan, colour),
            neutralise(&in_our_words(hint))
        );
    }
    text
}

/// The core speaks of commands and fields of the protocol: here they are commands and options.
pub(super) fn in_our_words(text: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("`clode.pipeline.get`", "`clode-ls pipelines show ID`"),
        ("`clode.pipeline.list`", "`clode-ls pipelines`"),
        ("`clode.pipeline.retry`", "`clode-ls pipelines retry ID`"),
        ("`clode.pipeline.apply`", "`clode-ls pipelines apply ID`"),
        ("`approvalId`", "`--approval`"),
        ("`maxCost`", "`--max-cost`"),
        ("`choice: \"today\"`", "`--choice today`"),
        ("`fromStep`", "`--from`"),
        ("task.title:", "TITLE:"),
    ];
    WORDS
        .iter()
        .fold(text.to_owned(), |text, (wire, ours)| text.replace(wire, ours))
}

/// Markdown, with its headings set off.
pub(super) fn markdown(text: &str, colour: Colour) -> String {
    let mut shown = String::new();
    for line in neutralise(text).lines() {
        let line = if line.starts_with('#') {
            paint(line, Style::Bold, colour)
        } else {
            line.to_owned()
        };
        let _ = writeln!(shown, "{line}");
    }
    shown
}

/// A patch as git colours it.
pub(super) fn patch(text: &str, colour: Colour) -> String {
    let mut shown = String::new();
    for line in neutralise(text).lines() {
        let style = if [
            "diff ",
            "--- ",
            "+++ ",
            "index ",
            "new file",
            "deleted",
            "rename",
            "similarity",
            "old mode",
            "new mode",
        ]
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
        let _ = writeln!(
            text,
            "Likely cost: {} to {} ({})",
            estimate.min,
            estimate.max,
            neutralise(&estimate.basis)
        );
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
        let word = if run.passed {
            paint("passed", Style::Green, colour)
        } else {
            paint("failed", Style::Red, colour)
        };
        let code = run
            .exit_code
            .map_or_else(|| "killed".to_owned(), |code| format!("exit code {code}"));
        let _ = writeln!(
            text,
            "Test {word}: {} ({code}, {} ms)",
            neutralise(&run.command),
            run.duration_ms
        );
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
    let is_last =
        |at: usize, run: &TestRun| !runs.iter().skip(at + 1).any(|later| later.command == run.command);
    runs.iter()
        .enumerate()
        .filter(|(at, run)| is_last(*at, run))
        .map(|(_, run)| run)
        .collect()
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
    let mut text = format!(
        "{} {}\n",
        paint(status, style, colour),
        neutralise(&summary.task.title)
    );
    if let Some(reason) = &summary.status_reason {
        let _ = writeln!(text, "Reason: {}", neutralise(reason));
    }
    if let Some(error) = &summary.error {
        let _ = writeln!(
            text,
            "{} {}",
            paint("error:", Style::Red, colour),
            neutralise(&error.message)
        );
        if let Some(hint) = &error.hint {
            let _ = writeln!(
                text,
                "{} {}",
                paint("hint:", Style::Cyan, colour),
                neutralise(hint)
            );
        }
    }
    text.push_str(&tests(&detail.test_runs, colour));
    let _ = writeln!(
        text,
        "Cost: ${:.4}{}",
        summary.metrics.total_cost,
        unconfirmed(summary.metrics.unconfirmed_cost)
    );
    let _ = writeln!(text, "Pipeline: {}", summary.pipeline_id);
    text
}

fn unconfirmed(usd: f64) -> String {
    if usd > 0.0 {
        format!(" (${usd:.4} of it unconfirmed)")
    } else {
        String::new()
    }
}

/// Columns side by side, each as wide as its widest cell.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
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
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
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
    format!(
        "{}.{} {}",
        tenths / 10,
        tenths % 10,
        UNITS.get(unit).unwrap_or(&"TiB")
    )
}

#[cfg(test)]
mod tests {
    use clode_core::money::Money;
    use clode_core::pipeline::Estimate;

    use super::*;
    use crate::cli::tests as samples;

    #[test]
    fn a_plan_is_shown_whole_with_what_it_may_cost() {
        let mut plan = samples::gate(GateKind::Plan);
        plan.title = "Approve the plan: Add two numbers".to_owned();
        plan.summary = "not shown: the plan itself follows".to_owned();
        plan.detail = "Not given to the agents, because they look like secrets: .env".to_owned();
        let basis = "3 steps of claude-sonnet-5-5".to_owned();
        plan.estimate = Some(Estimate {
            min: Money::from_pico(20_000_000_000),
            max: Money::from_pico(180_000_000_000),
            basis,
        });
        let text = "# Plan: Add two numbers\n\n## Goal\nAdd them.\n\n## Steps\n### step-1: Add\n- agent: developer\n";
        insta::assert_snapshot!(format!(
            "{}{}",
            gate(&plan, Colour::Off),
            markdown(text, Colour::Off)
        ));
    }

    #[test]
    fn what_others_wrote_cannot_command_the_terminal() {
        let mut asked = samples::gate(GateKind::Question);
        asked.title = "An agent asks".to_owned();
        asked.summary = "\u{1b}]0;owned\u{7}which \u{202e}one?".to_owned();
        for shown in [
            gate(&asked, Colour::Off),
            markdown("# \u{1b}[2Jx", Colour::Off),
            patch("+\u{1b}[2Jx\r\n", Colour::Off),
        ] {
            assert!(
                !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn a_patch_is_coloured_as_git_does() {
        let text = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-old\n+new\n same\n";
        let shown = patch(text, Colour::On);
        assert!(
            shown.contains("\u{1b}[31m-old\u{1b}[0m") && shown.contains("\u{1b}[32m+new\u{1b}[0m"),
            "{shown:?}"
        );
        assert!(
            shown.contains("\u{1b}[1m--- a/a\u{1b}[0m") && shown.ends_with(" same\n"),
            "{shown:?}"
        );
        assert_eq!(patch(text, Colour::Off), text);
    }

    #[test]
    fn of_a_test_that_ran_in_every_round_the_last_word_counts() {
        let run = |passed, exit_code| TestRun {
            command: "make test".to_owned(),
            exit_code,
            passed,
            duration_ms: 7,
            output: "boom\n".to_owned(),
        };
        let shown = tests(&[run(false, Some(1)), run(true, Some(0))], Colour::Off);
        assert_eq!(shown, "Test passed: make test (exit code 0, 7 ms)\n");
        assert_eq!(
            tests(&[run(false, None)], Colour::Off),
            "Test failed: make test (killed, 7 ms)\n  | boom\n"
        );
    }

    #[test]
    fn sizes_and_words_for_a_shell() {
        assert_eq!(
            [0, 1023, 1024, 1536, 3 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 GiB"]
        );
        assert_eq!(shell_word("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(shell_word("it's here"), r"'it'\''s here'");
    }

    #[test]
    fn hints_of_the_protocol_become_commands_of_the_terminal() {
        assert_eq!(
            in_our_words("`clode.pipeline.list` lists them"),
            "`clode-ls pipelines` lists them"
        );
        assert_eq!(
            in_our_words("by its `approvalId` only"),
            "by its `--approval` only"
        );
    }
}
