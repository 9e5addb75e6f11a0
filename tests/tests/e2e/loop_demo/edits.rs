//! Edits on their way into buffers: conflicts, files that are not open, and back again.

use clode_tests::stage::{MODULE, NEW, OLD};
use serde_json::json;

use super::{at_the_patch, opened};

#[tokio::test]
async fn a_hunk_whose_lines_were_retyped_is_a_conflict_and_never_overwrites() {
    let (stage, mut editor, run, _) = at_the_patch();
    let mine = "    # TODO: write it\n    raise NotImplementedError\n";
    editor.retype(&stage.file(), OLD, mine);

    let detail = editor.until(&run, "a conflict", |detail| {
        detail["files"][0]["hunks"][0]["state"] == "conflict"
    });
    let conflict = &detail["files"][0]["hunks"][0]["conflict"];
    assert!(
        conflict["mine"]
            .as_str()
            .is_some_and(|text| text.contains("NotImplementedError")),
        "{conflict:#}"
    );
    assert!(
        conflict["theirs"]
            .as_str()
            .is_some_and(|text| text.contains("return a * b")),
        "{conflict:#}"
    );
    let answer = editor.must("clode.pipeline.apply", &json!({ "pipelineId": run }));
    assert!(
        answer["files"]
            .as_array()
            .is_none_or(|files| files.iter().all(|file| file["result"] != "applied")),
        "{answer:#}"
    );
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, mine));

    // The person decides.
    let hunk = detail["files"][0]["hunks"][0]["id"].clone();
    if editor.offers(&["clode.pipeline.resolve"]) {
        let theirs = json!({ "pipelineId": run, "hunk": hunk, "take": "theirs" });
        editor.must("clode.pipeline.resolve", &theirs);
        editor.until_status(&run, "completed");
        assert!(
            editor.text(&stage.file()).contains(NEW),
            "{}",
            editor.text(&stage.file())
        );
    } else {
        editor.must(
            "clode.pipeline.rejectHunks",
            &json!({ "pipelineId": run, "hunks": [hunk] }),
        );
        editor.until_status(&run, "completed");
        assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, mine));
    }
    stage.assert_untouched();
}

#[tokio::test]
async fn a_file_that_is_not_open_is_opened_and_then_edited() {
    let (stage, mut editor, run, _) = at_the_patch();
    editor.close(&stage.file());

    editor.approve(&run, "patch");

    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    stage.assert_untouched();
}

#[tokio::test]
async fn an_applied_hunk_that_is_undone_is_reverted_and_an_applied_run_can_be_taken_back() {
    let (stage, mut editor, run, _) = at_the_patch();
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    editor.append(&stage.file(), "\n\nLIMIT = 10\n");

    let answer = editor.must("clode.pipeline.revert", &json!({ "pipelineId": run }));

    assert!(answer["files"][0]["uri"].is_string(), "{answer:#}");
    assert_eq!(editor.text(&stage.file()), format!("{MODULE}\n\nLIMIT = 10\n"));
    let detail = editor.detail(&run);
    assert_eq!(
        detail["files"][0]["hunks"][0]["state"], "reverted",
        "{:#}",
        detail["files"]
    );
    stage.assert_untouched();
}

#[tokio::test]
async fn the_edit_can_be_asked_for_without_applying_it() {
    let (stage, mut editor, run, _) = at_the_patch();

    let answer = editor.must("clode.pipeline.edit", &json!({ "pipelineId": run }));

    assert!(
        answer["edit"]["documentChanges"].is_array() || answer["edit"]["changes"].is_object(),
        "{answer:#}"
    );
    assert_eq!(editor.text(&stage.file()), MODULE);
    assert_eq!(editor.detail(&run)["files"][0]["hunks"][0]["state"], "pending");
}

#[tokio::test]
async fn the_branch_holds_the_approved_patch_on_head_and_nothing_else_is_touched() {
    let (stage, mut editor, run, _) = at_the_patch();
    if !editor.offers(&["clode.pipeline.branch"]) {
        return;
    }
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    let head = stage.repo.git(&["rev-parse", "HEAD"]);

    let answer = editor.must(
        "clode.pipeline.branch",
        &json!({ "pipelineId": run, "name": "agents/multiply" }),
    );

    assert_eq!(answer["ref"], "refs/heads/agents/multiply");
    assert_eq!(stage.repo.git(&["rev-parse", "agents/multiply^"]), head);
    assert_eq!(stage.repo.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(
        stage.repo.git(&["show", "agents/multiply:calc.py"]),
        MODULE.replace(OLD, NEW).trim_end()
    );
    assert_eq!(stage.repo.git(&["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_line_that_was_written_to_us_is_kept_from_the_agents_and_goes_with_the_patch() {
    let (stage, mut editor) = opened();
    let first = MODULE.lines().next().expect("a line");
    let instruction = "# clode: multiply should work";
    editor.retype(&stage.file(), first, &format!("{instruction}\n{first}"));

    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");

    let patch = detail["patch"].as_str().unwrap_or_default();
    assert!(
        patch.contains(&format!("-{instruction}")) && patch.contains("return a * b"),
        "{patch}"
    );
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    stage.assert_untouched();
}
