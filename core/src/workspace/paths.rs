//! What a path that an agent names, or that a patch holds, may be.
//!
//! Two answers: some paths are never written (they leave the tree, or reach into `.git` by one of
//! its many names); others are written only after a person said yes, because an editor, a package
//! manager, a hook or a CI system executes what they hold without anybody asking for it.

use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Result};

/// The longest path that is accepted.
const PATH_BYTES_MAX: usize = 4096;
/// Bytes of a git index entry name that is accepted as one component.
const COMPONENT_BYTES_MAX: usize = 255;

/// What has to happen before a change of a file is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub enum Verdict {
    /// Nothing special.
    Allow,
    /// A person must say yes to this file by name.
    Ask {
        /// Why, for that person.
        #[serde(rename = "verdictReason")]
        reason: String,
    },
}

/// Folders whose files are executed by tools without being asked; lower case.
const EXECUTED_FOLDERS: &[(&str, &str)] = &[
    (".vscode", "editors run tasks and settings from it"),
    (".vscode-test", "editors run tasks and settings from it"),
    (".idea", "editors run what it configures"),
    (".fleet", "editors run what it configures"),
    (".zed", "editors run what it configures"),
    (".helix", "editors run what it configures"),
    (".nova", "editors run what it configures"),
    (".vs", "editors run what it configures"),
    (".devcontainer", "editors start containers from it"),
    (".claude", "agents run hooks and commands from it"),
    (".cursor", "agents run hooks and servers from it"),
    (".gemini", "agents run hooks and servers from it"),
    (".codex", "agents run hooks and servers from it"),
    (".windsurf", "agents run hooks and servers from it"),
    (".clode", "agents are configured by it"),
    (".husky", "git runs hooks from it"),
    (".githooks", "git runs hooks from it"),
    (".lefthook", "git runs hooks from it"),
    (".circleci", "CI runs it"),
    (".buildkite", "CI runs it"),
    (".woodpecker", "CI runs it"),
    (".yarn", "the package manager loads it"),
    (".cargo", "the package manager runs what it configures"),
    (".mvn", "the build tool loads it"),
    (".direnv", "shells load it"),
    (".nvim", "editors load it"),
];
/// Beginnings of paths (whole components) that CI executes; lower case.
const EXECUTED_PATHS: &[(&str, &str)] = &[
    (".github/workflows", "CI runs it"),
    (".github/actions", "CI runs it"),
    (".gitea/workflows", "CI runs it"),
    (".forgejo/workflows", "CI runs it"),
    (".config/nextest.toml", "the test runner runs scripts from it"),
];
/// File names, anywhere, that are executed; lower case.
const EXECUTED_FILES: &[(&str, &str)] = &[
    (".mcp.json", "agents start servers from it"),
    (".gitattributes", "it chooses programs that git runs"),
    (".gitmodules", "it redirects submodules"),
    (".gitconfig", "it configures programs that git runs"),
    (".ripgreprc", "it configures a program that tools run"),
    (".envrc", "shells run it"),
    (".npmrc", "the package manager runs what it configures"),
    (".yarnrc", "the package manager runs what it configures"),
    (".yarnrc.yml", "the package manager runs what it configures"),
    (".pnpmfile.cjs", "the package manager runs it"),
    ("bunfig.toml", "the package manager loads what it names"),
    (".gitlab-ci.yml", "CI runs it"),
    (".travis.yml", "CI runs it"),
    (".drone.yml", "CI runs it"),
    ("azure-pipelines.yml", "CI runs it"),
    ("bitbucket-pipelines.yml", "CI runs it"),
    ("jenkinsfile", "CI runs it"),
    (".pre-commit-config.yaml", "git runs hooks from it"),
    ("lefthook.yml", "git runs hooks from it"),
    (".lefthook.yml", "git runs hooks from it"),
    (".huskyrc", "git runs hooks from it"),
    (".bashrc", "shells run it"),
    (".bash_profile", "shells run it"),
    (".profile", "shells run it"),
    (".zshrc", "shells run it"),
    (".zshenv", "shells run it"),
    (".exrc", "editors run it"),
    (".vimrc", "editors run it"),
    (".nvimrc", "editors run it"),
    (".nvim.lua", "editors run it"),
    (".dir-locals.el", "editors run it"),
    (".lvimrc", "editors run it"),
    ("mise.toml", "shells load tools and hooks from it"),
    (".mise.toml", "shells load tools and hooks from it"),
    (".tool-versions", "shells choose programs by it"),
    ("rust-toolchain", "it chooses the compiler that tools run"),
    ("rust-toolchain.toml", "it chooses the compiler that tools run"),
    (".aider.conf.yml", "agents run what it configures"),
];
/// Ends of file names that are executed; lower case.
const EXECUTED_ENDINGS: &[(&str, &str)] = &[
    (".code-workspace", "editors run tasks and settings from it"),
    (".sublime-project", "editors run build systems from it"),
];

/// Refuses a path that must never be written: absolute, leaving the tree, or an alias of `.git`.
pub fn check_path(path: &str) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::new(
            Kind::Conflict,
            "refusedPath",
            format!("the path {path:?} is refused: {why}"),
        )
        .hint("name a file inside the repository, relative to its top folder"))
    };
    if path.is_empty() {
        return refuse("it is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return refuse("it is too long");
    }
    if path.contains('\0') {
        return refuse("it holds a NUL");
    }
    if path.starts_with(['/', '\\']) || has_drive(path) {
        return refuse("it is absolute");
    }
    for part in path.split('/') {
        if part.is_empty() {
            return refuse("it has an empty part");
        }
        if part.len() > COMPONENT_BYTES_MAX {
            return refuse("a part of it is too long");
        }
        if part == "." || part == ".." || part.split('\\').any(|piece| piece == "..") {
            return refuse("it leaves the folder");
        }
        if part.split('\\').any(is_dot_git) {
            return refuse("it reaches into `.git`");
        }
        if cfg!(windows) && (part.contains(':') || is_device_name(part)) {
            return refuse("it names a device or a stream");
        }
    }
    Ok(())
}

/// Whether a name means `.git` on any file system: by letter case, trailing dots and spaces, the
/// short name `git~1`, an alternate stream, or characters that some file systems ignore.
pub fn is_dot_git(name: &str) -> bool {
    let visible: String = name
        .chars()
        .filter(|c| !is_ignored_by_hfs(*c))
        .flat_map(char::to_lowercase)
        .collect();
    let without_stream = visible.split(':').next().unwrap_or_default();
    let trimmed = without_stream.trim_end_matches(['.', ' ']);
    trimmed == ".git" || is_short_name(trimmed)
}

/// `git~1` and the like.
fn is_short_name(name: &str) -> bool {
    name.strip_prefix("git~")
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

fn has_drive(path: &str) -> bool {
    let mut chars = path.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.next() == Some(':')
        && matches!(chars.next(), Some('/' | '\\') | None)
}

fn is_device_name(part: &str) -> bool {
    let stem = part
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_lowercase();
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul")
        || (stem.len() == 4
            && (stem.starts_with("com") || stem.starts_with("lpt"))
            && stem.ends_with(|c: char| c.is_ascii_digit()))
}

/// What has to happen before a change at this path is applied. `opened` is the opened folder,
/// relative to the top; empty for the top itself.
pub fn verdict(path: &str, opened: &str) -> Verdict {
    if let Some(why) = executed_because(path) {
        return Verdict::Ask {
            reason: format!("{path}: {why}"),
        };
    }
    let inside = opened.is_empty()
        || path
            .strip_prefix(opened)
            .is_some_and(|rest| rest.starts_with('/'));
    if !inside {
        return Verdict::Ask {
            reason: "outside the opened folder".to_owned(),
        };
    }
    if path.chars().any(is_deceptive) {
        return Verdict::Ask {
            reason: "its name holds characters that are not shown".to_owned(),
        };
    }
    Verdict::Allow
}

/// Why what lies at this path is executed without anybody asking, if it is.
fn executed_because(path: &str) -> Option<&'static str> {
    let folded: String = path
        .chars()
        .filter(|c| !is_ignored_by_hfs(*c))
        .flat_map(char::to_lowercase)
        .collect();
    let parts: Vec<&str> = folded
        .split('/')
        .map(|part| part.trim_end_matches(['.', ' ']))
        .collect();
    let name = parts.last().copied().unwrap_or_default();
    let normal = parts.join("/");
    let by_path = |known: &str| {
        normal
            .strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let find = |table: &[(&'static str, &'static str)], matches: &dyn Fn(&str) -> bool| {
        table
            .iter()
            .find(|(known, _)| matches(known))
            .map(|(_, why)| *why)
    };
    find(EXECUTED_FOLDERS, &|known| parts.contains(&known))
        .or_else(|| find(EXECUTED_PATHS, &by_path))
        .or_else(|| find(EXECUTED_FILES, &|known| name == known))
        .or_else(|| find(EXECUTED_ENDINGS, &|known| name.ends_with(known)))
}

/// Control, direction and tag characters: what is shown is not what is there.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || is_ignored_by_hfs(c)
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}' | '\u{200b}' | '\u{2060}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_out_of_the_tree_is_refused() {
        for path in [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "",
            "./a",
            "a/./b",
            "C:/x",
            "c:\\x",
            "\\\\host\\x",
            "a\\..\\..\\b",
            "a\0b",
        ] {
            assert_eq!(check_path(path).unwrap_err().code, "refusedPath", "{path:?}");
        }
    }

    #[test]
    fn every_name_of_the_git_directory_is_refused() {
        for path in [
            ".git",
            ".git/config",
            "sub/.git/hooks/x",
            ".GIT/config",
            ".gIt",
            ".git.",
            ".git ",
            ".git. .",
            "git~1/config",
            "GIT~1",
            ".git::$INDEX_ALLOCATION",
            ".git:x/config",
            ".g\u{200c}it/config",
            "\u{feff}.git",
            "a\\.git\\config",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn ordinary_names_are_accepted() {
        for path in [
            "a",
            "src/main.rs",
            ".gitignore",
            ".github/x.md",
            "git~x",
            "a..b",
            "…/ä ö.txt",
            "con.txt",
            "x:y",
            "digit~1",
        ] {
            assert!(check_path(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn what_is_executed_unasked_needs_a_yes_in_any_letter_case_and_also_when_it_is_new() {
        for path in [
            ".vscode/tasks.json",
            "web/.VSCode/settings.json",
            ".cUrSoR/mcp.json",
            ".mcp.json",
            "a/.MCP.json",
            ".github/workflows/ci.yml",
            ".GitHub/Workflows/x.yml",
            ".gitattributes",
            "x/.gitmodules",
            "Jenkinsfile",
            "a.code-workspace",
            ".claude/settings.json",
            ".envrc",
            ".husky/pre-commit",
            ".vscode./tasks.json",
        ] {
            assert!(matches!(verdict(path, ""), Verdict::Ask { .. }), "{path}");
        }
        for path in [
            "src/vscode.rs",
            ".github/README.md",
            "Makefile",
            "package.json",
            "docs/.gitignore",
        ] {
            assert_eq!(verdict(path, ""), Verdict::Allow, "{path}");
        }
    }

    #[test]
    fn a_file_outside_the_opened_folder_needs_a_yes() {
        assert_eq!(verdict("web/app.ts", "web"), Verdict::Allow);
        for path in ["api/x.rs", "webx/app.ts", "web"] {
            assert_eq!(
                verdict(path, "web"),
                Verdict::Ask {
                    reason: "outside the opened folder".into()
                }
            );
        }
    }
}
