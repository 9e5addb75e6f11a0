//! An editor takes a request back while it is carried out (`$/cancelRequest`): what was begun is finished, nothing
//! is left that nobody works on.

use std::time::Duration;

use clode_tests::stage::{MODULE, NEW, OLD, Stage};
use clode_tests::text_editor::TextEditor;
use serde_json::json;

/// How long after the request it is taken back: before, while and after the task is stored.
const AFTER_MS: [u64; 8] = [0, 1, 3, 6, 12, 25, 50, 400];

fn opened(stage: &Stage) -> TextEditor {
    let mut editor = stage.editor();
    editor.open(&stage.file());
    editor
}

#[tokio::test]
async fn a_task_that_was_stored_is_worked_on_whenever_its_request_is_taken_back() {
    let stage = Stage::demo();
    let mut editor = opened(&stage);
    // The first request of a session opens the database; here it is open already.
    editor.must("clode.pipeline.list", &json!({}));

    for after in AFTER_MS {
        let mut request = stage.request(&editor);
        request["wait"] = json!(true);
        let pending = editor.client.begin_command("clode.run", &request);
        tokio::time::sleep(Duration::from_millis(after)).await;
        editor.client.cancel(&pending);
        let _ = editor.client.finish(pending);
    }

    let list = editor.must("clode.pipeline.list", &json!({}));
    let runs = list.as_array().expect("pipelines");
    assert!(!runs.is_empty(), "at least the last one was stored: {list:#}");
    for run in runs {
        let id = run["pipelineId"].as_str().expect("an id");
        editor.until(id, "the plan gate", |detail| {
            detail["pendingApproval"]["gate"] == "plan"
        });
    }
    stage.assert_untouched();
}

#[tokio::test]
async fn an_edit_that_the_editor_got_is_recorded_whenever_its_request_is_taken_back() {
    for after in [0, 2, 10, 40] {
        let stage = Stage::demo();
        let mut editor = opened(&stage);
        let run = editor.run(&stage.request(&editor));
        editor.approve(&run, "plan");
        editor.until(&run, "the patch gate", |detail| {
            detail["pendingApproval"]["gate"] == "patch"
        });

        let apply = json!({ "pipelineId": run });
        let pending = editor.client.begin_command("clode.pipeline.apply", &apply);
        tokio::time::sleep(Duration::from_millis(after)).await;
        editor.client.cancel(&pending);
        let _ = editor.client.finish(pending);

        let done = editor.until_status(&run, "completed");
        assert_eq!(done["files"][0]["hunks"][0]["state"], "applied", "{done:#}");
        assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
        stage.assert_untouched();
    }
}
