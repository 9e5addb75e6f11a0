//! Several clients on one repository: what one of them holds unsaved, no other one overtakes.

use std::time::{Duration, Instant};

use clode_tests::stage::{MODULE, NEW, OLD, Stage};
use clode_tests::text_editor::{FINISH_LIMIT, TextEditor};
use serde_json::{Value, json};

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// An editor whose run waits at the patch gate.
fn at_the_patch(stage: &Stage) -> (TextEditor, String) {
    let mut editor = stage.editor();
    editor.open(&stage.file());
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.until_gate(&run, "patch");
    (editor, run)
}

/// Another editor of the same person, who types at the end of the file and does not save.
fn somebody_types(stage: &Stage) -> TextEditor {
    let mut other = stage.editor();
    other.open(&stage.file());
    other.append(&stage.file(), "\n\nLIMIT = 10\n");
    other
}

/// Waits until the word of the other editor has arrived: the edit that is only asked for leaves the file out.
#[track_caller]
fn until_held(editor: &mut TextEditor, run: &str) {
    let end = Instant::now() + FINISH_LIMIT;
    loop {
        let answer = editor.must("clode.pipeline.edit", &json!({ "pipelineId": run }));
        if answer["omitted"][0]["code"] == "openElsewhere" {
            return;
        }
        assert!(Instant::now() < end, "{answer:#}");
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

/// Applies until the answer for the file is this one: another process's word takes a moment to arrive.
#[track_caller]
fn apply_until(editor: &mut TextEditor, run: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + FINISH_LIMIT;
    loop {
        let answer = editor.must("clode.pipeline.apply", &json!({ "pipelineId": run }));
        if fits(&answer["files"][0]) {
            return answer["files"][0].clone();
        }
        assert!(Instant::now() < end, "{answer:#}");
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

#[tokio::test]
async fn a_file_that_another_editor_holds_unsaved_is_refused_by_name_until_it_is_closed_there() {
    let stage = Stage::demo();
    let (mut editor, run) = at_the_patch(&stage);
    let mut other = somebody_types(&stage);
    until_held(&mut editor, &run);

    let answer = editor.must("clode.pipeline.apply", &json!({ "pipelineId": run }));

    let file = &answer["files"][0];
    assert_eq!(file["result"], "failed", "{answer:#}");
    assert_eq!(file["code"], "openElsewhere", "{answer:#}");
    let message = file["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("calc.py") && message.contains("text-editor"),
        "{message}"
    );
    assert_eq!(editor.text(&stage.file()), MODULE, "nothing was brought in");
    let refused = editor.detail(&run);
    assert_eq!(refused["status"], "awaitingApproval", "{refused:#}");

    // What is typed there stays there; once it is closed, the same hunks go in.
    other.close(&stage.file());
    apply_until(&mut editor, &run, |file| file["result"] == "applied");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    editor.until_status(&run, "completed");
}

#[tokio::test]
async fn text_that_is_saved_is_in_nobodys_way() {
    let stage = Stage::demo();
    let (mut editor, run) = at_the_patch(&stage);
    let mut other = somebody_types(&stage);
    until_held(&mut editor, &run);
    let first = editor.must("clode.pipeline.apply", &json!({ "pipelineId": run }));
    assert_eq!(first["files"][0]["code"], "openElsewhere", "{first:#}");

    other.save(&stage.file());

    apply_until(&mut editor, &run, |file| file["result"] == "applied");
    drop(other);
}

#[tokio::test]
async fn the_command_line_leaves_the_file_alone_and_the_dead_hold_nothing() {
    let stage = Stage::demo();
    let (mut editor, run) = at_the_patch(&stage);
    let mut other = somebody_types(&stage);
    until_held(&mut editor, &run);

    let refused = stage.cli().run(&["pipelines", "apply", &run, "--json"]).await;

    refused.assert_code(1);
    let answer = refused.json();
    assert_eq!(answer["files"][0]["code"], "openElsewhere", "{answer:#}");
    assert_eq!(
        stage.repo.read("calc.py"),
        MODULE,
        "the file on the disk is untouched"
    );

    // The editor and its server die: nobody holds the text any more.
    other.client.kill();
    drop(other);
    let applied = stage.cli().run(&["pipelines", "apply", &run, "--json"]).await;
    applied.assert_code(0);
    assert_eq!(applied.json()["files"][0]["result"], "applied");
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    drop(editor);
}
