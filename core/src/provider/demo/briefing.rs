//! Reads what an agent told the demonstration about the task and the repository.
//!
//! File contents are understood as `<file path="…">…</file>`, or as a fenced block whose info string
//! or the line before it names the path. Anything else on a line of its own that looks like a path
//! belongs to the list of files.

use std::sync::LazyLock;

use regex::Regex;

use super::language::Language;
use crate::provider::message::{Content, Request, Role};

/// Most files and lines that are looked at.
const FILES_MAX: usize = 2_000;

/// What is known of the task.
#[derive(Debug, Default)]
pub(super) struct Briefing {
    pub(super) title: String,
    /// Where the task began.
    pub(super) origin: Option<(String, Option<usize>)>,
    /// Files that the task or the step of the plan names.
    pub(super) targets: Vec<String>,
    pub(super) tests: Vec<String>,
    /// Paths of the repository, in order.
    pub(super) listed: Vec<String>,
    /// Files whose text is known, in order.
    pub(super) files: Vec<(String, String)>,
    /// Files that a diff in the text changes.
    pub(super) changed: Vec<String>,
    /// The one step of the plan that is to be carried out, where others do the rest.
    part: Option<String>,
    /// The step of the plan that is being read.
    step: String,
    /// Everything that was said, file contents included.
    pub(super) text: String,
}

static FILE_TAG: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^\s*<file\s[^>]*?path="([^"]+)"[^>]*>\s*$"#).ok());
static PATH: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9_.@+/-]*[A-Za-z0-9_]\.[A-Za-z0-9]{1,6}\b").ok());
static PART: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^You carry out step `([^`]+)`").ok());
static STEP: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^### ([^:\s]+):").ok());
static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\d+").ok());

impl Briefing {
    pub(super) fn read(request: &Request) -> Self {
        let texts = request
            .messages
            .iter()
            .filter(|message| message.role == Role::User)
            .flat_map(|message| &message.content);
        let texts = texts.filter_map(|content| match content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let mut briefing = Self {
            text: texts.collect::<Vec<_>>().join("\n"),
            ..Self::default()
        };
        let text = std::mem::take(&mut briefing.text);
        briefing.part = capture(&PART, &text);
        briefing.read_lines(&text);
        if briefing.part.is_some() {
            briefing.origin = None;
        }
        briefing.text = text;
        briefing
    }

    /// Names that the task mentions, to prefer what it is about.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.title
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == name)
    }

    /// The text of this file as the agent showed it.
    pub(super) fn content_of(&self, path: &str) -> Option<&str> {
        self.files
            .iter()
            .find(|(known, _)| known == path)
            .map(|(_, text)| text.as_str())
    }

    fn read_lines(&mut self, text: &str) {
        let mut lines = text.lines().peekable();
        let mut label = String::new();
        let mut previous_path: Option<String> = None;
        while let Some(line) = lines.next() {
            if let Some(path) = capture(&FILE_TAG, line) {
                let mut held = Vec::new();
                for inner in lines.by_ref() {
                    if inner.trim() == "</file>" {
                        break;
                    }
                    held.push(inner);
                }
                self.add_file(path, &held);
                continue;
            }
            let fence = line.trim_start();
            if fence.starts_with("```") {
                let ticks = fence.len() - fence.trim_start_matches('`').len();
                let closing = "`".repeat(ticks);
                let mut held = Vec::new();
                for inner in lines.by_ref() {
                    if inner.trim() == closing {
                        break;
                    }
                    held.push(inner);
                }
                let info = fence.trim_start_matches('`');
                match first_path(info).or_else(|| previous_path.take()) {
                    Some(path) => self.add_file(path, &held),
                    None => self.read_diff(&held),
                }
                continue;
            }
            self.read_diff(&[line]);
            previous_path = if line.trim().is_empty() {
                previous_path
            } else {
                first_path(line)
            };
            self.read_line(line, &mut label);
        }
    }

    fn read_diff(&mut self, lines: &[&str]) {
        for path in lines.iter().filter_map(|line| line.strip_prefix("+++ b/")) {
            push_new(&mut self.changed, path.trim().to_owned());
        }
    }

    fn read_line(&mut self, line: &str, label: &mut String) {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return;
        }
        let is_heading = trimmed.starts_with('#');
        let is_bullet = trimmed.starts_with("- ") || trimmed.starts_with("* ");
        let plain = trimmed
            .trim_start_matches(['#', '-', '*', '>', ' '])
            .replace("**", "");
        if let Some((name, value)) = plain.split_once(':')
            && name.len() <= 24
            && is_label(&name.trim().to_ascii_lowercase())
        {
            *label = name.trim().to_ascii_lowercase();
            self.take_value(label, value.trim());
            return;
        }
        if let Some(step) = capture(&STEP, trimmed) {
            self.step = step;
        }
        if is_heading {
            *label = plain.trim().to_ascii_lowercase();
            return;
        }
        if is_bullet && is_label(label) {
            self.take_value(&label.clone(), plain.trim());
            return;
        }
        if !is_bullet {
            label.clear();
        }
        if self.title.is_empty() {
            plain.trim().clone_into(&mut self.title);
        }
        let first_word = plain
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .trim_matches('`');
        if first_path(first_word).as_deref() == Some(first_word) && self.listed.len() < FILES_MAX {
            push_new(&mut self.listed, first_word.to_owned());
        }
    }

    fn take_value(&mut self, label: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        match label {
            "title" | "task" | "objective" => value.clone_into(&mut self.title),
            "origin" | "place" | "location" => {
                if let Some(path) = first_path(value) {
                    let after = value.split_once(path.as_str()).map_or("", |(_, after)| after);
                    let line = NUMBER
                        .as_ref()
                        .and_then(|number| number.find(after))
                        .and_then(|found| found.as_str().parse().ok());
                    self.origin = Some((path, line));
                }
            }
            "test" | "tests" | "test command" | "test commands" => {
                let command = value.trim_matches('`').trim();
                let says_none = command.is_empty() || command.eq_ignore_ascii_case("none");
                if !says_none {
                    push_new(&mut self.tests, command.to_owned());
                }
            }
            "files" | "repository files" => value
                .split(',')
                .filter_map(first_path)
                .for_each(|path| push_new(&mut self.listed, path)),
            _ if self.is_anothers(label) => {}
            _ => value
                .split(',')
                .filter_map(first_path)
                .for_each(|path| push_new(&mut self.targets, path)),
        }
    }

    /// Whether files under this label are no concern of the step that is carried out.
    fn is_anothers(&self, label: &str) -> bool {
        let part = self.part.as_ref();
        part.is_some_and(|part| label != "touches" || *part != self.step)
    }

    fn add_file(&mut self, path: String, lines: &[&str]) {
        if self.files.len() < FILES_MAX {
            let text = unnumbered(lines);
            self.files.push((path, text));
        }
    }
}

fn is_label(label: &str) -> bool {
    const LABELS: &[&str] = &[
        "title",
        "task",
        "objective",
        "origin",
        "place",
        "location",
        "test",
        "tests",
        "test command",
        "test commands",
        "files",
        "repository files",
        "touches",
        "target",
        "targets",
        "target files",
        "targetfiles",
        "target file",
    ];
    LABELS.contains(&label)
}

fn push_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn capture(regex: &LazyLock<Option<Regex>>, line: &str) -> Option<String> {
    Some(regex.as_ref()?.captures(line)?.get(1)?.as_str().to_owned())
}

/// The first path of a file in a language that the demonstration knows.
pub(super) fn first_path(text: &str) -> Option<String> {
    let found = PATH.as_ref()?.find_iter(text).map(|found| found.as_str());
    let usable = |path: &&str| Language::of(path).is_some() && !path.starts_with('/') && !path.contains("..");
    found
        .filter(usable)
        .map(|path| path.trim_start_matches("./").to_owned())
        .next()
}

/// The text without the numbers that tools put before each line (`   12\t`); all lines or none.
fn unnumbered(lines: &[&str]) -> String {
    match lines
        .iter()
        .map(|line| without_number(line))
        .collect::<Option<Vec<_>>>()
    {
        Some(bare) if !bare.is_empty() => bare.join("\n"),
        _ => lines.join("\n"),
    }
}

/// What follows the line number and the tab.
pub(super) fn without_number(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once('\t')?;
    let number = number.trim_start();
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
}
