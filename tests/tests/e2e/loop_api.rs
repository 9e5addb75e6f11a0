//! The loop with the Anthropic API, scripted on the loopback: every token is paid to the last picodollar,
//! and whatever a network or a provider can do wrong comes to a good end or to a clear word.

mod faults;
mod parts;

use clode_tests::scripted_api::{Hold, Script, ScriptedApi, Steps};
use clode_tests::stage::{
    MODULE, NEW, OLD, PLAN, Stage, assert_usd, calls, cost_of, develops, edits, says, step,
};
use clode_tests::text_editor::TextEditor;
use serde_json::{Value, json};

/// Brief and plan as always, a Developer like this, and no lessons.
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

#[tokio::test]
async fn a_step_that_is_done_again_begins_from_the_files_of_the_step_before_and_repeats_no_other() {
    let api = ScriptedApi::start(team(|s| develops(develops(s))));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.until_gate(&run, "patch");
    editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    editor.until_status(&run, "cancelled");

    let again = json!({ "pipelineId": run, "fromStep": "developer" });
    editor.must("clode.pipeline.retry", &again);
    editor.until_gate(&run, "patch");
    editor.approve(&run, "patch");
    let done = editor.until_status(&run, "completed");

    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    let attempts =
        ["taskMaster", "architect", "developer"].map(|agent| step(&done, agent)["attempts"].as_u64());
    assert_eq!(attempts, [1, 1, 2].map(Some), "{:#}", done["steps"]);
    // The second time the Developer read the file as it was before the first.
    let read = api.requests_of("developer")[5].body["messages"].to_string();
    assert!(
        read.contains("TODO: write it") && !read.contains("return a * b"),
        "{read}"
    );
    assert_usd(&done["metrics"]["totalCost"], cost_of(11));
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_developer_reads_edits_and_tests_and_every_token_is_accounted_for() {
    let api = ScriptedApi::start(team(develops));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let mut request = stage.request(&editor);
    request["eventToken"] = json!("mine");

    let run = editor.run(&request);
    let planned = editor.approve(&run, "plan");
    assert_usd(&planned["metrics"]["totalCost"], cost_of(2));
    assert_eq!(planned["plan"].as_str().map(str::trim), Some(PLAN.trim()));
    editor.approve(&run, "patch");
    let done = editor.until_status(&run, "completed");

    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    let metrics = &done["metrics"];
    assert_usd(&metrics["totalCost"], cost_of(7));
    assert_usd(&metrics["reservedCost"], 0.0);
    assert_usd(&metrics["unconfirmedCost"], 0.0);
    let tokens = [
        "llmCalls",
        "inputTokens",
        "outputTokens",
        "cacheReadTokens",
        "cacheWriteTokens",
    ];
    assert_eq!(
        tokens.map(|name| metrics[name].as_u64()),
        [7, 7_000, 350, 2_100, 1_400].map(Some),
        "{metrics:#}"
    );
    assert_usd(&step(&done, "developer")["cost"], cost_of(4));
    assert_eq!(
        (
            &step(&done, "developer")["provider"],
            &step(&done, "developer")["model"]
        ),
        (&json!("anthropic"), &json!("claude-sonnet-5"))
    );

    // The same sum by every way to ask for it.
    if editor.offers(&["clode.costs"]) {
        for by in ["day", "agent", "model", "task", "repository"] {
            let costs = editor.must("clode.costs", &json!({ "by": by }));
            assert_usd(&costs["totalUSD"], cost_of(7));
        }
    }
    editor.client.expect_notification("$/progress", |params| {
        params["token"] == "mine" && params["value"]["type"] == "finished"
    });
    let told = editor.client.notifications("$/progress");
    let usage: Vec<&Value> = told
        .iter()
        .map(|params| &params["value"])
        .filter(|value| value["type"] == "usage")
        .collect();
    assert_eq!(usage.len(), 7, "{usage:#?}");
    assert_usd(&usage[6]["totalCostUSD"], cost_of(7));
    let status = editor.must("clode.status", &json!({}));
    assert_usd(&status["budget"]["daily"]["spent"], cost_of(7));

    // What the agents saw: the Developer's tools, its test's output, and the key in no body.
    let developer = api.requests_of("developer");
    let tested = developer[3].body["messages"].to_string();
    assert!(tested.contains("1 passed"), "{tested}");
    for request in api.requests() {
        assert!(
            !request
                .body
                .to_string()
                .contains(clode_tests::scripted_api::DUMMY_KEY)
        );
    }
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn what_qa_finds_goes_back_to_the_developer_who_repairs_it() {
    let wrong = json!({ "path": "calc.py", "old_text": OLD, "new_text": "    return a + b\n" });
    let right = json!({ "path": "calc.py", "old_text": "    return a + b\n", "new_text": NEW });
    let script = team(|s| {
        s.replies(calls("edit_file", wrong))
            .replies(says("Written."))
            .replies(calls("edit_file", right))
            .replies(says("Repaired."))
    })
    .agent("qa", |s| {
        s.replies(says("calc.py adds where it should multiply."))
    });
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));

    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");

    let last = detail["testRuns"].as_array().and_then(|runs| runs.last());
    assert_eq!(
        last.map(|run| &run["passed"]),
        Some(&json!(true)),
        "{:#}",
        detail["testRuns"]
    );
    assert_usd(&detail["metrics"]["totalCost"], cost_of(7));
    let again = api.requests_of("developer")[2].body["messages"].to_string();
    assert!(
        again.contains("adds where it should multiply"),
        "the Developer hears what QA says: {again}"
    );
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn a_patch_with_several_hunks_is_decided_hunk_by_hunk() {
    let tests = json!({ "path": "test_calc.py", "old_text": "print(\"1 passed\")", "new_text": "print(\"all passed\")" });
    let more = json!({ "path": "calc.py", "old_text": "    return multiply(a, 3)\n", "new_text": "    return multiply(3, a)\n" });
    let back = json!({ "path": "test_calc.py", "old_text": "print(\"all passed\")", "new_text": "print(\"2 passed\")" });
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits())
            .replies(calls("edit_file", tests))
            .replies(calls("edit_file", more))
            .replies(says("Written."))
            .replies(calls("edit_file", back))
            .replies(says("Changed as you said."))
    }));
    let stage = Stage::api(&api);
    let test_file = stage.repo.path().join("test_calc.py");
    let mut editor = opened(&stage);
    editor.open(&test_file);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    let hunks = |path: &str, detail: &Value| -> Vec<Value> {
        let files = detail["files"].as_array().cloned().unwrap_or_default();
        let file = files
            .into_iter()
            .find(|file| file["path"] == path)
            .unwrap_or_default();
        file["hunks"].as_array().cloned().unwrap_or_default()
    };
    let calc = hunks("calc.py", &detail);
    assert_eq!(calc.len(), 2, "{calc:#?}");

    // One hunk is taken, undone and taken again; one is refused; the gate is open until all are decided.
    let take = json!({ "pipelineId": run, "hunks": [calc[0]["id"]] });
    let applied = editor.must("clode.pipeline.apply", &take);
    assert_eq!(applied["files"][0]["result"], "applied", "{applied:#}");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    editor.retype(&stage.file(), NEW, OLD);
    editor.until(&run, "the undone hunk as before", |detail| {
        hunks("calc.py", detail)[0]["state"] == "pending"
    });
    editor.must("clode.pipeline.apply", &take);
    editor.must(
        "clode.pipeline.rejectHunks",
        &json!({ "pipelineId": run, "hunks": [calc[1]["id"]] }),
    );
    let still = editor.until_gate(&run, "patch");
    let states: Vec<Value> = hunks("calc.py", &still)
        .iter()
        .map(|hunk| hunk["state"].clone())
        .collect();
    assert_eq!(states, ["applied", "rejected"]);

    if editor.offers(&["clode.pipeline.comment", "clode.pipeline.revise"]) {
        let commented = hunks("test_calc.py", &still)[0]["id"].clone();
        let comment = json!({ "pipelineId": run, "hunk": commented, "text": "Say that two passed." });
        editor.must("clode.pipeline.comment", &comment);
        editor.must("clode.pipeline.revise", &json!({ "pipelineId": run }));
        let second = editor.until(&run, "a second round", |detail| {
            hunks("test_calc.py", detail).iter().any(|hunk| {
                hunk["state"] == "pending"
                    && hunk["newText"]
                        .as_str()
                        .is_some_and(|text| text.contains("2 passed"))
            })
        });
        let reopened = hunks("calc.py", &second)
            .iter()
            .any(|hunk| hunk["state"] == "pending");
        assert!(!reopened, "what was decided stays decided: {:#}", second["files"]);
        let heard = api
            .requests_of("developer")
            .last()
            .map(|request| request.body["messages"].to_string());
        assert!(heard.is_some_and(|heard| heard.contains("Say that two passed.")));
    }
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert!(
        editor.text(&test_file).contains(" passed"),
        "{}",
        editor.text(&test_file)
    );
    assert!(
        !editor.text(&test_file).contains("1 passed"),
        "{}",
        editor.text(&test_file)
    );
    assert_eq!(
        editor.text(&stage.file()),
        MODULE.replace(OLD, NEW),
        "the refused hunk stays out"
    );
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    stage.assert_untouched();
}

#[tokio::test]
async fn a_file_is_created_and_another_deleted() {
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits())
            .replies(calls(
                "write_file",
                json!({ "path": "notes/new.md", "content": "# New\n" }),
            ))
            .replies(calls("delete_file", json!({ "path": "old.txt" })))
            .replies(says("Done."))
    }));
    let stage = Stage::api(&api);
    stage.repo.write("old.txt", "old\n");
    stage.repo.commit("An old file");
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    let changes: Vec<String> = detail["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| {
            format!(
                "{} {}",
                file["path"].as_str().unwrap_or("?"),
                file["change"].as_str().unwrap_or("?")
            )
        })
        .collect();
    assert_eq!(
        changes,
        ["calc.py modified", "notes/new.md added", "old.txt deleted"]
    );

    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");

    assert!(!stage.repo.path().join("old.txt").exists());
    let new = stage.repo.path().join("notes/new.md");
    let text = if editor.version(&new).is_some() {
        editor.text(&new)
    } else {
        stage.repo.read("notes/new.md")
    };
    assert_eq!(text, "# New\n");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_developer_alone_answers_with_a_patch_and_applies_nothing() {
    let api = ScriptedApi::start(Script::new().agent("developer", develops));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);

    let answer = editor.must(
        "clode.executeAgent",
        &json!({
            "agent": "developer",
            "request": {
                "planStepId": "step-1", "objective": "Write multiply", "targetFiles": ["calc.py"],
                "tests": [{ "command": "python3 test_calc.py", "successRegex": "1 passed" }],
            },
        }),
    );

    assert_eq!(answer["status"], "completed", "{answer:#}");
    assert!(
        answer["patch"]
            .as_str()
            .is_some_and(|patch| patch.contains("+    return a * b")),
        "{answer:#}"
    );
    assert_eq!(answer["files"][0]["path"], "calc.py");
    assert_eq!(
        (&answer["testRun"]["passed"], &answer["testRun"]["exitCode"]),
        (&json!(true), &json!(0))
    );
    assert_usd(&answer["metrics"]["totalCost"], cost_of(4));
    assert_eq!(editor.text(&stage.file()), MODULE);
    let list = editor.must("clode.pipeline.list", &json!({}));
    assert_eq!(
        list[0]["pipelineId"], answer["pipelineId"],
        "it is durable and listed"
    );
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn pausing_takes_effect_after_the_call_in_flight_and_resuming_goes_on() {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits().held_by(&hold))
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
    }));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    hold.reached().await;

    editor.must("clode.pipeline.pause", &json!({ "pipelineId": run }));
    hold.release();
    let paused = editor.until(&run, "a pause without a call in flight", |detail| {
        detail["status"] == "paused" && detail["metrics"]["reservedCost"] == 0.0
    });
    assert_usd(&paused["metrics"]["totalCost"], cost_of(3));
    assert_eq!(api.requests_of("developer").len(), 1, "no call after the pause");

    editor.must("clode.pipeline.resume", &json!({ "pipelineId": run }));
    editor.until_gate(&run, "patch");
    assert_eq!(
        api.requests_of("developer").len(),
        3,
        "the call that was paid is not made again"
    );
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    stage.assert_untouched();
}

#[tokio::test]
async fn words_of_a_person_reach_the_running_agent() {
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(edits().held_by(&hold))
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
    }));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    if !editor.offers(&["clode.pipeline.steer"]) {
        api.ignore_complaints();
        return;
    }
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    hold.reached().await;

    editor.must(
        "clode.pipeline.steer",
        &json!({ "pipelineId": run, "text": "Mind the zero, please." }),
    );
    hold.release();
    editor.until_gate(&run, "patch");

    let heard = api
        .requests_of("developer")
        .last()
        .map(|request| request.body["messages"].to_string())
        .unwrap_or_default();
    assert!(heard.contains("Mind the zero, please."), "{heard}");
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
}
