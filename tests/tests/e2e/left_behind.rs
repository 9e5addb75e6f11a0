//! Two editors on one workspace: when the server of one ends, however it ends, the other one goes on with its
//! runs. Nobody has to ask for it.

use std::time::Duration;

use clode_tests::scripted_api::{Hold, Script, ScriptedApi, Steps};
use clode_tests::stage::{MODULE, NEW, OLD, PLAN, Stage, calls, develops, edits, says, with_a_todo};
use clode_tests::text_editor::TextEditor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// Long enough for a server to have noticed, were it to act by itself.
const UNASKED_FOR: Duration = Duration::from_secs(3);

fn team(developer: impl FnOnce(Steps) -> Steps) -> Script {
    Script::new()
        .agent("taskMaster", |s| s.replies(says("Write multiply in calc.py.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent("developer", developer)
        .agent("kbBuilder", |s| s.replies(says("[]")))
}

fn opened(stage: &Stage) -> TextEditor {
    let mut editor = stage.editor();
    editor.open(&stage.file());
    editor
}

/// A Developer whose first answer waits.
fn develops_held(steps: Steps, hold: &Hold) -> Steps {
    steps
        .replies(edits().held_by(hold))
        .replies(calls("run_test", json!({})))
        .replies(says("Done."))
}

/// One editor's Developer is at work when its server ends like this; the other editor, which nobody asks for
/// anything, goes on to the edit.
async fn goes_on_elsewhere_after(end: impl FnOnce(TextEditor)) {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits().held_by(&hold))
            .replies(edits())
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
    }));
    let stage = Stage::api(&api);
    let mut one = opened(&stage);
    let mut other = opened(&stage);
    let run = one.run(&stage.request(&one));
    one.approve(&run, "plan");
    hold.reached().await;

    end(one);
    hold.release();

    other.until(&run, "the patch gate", |detail| {
        detail["pendingApproval"]["gate"] == "patch"
    });
    other.approve(&run, "patch");
    other.until_status(&run, "completed");
    assert_eq!(other.text(&stage.file()), MODULE.replace(OLD, NEW));
    stage.assert_untouched();
    drop(other);
    api.assert_clean();
}

#[tokio::test]
async fn what_works_in_a_server_that_is_killed_goes_on_in_another_that_is_open_there() {
    goes_on_elsewhere_after(|mut one| one.client.kill()).await;
}

#[tokio::test]
async fn what_works_in_a_server_that_is_closed_goes_on_in_another_that_is_open_there() {
    goes_on_elsewhere_after(|mut one| {
        one.client.shut_down();
    })
    .await;
}

/// Stops or continues the server of an editor, as a suspended machine does.
fn send(editor: &TextEditor, signal: Signal) {
    let id = i32::try_from(editor.client.process_id())
        .ok()
        .and_then(Pid::from_raw);
    assert!(
        id.is_some_and(|id| kill_process(id, signal).is_ok()),
        "{signal:?}"
    );
}

#[tokio::test]
async fn a_server_that_sleeps_keeps_its_runs_and_goes_on_with_them_when_it_wakes_up() {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| develops_held(s, &hold)));
    let stage = Stage::api(&api);
    let mut one = opened(&stage);
    let mut other = opened(&stage);
    let run = one.run(&stage.request(&one));
    one.approve(&run, "plan");
    hold.reached().await;
    let asked = api.requests_of("developer").len();

    send(&one, Signal::STOP);
    hold.release();
    tokio::time::sleep(UNASKED_FOR).await;

    assert_eq!(other.detail(&run)["status"], "running");
    assert_eq!(
        api.requests_of("developer").len(),
        asked,
        "nobody took the run of a server that lives"
    );
    send(&one, Signal::CONT);
    let detail = one.until_gate(&run, "patch");
    let mut steps = detail["steps"].as_array().into_iter().flatten();
    assert!(
        steps.all(|step| step["attempts"] == 1 || step["status"] == "pending"),
        "{detail:#}"
    );
    other.approve(&run, "patch");
    other.until_status(&run, "completed");
    assert_eq!(other.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop((one, other));
    api.assert_clean();
}

#[tokio::test]
async fn where_interrupted_runs_are_asked_about_nothing_goes_on_by_itself() {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        develops(s.replies(edits().held_by(&hold))).may_end_early()
    }));
    let stage = Stage::api_with(&api, with_a_todo(), "pipelines:\n  resume: ask\n");
    let mut one = opened(&stage);
    let mut other = opened(&stage);
    let run = one.run(&stage.request(&one));
    one.approve(&run, "plan");
    hold.reached().await;
    let asked = api.requests_of("developer").len();

    one.client.kill();
    drop(one);
    hold.release();
    tokio::time::sleep(UNASKED_FOR).await;

    assert_eq!(api.requests_of("developer").len(), asked, "nobody said yes");
    let detail = other.detail(&run);
    assert_eq!(detail["status"], "running", "{detail:#}");
    other.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    other.until_status(&run, "cancelled");
    drop(other);
    api.ignore_complaints();
}
