//! The Developer is the real Claude Code, its model the scripted API.

#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clode_tests::component::Component;
use clode_tests::fixture::Home;
use clode_tests::processes;
use clode_tests::scripted_api::{DUMMY_KEY, Hold, Reply, Script, ScriptedApi, Steps};
use clode_tests::stage::{API_CONFIG, MODULE, NEW, OLD, PLAN, Stage, says, with_a_todo};
use clode_tests::text_editor::{TextEditor, gate};
use serde_json::{Value, json};

/// A home in which `claude` is found at this place, and the Developer is to be it.
fn stage_with(api: &ScriptedApi, claude: &Path) -> Stage {
    let mut home = Home::new().with_api(api);
    home.unset("OPENAI_API_KEY");
    let bin = home.path("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    std::os::unix::fs::symlink(claude, bin.join("claude")).expect("a link");
    let path = format!("{}:{}", bin.display(), home.environment()["PATH"]);
    home.set("PATH", &path);
    home.configure(&API_CONFIG.replace("mode: sdk", "mode: cli"));
    Stage::of(home, with_a_todo())
}

/// A team whose Developer is Claude Code with a model like this.
fn team(claude: impl FnOnce(Steps) -> Steps) -> Script {
    Script::new()
        .agent("taskMaster", |s| s.replies(says("Write multiply in calc.py.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .claude_code(claude)
        .agent("kbBuilder", |s| s.replies(says("[]")).may_end_early())
}

fn read() -> Reply {
    Reply::call("Read", json!({ "file_path": "{cwd}/calc.py" }))
}

fn edit() -> Reply {
    Reply::call(
        "Edit",
        json!({ "file_path": "{cwd}/calc.py", "old_string": OLD, "new_string": NEW }),
    )
}

fn bash(command: &str) -> Reply {
    Reply::call(
        "Bash",
        json!({ "command": command, "description": "Runs something" }),
    )
}

fn opened(stage: &Stage) -> TextEditor {
    let mut editor = stage.editor();
    editor.open(&stage.file());
    editor
}

/// What the model was told at last.
fn last_words(api: &ScriptedApi) -> String {
    let requests = api.requests_of("claude-code");
    requests
        .last()
        .map(|request| request.body["messages"].to_string())
        .unwrap_or_default()
}

#[tokio::test]
async fn claude_code_reads_edits_and_tests_and_its_edit_is_merged_with_what_was_typed() {
    let Some(claude) = Component::Claude.find() else {
        return;
    };
    let api = ScriptedApi::start(team(|s| {
        s.replies(read())
            .replies(edit())
            .replies(bash("python3 test_calc.py"))
            .says("multiply is written.")
    }));
    let stage = stage_with(&api, &claude);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.append(&stage.file(), "\n\nLIMIT = 10\n");

    let detail = editor.until_gate(&run, "patch");
    assert!(
        last_words(&api).contains("1 passed"),
        "its test ran: {}",
        last_words(&api)
    );
    assert!(
        detail["testRuns"]
            .as_array()
            .is_some_and(|runs| runs.iter().any(|run| run["passed"] == true))
    );
    let developer = &detail["steps"][2];
    assert_eq!(
        developer["model"], "claude-sonnet-5",
        "priced by the model that it reports: {developer:#}"
    );
    assert!(developer["cost"].as_f64() > Some(0.0), "{developer:#}");
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");

    assert_eq!(
        editor.text(&stage.file()),
        MODULE.replace(OLD, NEW) + "\n\nLIMIT = 10\n"
    );
    drop(editor);
    stage.assert_nobody_left().await;
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn an_undeclared_command_waits_for_a_permission_and_a_no_lets_the_agent_go_on_without() {
    let Some(claude) = Component::Claude.find() else {
        return;
    };
    let api = ScriptedApi::start(team(|s| {
        s.replies(edit())
            .replies(bash("python3 install.py --everything"))
            .says("Done without it.")
    }));
    let stage = stage_with(&api, &claude);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");

    let asked = gate(&editor.until_gate(&run, "permission"), "permission");
    assert_eq!(asked["request"]["tool"], "Bash", "{asked:#}");
    assert!(
        asked["request"]["command"]
            .as_str()
            .is_some_and(|command| command.contains("install.py --everything")),
        "{asked:#}"
    );
    let vague = editor.refused(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approved": true }),
    );
    assert_eq!(vague.code, -32602, "a permission needs its id: {vague:?}");
    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": asked["id"], "approved": false }),
    );

    editor.until_gate(&run, "patch");
    assert!(
        last_words(&api).contains("is_error\":true"),
        "{}",
        last_words(&api)
    );
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    stage.assert_untouched();
}

#[tokio::test]
async fn a_permission_for_once_lets_the_very_command_run_and_asks_again_for_the_next() {
    let Some(claude) = Component::Claude.find() else {
        return;
    };
    let api = ScriptedApi::start(team(|s| {
        s.replies(edit())
            .replies(bash("python3 -c \"print('asked ' + 'first')\""))
            .replies(bash("python3 -c \"print('asked ' + 'second')\""))
            .says("Done.")
    }));
    let stage = stage_with(&api, &claude);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");

    let first = gate(&editor.until_gate(&run, "permission"), "permission");
    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": first["id"], "approved": true, "choice": "once" }),
    );
    let detail = editor.until(&run, "another permission", |detail| {
        detail["pendingApproval"]["gate"] == "permission" && detail["pendingApproval"]["id"] != first["id"]
    });
    let second = gate(&detail, "permission");
    assert!(
        last_words(&api).contains("asked first"),
        "it ran: {}",
        last_words(&api)
    );
    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": second["id"], "approved": false }),
    );
    editor.until_gate(&run, "patch");
    assert!(!last_words(&api).contains("asked second"), "{}", last_words(&api));
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_key_is_in_no_environment_and_no_command_line_of_any_child() {
    let Some(claude) = Component::Claude.find() else {
        return;
    };
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(bash("env > seen.txt; cat seen.txt"))
            .replies(edit().held_by(&hold))
            .says("Done.")
            .may_end_early()
    }));
    let stage = stage_with(&api, &claude);
    let mut editor = opened(&stage);
    let mut request = stage.request(&editor);
    // What the task itself declares needs no permission.
    request["task"]["tests"] = json!(["env > seen.txt; cat seen.txt"]);
    let run = editor.run(&request);
    editor.approve(&run, "plan");
    hold.reached().await;

    let children = processes::descendants(editor.client.process_id());
    assert!(
        children.iter().any(|child| child.command.contains("claude")),
        "{children:#?}"
    );
    for child in &children {
        let environment = std::fs::read(format!("/proc/{}/environ", child.id)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        assert!(!child.command.contains(DUMMY_KEY), "{child:?}");
        assert!(
            !environment.contains(DUMMY_KEY),
            "{child:?} has the key in its environment"
        );
    }
    let seen = last_words(&api);
    assert!(seen.contains("PATH="), "the command ran: {seen}");
    assert!(!seen.contains(DUMMY_KEY), "a command of the agent sees the key");
    hold.release();
    editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    editor.until_status(&run, "cancelled");
    drop(editor);
    stage.assert_nobody_left().await;
    api.ignore_complaints();
}

#[tokio::test]
async fn a_server_that_is_killed_takes_claude_code_with_it_and_the_run_goes_on() {
    let Some(claude) = Component::Claude.find() else {
        return;
    };
    let hold = Hold::new();
    let api = ScriptedApi::start(team(|s| {
        s.replies(read())
            .replies(edit().held_by(&hold))
            .replies(edit())
            .says("Done.")
            .may_end_early()
    }));
    let stage = stage_with(&api, &claude);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    hold.reached().await;

    editor.client.kill();
    drop(editor);
    stage.assert_nobody_left().await;
    hold.release();

    let mut editor = opened(&stage);
    let detail = editor.until_gate(&run, "patch");
    assert!(
        detail["metrics"]["unconfirmedCost"].as_f64() > Some(0.0),
        "{:#}",
        detail["metrics"]
    );
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop(editor);
    api.ignore_complaints();
    assert_eq!(
        (
            api.requests_of("taskMaster").len(),
            api.requests_of("architect").len()
        ),
        (1, 1)
    );
    stage.assert_untouched();
}

/// The run either works by our own loop, or says that Claude Code is what is missing.
fn falls_back_or_says_why(stage: &Stage, api: &ScriptedApi) {
    let mut editor = opened(stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let end = editor.until(&run, "the patch gate or a failure", |detail| {
        detail["status"] == "failed" || detail["pendingApproval"]["gate"] == "patch"
    });
    if end["status"] == "failed" {
        let error = &end["error"];
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.to_lowercase().contains("claude")),
            "{error:#}"
        );
        assert!(
            error["hint"].as_str().is_some_and(|hint| !hint.is_empty()),
            "{error:#}"
        );
    } else {
        assert_eq!(api.requests_of("developer").len(), 4, "{end:#}");
    }
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    stage.assert_untouched();
}

fn team_without_claude() -> Script {
    team(|s| s.says("Never.").may_end_early())
        .agent("developer", |s| clode_tests::stage::develops(s).may_end_early())
}

#[tokio::test]
async fn without_claude_code_the_own_loop_works_or_the_run_says_what_is_missing() {
    let api = ScriptedApi::start(team_without_claude());
    let stage = stage_with(&api, Path::new("/nonexistent/claude"));
    falls_back_or_says_why(&stage, &api);
}

#[tokio::test]
async fn a_claude_code_that_is_too_old_is_not_driven() {
    let api = ScriptedApi::start(team_without_claude());
    let stage = stage_with(&api, Path::new("/nonexistent/claude"));
    let old = stage.home.path("bin").join("claude");
    std::fs::remove_file(&old).expect("the link was there");
    std::fs::write(&old, "#!/bin/sh\necho '1.0.12 (Claude Code)'\n").expect("written");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    falls_back_or_says_why(&stage, &api);
}

#[tokio::test]
async fn the_seed_s_way_of_naming_claude_code_means_the_same() {
    let Some(claude) = Component::Claude.find() else {
        return;
    };
    let api = ScriptedApi::start(team(|s| s.replies(edit()).says("Done.")));
    let stage = stage_with(&api, &claude);
    stage.home.configure(
        &API_CONFIG
            .replace(
                "developer: { provider: anthropic, model: claude-sonnet-5 }",
                "developer: { provider: anthropic, model: claude-code }",
            )
            .replace("agents:\n  developer: { mode: sdk }\n", ""),
    );
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    let cost: &Value = &detail["steps"][2]["cost"];
    assert!(cost.as_f64() > Some(0.0), "{cost}");
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    assert_eq!(api.requests_of("developer").len(), 0);
}
