//! What is old goes, and only that: a server whose clock is a month ahead.

use std::time::Duration;

use clode_tests::cli::Cli;
use clode_tests::stage::{MODULE, NEW, OLD, Stage, TEST_COMMAND};
use clode_tests::text_editor::FINISH_LIMIT;
use serde_json::Value;

/// Runs are kept for thirty days.
const DAYS_AHEAD: &str = "31";
/// An open server tidies up after some seconds.
const TIDY_LIMIT: Duration = Duration::from_secs(60);
const POLL_PAUSE: Duration = Duration::from_millis(300);

async fn listed(cli: &Cli) -> Vec<Value> {
    let list = cli.run(&["pipelines", "list", "--json"]).await;
    list.expect_code(0).json().as_array().cloned().unwrap_or_default()
}

/// Starts a task that waits at its plan, and names its run.
async fn begun(cli: &Cli, title: &str) -> String {
    cli.run(&["run", title, "--test", TEST_COMMAND])
        .await
        .assert_code(3);
    let newest = listed(cli).await.into_iter().next().unwrap_or_default();
    newest["pipelineId"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn old_runs_go_by_themselves_and_what_nobody_applied_can_still_be_had() {
    let mut stage = Stage::demo();
    let cli = stage.cli().within(FINISH_LIMIT);
    let refused = begun(&cli, "Write multiply").await;
    cli.run(&["pipelines", "approve", &refused]).await.assert_code(3);
    cli.run(&["pipelines", "reject", &refused]).await.assert_code(0);
    let waits = begun(&cli, "Write multiply later").await;
    cli.run(&["run", "Write multiply now", "--test", TEST_COMMAND, "--yes"])
        .await
        .assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    assert_eq!(listed(&cli).await.len(), 3);

    stage.home.set("CLODE_DAYS_AHEAD", DAYS_AHEAD);
    let mut editor = stage.editor();
    assert_eq!(editor.detail(&waits)["pipelineId"], waits);

    let gone = async {
        while listed(&cli).await.len() > 1 {
            tokio::time::sleep(POLL_PAUSE).await;
        }
    };
    let in_time = tokio::time::timeout(TIDY_LIMIT, gone).await;
    assert!(in_time.is_ok(), "{:#?}", listed(&cli).await);
    assert_eq!(
        listed(&cli).await[0]["pipelineId"],
        waits,
        "what waits for a person stays"
    );
    drop(editor);
    let doctor = cli.run(&["doctor"]).await;
    assert!(doctor.stdout.contains(&refused), "{doctor:?}");
    let shown = cli.run(&["pipelines", "show", &refused]).await;
    assert!(shown.stderr.contains("pipelines patch"), "{shown:?}");
    let patch = cli
        .run(&["pipelines", "patch", &refused])
        .await
        .expect_code(0)
        .stdout;
    let file = stage.home.path("kept.patch");
    assert!(std::fs::write(&file, patch).is_ok(), "the patch is written");
    stage.repo.write("calc.py", MODULE);
    stage.repo.git(&["apply", &*file.to_string_lossy()]);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_nobody_left().await;
}
