//! The words that an agent hears about its task, after what it sees of the repository.
//!
//! Labelled lines (`Title:`, `Origin:`, `Target files:`, `Tests:`) are a form of our own that the
//! demonstration reads as well.

use std::fmt::Write as _;

use super::assignment::Assignment;
use super::survey::quoted;
use crate::provider::{Content, Message, Role};
use crate::task::{Priority, TestCommand};

/// Longest patch that is quoted (bytes).
const PATCH_BYTES_MAX: usize = 120 * 1024;
/// Longest report of QA that is quoted (bytes).
const REPORT_BYTES_MAX: usize = 64 * 1024;

/// The first turn: the repository, then the task, so that the part that stays the same stands first.
pub(super) fn opening(repository: String, task: String) -> Message {
    let parts = [repository, task].into_iter().filter(|part| !part.is_empty());
    Message {
        role: Role::User,
        content: parts.map(Content::Text).collect(),
    }
}

/// The task in a form that every agent gets.
pub(super) fn task(assignment: &Assignment, tests: &[TestCommand]) -> String {
    let mut text = format!(
        "# The task\nTitle: {}\nPriority: {}\n",
        one_line(&assignment.title),
        priority(assignment.priority)
    );
    if !assignment.description.trim().is_empty() {
        let _ = write!(text, "\nDescription:\n{}\n", assignment.description.trim());
    }
    if let Some(origin) = &assignment.origin {
        let first = origin.start_line.saturating_add(1);
        let _ = writeln!(
            text,
            "\nOrigin: `{}` lines {first}-{}",
            origin.path,
            origin.end_line.max(first)
        );
        if !origin.text.trim().is_empty() {
            text.push_str(&quoted("selection", "selection", &origin.text));
        }
    }
    let tests: Vec<String> = tests.iter().map(|test| test.command.replace('\n', " ")).collect();
    list(&mut text, "Target files", &assignment.target_files);
    list(&mut text, "Tests", &tests);
    list(&mut text, "Constraints (each must hold)", &assignment.constraints);
    list(
        &mut text,
        "Diagnostics that it is about (data)",
        &assignment.diagnostics,
    );
    text
}

/// What the others have said so far: brief, plan, findings, a person's comment.
pub(super) fn so_far(assignment: &Assignment) -> String {
    let mut text = String::new();
    if let Some(brief) = &assignment.brief {
        let _ = write!(text, "\n# Brief of the Task Master\n{}\n", brief.trim());
    }
    if let Some(plan) = &assignment.plan {
        let _ = write!(text, "\n# The approved plan\n{}\n", plan.trim());
    }
    if let Some(part) = &assignment.part {
        let _ = write!(
            text,
            "\n# Your part\nYou carry out step `{part}` of this plan and nothing else. Other Developers carry out the other steps at the same time, each in files of their own (how is not shown here): what they do may not be in your working directory yet, and tests of it may fail. Touch only the files of your step; your changes are merged with theirs.\n"
        );
    }
    if !assignment.collided_in.is_empty() {
        let _ = write!(
            text,
            "\n# Your last result could not be merged\nOther Developers had changed the same lines meanwhile, in: {}. Their work is in your working directory now, yours is not. Do your step again on top of it and keep theirs.\n",
            assignment.collided_in.join(", ")
        );
    }
    if let Some(patch) = &assignment.patch {
        let _ = write!(
            text,
            "\n# A patch that belongs to the task\n{}",
            quoted_patch(patch)
        );
    }
    if let Some(findings) = &assignment.findings {
        let report = quoted("report", "report", cut(findings, REPORT_BYTES_MAX));
        let _ = write!(
            text,
            "\n# QA sent the work back\nYour earlier changes are in the working directory. Repair what failed.\n{report}"
        );
    }
    if let Some(comment) = &assignment.comment {
        let _ = write!(
            text,
            "\n# A person commented on the last round\nDeal with every point:\n{}\n",
            comment.trim()
        );
    }
    text
}

/// A patch as data.
pub(super) fn quoted_patch(patch: &str) -> String {
    quoted(
        "patch",
        "patch",
        &format!("```diff\n{}\n```", cut(patch, PATCH_BYTES_MAX).trim_end()),
    )
}

/// The beginning of a text, cut at a line end.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = text.get(..end).unwrap_or_default();
    head.rfind('\n')
        .and_then(|line_end| head.get(..=line_end))
        .unwrap_or(head)
}

fn list(text: &mut String, label: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = write!(text, "\n{label}:\n");
    for item in items {
        let _ = writeln!(text, "- {}", item.trim());
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Medium => "medium",
        Priority::High => "high",
    }
}
