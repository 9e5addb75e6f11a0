//! The database is damaged between two starts: the next one says so, goes on from the backup, and lets a person
//! decide about each run that had not ended.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use clode_tests::stage::{MODULE, NEW, OLD, Stage, TEST_COMMAND};
use clode_tests::text_editor::FINISH_LIMIT;

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The first page holds the header and the schema.
const FIRST_PAGE: usize = 4096;

/// Damages all but the first page, and the log that was not yet part of the file; answers what there is now.
fn damage(database: &Path) -> io::Result<Vec<u8>> {
    let log = database.with_extension("db-wal");
    if let Ok(bytes) = fs::read(&log) {
        fs::write(&log, vec![0xA5; bytes.len()])?;
    }
    let mut bytes = fs::read(database)?;
    bytes.iter_mut().skip(FIRST_PAGE).for_each(|byte| *byte = 0xA5);
    fs::write(database, &bytes)?;
    Ok(bytes)
}

#[tokio::test]
async fn after_a_damage_a_run_comes_back_from_the_backup_waits_and_is_finished() {
    let stage = Stage::demo();
    let cli = stage.cli().within(FINISH_LIMIT);
    let json = async |words: &[&str]| cli.run(words).await.expect_code(0).json();
    cli.run(&["run", "Write multiply", "--id", "T-1", "--test", TEST_COMMAND])
        .await
        .assert_code(3);
    let before = json(&["pipelines", "list", "--json"]).await[0].clone();
    let run = before["pipelineId"].as_str().unwrap_or_default();
    let folder = stage.home.path("state");
    let mut editor = stage.editor();
    let end = Instant::now() + FINISH_LIMIT;
    while !folder.join("backup/clode.db").exists() {
        assert!(Instant::now() < end, "no backup is made: {}", editor.client.log());
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    assert_eq!(editor.client.shut_down(), Some(0));
    drop(editor);
    let damaged = damage(&folder.join("clode.db")).expect("it can be damaged");

    let status = json(&["status", "--json"]).await;

    let alerts = status["alerts"].as_array().cloned().unwrap_or_default();
    let told = alerts.iter().find(|alert| alert["code"] == "storeRestored");
    let told = told
        .and_then(|alert| alert["message"].as_str())
        .unwrap_or_default();
    assert!(told.contains("damaged/1"), "{status:#}");
    assert_eq!(
        fs::read(folder.join("damaged/1/clode.db")).ok(),
        Some(damaged),
        "nothing is deleted"
    );
    let doctor = cli.run(&["doctor"]).await;
    assert!(doctor.stdout.contains("damaged/1"), "{doctor:?}");
    let waiting = json(&["pipelines", "list", "--json"]).await[0].clone();
    assert_eq!(waiting["status"], "paused", "{waiting:#}");
    let reason = waiting["statusReason"].as_str().unwrap_or_default();
    assert!(reason.contains("came back from a backup"), "{reason}");

    cli.run(&["pipelines", "resume", run]).await.assert_code(3);
    let asked = json(&["pipelines", "show", run, "--json"]).await;
    assert_eq!(asked["pendingApproval"]["id"], before["pendingApproval"]["id"]);
    cli.run(&["pipelines", "approve", run]).await.assert_code(3);
    cli.run(&["pipelines", "approve", run]).await.assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
    stage.assert_nobody_left().await;
}
