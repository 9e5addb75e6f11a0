//! A person's own words in any editor: the input box where there is one, a file that is saved, a comment line.

use std::path::PathBuf;

use clode_tests::lsp_client::{Reply, presets};
use clode_tests::scripted_api::{Script, ScriptedApi, Steps};
use clode_tests::stage::{MODULE, NEW, OLD, PLAN, Stage, calls, edits, says};
use clode_tests::text_editor::{TextEditor, file_uri, gate};
use serde_json::{Value, json};
use url::Url;

const QUESTION: &str = "Should it round?";

fn team(developer: impl FnOnce(Steps) -> Steps) -> Script {
    Script::new()
        .agent("taskMaster", |s| s.replies(says("Write multiply in calc.py.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent("developer", developer)
        .agent("kbBuilder", |s| s.replies(says("[]")))
}

/// A Developer who asks before it edits.
fn asks_first(steps: Steps) -> Steps {
    steps
        .replies(calls("ask_person", json!({ "question": QUESTION })))
        .replies(edits())
        .replies(says("multiply is written."))
}

fn opened_as(stage: &Stage, capabilities: &Value) -> TextEditor {
    let mut editor = TextEditor::start_as(&stage.home, &[stage.repo.path()], capabilities, &Value::Null);
    editor.open(&stage.file());
    editor
}

/// The action with this title in the file, at the text.
#[track_caller]
fn action(editor: &mut TextEditor, stage: &Stage, at: &str, title: &str) -> Value {
    let range = editor.range_of(&stage.file(), at);
    let params = json!({
        "textDocument": { "uri": file_uri(&stage.file()) }, "range": range, "context": { "diagnostics": [] },
    });
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let offered = editor
            .client
            .request("textDocument/codeAction", &params)
            .unwrap_or_default();
        let found = offered.as_array().into_iter().flatten().find(|action| {
            action["title"]
                .as_str()
                .is_some_and(|found| found.starts_with(title))
        });
        if let Some(found) = found {
            // A literal holds its command; an editor without literals gets the command itself.
            let command = if found["command"].is_object() {
                &found["command"]
            } else {
                found
            };
            return command.clone();
        }
        assert!(std::time::Instant::now() < end, "no `{title}` in {offered:#}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[track_caller]
fn carry_out(editor: &mut TextEditor, command: &Value) -> Value {
    let name = command["command"].as_str().unwrap_or_default().to_owned();
    editor.must(&name, &command["arguments"][0])
}

fn finish(editor: &mut TextEditor, run: &str) {
    editor.approve(run, "patch");
    editor.until_status(run, "completed");
}

/// What the Developer was answered.
fn told(api: &ScriptedApi) -> String {
    let requests = api.requests_of("developer");
    requests
        .get(1)
        .map(|request| request.body["messages"].to_string())
        .unwrap_or_default()
}

#[tokio::test]
async fn without_an_input_box_the_answer_is_a_file_that_is_sent_when_it_is_saved() {
    let api = ScriptedApi::start(team(asks_first));
    let stage = Stage::api(&api);
    let mut editor = opened_as(&stage, &presets::neovim());
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let asked = editor.until_gate(&run, "question");
    assert_eq!(gate(&asked, "question")["summary"], QUESTION);

    let chosen = action(&mut editor, &stage, "multiply", "Write an answer: ");
    let opened = carry_out(&mut editor, &chosen);

    let uri = Url::parse(opened["uri"].as_str().expect("a file")).expect("an address");
    let file: PathBuf = uri.to_file_path().expect("a path");
    assert!(editor.text(&file).contains(QUESTION), "{}", editor.text(&file));
    // Saved without words it is called off, and the question stays.
    editor.save(&file);
    editor.client.expect_notification("window/showMessage", |shown| {
        shown["message"]
            .as_str()
            .is_some_and(|text| text.contains("called off"))
    });
    assert_eq!(editor.detail(&run)["status"], "awaitingApproval");

    let opened = carry_out(&mut editor, &chosen);
    assert_eq!(opened["uri"].as_str(), Some(uri.as_str()));
    editor.append(&file, "Yes, to two digits.\n");
    editor.save(&file);

    editor.until_gate(&run, "patch");
    let told = told(&api);
    assert!(told.contains("The person answers: Yes, to two digits."), "{told}");
    assert!(!file.exists(), "it is done with");
    stage.assert_untouched();
    finish(&mut editor, &run);
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_comment_line_answers_the_question_and_goes() {
    let api = ScriptedApi::start(team(asks_first));
    let stage = Stage::api(&api);
    let mut editor = opened_as(&stage, &presets::neovim());
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.until_gate(&run, "question");
    editor.append(&stage.file(), "# clode: no, leave it exact\n");

    let chosen = action(&mut editor, &stage, "# clode: no", "Answer the question: ");
    carry_out(&mut editor, &chosen);

    editor.until_gate(&run, "patch");
    let told = told(&api);
    assert!(told.contains("The person answers: no, leave it exact"), "{told}");
    assert_eq!(editor.text(&stage.file()), MODULE, "the line was ours");
    finish(&mut editor, &run);
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn with_an_input_box_another_plan_is_asked_for_there() {
    let planners = Script::new()
        .agent("taskMaster", |s| s.replies(says("Write multiply in calc.py.")))
        .agent("architect", |s| s.replies(says(PLAN)).replies(says(PLAN)));
    let api = ScriptedApi::start(planners);
    let stage = Stage::api(&api);
    let mut editor = opened_as(&stage, &presets::vscode_with_extension());
    editor.client.on_request("clode/input", |_| {
        Reply::Result(json!({ "value": "Name the edge cases." }))
    });
    let run = editor.run(&stage.request(&editor));
    let first = editor.until_gate(&run, "plan");
    let first = gate(&first, "plan")["id"].clone();

    let chosen = action(&mut editor, &stage, "multiply", "Request another plan: ");
    let answered = carry_out(&mut editor, &chosen);

    assert!(answered["uri"].is_null(), "{answered:#}");
    editor.until(&run, "another plan", |detail| {
        detail["pendingApprovals"][0]["gate"] == "plan" && detail["pendingApprovals"][0]["id"] != first
    });
    let asked = api.requests_of("architect");
    assert!(
        asked[1].body["messages"]
            .to_string()
            .contains("Name the edge cases."),
        "{}",
        asked[1].body["messages"]
    );
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn an_agent_whose_question_is_left_to_it_decides() {
    let api = ScriptedApi::start(team(asks_first));
    let stage = Stage::api(&api);
    let mut editor = opened_as(&stage, &presets::neovim());
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let asked = editor.until_gate(&run, "question");
    let approval = gate(&asked, "question")["id"].clone();

    let decide = json!({ "pipelineId": run, "approvalId": approval, "approved": false });
    editor.must("clode.pipeline.approve", &decide);

    editor.until_gate(&run, "patch");
    assert!(told(&api).contains("leaves it to you"), "{}", told(&api));
    finish(&mut editor, &run);
    drop(editor);
    api.assert_clean();
}
