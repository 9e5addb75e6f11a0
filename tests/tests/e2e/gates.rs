//! Which gates there are, which options answer them beforehand, and which nothing answers beforehand.

use clode_tests::scripted_api::{Script, ScriptedApi, Steps};
use clode_tests::stage::{MODULE, NEW, OLD, PLAN, Stage, calls, develops, edits, says, with_a_todo};
use clode_tests::text_editor::{TextEditor, gate, gates};
use serde_json::{Value, json};

fn opened(stage: &Stage) -> TextEditor {
    let mut editor = stage.editor();
    editor.open(&stage.file());
    editor
}

fn with_options(stage: &Stage, editor: &TextEditor, options: &Value) -> Value {
    let mut request = stage.request(editor);
    request["options"] = options.clone();
    request
}

/// Brief and plan as always, this Developer, and these lessons.
fn team(developer: impl FnOnce(Steps) -> Steps, lessons: &str) -> Script {
    Script::new()
        .agent("taskMaster", |s| s.replies(says("Write multiply in calc.py.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent("developer", developer)
        .agent("kbBuilder", |s| s.replies(says(lessons)).may_end_early())
}

#[tokio::test]
async fn skipped_approvals_apply_a_clean_patch_without_asking() {
    let stage = Stage::demo();
    let mut editor = opened(&stage);

    let run = editor.run(&with_options(&stage, &editor, &json!({ "skipApprovals": true })));

    let done = editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    assert_eq!(done["files"][0]["hunks"][0]["state"], "applied");
    stage.assert_untouched();
}

#[tokio::test]
async fn a_run_that_is_to_apply_nothing_completes_with_its_patch_and_touches_nothing() {
    let stage = Stage::demo();
    let mut editor = opened(&stage);

    let run = editor.run(&with_options(
        &stage,
        &editor,
        &json!({ "skipApprovals": true, "apply": "none" }),
    ));

    let done = editor.until_status(&run, "completed");
    assert_eq!(
        done["files"][0]["hunks"][0]["state"], "pending",
        "{:#}",
        done["files"]
    );
    assert_eq!(editor.text(&stage.file()), MODULE);
    // It can still be taken afterwards.
    let answer = editor.must("clode.pipeline.apply", &json!({ "pipelineId": run }));
    assert_eq!(answer["files"][0]["result"], "applied", "{answer:#}");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    stage.assert_untouched();
}

#[tokio::test]
async fn the_user_s_configuration_may_do_without_a_gate_and_a_repository_s_may_not() {
    let stage = Stage::demo();
    stage.home.configure("approvals: { plan: false }\n");
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.until(&run, "the patch gate", |detail| {
        assert!(gates(detail, "plan").is_empty(), "{detail:#}");
        !gates(detail, "patch").is_empty()
    });
    drop(editor);

    let repo = with_a_todo();
    repo.write(
        ".claude/agents/config/providers.yaml",
        "approvals: { plan: false, patch: false }\n",
    );
    repo.commit("A configuration that does without approvals");
    let stage = Stage::of(clode_tests::fixture::Home::new(), repo);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.until_gate(&run, "patch");
    stage.assert_untouched();
}

#[tokio::test]
async fn a_conflict_and_a_file_that_has_to_be_asked_for_stop_even_a_direct_run() {
    let api = ScriptedApi::start(team(
        |s| {
            s.replies(edits())
                .replies(calls(
                    "write_file",
                    json!({ "path": ".github/workflows/build.yml", "content": "on: push\n" }),
                ))
                .replies(says("Done."))
        },
        "[]",
    ));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);

    let run = editor.run(&with_options(&stage, &editor, &json!({ "skipApprovals": true })));

    let detail = editor.until_gate(&run, "patch");
    let files = detail["files"].as_array().cloned().unwrap_or_default();
    let of = |path: &str| {
        files
            .iter()
            .find(|file| file["path"] == path)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of(".github/workflows/build.yml")["verdict"], "ask", "{files:#?}");
    assert!(of(".github/workflows/build.yml")["verdictReason"].is_string());
    assert_eq!(
        of("calc.py")["hunks"][0]["state"],
        "applied",
        "what is clean is applied: {files:#?}"
    );
    assert!(!stage.repo.path().join(".github").exists());
    drop(editor);
    api.ignore_complaints();
    stage.assert_untouched();
}

#[tokio::test]
async fn lessons_wait_for_a_yes_of_their_own_and_hold_nothing_up() {
    let lessons = r#"[{"claim": "Tests run as plain scripts.", "scope": "repository", "evidence": "test_calc.py"},
                      {"claim": "Sums live in calc.py.", "scope": "calc.py", "evidence": "calc.py"}]"#;
    let api = ScriptedApi::start(team(develops, lessons));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.approve(&run, "patch");

    let done = editor.until_status(&run, "completed");
    let asked = gate(&done, "knowledge");
    assert_eq!(asked["entries"].as_array().map(Vec::len), Some(2), "{asked:#}");
    let first = asked["entries"][0]["id"].clone();
    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": asked["id"], "approved": true, "entries": [first] }),
    );

    assert!(gates(&editor.detail(&run), "knowledge").is_empty());
    let states = editor.detail(&run)["knowledge"].clone();
    assert_eq!(states.as_array().map(Vec::len), Some(2), "{states:#}");
    if editor.offers(&["clode.knowledge.list"]) {
        let approved = editor.must("clode.knowledge.list", &json!({ "state": "approved" }));
        assert_eq!(approved.as_array().map(Vec::len), Some(1), "{approved:#}");
    }
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn questions_are_put_only_to_the_editor_that_began_and_no_answer_leaves_the_gate_open() {
    let stage = Stage::demo();
    let mut first = opened(&stage);
    let mut second = opened(&stage);

    let run = first.run(&stage.request(&first));
    first.until_gate(&run, "plan");

    let asked = first.client.expect_request("window/showMessageRequest", |_| true);
    assert!(
        asked["actions"]
            .as_array()
            .is_some_and(|actions| actions.len() >= 2),
        "{asked:#}"
    );
    // The editor answers `null`: the gate is as open as before, for everybody.
    first.until_gate(&run, "plan");
    second.until_gate(&run, "plan");
    second.must("clode.status", &json!({}));
    assert!(
        !second.client.has_been_asked("window/showMessageRequest"),
        "the other editor is not asked"
    );
    first.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
}

#[tokio::test]
async fn an_answer_needs_an_open_approval_of_a_run_that_exists() {
    let stage = Stage::demo();
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.until_gate(&run, "plan");

    let unknown = editor.refused(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": "none", "approved": true }),
    );
    let other_gate = editor.refused(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "gate": "patch", "approved": true }),
    );
    let no_word = editor.refused("clode.pipeline.approve", &json!({ "pipelineId": run }));

    assert_eq!(
        (unknown.code, &unknown.data["code"]),
        (-32803, &json!("approvalClosed")),
        "{unknown:?}"
    );
    assert!(
        other_gate.code == -32803 || other_gate.code == -32602,
        "{other_gate:?}"
    );
    assert_eq!(no_word.code, -32602, "{no_word:?}");
    // Without an id the only open one is meant.
    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approved": true }),
    );
    editor.until_gate(&run, "patch");
    if editor.offers(&["clode.audit"]) {
        let audit = editor.must("clode.audit", &json!({ "pipelineId": run }));
        assert!(
            audit["records"].to_string().contains("text-editor"),
            "who answered is in the audit: {audit:#}"
        );
    }
}
