//! The same while two Developers carry out a plan and their results are merged: also between a merge that was
//! ordered and the word that it is done.

use clode_tests::fixture::{Home, Repo};
use clode_tests::stage::{Stage, step};
use clode_tests::text_editor::FINISH_LIMIT;

use super::{shown, walk};

const MULTIPLY: [&str; 2] = [
    "def multiply(a, b):\n    # TODO: write it\n    pass\n",
    "def multiply(a, b):\n    return a * b\n",
];
const ADD: [&str; 2] = [
    "def add(a, b):\n    # TODO: write it\n    pass\n",
    "def add(a, b):\n    return a + b\n",
];
const PLAN: &str = "\
# Plan: Write both

## Goal
Both answer.

## Steps
### product: Write multiply
- agent: developer
- touches: product.py
- needs: none

Settle what is open in product.py.

### sum: Write add
- agent: developer
- touches: sum.py
- needs: none

Settle what is open in sum.py.
";
const PARTS: [&str; 2] = ["developer.product", "developer.sum"];
/// The answer, the begin and the end of both parts, a merge, and QA.
const WRITES_MIN: u32 = 6;

/// Kills the program that carries the plan out; false if it came to the patch before that place.
async fn is_survived(failpoint: String) -> bool {
    let repo = Repo::with(&[("product.py", MULTIPLY[0]), ("sum.py", ADD[0])]);
    let stage = Stage::of(Home::new(), repo);
    let cli = stage.cli().within(FINISH_LIMIT);
    cli.run(&["run", "Write both", "--id", "T-1"])
        .await
        .assert_code(3);
    let asked = shown(&cli).await.unwrap_or_default();
    let run = asked["pipelineId"].as_str().unwrap_or_default();
    let plan = stage.home.path("plan.md");
    assert!(std::fs::write(&plan, PLAN).is_ok(), "the plan is written");
    let plan = plan.to_string_lossy();
    let with_plan = ["pipelines", "approve", run, "--plan", &*plan];
    let killed = cli
        .clone()
        .env("CLODE_FAILPOINT", &failpoint)
        .run(&with_plan)
        .await;
    if killed.code == Some(3) {
        return false;
    }
    assert_eq!(killed.code, None, "{failpoint}: {killed:?}");
    stage.assert_nobody_left().await;

    let before = shown(&cli).await.unwrap_or_default();
    if before["pendingApproval"]["gate"] != "patch" {
        let resumed = cli.run(&["pipelines", "resume", run]).await;
        assert_eq!(resumed.code, Some(3), "{failpoint}: {resumed:?}");
    }
    // A yes that was stored is taken in now; one that was not has to be said again.
    let resumed = shown(&cli).await.unwrap_or_default();
    if resumed["pendingApproval"]["gate"] == "plan" {
        cli.run(&with_plan).await.assert_code(3);
    }

    let after = shown(&cli).await.unwrap_or_default();
    assert_eq!(
        after["pendingApproval"]["gate"], "patch",
        "{failpoint}: {after:#}"
    );
    for id in PARTS {
        let (was, is) = (step(&before, id), step(&after, id));
        assert_eq!(is["status"], "finished", "{failpoint}: {after:#}");
        assert!(is["attempts"].as_u64() <= Some(2), "{failpoint}: {is:#}");
        assert!(
            was["status"] != "finished" || was["attempts"] == is["attempts"],
            "{failpoint}: `{id}` had finished and ran again: {is:#}"
        );
    }
    stage.assert_untouched();
    let approved = cli.run(&["pipelines", "approve", run]).await;
    assert_eq!(approved.code, Some(0), "{failpoint}: {approved:?}");
    assert_eq!(stage.repo.read("product.py"), MULTIPLY[1], "{failpoint}");
    assert_eq!(stage.repo.read("sum.py"), ADD[1], "{failpoint}");
    stage.assert_git_untouched();
    stage.assert_nobody_left().await;
    true
}

#[tokio::test]
async fn parts_and_their_merge_survive_a_kill_right_before_each_journal_write() {
    let writes = walk("before-commit", is_survived).await;
    assert!(writes >= WRITES_MIN, "only {writes} journal writes were tried");
}

#[tokio::test]
async fn parts_and_their_merge_survive_a_kill_right_after_each_journal_write() {
    let writes = walk("after-commit", is_survived).await;
    assert!(writes >= WRITES_MIN, "only {writes} journal writes were tried");
}
