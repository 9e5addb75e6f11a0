//! The Developer of the demonstration: finds the place, reads it, makes one small change, runs the
//! tests, says what it did. It remembers nothing: each turn it looks at what was done so far.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Turn;
use super::briefing::{Briefing, first_path, without_number};
use super::spot::{self, Spot};
use super::writer;
use crate::provider::message::{Content, Request};

/// Most files that are read in search of something to do.
const FILES_READ_MAX: usize = 8;
const HONEST: &str = "The demo provider is no model: it makes one small change by fixed rules.";

/// A tool call that was made, with its result.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    input: &'a Value,
    pub(super) result: String,
    pub(super) is_error: bool,
}

/// The calls since a person or an agent last said something.
pub(super) fn calls(request: &Request) -> Vec<Call<'_>> {
    let says_text = |content: &Content| matches!(content, Content::Text(_));
    let last_words = request.messages.iter().rposition(|message| {
        message.role == crate::provider::message::Role::User && message.content.iter().any(says_text)
    });
    let since = request.messages.iter().skip(last_words.map_or(0, |at| at + 1));
    let content: Vec<&Content> = since.flat_map(|message| &message.content).collect();
    let mut results: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    for piece in &content {
        if let Content::ToolResult { id, text, is_error } = piece {
            results.insert(id, (text, *is_error));
        }
    }
    let made = content.iter().filter_map(|piece| match piece {
        Content::ToolUse { id, name, input } => {
            let (result, is_error) = results.get(id.as_str()).copied().unwrap_or(("", true));
            Some(Call {
                name,
                input,
                result: result.to_owned(),
                is_error,
            })
        }
        _ => None,
    });
    made.collect()
}

/// The next turn.
pub(super) fn respond(request: &Request, briefing: &Briefing) -> Turn {
    let calls = calls(request);
    let has_tool = |name: &str| request.tools.iter().any(|tool| tool.name == name);
    let edits: Vec<&Call<'_>> = calls
        .iter()
        .filter(|call| matches!(call.name, "edit_file" | "write_file"))
        .collect();
    if let Some(done) = edits.iter().find(|call| !call.is_error) {
        return after_edit(done, &calls, briefing, has_tool("run_test"));
    }
    if !has_tool("read_file") || !(has_tool("edit_file") || has_tool("write_file")) {
        return Turn::say(format!(
            "Nothing was changed: no tools to read and to edit files were offered. {HONEST}"
        ));
    }
    let reads: Vec<&Call<'_>> = calls.iter().filter(|call| call.name == "read_file").collect();
    for read in &reads {
        let Some((path, text, is_whole)) = read_result(read) else {
            continue;
        };
        if let Some(spot) = open_spot(&path, &text, briefing) {
            return edit(&path, &text, &spot, is_whole, &edits, &has_tool);
        }
    }
    // Whoever names a file means that file: a note there rather than a change elsewhere.
    let named: Vec<&String> = briefing
        .origin
        .iter()
        .map(|(path, _)| path)
        .chain(&briefing.targets)
        .collect();
    let is_read = |path: &str| {
        reads
            .iter()
            .any(|read| read.input.get("path").and_then(Value::as_str) == Some(path))
    };
    if named.iter().all(|path| is_read(path)) {
        let named_read = reads
            .iter()
            .filter_map(|read| read_result(read))
            .find(|(path, ..)| named.contains(&path));
        if let Some((path, text, is_whole)) = named_read {
            return match spot::note(&path, &text, line_in(&path, briefing), &briefing.title) {
                Some(spot) => edit(&path, &text, &spot, is_whole, &edits, &has_tool),
                None => Turn::say(format!(
                    "Nothing was changed: the note about this task is in {path} already. {HONEST}"
                )),
            };
        }
    }
    next_read(&calls, &reads, briefing, &has_tool)
}

fn line_in(path: &str, briefing: &Briefing) -> Option<usize> {
    briefing
        .origin
        .as_ref()
        .filter(|(origin, _)| origin == path)
        .and_then(|(_, line)| *line)
}

fn open_spot(path: &str, text: &str, briefing: &Briefing) -> Option<Spot> {
    spot::choose(&spot::find(path, text), line_in(path, briefing), briefing).cloned()
}

fn edit(
    path: &str,
    text: &str,
    spot: &Spot,
    is_whole: bool,
    failed: &[&Call<'_>],
    has_tool: &dyn Fn(&str) -> bool,
) -> Turn {
    let has_failed = |name: &str| failed.iter().any(|call| call.name == name);
    if has_tool("edit_file")
        && !has_failed("edit_file")
        && let Some((old_text, new_text)) = spot.change.replacement(text)
    {
        let input = json!({ "path": path, "old_text": old_text, "new_text": new_text });
        return Turn::call(format!("{} in {path}.", spot.title), "edit_file", input);
    }
    if has_tool("write_file")
        && !has_failed("write_file")
        && is_whole
        && let Some(content) = spot.change.apply(text)
    {
        return Turn::call(
            format!("{} in {path}.", spot.title),
            "write_file",
            json!({ "path": path, "content": content }),
        );
    }
    let reason = failed
        .last()
        .map_or("the place is not unique", |call| call.result.as_str());
    Turn::say(format!(
        "Nothing was changed: {path} could not be edited ({reason}). {HONEST}"
    ))
}

/// The path, the text, and whether that is the whole file.
fn read_result(call: &Call<'_>) -> Option<(String, String, bool)> {
    if call.is_error {
        return None;
    }
    let path = call.input.get("path")?.as_str()?.to_owned();
    let numbered: Vec<&str> = call.result.lines().filter_map(without_number).collect();
    if numbered.is_empty() {
        return Some((path, call.result.clone(), false));
    }
    let is_whole = numbered.len() == call.result.lines().count();
    let text = numbered.join("\n");
    Some((path, if is_whole { format!("{text}\n") } else { text }, is_whole))
}

fn next_read(
    calls: &[Call<'_>],
    reads: &[&Call<'_>],
    briefing: &Briefing,
    has_tool: &dyn Fn(&str) -> bool,
) -> Turn {
    let was_called = |name: &str| calls.iter().any(|call| call.name == name);
    let mut candidates: Vec<String> = Vec::new();
    candidates.extend(briefing.origin.iter().map(|(path, _)| path.clone()));
    candidates.extend(briefing.targets.iter().cloned());
    candidates.extend(writer::target(briefing).map(|(path, _)| path));
    for call in calls
        .iter()
        .filter(|call| matches!(call.name, "search" | "list_files") && !call.is_error)
    {
        candidates.extend(call.result.lines().filter_map(first_path));
    }
    let is_read = |path: &str| {
        reads
            .iter()
            .any(|call| call.input.get("path").and_then(Value::as_str) == Some(path))
    };
    let unread = candidates.iter().find(|path| !is_read(path));
    if let Some(path) = unread.filter(|_| reads.len() < FILES_READ_MAX) {
        return Turn::call(format!("Reading {path}."), "read_file", json!({ "path": path }));
    }
    if has_tool("search") && !was_called("search") {
        return Turn::call("Looking for open work.", "search", json!({ "pattern": "TODO" }));
    }
    if has_tool("list_files") && !was_called("list_files") {
        return Turn::call("Looking at what there is.", "list_files", json!({}));
    }
    let read: Vec<&str> = reads
        .iter()
        .filter_map(|call| call.input.get("path")?.as_str())
        .collect();
    let looked = if read.is_empty() {
        "no file".to_owned()
    } else {
        read.join(", ")
    };
    Turn::say(format!(
        "Nothing was changed: no TODO and no undocumented public item was found (looked at {looked}). {HONEST}"
    ))
}

fn after_edit(edit: &Call<'_>, calls: &[Call<'_>], briefing: &Briefing, can_run_tests: bool) -> Turn {
    let path = edit.input.get("path").and_then(Value::as_str).unwrap_or("a file");
    let run = calls.iter().find(|call| call.name == "run_test");
    if run.is_none() && can_run_tests && !briefing.tests.is_empty() {
        return Turn::call("Running the tests.", "run_test", json!({}));
    }
    let reads = calls
        .iter()
        .filter(|call| call.name == "read_file")
        .filter_map(read_result);
    let done = reads
        .filter(|(read, ..)| read == path)
        .find_map(|(_, text, _)| open_spot(path, &text, briefing));
    let what = done.map_or_else(|| "Left a note about the task".to_owned(), |spot| spot.done);
    let tests = match run {
        Some(run) if writer::has_passed(&run.result, run.is_error) => "The tests passed.",
        Some(_) => "The tests failed after it.",
        None => "No test was run.",
    };
    Turn::say(format!(
        "{} in {path}. {tests} {HONEST}",
        what.trim_end_matches('.')
    ))
}
