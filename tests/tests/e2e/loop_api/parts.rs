//! A plan in parts: several Developers at once, and one result. That they work at the same time is shown by
//! the service, which answers neither of them before both have asked.

use clode_tests::scripted_api::{Hold, Script, ScriptedApi, Steps};
use clode_tests::stage::{
    MODULE, NEW, OLD, Stage, assert_usd, calls, cost_of, edits, says, step, with_a_todo,
};
use serde_json::{Value, json};

use super::opened;

/// Two steps that need nothing and name different files.
const PLAN: &str = "\
# Plan: Write multiply and say so

## Goal
`multiply` answers the product, and the notes say so.

## Steps
### product: Write the function
- agent: developer
- touches: calc.py
- needs: none

Return `a * b` in calc.py.

### notes: Write the notes
- agent: developer
- touches: notes.md
- needs: none

Say in notes.md that calc.py multiplies.

## Tests
- python3 test_calc.py
";

/// Brief and plan, a Developer for each part, and no lessons.
fn team(product: impl FnOnce(Steps) -> Steps, notes: impl FnOnce(Steps) -> Steps) -> Script {
    Script::new()
        .agent("taskMaster", |s| s.replies(says("Write multiply in calc.py.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent_about("developer", "You carry out step `product`", product)
        .agent_about("developer", "You carry out step `notes`", notes)
        .agent("kbBuilder", |s| s.replies(says("[]")))
}

#[tokio::test]
async fn two_developers_work_at_once_and_their_results_become_one() {
    let (first, second) = (Hold::new(), Hold::new());
    let notes = json!({ "path": "notes.md", "content": "calc.py multiplies.\n" });
    let api = ScriptedApi::start(team(
        |s| {
            s.replies(edits().held_by(&first))
                .replies(says("multiply is written."))
        },
        |s| {
            s.replies(calls("write_file", notes).held_by(&second))
                .replies(says("The notes are written."))
        },
    ));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");

    first.reached().await;
    second.reached().await;
    let working = editor.detail(&run);
    for id in ["developer", "developer.product", "developer.notes"] {
        assert_eq!(step(&working, id)["status"], "running", "{id}: {working:#}");
    }
    assert_eq!(step(&working, "developer.notes")["title"], "Write the notes");
    first.release();
    second.release();
    let detail = editor.until_gate(&run, "patch");

    for id in ["developer", "developer.product", "developer.notes", "qa"] {
        assert_eq!(step(&detail, id)["status"], "finished", "{id}: {detail:#}");
        assert_eq!(step(&detail, id)["attempts"], 1, "{id}");
    }
    let paths: Vec<&Value> = detail["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| &file["path"])
        .collect();
    assert_eq!(paths, ["calc.py", "notes.md"]);
    assert_eq!(detail["testRuns"][0]["passed"], true, "QA tests what was merged");
    assert_usd(&detail["metrics"]["totalCost"], cost_of(6));
    assert_usd(&step(&detail, "developer.notes")["cost"], cost_of(2));
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_developer_whose_result_collides_does_its_part_again_on_top_of_the_others() {
    let (first, second, done) = (Hold::new(), Hold::new(), Hold::new());
    let same_lines = json!({ "path": "calc.py", "old_text": OLD, "new_text": "    return 0\n" });
    let notes = json!({ "path": "notes.md", "content": "calc.py multiplies.\n" });
    let api = ScriptedApi::start(team(
        |s| {
            s.replies(edits().held_by(&first))
                .replies(says("multiply is written."))
        },
        |s| {
            s.replies(calls("edit_file", same_lines).held_by(&second))
                .replies(says("Something is written.").held_by(&done))
                .replies(calls("write_file", notes))
                .replies(says("The notes are written."))
        },
    ));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    first.reached().await;
    second.reached().await;
    first.release();
    second.release();
    done.reached().await;
    editor.until(&run, "the first part's end", |detail| {
        step(detail, "developer.product")["status"] == "finished"
    });
    done.release();

    let detail = editor.until_gate(&run, "patch");

    let again = api
        .requests_of("developer")
        .last()
        .map(|request| request.body["messages"].to_string());
    let heard = again.unwrap_or_default();
    assert!(
        heard.contains("could not be merged") && heard.contains("calc.py"),
        "the second one hears why: {heard}"
    );
    assert_eq!(step(&detail, "developer.notes")["attempts"], 2, "{detail:#}");
    assert_eq!(step(&detail, "developer.product")["attempts"], 1, "{detail:#}");
    assert_eq!(detail["testRuns"][0]["passed"], true, "the first result stands");
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_declared_pipeline_leaves_out_what_its_condition_says_and_stops_where_it_declares_a_gate() {
    let more = "\
approvals: { plan: false }
pipelines:
  careful:
    steps:
      - { agent: architect, gate: ask }
      - { agent: developer }
      - { agent: qa, when: not changed }
";
    let script = Script::new()
        .agent("architect", |s| s.replies(says(clode_tests::stage::PLAN)))
        .agent("developer", |s| {
            s.replies(edits()).replies(says("multiply is written."))
        });
    let api = ScriptedApi::start(script);
    let stage = Stage::api_with(&api, with_a_todo(), more);
    let mut editor = opened(&stage);
    let mut request = stage.request(&editor);
    request["options"] = json!({ "pipeline": "careful" });
    let run = editor.run(&request);

    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");

    assert_eq!(step(&detail, "qa")["status"], "skipped", "{detail:#}");
    assert_eq!(detail["testRuns"], json!([]));
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    drop(editor);
    api.assert_clean();
}
