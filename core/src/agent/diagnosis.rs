//! Findings read off the output of common compilers and test runners, so that they can be shown at
//! their lines. What is not recognised stays in the report.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::pipeline::{Finding, TestRun};

/// Most findings of one run.
const FINDINGS_MAX: usize = 50;
/// Longest message of a finding (characters).
const MESSAGE_CHARS_MAX: usize = 400;
/// How far above its place a message may stand (lines).
const MESSAGE_LINES_MAX: usize = 6;

/// A form of `path, line, message` on one line.
struct Form {
    regex: LazyLock<Option<Regex>>,
    read: fn(&Captures<'_>, &[&str]) -> Option<Finding>,
}

/// Each reads `path` and `line`, and a message from the same line or the lines before.
static FORMS: [Form; 6] = [
    // rustc and clippy: the message stands above `  --> src/lib.rs:3:5`.
    Form {
        regex: LazyLock::new(|| Regex::new(r"^\s*--> (?P<path>[^\s:]+):(?P<line>\d+):\d+").ok()),
        read: compiler,
    },
    // Rust test panics: `thread 'x' panicked at src/lib.rs:3:5:`.
    Form {
        regex: LazyLock::new(|| {
            Regex::new(r"panicked at (?P<path>[^\s:']+):(?P<line>\d+):\d+:?(?P<message>.*)").ok()
        }),
        read: panic,
    },
    // tsc: `src/a.ts(3,5): error TS2304: message`.
    Form {
        regex: LazyLock::new(|| {
            Regex::new(
                r"^(?P<path>[^\s(]+)\((?P<line>\d+),\d+\): (?P<severity>error|warning) (?P<message>.+)$",
            )
            .ok()
        }),
        read: direct,
    },
    // Python tracebacks: `  File "a.py", line 3, in f`.
    Form {
        regex: LazyLock::new(|| Regex::new(r#"^\s*File "(?P<path>[^"]+)", line (?P<line>\d+)"#).ok()),
        read: direct,
    },
    // gcc, clang, mypy, eslint (unix): `a.c:3:5: error: message`.
    Form {
        regex: LazyLock::new(|| {
            Regex::new(r"^(?P<path>[^\s:]+\.\w+):(?P<line>\d+):\d+:? (?P<severity>error|warning)?:? ?(?P<message>.+)$").ok()
        }),
        read: direct,
    },
    // pytest and go test: `a.py:3: AssertionError`, `    a_test.go:3: message`.
    Form {
        regex: LazyLock::new(|| {
            Regex::new(r"^\s*(?P<path>[^\s:]+\.(?:py|go)):(?P<line>\d+): (?P<message>.+)$").ok()
        }),
        read: direct,
    },
];

/// What a failed run says, with paths relative to the top; `folder` is where it ran, relative to the top,
/// and `is_file` knows the files there are.
pub(super) fn findings(
    run: &TestRun,
    root: &str,
    folder: &str,
    is_file: &dyn Fn(&str) -> bool,
) -> Vec<Finding> {
    let lines: Vec<&str> = run.output.lines().collect();
    let mut findings: Vec<Finding> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let read = |form: &Form| {
            (form.read)(
                &form.regex.as_ref()?.captures(line)?,
                lines.get(..index).unwrap_or_default(),
            )
        };
        let Some(mut finding) = FORMS.iter().find_map(read) else {
            continue;
        };
        let next = lines.get(index + 1).copied().unwrap_or_default();
        if finding.message.is_empty() {
            finding.message = shortened(next);
        }
        let Some(path) = finding
            .path
            .as_deref()
            .and_then(|path| known(path, root, folder, is_file))
        else {
            continue;
        };
        finding.path = Some(path);
        if !finding.message.is_empty() && !findings.contains(&finding) {
            findings.push(finding);
        }
        if findings.len() == FINDINGS_MAX {
            break;
        }
    }
    findings
}

/// The path as it is known at the top.
fn known(path: &str, root: &str, folder: &str, is_file: &dyn Fn(&str) -> bool) -> Option<String> {
    let relative = path
        .strip_prefix(root)
        .map_or(path, |rest| rest.trim_start_matches('/'))
        .trim_start_matches("./");
    let in_folder = if folder.is_empty() {
        relative.to_owned()
    } else {
        format!("{folder}/{relative}")
    };
    [in_folder, relative.to_owned()]
        .into_iter()
        .find(|path| is_file(path))
}

fn named(captures: &Captures<'_>, name: &str) -> Option<String> {
    Some(captures.name(name)?.as_str().trim().to_owned()).filter(|text| !text.is_empty())
}

fn finding(captures: &Captures<'_>, severity: String, message: &str) -> Option<Finding> {
    Some(Finding {
        path: named(captures, "path"),
        line: named(captures, "line")?.parse().ok(),
        severity,
        message: shortened(message),
    })
}

fn direct(captures: &Captures<'_>, _before: &[&str]) -> Option<Finding> {
    let severity = named(captures, "severity").unwrap_or_else(|| "error".to_owned());
    finding(
        captures,
        severity,
        &named(captures, "message").unwrap_or_default(),
    )
}

fn panic(captures: &Captures<'_>, _before: &[&str]) -> Option<Finding> {
    finding(
        captures,
        "error".to_owned(),
        &named(captures, "message").unwrap_or_default(),
    )
}

fn compiler(captures: &Captures<'_>, before: &[&str]) -> Option<Finding> {
    let is_message = |line: &&&str| line.starts_with("error") || line.starts_with("warning");
    let message = before.iter().rev().take(MESSAGE_LINES_MAX).find(is_message)?;
    let severity = if message.starts_with("error") {
        "error"
    } else {
        "warning"
    };
    finding(captures, severity.to_owned(), message)
}

fn shortened(message: &str) -> String {
    message.trim().chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(output: &str) -> Vec<(String, u32, String)> {
        let run = TestRun {
            command: "x".to_owned(),
            exit_code: Some(1),
            passed: false,
            duration_ms: 1,
            output: output.to_owned(),
        };
        let is_file = |path: &str| {
            [
                "app/src/lib.rs",
                "app/src/a.ts",
                "app/test_a.py",
                "app/a_test.go",
                "app/a.c",
            ]
            .contains(&path)
        };
        let findings = findings(&run, "/srv/slot", "app", &is_file);
        findings
            .into_iter()
            .map(|finding| (finding.path.unwrap(), finding.line.unwrap(), finding.message))
            .collect()
    }

    fn at(path: &str, line: u32, message: &str) -> (String, u32, String) {
        (path.to_owned(), line, message.to_owned())
    }

    #[test]
    fn each_tool_is_understood() {
        let rust = "error[E0308]: mismatched types\n --> src/lib.rs:3:5\n  |\n";
        assert_eq!(
            found(rust),
            [at("app/src/lib.rs", 3, "error[E0308]: mismatched types")]
        );
        let panic = "thread 'adds' (7) panicked at src/lib.rs:9:5:\nassertion `left == right` failed\n";
        assert_eq!(
            found(panic),
            [at("app/src/lib.rs", 9, "assertion `left == right` failed")]
        );
        assert_eq!(
            found("src/a.ts(3,5): error TS2304: Cannot find name 'x'.\n"),
            [at("app/src/a.ts", 3, "TS2304: Cannot find name 'x'.")]
        );
        assert_eq!(
            found("  File \"/srv/slot/app/test_a.py\", line 4, in f\n    assert 1 == 2\n"),
            [at("app/test_a.py", 4, "assert 1 == 2")]
        );
        assert_eq!(
            found("test_a.py:7: AssertionError\n"),
            [at("app/test_a.py", 7, "AssertionError")]
        );
        assert_eq!(
            found("    a_test.go:5: got 1\n"),
            [at("app/a_test.go", 5, "got 1")]
        );
        assert_eq!(
            found("./a.c:3:5: error: no such thing\n"),
            [at("app/a.c", 3, "no such thing")]
        );
    }

    #[test]
    fn places_outside_the_repository_are_left_out_and_nothing_is_said_twice() {
        assert!(found("  File \"/usr/lib/python3/unittest.py\", line 4, in f\n    x\n").is_empty());
        assert_eq!(found(&"test_a.py:7: AssertionError\n".repeat(3)).len(), 1);
    }
}
