//! The program is killed at every journal write of a run, right before and right after it is on the disk.
//! Wherever that happens: the run is taken up and completes, no finished step runs again, nothing is charged
//! that was not used, nobody is left behind, and the file holds what it should.

mod parts;

use std::collections::BTreeMap;

use clode_tests::cli::{Cli, Finished};
use clode_tests::stage::{MODULE, NEW, OLD, Stage, TEST_COMMAND};
use clode_tests::text_editor::FINISH_LIMIT;
use futures::future::join_all;
use serde_json::Value;

const RUN: &[&str] = &[
    "run",
    "Write multiply",
    "--id",
    "T-1",
    "--test",
    TEST_COMMAND,
    "--yes",
    "--json",
];
/// Kills that are tried at the same time.
const AT_ONCE: u32 = 4;
/// A run has fewer journal writes than this.
const WRITES_MAX: u32 = 200;
/// And at least so many: each of its five steps begins and ends.
const WRITES_MIN: u32 = 10;

/// What the lines that were printed say of each step that finished: in which attempt.
fn finished_steps(finished: &Finished) -> BTreeMap<String, Value> {
    let mut attempts = BTreeMap::new();
    let mut done = BTreeMap::new();
    // The last line may have been cut off by the kill.
    let lines = finished
        .stdout
        .lines()
        .map_while(|line| serde_json::from_str::<Value>(line).ok());
    for line in lines {
        let step = line["stepId"].as_str().unwrap_or_default().to_owned();
        match (line["type"].as_str(), line["status"].as_str()) {
            (Some("stepStarted"), _) => drop(attempts.insert(step, line["attempt"].clone())),
            (Some("stepFinished"), Some("finished")) => {
                done.insert(step.clone(), attempts[&step].clone());
            }
            _ => {}
        }
    }
    done
}

async fn shown(cli: &Cli) -> Option<Value> {
    let list = cli
        .run(&["pipelines", "list", "--json"])
        .await
        .expect_code(0)
        .json();
    let run = list[0]["pipelineId"].as_str()?.to_owned();
    let shown = cli.run(&["pipelines", "show", &run, "--json"]).await;
    Some(shown.expect_code(0).json())
}

/// Kills one run at one place and takes it up again; false if it ended before it came to that place.
async fn is_survived(failpoint: String) -> bool {
    let stage = Stage::demo();
    let cli = stage.cli().within(FINISH_LIMIT);
    let killed = cli.clone().env("CLODE_FAILPOINT", &failpoint).run(RUN).await;
    if killed.code == Some(0) {
        return false;
    }
    assert_eq!(killed.code, None, "{failpoint}: {killed:?}");
    stage.assert_nobody_left().await;
    let before = shown(&cli).await;
    assert!(before.is_some(), "{failpoint}: the run is lost");
    let before = before.unwrap_or_default();
    let run = before["pipelineId"].as_str().unwrap_or_default();
    if before["status"] != "completed" {
        let resumed = cli.run(&["pipelines", "resume", run]).await;
        assert_eq!(resumed.code, Some(0), "{failpoint}: {resumed:?}");
    }

    let after = shown(&cli).await.unwrap_or_default();
    assert_eq!(after["status"], "completed", "{failpoint}: {after:#}");
    let done = finished_steps(&killed);
    for step in after["steps"].as_array().into_iter().flatten() {
        let id = step["id"].as_str().unwrap_or_default();
        assert!(
            done.get(id).is_none_or(|attempt| *attempt == step["attempts"]),
            "{failpoint}: `{id}` had finished and ran again: {step:#}"
        );
        assert!(step["attempts"].as_u64() <= Some(2), "{failpoint}: {step:#}");
    }
    for amount in ["totalCost", "reservedCost", "unconfirmedCost"] {
        assert_eq!(
            after["metrics"][amount].as_f64(),
            Some(0.0),
            "{failpoint}: {after:#}"
        );
    }
    // Lessons wait for a yes of their own; nothing else is left to answer.
    let asked = after["pendingApprovals"].as_array().cloned().unwrap_or_default();
    assert!(
        asked.iter().all(|gate| gate["gate"] == "knowledge"),
        "{failpoint}: {asked:#?}"
    );
    assert_eq!(
        stage.repo.read("calc.py"),
        MODULE.replace(OLD, NEW),
        "{failpoint}"
    );
    stage.assert_git_untouched();
    stage.assert_nobody_left().await;
    true
}

/// Goes from one journal write to the next until there is none; answers how many there were.
async fn walk<F: Future<Output = bool>>(side: &str, is_survived: impl Fn(String) -> F) -> u32 {
    let mut number = 1;
    loop {
        assert!(number < WRITES_MAX, "the run has no end");
        let places = (number..number + AT_ONCE).map(|number| format!("{side}:{number}"));
        let survived = join_all(places.map(&is_survived)).await;
        if let Some(beyond) = survived.iter().position(|survived| !survived) {
            return number - 1 + u32::try_from(beyond).unwrap_or(0);
        }
        number += AT_ONCE;
    }
}

#[tokio::test]
async fn a_run_survives_a_kill_right_before_each_of_its_journal_writes() {
    let writes = walk("before-commit", is_survived).await;
    assert!(writes >= WRITES_MIN, "only {writes} journal writes were tried");
}

#[tokio::test]
async fn a_run_survives_a_kill_right_after_each_of_its_journal_writes() {
    let writes = walk("after-commit", is_survived).await;
    assert!(writes >= WRITES_MIN, "only {writes} journal writes were tried");
}

/// Kills the program that carries a yes to the plan out; false if it came to the next gate before that place.
async fn is_asked_once(failpoint: String) -> bool {
    let stage = Stage::demo();
    let cli = stage.cli().within(FINISH_LIMIT);
    let asking = &RUN[..RUN.len() - 2];
    cli.run(asking).await.assert_code(3);
    let asked = shown(&cli).await.unwrap_or_default();
    let run = asked["pipelineId"].as_str().unwrap_or_default();
    let approve = ["pipelines", "approve", run];
    let killed = cli.clone().env("CLODE_FAILPOINT", &failpoint).run(&approve).await;
    if killed.code == Some(3) {
        return false;
    }
    assert_eq!(killed.code, None, "{failpoint}: {killed:?}");
    stage.assert_nobody_left().await;

    // The yes was stored before anything else: nobody is asked for it again, and nobody else says the next one.
    let resumed = cli.run(&["pipelines", "resume", run]).await;
    assert_eq!(resumed.code, Some(3), "{failpoint}: {resumed:?}");
    let waiting = shown(&cli).await.unwrap_or_default();
    assert_eq!(
        waiting["pendingApproval"]["gate"], "patch",
        "{failpoint}: {waiting:#}"
    );
    stage.assert_untouched();
    let approved = cli.run(&approve).await;
    assert_eq!(approved.code, Some(0), "{failpoint}: {approved:?}");
    assert_eq!(
        stage.repo.read("calc.py"),
        MODULE.replace(OLD, NEW),
        "{failpoint}"
    );
    true
}

#[tokio::test]
async fn a_yes_survives_a_kill_at_each_journal_write_after_it_and_no_other_gate_is_answered_by_nobody() {
    let writes = walk("after-commit", is_asked_once).await;
    assert!(writes > 0, "no journal write was tried");
}
