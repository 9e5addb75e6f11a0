//! The whole way of a task in an editor, by the offline provider: no key, no network, nothing configured.

mod answers;
mod approvals;
mod edits;

mod told;

use clode_tests::stage::{MODULE, NEW, OLD, Stage, TODO};
use clode_tests::text_editor::{TextEditor, gate};
use serde_json::{Value, json};

/// An editor in which the TODO was typed and not saved, beside a file on disk that knows nothing of it.
fn typed_but_not_saved() -> (Stage, TextEditor) {
    let (stage, file) = (Stage::demo(), "calc.py");
    let (head, tail) = MODULE.split_once("def multiply").unwrap_or_default();
    let rest = tail.split_once("def triple").map_or("", |(_, rest)| rest);
    stage.repo.write(file, format!("{head}def triple{rest}"));
    stage.repo.commit("Without the function");
    let stage = Stage::of(stage.home, stage.repo);
    let mut editor = stage.editor();
    editor.open(&stage.file());
    let function = MODULE
        .get(head.len()..MODULE.find("def triple").unwrap_or(0))
        .unwrap_or_default();
    editor.retype(&stage.file(), "def triple", &format!("{function}def triple"));
    assert_eq!(editor.text(&stage.file()), MODULE);
    (stage, editor)
}

/// An editor with the TODO open.
fn opened() -> (Stage, TextEditor) {
    let stage = Stage::demo();
    let mut editor = stage.editor();
    editor.open(&stage.file());
    (stage, editor)
}

/// An editor whose run has come to the patch gate; the detail there.
fn at_the_patch() -> (Stage, TextEditor, String, Value) {
    let (stage, mut editor) = opened();
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    (stage, editor, run, detail)
}

#[tokio::test]
async fn a_task_goes_from_an_unsaved_todo_to_an_edit_that_is_merged_with_what_was_typed_meanwhile() {
    let (stage, mut editor) = typed_but_not_saved();

    // It is answered at once, and waits for a yes to the plan before anything is changed.
    let started = editor.must("clode.run", &stage.request(&editor));
    let run = started["pipelineId"].as_str().expect("an id").to_owned();
    assert!(run.starts_with("pipeline-"), "{started}");
    assert_eq!(started["reused"], false);
    let planned = editor.until_gate(&run, "plan");
    assert_eq!(planned["status"], "awaitingApproval");
    assert!(
        planned["patch"].is_null() || planned["patch"] == "",
        "{planned:#}"
    );
    for heading in ["## Goal", "## Steps", "## Tests"] {
        assert!(
            planned["plan"]
                .as_str()
                .is_some_and(|plan| plan.contains(heading)),
            "{planned:#}"
        );
    }
    assert_eq!(planned["demo"], true);
    assert!(
        planned["task"]["title"]
            .as_str()
            .is_some_and(|title| title.starts_with("[demo]"))
    );

    // After a yes the person goes on typing: above and below the place, and in the same function.
    editor.approve(&run, "plan");
    editor.retype(
        &stage.file(),
        "\"\"\"Sums.\"\"\"",
        "\"\"\"Sums and products: größer.\"\"\"",
    );
    editor.append(&stage.file(), "\n\nLIMIT = 10\n");
    let patched = editor.until_gate(&run, "patch");
    assert_eq!(
        editor.text(&stage.file()).matches(OLD).count(),
        1,
        "nothing is applied before the yes"
    );
    let file = &patched["files"][0];
    assert_eq!(
        (&file["path"], &file["change"], &file["verdict"]),
        (&json!("calc.py"), &json!("modified"), &json!("allow"))
    );
    assert_eq!(file["hunks"][0]["state"], "pending");
    assert_eq!(
        file["hunks"][0]["range"]["start"]["line"], 5,
        "in the text of now: {:#}",
        file["hunks"]
    );
    assert!(
        patched["testRuns"]
            .as_array()
            .is_some_and(|runs| runs.iter().any(|run| run["passed"] == true)),
        "{patched:#}"
    );
    stage.assert_untouched();

    editor.approve(&run, "patch");
    let done = editor.until_status(&run, "completed");

    let wanted = MODULE
        .replace(OLD, NEW)
        .replace("Sums.", "Sums and products: größer.")
        + "\n\nLIMIT = 10\n";
    assert_eq!(editor.text(&stage.file()), wanted);
    assert_eq!(done["files"][0]["hunks"][0]["state"], "applied");
    assert_eq!(
        (&done["progress"], &done["metrics"]["totalCost"]),
        (&json!(100), &json!(0.0))
    );
    stage.assert_untouched(); // saving is the person's business
    drop(editor);
    stage.assert_nobody_left().await;
}

#[tokio::test]
async fn nothing_is_written_and_nobody_is_left_when_the_plan_is_refused() {
    let (stage, mut editor) = opened();
    let run = editor.run(&stage.request(&editor));
    let planned = editor.until_gate(&run, "plan");

    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": gate(&planned, "plan")["id"], "approved": false }),
    );

    editor.until_status(&run, "cancelled");
    assert_eq!(editor.text(&stage.file()), MODULE);
    assert!(editor.text(&stage.file()).contains(TODO));
    drop(editor);
    stage.assert_nobody_left().await;
    stage.assert_untouched();
}
