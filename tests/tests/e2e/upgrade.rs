//! Two programs on one database: what an earlier one began the present one finishes, and the earlier one
//! never writes into what the present one has brought forward.

use clode_tests::cli::{Cli, Finished};
use clode_tests::component::Component;
use clode_tests::stage::{MODULE, NEW, OLD, Stage, TEST_COMMAND};
use clode_tests::text_editor::FINISH_LIMIT;
use serde_json::Value;

const RUN: &[&str] = &["run", "Write multiply", "--id", "T-1", "--test", TEST_COMMAND];

/// The earlier program and the present one, for the same person.
fn programs(stage: &Stage) -> Option<(Cli, Cli)> {
    let earlier = Component::Earlier.find()?;
    let old = Cli::program(earlier, &stage.home, stage.repo.path()).within(FINISH_LIMIT);
    Some((old, stage.cli().within(FINISH_LIMIT)))
}

async fn only_run(cli: &Cli) -> Value {
    let list = cli
        .run(&["pipelines", "list", "--json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list:#}");
    list[0].clone()
}

fn said(finished: &Finished) -> String {
    format!("{}{}", finished.stdout, finished.stderr)
}

#[tokio::test]
async fn a_run_that_the_earlier_program_left_at_its_plan_gate_is_finished_by_this_one() {
    let stage = Stage::demo();
    let Some((old, new)) = programs(&stage) else {
        return;
    };
    old.run(RUN).await.assert_code(3);
    let before = only_run(&old).await;
    let run = before["pipelineId"].as_str().unwrap_or_default();

    let after = only_run(&new).await;
    assert_eq!(after["pendingApproval"]["id"], before["pendingApproval"]["id"]);
    assert_eq!(after["status"], "awaitingApproval");
    new.run(&["pipelines", "approve", run]).await.assert_code(3);
    new.run(&["pipelines", "approve", run]).await.assert_code(0);

    let shown = new
        .run(&["pipelines", "show", run, "--json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(shown["status"], "completed", "{shown:#}");
    let steps = shown["steps"].as_array().cloned().unwrap_or_default();
    assert!(
        steps.iter().all(|step| step["attempts"].as_u64() <= Some(1)),
        "{shown:#}"
    );
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
    stage.assert_nobody_left().await;
}

#[tokio::test]
async fn a_run_that_the_earlier_program_left_at_its_patch_gate_is_finished_by_this_one() {
    let stage = Stage::demo();
    let Some((old, new)) = programs(&stage) else {
        return;
    };
    old.run(RUN).await.assert_code(3);
    let before = only_run(&old).await;
    let run = before["pipelineId"].as_str().unwrap_or_default();
    old.run(&["pipelines", "approve", run]).await.assert_code(3);

    new.run(&["pipelines", "approve", run]).await.assert_code(0);

    assert_eq!(only_run(&new).await["status"], "completed");
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
}

#[tokio::test]
async fn the_earlier_program_only_reads_what_this_one_has_brought_forward() {
    let stage = Stage::demo();
    let Some((old, new)) = programs(&stage) else {
        return;
    };
    new.run(RUN).await.assert_code(3);
    let before = only_run(&new).await;
    let run = before["pipelineId"].as_str().unwrap_or_default();

    for words in [
        &["run", "Something else", "--yes"][..],
        &["pipelines", "approve", run],
        &["pipelines", "cancel", run],
    ] {
        let refused = old.run(words).await;
        assert_eq!(refused.code, Some(1), "{words:?}: {refused:?}");
        let said = said(&refused);
        for part in ["newer clode-ls", "update clode-ls"] {
            assert!(said.contains(part), "{words:?}: {part:?} is not in {said}");
        }
    }
    assert_eq!(
        only_run(&old).await["status"],
        "awaitingApproval",
        "it still shows"
    );

    let after = only_run(&new).await;
    assert_eq!(
        (&after["status"], &after["updatedAt"]),
        (&before["status"], &before["updatedAt"]),
        "nothing was written"
    );
    stage.assert_untouched();
}
