//! The gates of a run and every way to answer them.

use clode_tests::stage::{MODULE, NEW, OLD};
use clode_tests::text_editor::{gate, gates};
use serde_json::json;

use super::{at_the_patch, opened};

#[tokio::test]
async fn a_plan_refused_with_a_comment_is_planned_again_under_a_new_approval() {
    let (stage, mut editor) = opened();
    let run = editor.run(&stage.request(&editor));
    let first = gate(&editor.until_gate(&run, "plan"), "plan")["id"].clone();

    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": first, "approved": false, "comment": "Say more about the tests." }),
    );

    let again = editor.until(&run, "a second plan", |detail| {
        gates(detail, "plan")
            .first()
            .is_some_and(|approval| approval["id"] != first)
    });
    assert!(
        again["plan"]
            .as_str()
            .is_some_and(|plan| plan.contains("## Steps"))
    );
    let late = editor.refused(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": first, "approved": true }),
    );
    assert_eq!(
        (late.code, &late.data["code"]),
        (-32803, &json!("approvalClosed")),
        "{late:?}"
    );
    editor.approve(&run, "plan");
    editor.until_gate(&run, "patch");
}

#[tokio::test]
async fn a_plan_that_was_edited_to_nothing_is_refused_and_the_gate_stays_open() {
    let (stage, mut editor) = opened();
    let run = editor.run(&stage.request(&editor));
    let planned = editor.until_gate(&run, "plan");
    let id = gate(&planned, "plan")["id"].clone();
    let plan = planned["plan"].as_str().unwrap_or_default().to_owned();

    for broken in [
        String::new(),
        "# Plan: nothing\n".to_owned(),
        plan.replace("agent: developer", "agent: nobody"),
    ] {
        let refused = editor.refused(
            "clode.pipeline.approve",
            &json!({ "pipelineId": run, "approvalId": id, "approved": true, "plan": broken }),
        );
        assert_eq!(refused.code, -32602, "{refused:?}");
        assert!(refused.message.contains("line"), "{refused:?}");
    }

    let still = editor.detail(&run);
    assert_eq!(gate(&still, "plan")["id"], id);
    assert_eq!(still["plan"], json!(plan));
    editor.approve(&run, "plan");
    editor.until_gate(&run, "patch");
    stage.assert_untouched();
}

#[tokio::test]
async fn a_plan_is_edited_in_a_buffer_and_its_saved_draft_is_what_is_carried_out() {
    let (stage, mut editor) = opened();
    let run = editor.run(&stage.request(&editor));
    editor.until_gate(&run, "plan");

    let answer = editor.must("clode.pipeline.editPlan", &json!({ "pipelineId": run }));
    let uri = url::Url::parse(answer["uri"].as_str().unwrap_or_default()).expect("a URI");
    let draft = uri.to_file_path().expect("a file");
    assert!(
        draft.starts_with(stage.home.path("state")),
        "{uri} lies under the state directory"
    );
    editor.open(&draft);
    assert!(editor.text(&draft).contains("## Steps"));
    editor.append(&draft, "\n## Notes\nKeep it short, says the person.\n");
    editor.save(&draft);

    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    assert!(
        detail["plan"]
            .as_str()
            .is_some_and(|plan| plan.contains("says the person")),
        "{}",
        detail["plan"]
    );
    stage.assert_untouched();
}

#[tokio::test]
async fn a_rejected_hunk_leaves_the_buffer_as_it_is() {
    let (stage, mut editor, run, detail) = at_the_patch();
    let hunk = detail["files"][0]["hunks"][0]["id"].clone();

    editor.must(
        "clode.pipeline.rejectHunks",
        &json!({ "pipelineId": run, "hunks": [hunk] }),
    );

    let done = editor.until_status(&run, "completed");
    assert_eq!(done["files"][0]["hunks"][0]["state"], "rejected");
    assert_eq!(editor.text(&stage.file()), MODULE);
    stage.assert_untouched();
}

#[tokio::test]
async fn a_patch_refused_with_a_comment_comes_back_as_another_round() {
    let (stage, mut editor, run, detail) = at_the_patch();
    let first = gate(&detail, "patch")["id"].clone();

    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": first, "approved": false, "comment": "Add a comment that says why." }),
    );

    let again = editor.until(&run, "a second round", |detail| {
        gates(detail, "patch")
            .first()
            .is_some_and(|approval| approval["id"] != first)
    });
    assert_eq!(editor.text(&stage.file()), MODULE, "nothing is applied by a no");
    let developer = &again["steps"][2];
    assert!(developer["attempts"].as_u64() >= Some(1), "{developer}");
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert!(
        editor.text(&stage.file()).contains("return a * b"),
        "{}",
        editor.text(&stage.file())
    );
    stage.assert_untouched();
}

#[tokio::test]
async fn a_patch_refused_without_a_word_changes_nothing() {
    let (stage, mut editor, run, detail) = at_the_patch();

    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": gate(&detail, "patch")["id"], "approved": false }),
    );

    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE);
    stage.assert_untouched();
}

#[tokio::test]
async fn two_editors_answer_one_gate_and_one_of_them_wins() {
    let (stage, mut first) = opened();
    let mut second = stage.editor();
    second.open(&stage.file());
    let run = first.run(&stage.request(&first));
    let id = gate(&first.until_gate(&run, "plan"), "plan")["id"].clone();
    let seen = second.until_gate(&run, "plan");
    assert_eq!(
        gate(&seen, "plan")["id"],
        id,
        "the other editor sees the very same gate"
    );

    let yes = json!({ "pipelineId": run, "approvalId": id, "approved": true });
    let one = first.client.begin_command("clode.pipeline.approve", &yes);
    let other = second.client.begin_command("clode.pipeline.approve", &yes);
    let answers = [first.client.finish(one), second.client.finish(other)];

    let refused: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    assert_eq!(
        (refused[0].code, &refused[0].data["code"]),
        (-32803, &json!("approvalClosed")),
        "{refused:?}"
    );

    // Either of them may also take the edit: it lands in the editor that asks, and both know.
    let detail = second.until_gate(&run, "patch");
    let patch = gate(&detail, "patch")["id"].clone();
    second.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": patch, "approved": true }),
    );
    second.until_status(&run, "completed");
    first.until_status(&run, "completed");
    assert_eq!(second.text(&stage.file()), MODULE.replace(OLD, NEW));
    assert_eq!(
        first.text(&stage.file()),
        MODULE,
        "an edit goes to the editor that asked for it"
    );
}
