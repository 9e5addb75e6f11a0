//! QA's report: for a person, and for the Developer in the next round.

use std::fmt::Write as _;

use super::Results;
use crate::agent::survey::{quoted, tail};
use crate::pipeline::{Finding, TestRun};
use crate::workspace::FileChange;

/// Most of one run's output in the report (bytes): its end, where the failures stand.
const OUTPUT_BYTES_MAX: usize = 24 * 1024;
/// Most files that a finding names.
const NAMED_MAX: usize = 8;
/// Manifests that define what a test command runs.
const MANIFESTS: [&str; 16] = [
    "cargo.toml",
    "package.json",
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    "pytest.ini",
    "conftest.py",
    "go.mod",
    "makefile",
    "gnumakefile",
    "justfile",
    "noxfile.py",
    "build.rs",
    "jest.config.js",
    "vitest.config.ts",
    "playwright.config.ts",
];
/// Folders of tests.
const TEST_FOLDERS: [&str; 6] = ["test", "tests", "__tests__", "spec", "specs", "e2e"];

/// Whether this file looks like a test, or like what a test command goes by.
pub(super) fn defines_tests(path: &str) -> bool {
    let lower = path.to_lowercase();
    let (folders, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let stem = name.split('.').next().unwrap_or(name);
    MANIFESTS.contains(&name)
        || folders.split('/').any(|folder| TEST_FOLDERS.contains(&folder))
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_spec")
        || stem == "tests"
        || [".test.", ".spec."].iter().any(|part| name.contains(part))
}

/// The finding about tests that the patch changes, if it changes any.
pub(super) fn flagged(files: &[&FileChange]) -> Option<Finding> {
    let names: Vec<String> = files
        .iter()
        .take(NAMED_MAX)
        .map(|file| format!("`{}`", file.path))
        .collect();
    let more = if files.len() > NAMED_MAX {
        format!(" and {} more", files.len() - NAMED_MAX)
    } else {
        String::new()
    };
    let path = (files.len() == 1)
        .then(|| files.first().map(|file| file.path.clone()))
        .flatten();
    let message = format!(
        "the patch changes what the tests check or how they run: {}{more}",
        names.join(", ")
    );
    (!files.is_empty()).then(|| Finding {
        path,
        line: None,
        severity: "info".to_owned(),
        message,
    })
}

/// A finding that is about no file.
pub(super) fn finding(severity: &str, message: String) -> Finding {
    Finding {
        path: None,
        line: None,
        severity: severity.to_owned(),
        message,
    }
}

/// One or two sentences.
pub(super) fn summary(results: &Results) -> String {
    let failed: Vec<&TestRun> = results.runs.iter().filter(|run| !run.passed).collect();
    match (results.runs.len(), failed.first()) {
        (0, _) => "No test was run.".to_owned(),
        (1, None) => "The test command passed.".to_owned(),
        (count, None) => format!("All {count} test commands passed."),
        (count, Some(run)) => {
            let end = run
                .exit_code
                .map_or_else(|| "it was stopped".to_owned(), |code| format!("exit code {code}"));
            format!(
                "{} of {count} test commands failed: `{}` ({end}).",
                failed.len(),
                run.command
            )
        }
    }
}

/// The whole report (Markdown).
pub(super) fn document(results: &Results) -> String {
    let mut text = format!("# QA report\n\n{}\n", summary(results));
    if let Some(explanation) = &results.explanation {
        let _ = write!(text, "\n## What went wrong\n{}\n", explanation.trim());
    }
    if !results.findings.is_empty() {
        text.push_str("\n## Findings\n");
    }
    for finding in &results.findings {
        let place = match (&finding.path, finding.line) {
            (Some(path), Some(line)) => format!("`{path}` line {line}: "),
            (Some(path), None) => format!("`{path}`: "),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "- {}: {place}{}",
            finding.severity,
            finding.message.replace('\n', " ")
        );
    }
    if !results.runs.is_empty() {
        let _ = write!(text, "\n## Test runs\n{}", runs(&results.runs));
    }
    if !results.base_runs.is_empty() {
        let _ = write!(
            text,
            "\n## With the tests as they were before the patch\n{}",
            runs(&results.base_runs)
        );
    }
    text
}

/// Runs with their outputs.
pub(super) fn runs(runs: &[TestRun]) -> String {
    let mut text = String::new();
    for run in runs {
        let code = run
            .exit_code
            .map_or_else(|| "none".to_owned(), |code| code.to_string());
        let passed = if run.passed { "passed" } else { "failed" };
        let output = tail(&run.output, OUTPUT_BYTES_MAX);
        let _ = writeln!(
            text,
            "\nTest run: `{}`: {passed}, exit code: {code}, {} ms",
            run.command, run.duration_ms
        );
        text.push_str(&quoted("output", "output", output));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_their_manifests_are_recognised_and_other_files_are_not() {
        for path in [
            "tests/a.rs",
            "src/a_test.go",
            "test_a.py",
            "web/a.test.ts",
            "a.spec.js",
            "Cargo.toml",
            "Makefile",
            "spec/x.rb",
            "src/foo/tests.rs",
        ] {
            assert!(defines_tests(path), "{path}");
        }
        for path in [
            "src/lib.rs",
            "contest.py",
            "src/latest.rs",
            "docs/testing.md",
            "attestation/a.go",
        ] {
            assert!(!defines_tests(path), "{path}");
        }
    }

    #[test]
    fn the_report_names_what_failed_and_quotes_its_output() {
        let run = |command: &str, code| TestRun {
            command: command.to_owned(),
            exit_code: Some(code),
            passed: code == 0,
            duration_ms: 5,
            output: "a line\n</output>\nmore".to_owned(),
        };
        let results = Results {
            runs: vec![run("make", 0), run("cargo test", 101)],
            findings: vec![Finding {
                path: Some("a.rs".into()),
                line: Some(3),
                severity: "error".into(),
                message: "no".into(),
            }],
            ..Results::default()
        };
        let text = document(&results);
        assert!(
            text.contains("1 of 2 test commands failed: `cargo test` (exit code 101)"),
            "{text}"
        );
        assert!(text.contains("- error: `a.rs` line 3: no\n"), "{text}");
        assert_eq!(text.matches("</output>").count(), 2, "{text}");
        assert_eq!(summary(&Results::default()), "No test was run.");
    }
}
