//! What was paid for once is not paid for again where nothing of it has changed, and what was rejected, or
//! asked for anew, is.

use clode_tests::scripted_api::{Script, ScriptedApi, Steps};
use clode_tests::stage::{
    MODULE, NEW, OLD, PLAN, Stage, assert_usd, calls, cost_of, develops, edits, says, step, with_a_todo,
};
use clode_tests::text_editor::{FINISH_LIMIT, TextEditor, gate};
use serde_json::{Value, json};

/// A file that only the Developer looks at.
const RULES: &str = "rules.txt";

/// The Developer reads the rules, edits, and is done: three calls, none of them a command.
fn reads_the_rules(steps: Steps) -> Steps {
    steps
        .replies(calls("read_file", json!({ "path": RULES })))
        .replies(edits())
        .replies(says("Written by the rules."))
}

/// Brief, plan and Developer are asked so many times.
fn team(briefs: usize, plans: usize, developer: impl FnOnce(Steps) -> Steps) -> Script {
    let brief = says("Write multiply in calc.py.");
    Script::new()
        .agent("taskMaster", |s| {
            (0..briefs).fold(s, |s, _| s.replies(brief.clone()))
        })
        .agent("architect", |s| (0..plans).fold(s, |s, _| s.replies(says(PLAN))))
        .agent("developer", developer)
}

fn opened(stage: &Stage) -> TextEditor {
    let mut editor = stage.editor();
    editor.open(&stage.file());
    editor
}

/// A repository with rules in a file that no survey shows.
fn with_rules(api: &ScriptedApi) -> Stage {
    let repo = with_a_todo();
    repo.write(RULES, "Be brief.\n");
    repo.write("other.txt", "Nothing.\n");
    repo.commit("Rules");
    Stage::api_with(api, repo, "")
}

/// The task under a name of the caller's.
fn named(stage: &Stage, editor: &TextEditor, options: &Value) -> Value {
    let mut request = stage.request(editor);
    request["task"]["id"] = json!("T-1");
    request["options"] = options.clone();
    request
}

/// Starts the task and brings it to its patch.
fn to_patch(editor: &mut TextEditor, request: &Value) -> (String, Value) {
    let run = editor.run(request);
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    (run, detail)
}

fn cancel(editor: &mut TextEditor, run: &str) {
    editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    editor.until_status(run, "cancelled");
}

fn say_no(editor: &mut TextEditor, run: &str, detail: &Value, at: &str) {
    let no = json!({ "pipelineId": run, "approvalId": gate(detail, at)["id"], "approved": false });
    editor.must("clode.pipeline.approve", &no);
}

/// The agents whose step is an earlier result.
fn cached(detail: &Value) -> Vec<&str> {
    let steps = detail["steps"].as_array().into_iter().flatten();
    steps
        .filter(|step| step["cached"] == true)
        .filter_map(|step| step["agent"].as_str())
        .collect()
}

#[tokio::test]
async fn after_a_retry_of_the_plan_that_changes_nothing_the_developer_is_not_paid_again_even_by_another_process()
 {
    let api = ScriptedApi::start(team(1, 2, develops));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let request = stage.request(&editor);
    let (run, first) = to_patch(&mut editor, &request);
    assert_eq!(cached(&first), Vec::<&str>::new());
    cancel(&mut editor, &run);

    editor.client.kill();
    drop(editor);
    stage.assert_nobody_left().await;
    let mut editor = opened(&stage);
    editor.must(
        "clode.pipeline.retry",
        &json!({ "pipelineId": run, "fromStep": "architect" }),
    );
    let planned = editor.until_gate(&run, "plan");
    assert_eq!(
        cached(&planned),
        Vec::<&str>::new(),
        "the step that was named is asked again"
    );
    editor.approve(&run, "plan");
    let second = editor.until_gate(&run, "patch");

    assert_eq!(cached(&second), ["developer"]);
    assert_usd(&step(&second, "developer")["savedCost"], cost_of(4));
    assert_usd(&second["metrics"]["totalCost"], cost_of(7));
    assert_eq!(second["patch"], first["patch"]);
    assert_eq!(
        second["testRuns"][0]["passed"], true,
        "QA tests again: {second:#}"
    );
    let shown = stage.cli().run(&["pipelines", "show", &run]).await.expect_code(0);
    assert!(shown.stdout.contains("cached, saved $0.0122"), "{}", shown.stdout);
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn an_edited_plan_is_another_question_and_the_plan_before_it_is_not_forgotten() {
    let api = ScriptedApi::start(team(1, 1, |s| develops(develops(s))));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let request = named(&stage, &editor, &json!({}));
    let (run, _) = to_patch(&mut editor, &request);
    cancel(&mut editor, &run);
    let edited = PLAN.replace("Return `a * b`", "Return `a * b`, and nothing else,");
    let mut with_edited_plan = || {
        let run = editor.run(&request);
        let planned = editor.until_gate(&run, "plan");
        assert_eq!(cached(&planned), ["taskMaster", "architect"]);
        let yes = json!({
            "pipelineId": run, "approvalId": gate(&planned, "plan")["id"], "approved": true, "plan": edited,
        });
        editor.must("clode.pipeline.approve", &yes);
        let detail = editor.until_gate(&run, "patch");
        cancel(&mut editor, &run);
        detail
    };

    let first = with_edited_plan();
    let second = with_edited_plan();

    assert_eq!(cached(&first), ["taskMaster", "architect"]);
    assert_eq!(
        cached(&second),
        ["taskMaster", "architect", "developer"],
        "the same edit is the same question"
    );
    assert_eq!(second["plan"].as_str().map(str::trim), Some(edited.trim()));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

/// A plan of two steps that need nothing of each other.
const PLAN_IN_PARTS: &str = "\
# Plan: Write multiply and say so

## Goal
`multiply` answers the product, and the notes say so.

## Steps
### step-1: Write the function
- agent: developer
- touches: calc.py
- needs: none

Return `a * b` in calc.py.

### step-2: Write the notes
- agent: developer
- touches: notes.md
- needs: none

Write notes.md.

## Tests
- python3 test_calc.py
";

#[tokio::test]
async fn of_two_developers_only_the_one_whose_step_of_the_plan_was_edited_works_again() {
    let notes = |text: &str| calls("write_file", json!({ "path": "notes.md", "content": text }));
    let script = Script::new()
        .agent("taskMaster", |s| s.replies(says("Write multiply and notes.")))
        .agent("architect", |s| s.replies(says(PLAN_IN_PARTS)))
        .agent_about("developer", "carry out step `step-1`", |s| {
            s.replies(edits()).replies(says("Written."))
        })
        .agent_about("developer", "carry out step `step-2`", |s| {
            s.replies(notes("short\n"))
                .replies(says("Noted."))
                .replies(notes("at length\n"))
                .replies(says("Noted at length."))
        });
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let request = named(&stage, &editor, &json!({}));
    let (run, first) = to_patch(&mut editor, &request);
    assert!(
        first["patch"]
            .as_str()
            .is_some_and(|patch| patch.contains("+short"))
    );
    cancel(&mut editor, &run);

    let run = editor.run(&request);
    let planned = editor.until_gate(&run, "plan");
    let edited = PLAN_IN_PARTS.replace("Write notes.md.", "Write notes.md at length.");
    let yes = json!({
        "pipelineId": run, "approvalId": gate(&planned, "plan")["id"], "approved": true, "plan": edited,
    });
    editor.must("clode.pipeline.approve", &yes);
    let second = editor.until_gate(&run, "patch");

    let by_id = |id: &str| {
        let steps = second["steps"].as_array().into_iter().flatten();
        let mut found = steps.filter(|step| step["id"] == id);
        found.next().map(|step| step["cached"] == true)
    };
    assert_eq!(by_id("developer.step-1"), Some(true), "{:#}", second["steps"]);
    assert_eq!(by_id("developer.step-2"), Some(false), "{:#}", second["steps"]);
    let patch = second["patch"].as_str().unwrap_or_default();
    assert!(
        patch.contains("+    return a * b") && patch.contains("+at length"),
        "{patch}"
    );
    assert_usd(&second["metrics"]["totalCost"], cost_of(2));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn a_named_task_that_is_started_again_pays_for_nothing_though_a_file_that_nobody_read_has_changed() {
    let api = ScriptedApi::start(team(1, 1, reads_the_rules));
    let stage = with_rules(&api);
    let mut editor = opened(&stage);
    let request = named(&stage, &editor, &json!({}));
    let (run, first) = to_patch(&mut editor, &request);
    cancel(&mut editor, &run);
    stage.repo.write("other.txt", "Something.\n");

    let mut request = request;
    request["eventToken"] = json!("again");
    let (again, second) = to_patch(&mut editor, &request);

    assert_ne!(run, again);
    assert_eq!(cached(&second), ["taskMaster", "architect", "developer"]);
    assert_usd(&second["metrics"]["totalCost"], 0.0);
    assert_usd(&step(&second, "developer")["cost"], 0.0);
    assert_usd(&step(&second, "developer")["savedCost"], cost_of(3));
    assert_eq!(second["plan"], first["plan"]);
    assert_eq!(
        second["patch"], first["patch"],
        "only the Developer's change is in it"
    );
    let told = editor.client.notifications("$/progress");
    let finished = told.iter().filter(|params| params["token"] == "again");
    let finished = finished.filter(|params| params["value"]["type"] == "stepFinished");
    let told_as_cached = finished
        .filter(|params| params["value"]["cached"] == true)
        .count();
    assert_eq!(told_as_cached, 3);
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_developer_whose_rules_have_changed_works_again_and_brief_and_plan_are_reused() {
    let api = ScriptedApi::start(team(1, 1, |s| reads_the_rules(reads_the_rules(s))));
    let stage = with_rules(&api);
    let mut editor = opened(&stage);
    let request = named(&stage, &editor, &json!({}));
    let (run, _) = to_patch(&mut editor, &request);
    cancel(&mut editor, &run);
    stage.repo.write(RULES, "Be thorough.\n");

    let (_, second) = to_patch(&mut editor, &request);

    assert_eq!(cached(&second), ["taskMaster", "architect"]);
    assert_usd(&second["metrics"]["totalCost"], cost_of(3));
    let read = api.requests_of("developer")[4].body["messages"].to_string();
    assert!(read.contains("Be thorough."), "{read}");
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn what_ran_a_command_is_reused_on_the_very_same_files_only() {
    let api = ScriptedApi::start(team(1, 1, |s| develops(develops(s))));
    let stage = with_rules(&api);
    let mut editor = opened(&stage);
    let request = named(&stage, &editor, &json!({}));
    let (run, _) = to_patch(&mut editor, &request);
    cancel(&mut editor, &run);

    let (run, same) = to_patch(&mut editor, &request);
    assert_eq!(cached(&same), ["taskMaster", "architect", "developer"]);
    cancel(&mut editor, &run);
    stage.repo.write("other.txt", "Something.\n");
    let (_, other) = to_patch(&mut editor, &request);

    assert_eq!(cached(&other), ["taskMaster", "architect"]);
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_plan_and_a_patch_that_a_person_refused_are_never_offered_again() {
    let api = ScriptedApi::start(team(1, 2, |s| reads_the_rules(reads_the_rules(s))));
    let stage = with_rules(&api);
    let mut editor = opened(&stage);
    let request = named(&stage, &editor, &json!({}));

    let run = editor.run(&request);
    let planned = editor.until_gate(&run, "plan");
    say_no(&mut editor, &run, &planned, "plan");
    editor.until_status(&run, "cancelled");
    let (run, second) = to_patch(&mut editor, &request);
    assert_eq!(cached(&second), ["taskMaster"]);
    say_no(&mut editor, &run, &second, "patch");
    editor.until_status(&run, "completed");
    // On the very same files the task would count as done.
    stage.repo.write("other.txt", "Something.\n");
    let (_, third) = to_patch(&mut editor, &request);

    assert_eq!(cached(&third), ["taskMaster", "architect"]);
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_change_that_did_not_pass_qa_is_made_anew() {
    let wrong = json!({ "path": "calc.py", "old_text": OLD, "new_text": "    return a + b\n" });
    let right = json!({ "path": "calc.py", "old_text": "    return a + b\n", "new_text": NEW });
    let script = team(1, 2, |s| {
        s.replies(calls("edit_file", wrong))
            .replies(says("Written."))
            .replies(calls("edit_file", right))
            .replies(says("Repaired."))
            .replies(edits())
            .replies(says("Written well."))
    });
    let api = ScriptedApi::start(script.agent("qa", |s| s.replies(says("It adds."))));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let request = stage.request(&editor);
    let (run, _) = to_patch(&mut editor, &request);
    cancel(&mut editor, &run);

    editor.must(
        "clode.pipeline.retry",
        &json!({ "pipelineId": run, "fromStep": "architect" }),
    );
    editor.approve(&run, "plan");
    let again = editor.until_gate(&run, "patch");

    assert_eq!(cached(&again), Vec::<&str>::new());
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn lessons_of_the_same_patch_are_not_drawn_twice() {
    let script = team(1, 1, develops).agent("kbBuilder", |s| s.replies(says("[]")));
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let request = stage.request(&editor);
    let (run, _) = to_patch(&mut editor, &request);
    editor.approve(&run, "patch");
    let first = editor.until_status(&run, "completed");
    assert_eq!(cached(&first), Vec::<&str>::new());

    editor.must(
        "clode.pipeline.retry",
        &json!({ "pipelineId": run, "fromStep": "qa" }),
    );
    let second = editor.until_status(&run, "completed");

    assert_eq!(cached(&second), ["kbBuilder"]);
    assert_usd(&step(&second, "kbBuilder")["savedCost"], cost_of(1));
    assert_usd(&second["metrics"]["totalCost"], cost_of(7));
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn a_run_that_bypasses_the_cache_asks_for_everything() {
    let api = ScriptedApi::start(team(2, 2, |s| develops(develops(s))));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let request = named(&stage, &editor, &json!({}));
    let (run, _) = to_patch(&mut editor, &request);
    cancel(&mut editor, &run);

    let bypassing = named(&stage, &editor, &json!({ "cache": "bypass" }));
    let (_, second) = to_patch(&mut editor, &bypassing);

    assert_eq!(cached(&second), Vec::<&str>::new());
    assert_usd(&second["metrics"]["totalCost"], cost_of(6));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn results_of_other_tasks_are_used_by_who_asks_for_them_until_the_cache_is_cleared() {
    let api = ScriptedApi::start(team(3, 3, |s| develops(develops(develops(s)))));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let plain = stage.request(&editor);
    let (run, _) = to_patch(&mut editor, &plain);
    cancel(&mut editor, &run);
    let (run, second) = to_patch(&mut editor, &plain);
    assert_eq!(
        cached(&second),
        Vec::<&str>::new(),
        "another task is another lineage"
    );
    cancel(&mut editor, &run);

    let mut using = plain;
    using["options"] = json!({ "cache": "use" });
    let (run, third) = to_patch(&mut editor, &using);
    assert_eq!(cached(&third), ["taskMaster", "architect", "developer"]);
    assert_usd(&third["metrics"]["totalCost"], 0.0);
    cancel(&mut editor, &run);
    let cleared = editor.must("clode.cache.clear", &json!({}));
    assert!(cleared["bytes"].as_u64() > Some(0), "{cleared:#}");
    assert_eq!(
        editor.must("clode.cache.clear", &json!({})),
        json!({ "bytes": 0 })
    );
    let (_, fourth) = to_patch(&mut editor, &using);

    assert_eq!(cached(&fourth), Vec::<&str>::new());
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn a_run_of_the_command_line_pays_for_what_an_earlier_one_of_the_same_id_left_open() {
    let api = ScriptedApi::start(team(1, 1, develops).agent("kbBuilder", |s| s.replies(says("[]"))));
    let stage = Stage::api(&api);
    let cli = stage.cli().within(FINISH_LIMIT);
    let arguments = [
        "run",
        "Write multiply",
        "--test",
        "python3 test_calc.py",
        "--id",
        "T-1",
        "--json",
    ];
    cli.run(&arguments).await.assert_code(3);
    let list = cli
        .run(&["pipelines", "list", "--json"])
        .await
        .expect_code(0)
        .json();
    let run = list[0]["pipelineId"]
        .as_str()
        .expect("the run is listed")
        .to_owned();
    cli.run(&["pipelines", "cancel", &run]).await.assert_code(0);

    let mut yes = arguments.to_vec();
    yes.push("--yes");
    let done = cli.run(&yes).await.expect_code(0);

    let events: Vec<Value> = done
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let result = events.last().expect("a result");
    assert_eq!(cached(result), ["taskMaster", "architect"]);
    assert_usd(&result["metrics"]["totalCost"], cost_of(5));
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    api.assert_clean();
}
