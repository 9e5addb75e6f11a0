//! `docs/protocol.md` against the handshake and the sources.

use std::collections::BTreeSet;

use clode_tests::lsp_client::{LspClient, presets};
use serde_json::Value;

use super::{assert_same, book, sources};

const DOCUMENT: &str = "docs/protocol.md";
/// Names that look like commands and are files.
const FILES: [&str; 1] = ["clode.db"];

fn announced() -> Value {
    LspClient::start().initialize(&presets::bare())
}

fn names(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn spans(section: &str) -> BTreeSet<String> {
    book::first_column(&book::section(&book::read(DOCUMENT), section))
        .into_iter()
        .collect()
}

#[test]
fn every_announced_command_has_a_section_and_every_section_is_of_an_announced_command() {
    let result = announced();
    let commands = names(&result["capabilities"]["executeCommandProvider"]["commands"]);
    assert_eq!(
        commands,
        names(&result["capabilities"]["experimental"]["clode"]["commands"])
    );
    let section = book::section(&book::read(DOCUMENT), "Commands");
    let titles = book::headings(&section)
        .into_iter()
        .filter(|heading| heading.level == 3);
    let written = titles
        .map(|heading| heading.title.trim_matches('`').to_owned())
        .collect();
    assert_same("commands", &written, &commands);
}

#[test]
fn no_document_names_a_command_that_is_not_there() {
    let commands = names(&announced()["capabilities"]["executeCommandProvider"]["commands"]);
    for (path, text) in book::documents() {
        let spans = book::code_spans(&text).into_iter();
        let of_ours = spans.filter(|span| {
            span.starts_with("clode.") && span.chars().all(|c| c == '.' || c.is_alphanumeric())
        });
        let unknown: Vec<String> = of_ours
            .filter(|span| !commands.contains(span) && !FILES.contains(&span.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}

#[test]
fn agents_and_gates_are_those_of_the_handshake() {
    let result = announced();
    let clode = &result["capabilities"]["experimental"]["clode"];
    assert_same("agents", &spans("Agents"), &names(&clode["agents"]));
    assert_same("gates", &spans("Gates"), &names(&clode["gates"]));
}

#[test]
fn hunk_states_and_statuses_are_those_of_the_sources() {
    let of = |declaration| {
        sources::variants(declaration)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_same("hunk states", &spans("Hunk states"), &of("HunkState"));
    assert_same("statuses", &spans("PipelineSummary"), &of("Status"));
    let details = book::section(&book::read(DOCUMENT), "PipelineDetail");
    for status in of("StepStatus") as BTreeSet<String> {
        assert!(
            details.contains(&format!("`{status}`")),
            "step status `{status}` is not written down"
        );
    }
}

#[test]
fn events_and_their_fields_are_those_of_the_sources() {
    let section = book::section(&book::read(DOCUMENT), "Events");
    let events = sources::variants("RunEvent");
    assert_same(
        "events",
        &spans("Events"),
        &events.iter().map(|(name, _)| name.clone()).collect(),
    );
    let rows = book::rows(&section);
    for (event, fields) in events {
        let row = rows
            .iter()
            .find(|row| row.first().is_some_and(|cell| *cell == format!("`{event}`")));
        let written = row.expect("it is in the table").join(" ");
        for field in fields {
            let is_written = ["`", "?`"]
                .iter()
                .any(|end| written.contains(&format!("`{field}{end}")));
            assert!(
                is_written,
                "event `{event}`: the field `{field}` is not written down"
            );
        }
    }
}

#[test]
fn error_codes_are_those_of_the_sources() {
    let written = spans("Error codes");
    let given = sources::codes(|path| !path.contains("/config/"));
    // The command line checks configurations, too.
    let mistakes = book::first_column(&book::section(&book::read("docs/configuration.md"), "Mistakes"));
    let missing: Vec<&String> = given
        .difference(&written)
        .filter(|code| !mistakes.contains(code))
        .collect();
    assert!(
        missing.is_empty(),
        "error codes that are not written down: {missing:?}"
    );
    let all: String = sources::all().into_iter().map(|(_, text)| text).collect();
    let stale: Vec<&String> = written
        .iter()
        .filter(|code| !all.contains(&format!("\"{code}\"")))
        .collect();
    assert!(stale.is_empty(), "error codes that nothing gives: {stale:?}");
}

#[test]
fn every_json_example_can_be_read() {
    let mut count = 0;
    for (path, text) in book::documents() {
        for fence in book::fences(&text)
            .into_iter()
            .filter(|fence| fence.language == "json")
        {
            let read = serde_json::from_str::<Value>(&fence.text);
            assert!(read.is_ok(), "{path}:{}: {:?}", fence.line, read.err());
            count += 1;
        }
    }
    assert!(count > 10, "only {count} examples were found");
}

#[test]
fn the_kinds_of_code_actions_are_those_of_the_handshake() {
    let kinds = names(&announced()["capabilities"]["codeActionProvider"]["codeActionKinds"]);
    assert_same("code action kinds", &spans("Code actions"), &kinds);
}
