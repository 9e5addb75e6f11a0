//! Reads Markdown as far as the tests need it: sections, tables, fences, code spans.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no documents of ours.
const FOREIGN: [&str; 5] = ["target", "node_modules", ".git", "fixtures", "media"];

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) language: String,
    pub(super) text: String,
    /// Of its first line, from 1.
    pub(super) line: usize,
}

/// A heading outside of fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) level: usize,
    pub(super) title: String,
    /// Index of its line.
    line: usize,
}

/// The top of the tree.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie below the top")
        .to_owned()
}

/// A file below the top.
pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Markdown document of the tree, by its path.
pub(super) fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root(), "", "md", &mut found);
    assert!(
        found.iter().any(|(path, _)| path == "README.md"),
        "the README is there"
    );
    found
}

/// Files with this ending below a folder, by their path.
pub(super) fn collect(folder: &Path, prefix: &str, ending: &str, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry"))
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        let kind = entry.file_type().expect("its type");
        if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
            collect(&entry.path(), &path, ending, found);
        } else if kind.is_file() && name.ends_with(&format!(".{ending}")) {
            let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
            found.push((path, text));
        }
    }
}

/// Lines with whether they are prose, outside of fences.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut fenced = false;
    text.lines().enumerate().map(move |(index, line)| {
        let is_mark = line.trim_start().starts_with("```");
        let is_prose = !fenced && !is_mark;
        fenced ^= is_mark;
        (index, line, is_prose)
    })
}

/// The text without its fences.
pub(super) fn prose(text: &str) -> String {
    let kept = lines(text).filter(|(_, _, is_prose)| *is_prose);
    kept.map(|(_, line, _)| line).collect::<Vec<_>>().join("\n")
}

/// The fenced blocks.
pub(super) fn fences(text: &str) -> Vec<Fence> {
    let mut found: Vec<Fence> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            open = !open;
            if open {
                let language = language.trim().to_owned();
                found.push(Fence {
                    language,
                    text: String::new(),
                    line: index + 2,
                });
            }
        } else if open && let Some(fence) = found.last_mut() {
            fence.text.push_str(line);
            fence.text.push('\n');
        }
    }
    assert!(!open, "a fence is not closed");
    found
}

/// The headings.
pub(super) fn headings(text: &str) -> Vec<Heading> {
    lines(text)
        .filter(|(_, _, is_prose)| *is_prose)
        .filter_map(|(line, content, _)| {
            let level = content.bytes().take_while(|byte| *byte == b'#').count();
            let title = content.get(level..)?.strip_prefix(' ')?.trim().to_owned();
            (1..=6).contains(&level).then_some(Heading { level, title, line })
        })
        .collect()
}

/// What stands under a heading, up to the next one of its level or above.
pub(super) fn section(text: &str, title: &str) -> String {
    let headings = headings(text);
    let at = headings
        .iter()
        .position(|heading| heading.title == title)
        .unwrap_or_else(|| panic!("there is no section `{title}`"));
    let (before, rest) = headings.split_at(at + 1);
    let this = before.last().expect("the heading itself");
    let end = rest.iter().find(|heading| heading.level <= this.level);
    let all: Vec<&str> = text.lines().collect();
    let end = end.map_or(all.len(), |heading| heading.line);
    all.get(this.line + 1..end).unwrap_or_default().join("\n")
}

/// The rows of all tables: their cells, without heads and rules.
pub(super) fn rows(text: &str) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    for (_, line, is_prose) in lines(text) {
        let inner = line
            .trim()
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'));
        let Some(inner) = inner.filter(|_| is_prose) else {
            continue;
        };
        if inner
            .chars()
            .all(|character| matches!(character, '|' | '-' | ' ' | ':'))
        {
            // What stood above the rule was the head.
            found.pop();
        } else {
            found.push(cells(inner));
        }
    }
    found
}

/// A bar inside of a code span is no border.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut in_code = false;
    for character in line.chars() {
        in_code ^= character == '`';
        if character == '|' && !in_code {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(character);
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Everything between single backticks.
pub(super) fn code_spans(text: &str) -> Vec<String> {
    let prose = prose(text);
    prose
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The code spans of the first column of all tables.
pub(super) fn first_column(text: &str) -> Vec<String> {
    let rows = rows(text);
    rows.iter()
        .filter_map(|row| row.first())
        .flat_map(|cell| code_spans(cell))
        .collect()
}

/// The anchor of a heading, as GitHub makes it.
pub(super) fn anchor(title: &str) -> String {
    let lower = title.to_lowercase();
    let kept = lower
        .chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
    kept.map(|character| if character == ' ' { '-' } else { character })
        .collect()
}
