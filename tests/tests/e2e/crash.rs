//! `kill -9` at every kind of moment: what was paid for is kept, what was answered is not asked again,
//! nobody is left behind, and the run goes on to the edit.

use std::time::{Duration, Instant};

use clode_tests::processes;
use clode_tests::scripted_api::{Hold, Script, ScriptedApi, Steps};
use clode_tests::stage::{MODULE, NEW, OLD, PLAN, Stage, assert_usd, calls, cost_of, develops, edits, says};
use clode_tests::text_editor::{FINISH_LIMIT, TextEditor, gate};
use serde_json::{Value, json};

/// Calls of a run in which nothing goes wrong: brief, plan, four of the Developer, lessons.
const CALLS: u32 = 7;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A team whose Developer works like this, and whose every other call is expected once: one more fails.
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

/// Kills the server as the kernel would and opens the workspace in a new one.
async fn kill_and_open_again(stage: &Stage, mut editor: TextEditor) -> TextEditor {
    editor.client.kill();
    drop(editor);
    stage.assert_nobody_left().await;
    opened(stage)
}

/// The run is in the list of the new server.
#[track_caller]
fn assert_listed(editor: &mut TextEditor, run: &str) {
    let list = editor.must("clode.pipeline.list", &json!({}));
    let found = list
        .as_array()
        .is_some_and(|list| list.iter().any(|entry| entry["pipelineId"] == json!(run)));
    assert!(found, "{run} is not in {list:#}");
}

/// The last working directory is given back right after the end.
#[track_caller]
fn no_working_directory_is_left(editor: &mut TextEditor) {
    let end = Instant::now() + FINISH_LIMIT;
    loop {
        let status = editor.must("clode.status", &json!({}));
        if status["worktrees"]["active"] == 0 {
            return;
        }
        assert!(Instant::now() < end, "a working directory is leaked: {status:#}");
    }
}

/// Says yes to what is still asked, to the edit in the buffer; answers the detail at the end.
#[track_caller]
fn finish(stage: &Stage, editor: &mut TextEditor, run: &str) -> Value {
    editor.approve(run, "patch");
    let done = editor.until_status(run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    no_working_directory_is_left(editor);
    stage.assert_untouched();
    done
}

#[tokio::test]
async fn a_plan_gate_survives_and_what_led_to_it_is_not_paid_again() {
    let api = ScriptedApi::start(team(develops));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    let id = gate(&editor.until_gate(&run, "plan"), "plan")["id"].clone();

    let mut editor = kill_and_open_again(&stage, editor).await;

    assert_listed(&mut editor, &run);
    let detail = editor.detail(&run);
    assert_eq!(detail["status"], "awaitingApproval");
    assert_eq!(gate(&detail, "plan")["id"], id, "it is the same question");
    editor.approve(&run, "plan");
    let done = finish(&stage, &mut editor, &run);
    assert_usd(&done["metrics"]["totalCost"], cost_of(CALLS));
    assert_usd(&done["metrics"]["unconfirmedCost"], 0.0);
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn an_answer_that_was_given_right_before_is_not_asked_for_again() {
    let api = ScriptedApi::start(team(develops));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");

    let mut editor = kill_and_open_again(&stage, editor).await;

    let detail = editor.until(&run, "the patch gate", |detail| {
        assert_ne!(detail["pendingApproval"]["gate"], "plan", "the yes is forgotten");
        detail["pendingApproval"]["gate"] == "patch"
    });
    assert_eq!(
        detail["metrics"]["unconfirmedCost"]
            .as_f64()
            .map(|cost| cost < 1.0),
        Some(true)
    );
    finish(&stage, &mut editor, &run);
    drop(editor);
    // The kill may have met a call of the Developer on its way, which is then sent again.
    api.ignore_complaints();
    assert_eq!(
        (
            api.requests_of("taskMaster").len(),
            api.requests_of("architect").len()
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_developer_goes_on_after_the_last_tool_and_the_call_in_flight_is_shown_as_unconfirmed() {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(calls("read_file", json!({ "path": "calc.py" })))
            .replies(edits().held_by(&hold))
            .replies(edits())
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
    }));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    hold.reached().await;

    let mut editor = kill_and_open_again(&stage, editor).await;
    hold.release();

    // Nobody has to ask for it: opening the workspace is enough.
    assert_listed(&mut editor, &run);
    editor.until_gate(&run, "patch");
    let done = finish(&stage, &mut editor, &run);
    let unconfirmed = done["metrics"]["unconfirmedCost"].as_f64().unwrap_or_default();
    assert!(unconfirmed > 0.0, "{:#}", done["metrics"]);
    assert_usd(&done["metrics"]["totalCost"], cost_of(CALLS) + unconfirmed);
    drop(editor);
    api.assert_clean();
    let developer = api.requests_of("developer");
    assert_eq!(
        developer[1].body["messages"], developer[2].body["messages"],
        "the very same question is asked again"
    );
}

#[tokio::test]
async fn a_question_survives_and_the_turn_that_asked_it_is_not_paid_for_again() {
    let api = ScriptedApi::start(team(|s| {
        s.replies(calls("ask_person", json!({ "question": "Should it round?" })))
            .replies(edits())
            .replies(says("multiply is written."))
    }));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let before = editor.until_gate(&run, "question");

    let mut editor = kill_and_open_again(&stage, editor).await;

    let after = editor.until_gate(&run, "question");
    assert_eq!(gate(&after, "question")["id"], gate(&before, "question")["id"]);
    let answer = json!({
        "pipelineId": run, "approvalId": gate(&after, "question")["id"], "approved": true, "comment": "Yes.",
    });
    editor.must("clode.pipeline.approve", &answer);
    editor.until_gate(&run, "patch");
    let done = finish(&stage, &mut editor, &run);
    assert_usd(&done["metrics"]["totalCost"], cost_of(CALLS - 1));
    drop(editor);
    api.assert_clean();
    assert_eq!(api.requests_of("developer").len(), 3);
}

#[tokio::test]
async fn a_patch_gate_survives_and_its_hunks_can_be_applied() {
    let api = ScriptedApi::start(team(develops));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let before = editor.until_gate(&run, "patch");

    let mut editor = kill_and_open_again(&stage, editor).await;

    assert_listed(&mut editor, &run);
    let after = editor.until_gate(&run, "patch");
    assert_eq!(gate(&after, "patch")["id"], gate(&before, "patch")["id"]);
    let ids = |detail: &Value| detail["files"][0]["hunks"][0]["id"].clone();
    assert_eq!(ids(&after), ids(&before));
    let done = finish(&stage, &mut editor, &run);
    assert_usd(&done["metrics"]["totalCost"], cost_of(CALLS));
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_test_that_ran_dies_with_the_server_whatever_it_has_forked() {
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits())
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
            .may_end_early()
    }));
    let stage = Stage::api(&api);
    stage.repo.write(
        "slow.py",
        "import os, time\n\
         if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(300)\n    os._exit(0)\n\
         time.sleep(3)\n",
    );
    stage.repo.commit("A slow test");
    let stage = Stage::of(stage.home, stage.repo);
    let mut editor = opened(&stage);
    let mut request = stage.request(&editor);
    request["task"]["tests"] = json!(["python3 slow.py"]);
    let run = editor.run(&request);
    editor.approve(&run, "plan");
    let runs_test = |process: &processes::Process| {
        process.command.ends_with("python3 slow.py") || process.command.ends_with("slow.py")
    };
    let end = Instant::now() + FINISH_LIMIT;
    // The test itself and the grandchild that left its session.
    while processes::carrying(stage.home.mark())
        .iter()
        .filter(|process| runs_test(process))
        .count()
        < 2
    {
        assert!(
            Instant::now() < end,
            "the test never ran: {:#?}",
            processes::carrying(stage.home.mark())
        );
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }

    let mut editor = kill_and_open_again(&stage, editor).await;

    editor.until_gate(&run, "patch");
    finish(&stage, &mut editor, &run);
    drop(editor);
    stage.assert_nobody_left().await;
    api.assert_clean();
}

#[tokio::test]
async fn another_editor_takes_over_a_run_whose_server_was_killed() {
    let api = ScriptedApi::start(team(develops));
    let stage = Stage::api(&api);
    let mut first = opened(&stage);
    let mut second = opened(&stage);
    let run = first.run(&stage.request(&first));
    first.until_gate(&run, "plan");

    first.client.kill();

    second.approve(&run, "plan");
    let done = finish(&stage, &mut second, &run);
    assert_usd(&done["metrics"]["totalCost"], cost_of(CALLS));
    drop((first, second));
    api.assert_clean();
}

#[tokio::test]
async fn a_second_server_on_the_same_workspace_never_drives_a_run_that_has_an_owner() {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits().held_by(&hold))
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
    }));
    let stage = Stage::api(&api);
    let mut first = opened(&stage);
    let run = first.run(&stage.request(&first));
    first.approve(&run, "plan");
    hold.reached().await;

    // It opens the workspace, sees the run, asks for it to be resumed, and still drives nothing.
    let mut second = opened(&stage);
    assert_listed(&mut second, &run);
    assert_eq!(second.detail(&run)["status"], "running");
    let _refused_or_nothing = second.command("clode.pipeline.resume", &json!({ "pipelineId": run }));
    hold.release();

    first.until_gate(&run, "patch");
    second.until_gate(&run, "patch");
    finish(&stage, &mut second, &run);
    drop((first, second));
    api.assert_clean();
}

#[tokio::test]
async fn a_run_of_the_command_line_that_was_killed_is_resumed_to_its_applied_edit() {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits().held_by(&hold))
            .replies(edits())
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
    }));
    let stage = Stage::api(&api);
    let cli = stage.cli().within(FINISH_LIMIT);
    let running = cli.start(&[
        "run",
        "Write multiply",
        "--test",
        "python3 test_calc.py",
        "--id",
        "T-1",
        "--yes",
        "--json",
    ]);
    hold.reached().await;

    running.kill().await;
    stage.assert_nobody_left().await;
    hold.release();

    let list = cli
        .run(&["pipelines", "list", "--json"])
        .await
        .expect_code(0)
        .json();
    let run = list[0]["pipelineId"]
        .as_str()
        .expect("the run is listed")
        .to_owned();
    cli.run(&["pipelines", "resume", &run]).await.assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
    let shown = cli
        .run(&["pipelines", "show", &run, "--json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(shown["status"], "completed");
    assert!(
        shown["metrics"]["unconfirmedCost"].as_f64() > Some(0.0),
        "{:#}",
        shown["metrics"]
    );
    api.assert_clean();
}

#[tokio::test]
async fn a_gate_of_the_command_line_is_answered_in_an_editor_after_a_crash() {
    let hold = Hold::new();
    let api = ScriptedApi::start(
        Script::new()
            .agent("taskMaster", |s| {
                s.replies(says("Held.").held_by(&hold))
                    .replies(says("Write multiply."))
            })
            .agent("architect", |s| s.replies(says(PLAN)))
            .agent("developer", develops)
            .agent("kbBuilder", |s| s.replies(says("[]"))),
    );
    let stage = Stage::api(&api);
    let cli = stage.cli().within(FINISH_LIMIT);
    let running = cli.start(&["run", "Write multiply", "--test", "python3 test_calc.py"]);
    hold.reached().await;
    running.kill().await;
    stage.assert_nobody_left().await;
    hold.release();

    let mut editor = opened(&stage);
    let list = editor.must("clode.pipeline.list", &json!({}));
    let run = list[0]["pipelineId"]
        .as_str()
        .expect("the run is listed")
        .to_owned();
    editor.approve(&run, "plan");
    finish(&stage, &mut editor, &run);
    drop(editor);
    api.assert_clean();
}
