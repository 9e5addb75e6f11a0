//! The shapes of `docs/protocol.md` against what the server really answers in a run of the demonstration.

use std::collections::BTreeSet;

use clode_tests::stage::Stage;
use serde_json::{Value, json};

use super::book;

const DOCUMENT: &str = "docs/protocol.md";
/// Fields whose keys are names of somebody's choice, or that belong to the router's own record.
const OPEN: [&str; 2] = ["perProvider", "decision"];

/// The names of all fields, however deep.
fn fields(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, inner)| {
                let below = if OPEN.contains(&name.as_str()) {
                    let values = inner.as_object().into_iter().flat_map(serde_json::Map::values);
                    values.flat_map(fields).collect()
                } else {
                    fields(inner)
                };
                below.into_iter().chain([name.clone()])
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(fields).collect(),
        _ => BTreeSet::new(),
    }
}

/// The words of the whole document: whatever is a name somewhere in it.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.map(str::to_owned).collect()
}

/// The fields of the example in a section.
fn example(section: &str) -> BTreeSet<String> {
    let section = book::section(&book::read(DOCUMENT), section);
    let fence = book::fences(&section)
        .into_iter()
        .find(|fence| fence.language == "json");
    let text = fence.expect("an example").text;
    fields(&serde_json::from_str(&text).expect("an example can be read"))
}

#[track_caller]
fn assert_written(what: &str, answer: &Value) {
    let words = words(&book::read(DOCUMENT));
    let missing: Vec<String> = fields(answer)
        .into_iter()
        .filter(|field| !words.contains(field))
        .collect();
    assert!(
        missing.is_empty(),
        "{what}: fields that are not written down: {missing:?}"
    );
}

/// Fails when the example shows what no answer has. What only some answers have is named.
#[track_caller]
fn assert_example(section: &str, answer: &Value, only_sometimes: &[&str]) {
    let there = fields(answer);
    let stale: Vec<String> = example(section)
        .into_iter()
        .filter(|field| !there.contains(field) && !only_sometimes.contains(&field.as_str()))
        .collect();
    assert!(
        stale.is_empty(),
        "{section}: the example has fields that no answer has: {stale:?}"
    );
}

#[tokio::test]
async fn what_the_server_answers_is_what_the_shapes_say() {
    let stage = Stage::demo();
    let mut editor = stage.editor();
    editor.open(&stage.file());
    let run = editor.run(&stage.request(&editor));

    let planned = editor.until_gate(&run, "plan");
    assert_example("PipelineSummary", &planned, &[]);
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    assert_example("File and Hunk", &detail, &[]);
    let status = editor.must("clode.status", &json!({}));
    assert_example("Status", &status, &[]);

    for (what, answer) in [
        ("clode.pipeline.get at the plan", &planned),
        ("clode.pipeline.get at the patch", &detail),
        ("clode.status", &status),
        ("clode.trust", &editor.must("clode.trust", &json!({}))),
        (
            "clode.reloadConfig",
            &editor.must("clode.reloadConfig", &json!({})),
        ),
        (
            "clode.providers.check",
            &editor.must("clode.providers.check", &json!({})),
        ),
        (
            "clode.pipeline.showDiff",
            &editor.must("clode.pipeline.showDiff", &json!({ "pipelineId": run })),
        ),
        (
            "clode.pipeline.apply",
            &editor.must("clode.pipeline.apply", &json!({ "pipelineId": run })),
        ),
        (
            "clode.pipeline.approve",
            &editor
                .refused(
                    "clode.pipeline.approve",
                    &json!({ "approvalId": "plan-1-0", "approved": true }),
                )
                .data,
        ),
    ] {
        assert_written(what, answer);
    }
    for kind in [
        "clode/didChangePipeline",
        "clode/didChangeStatus",
        "clode/didChangeReview",
        "clode/alert",
    ] {
        for params in editor.client.notifications(kind) {
            assert_written(kind, &params);
        }
    }
}
