//! What the program may do with a tool: one pure function of the tool, its arguments and the place.

use std::path::{Component, Path, PathBuf};

use globset::GlobSet;
use serde_json::Value;

use crate::pipeline::PermissionAsk;
use crate::task::{CommandOrigin, TestCommand};
use crate::workspace::check_path;

/// Tools that look.
const LOOKING: [&str; 5] = ["Read", "Grep", "Glob", "LS", "NotebookRead"];
/// Tools that change files.
const CHANGING: [&str; 4] = ["Edit", "Write", "MultiEdit", "NotebookEdit"];
/// Arguments that name a path.
const PATH_ARGUMENTS: [&str; 3] = ["file_path", "path", "notebook_path"];
/// Programs whose only use is the network, or to get out.
const NETWORK_PROGRAMS: [&str; 14] = [
    "curl", "wget", "ssh", "scp", "sftp", "rsync", "nc", "ncat", "netcat", "telnet", "ftp", "socat", "sudo",
    "su",
];
/// Longest command that a person is asked about (characters).
const COMMAND_CHARS_MAX: usize = 2_000;

/// Where the program works.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// The top folder of its files.
    pub(super) root: PathBuf,
    /// Where it was started.
    pub(super) folder: PathBuf,
    /// What it must not see.
    pub(super) exclude: GlobSet,
    /// Commands that the task declares. The program has the network, so only what a person wrote down
    /// runs without asking.
    pub(super) tests: Vec<TestCommand>,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Yes; the path that it is about, relative to the root, is still to be checked for links.
    Allow { path: Option<String> },
    /// No, and why.
    Deny { reason: String },
    /// A person decides.
    Ask(PermissionAsk),
}

fn deny(reason: impl Into<String>) -> Decision {
    Decision::Deny {
        reason: reason.into(),
    }
}

/// Decides about one call.
pub(super) fn decide(tool: &str, input: &Value, place: &Surroundings) -> Decision {
    if LOOKING.contains(&tool) {
        let pattern = input.get("pattern").and_then(Value::as_str).unwrap_or_default();
        if tool == "Glob" && (pattern.starts_with(['/', '~']) || pattern.split('/').any(|part| part == ".."))
        {
            return deny("the pattern leaves the working directory");
        }
        return match path_of(input) {
            None => Decision::Allow { path: None },
            Some(path) => file(path, place, Purpose::Look),
        };
    }
    if CHANGING.contains(&tool) {
        return path_of(input).map_or_else(
            || deny("no file is named"),
            |path| file(path, place, Purpose::Change),
        );
    }
    if tool == "Bash" {
        return bash(
            input.get("command").and_then(Value::as_str).unwrap_or_default(),
            place,
        );
    }
    deny(format!("the tool {tool} is not available here"))
}

/// A few words about a call, for progress.
pub(super) fn activity(tool: &str, input: &Value) -> String {
    let of = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = Path::new(path_of(input).unwrap_or_default())
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("the files");
    match tool {
        "Read" => format!("reads {name}"),
        "Edit" | "MultiEdit" | "NotebookEdit" => format!("edits {name}"),
        "Write" => format!("writes {name}"),
        "Grep" | "Glob" => format!("searches for {}", of("pattern")),
        "Bash" => format!("runs {}", of("command")),
        other => format!("uses {other}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Look,
    Change,
}

fn path_of(input: &Value) -> Option<&str> {
    PATH_ARGUMENTS
        .iter()
        .find_map(|name| input.get(*name)?.as_str())
        .filter(|path| !path.trim().is_empty())
}

fn file(path: &str, place: &Surroundings, purpose: Purpose) -> Decision {
    let Some(relative) = relative(path, place) else {
        return deny(format!(
            "{path} is outside the working directory {}",
            place.root.display()
        ));
    };
    if relative.is_empty() {
        return match purpose {
            Purpose::Look => Decision::Allow { path: None },
            Purpose::Change => deny("that is a folder"),
        };
    }
    if let Err(error) = check_path(&relative) {
        return deny(error.message);
    }
    if purpose == Purpose::Change
        && relative
            .split('/')
            .any(|part| part.eq_ignore_ascii_case(".claude"))
    {
        return deny("files in `.claude` configure agents and are not changed by agents");
    }
    if place.exclude.is_match(&relative) {
        return deny(format!(
            "{relative} is excluded from what agents may see, by configuration"
        ));
    }
    Decision::Allow { path: Some(relative) }
}

/// The path relative to the root, by its words alone; none if it leaves the root.
fn relative(path: &str, place: &Surroundings) -> Option<String> {
    if path.contains('\0') || path.starts_with('~') {
        return None;
    }
    let absolute = place.folder.join(path);
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Some(clean.strip_prefix(&place.root).ok()?.to_str()?.to_owned())
}

fn bash(command: &str, place: &Surroundings) -> Decision {
    let plain = without_cd(command.trim(), place);
    if plain.is_empty() {
        return deny("there is no command");
    }
    let typed = |test: &TestCommand| test.origin == CommandOrigin::Person && test.command.trim() == plain;
    if place.tests.iter().any(typed) {
        return Decision::Allow { path: None };
    }
    let words = plain
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '|' | '&' | '(' | ')' | '`' | '\'' | '"'));
    for word in words {
        let program = word.rsplit('/').next().unwrap_or(word);
        if NETWORK_PROGRAMS.contains(&program) {
            return deny(format!(
                "`{program}` is not available: there is no network for agents"
            ));
        }
        if word.split('/').any(crate::workspace::is_dot_git)
            || word.split('/').any(|part| part.eq_ignore_ascii_case(".claude"))
        {
            return deny("`.git` and `.claude` are out of bounds");
        }
    }
    let command = plain.chars().take(COMMAND_CHARS_MAX).collect();
    Decision::Ask(PermissionAsk {
        tool: "Bash".to_owned(),
        command: Some(command),
        paths: Vec::new(),
    })
}

/// The command without a `cd` to where it runs anyway.
fn without_cd<'c>(command: &'c str, place: &Surroundings) -> &'c str {
    let rest = command.strip_prefix("cd ").and_then(|rest| rest.split_once("&&"));
    match rest {
        Some((folder, command)) if Path::new(folder.trim().trim_matches(['"', '\''])) == place.folder => {
            command.trim()
        }
        _ => command,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::survey::excluded;

    fn place() -> Surroundings {
        let test = |command: &str, origin| TestCommand {
            command: command.to_owned(),
            success_regex: None,
            timeout_ms: None,
            origin,
        };
        Surroundings {
            root: "/slot/wt".into(),
            folder: "/slot/wt/app".into(),
            exclude: excluded(&["private/**".to_owned()]),
            tests: vec![
                test("cargo test", CommandOrigin::Repository),
                test("make check", CommandOrigin::Person),
            ],
        }
    }

    fn decided(tool: &str, input: &Value) -> String {
        match decide(tool, input, &place()) {
            Decision::Allow { path } => format!("allow {}", path.unwrap_or_default()),
            Decision::Deny { .. } => "deny".to_owned(),
            Decision::Ask(ask) => format!("ask {}", ask.command.unwrap_or_default()),
        }
    }

    #[test]
    fn files_inside_are_free_and_everything_else_is_out_of_bounds() {
        for (tool, path, expected) in [
            ("Read", "/slot/wt/app/a.rs", "allow app/a.rs"),
            ("Read", "a.rs", "allow app/a.rs"),
            ("Edit", "../b.rs", "allow b.rs"),
            ("Write", "/slot/wt/new/deep/c.rs", "allow new/deep/c.rs"),
            (
                "Write",
                "/slot/wt/.github/workflows/ci.yml",
                "allow .github/workflows/ci.yml",
            ),
            ("Read", "/slot/wt", "allow "),
            ("Edit", "/slot/wt", "deny"),
            ("Read", "/etc/passwd", "deny"),
            ("Read", "/slot/wt/../git/config", "deny"),
            ("Read", "/slot/wtf/a.rs", "deny"),
            ("Read", "../../a", "deny"),
            ("Read", "~/.ssh/id_rsa", "deny"),
            ("Edit", "/slot/wt/.git", "deny"),
            ("Edit", "/slot/wt/.GIT/hooks/x", "deny"),
            ("Edit", "/slot/wt/sub/.git/config", "deny"),
            ("Write", "/slot/wt/.claude/settings.json", "deny"),
            ("Write", "/slot/wt/app/.Claude/x", "deny"),
            ("Read", "/slot/wt/private/key", "deny"),
            ("Write", "", "deny"),
        ] {
            assert_eq!(
                decided(tool, &json!({ "file_path": path })),
                expected,
                "{tool} {path}"
            );
        }
        assert_eq!(decided("Grep", &json!({ "pattern": "../x" })), "allow ");
        assert_eq!(
            decided("Grep", &json!({ "pattern": "x", "path": "/etc" })),
            "deny"
        );
        assert_eq!(decided("Glob", &json!({ "pattern": "**/*.rs" })), "allow ");
        assert_eq!(decided("Glob", &json!({ "pattern": "/etc/*" })), "deny");
        assert_eq!(decided("Glob", &json!({ "pattern": "../../*" })), "deny");
        for tool in [
            "WebFetch",
            "WebSearch",
            "Task",
            "AskUserQuestion",
            "mcp__x__y",
            "",
            "read",
        ] {
            assert_eq!(
                decided(tool, &json!({ "file_path": "/slot/wt/a" })),
                "deny",
                "{tool}"
            );
        }
    }

    #[test]
    fn declared_tests_run_and_other_commands_are_asked_about() {
        for (command, expected) in [
            ("cargo test", "ask cargo test"),
            (" cargo test\n", "ask cargo test"),
            ("make check", "allow "),
            ("cd /slot/wt/app && make check", "allow "),
            ("cd /tmp && make check", "ask cd /tmp && make check"),
            ("cargo test; rm -rf /", "ask cargo test; rm -rf /"),
            ("cargo test --all", "ask cargo test --all"),
            ("curl http://example.org", "deny"),
            ("x=$(/usr/bin/wget y)", "deny"),
            ("cat .git/config", "deny"),
            ("echo > .claude/settings.json", "deny"),
            ("", "deny"),
        ] {
            assert_eq!(
                decided("Bash", &json!({ "command": command })),
                expected,
                "{command}"
            );
        }
        assert_eq!(decided("Bash", &json!({})), "deny");
    }
}
