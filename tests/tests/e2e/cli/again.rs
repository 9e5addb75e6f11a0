//! Going back: hunks that are taken out again, steps that are done again, and what is kept of them.

use clode_tests::cli::Cli;
use clode_tests::scripted_api::{Script, ScriptedApi};
use clode_tests::stage::{MODULE, NEW, OLD, PLAN, Stage, develops, says};
use serde_json::{Value, json};

use super::{RUN, cli, only_run, shown, with};

#[tokio::test]
async fn a_completed_run_is_done_again_from_one_step_on() {
    let api = ScriptedApi::start(
        Script::new()
            .agent("taskMaster", |s| s.replies(says("A brief.")))
            .agent("architect", |s| s.replies(says(PLAN)))
            .agent("developer", |s| develops(develops(s)))
            // The same work leads to the same question: its answer is an earlier one.
            .agent("kbBuilder", |s| s.replies(says("[]"))),
    );
    let stage = Stage::api(&api);
    let cli = cli(&stage);
    cli.run(&with(RUN, &["--yes", "--no-apply"])).await.assert_code(0);
    let run = only_run(&cli).await;
    let before = shown(&cli, &run).await;

    cli.run(&["pipelines", "retry", &run, "--from", "developer"])
        .await
        .assert_code(0);

    let after = shown(&cli, &run).await;
    assert_eq!(after["patch"], before["patch"]);
    let attempts = |detail: &Value, agent: &str| {
        let steps = detail["steps"].as_array().into_iter().flatten();
        let found = steps.into_iter().find(|step| step["agent"] == agent);
        found.and_then(|step| step["attempts"].as_u64())
    };
    assert_eq!(attempts(&after, "architect"), Some(1));
    assert_eq!(attempts(&after, "developer"), Some(2));
    let unknown = cli
        .run(&["pipelines", "retry", &run, "--from", "no-such-step"])
        .await;
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("developer"), "{}", unknown.stderr);
    api.assert_clean();
}

#[tokio::test]
async fn a_run_is_exported_without_secrets_and_a_changed_copy_shows() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    stage.repo.write("notes.txt", "mine alone, not committed\n");
    let secret = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcdefghijAA";
    cli.run(&with(RUN, &["--description", secret, "--yes", "--no-apply"]))
        .await
        .assert_code(0);
    let run = only_run(&cli).await;

    let shown = shown(&cli, &run).await;
    let steps = shown["steps"].as_array().cloned().unwrap_or_default();
    let developer = steps.iter().find(|step| step["agent"] == "developer");
    let changes = developer.map(|step| &step["changes"]["files"]);
    assert_eq!(changes, Some(&json!(1)), "{steps:#?}");

    let outside = stage.home.path("exports");
    std::fs::create_dir_all(&outside).expect("a folder");
    let file = outside.join("run.json").to_string_lossy().into_owned();
    cli.run(&["pipelines", "show", &run, "--export", &file])
        .await
        .assert_code(0);
    cli.run(&["pipelines", "show", &run, "--export", &file])
        .await
        .assert_code(2);
    let text = std::fs::read_to_string(&file).expect("written");
    for hidden in [secret, "mine alone", stage.repo.path().to_string_lossy().as_ref()] {
        assert!(!text.contains(hidden), "{hidden} is in {text}");
    }
    assert!(text.contains("return a * b"), "{text}");
    cli.run(&["pipelines", "show", "--verify", &file])
        .await
        .assert_code(0);

    let one = cli
        .run(&["pipelines", "show", &run, "--export", "-", "--step", "developer"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(one["body"]["step"]["agent"], "developer");
    let patch = one["body"]["step"]["patch"].as_str().unwrap_or_default();
    assert!(patch.contains("+    return a * b"), "{one:#}");

    std::fs::write(&file, text.replace("return a * b", "return a + b")).expect("written");
    let told = cli.run(&["pipelines", "show", "--verify", &file]).await;
    told.assert_code(1);
    assert!(told.stderr.contains("changed"), "{}", told.stderr);
}

#[tokio::test]
async fn what_was_applied_is_taken_back_and_the_task_is_done_anew() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    let named = with(RUN, &["--yes"]);
    cli.run(&named).await.assert_code(0);
    let run = only_run(&cli).await;
    let hunks = hunks_of(&cli, &run).await;

    cli.run(&["pipelines", "revert", &run]).await.assert_code(0);
    stage.assert_untouched();
    assert_eq!(states(&cli, &run).await, ["reverted"]);
    cli.run(&["pipelines", "revert", &run]).await.assert_code(0);
    cli.run(&["pipelines", "apply", &run, "--hunk", &hunks[0]])
        .await
        .assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    cli.run(&["pipelines", "revert", &run]).await.assert_code(0);
    stage.assert_untouched();

    // What was taken back is no answer to the same task on the same files.
    cli.run(&named).await.assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    let list = cli
        .run(&["pipelines", "list", "--json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list:#}");
}

#[tokio::test]
async fn taking_back_keeps_what_was_changed_since_and_overwrites_nothing() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    cli.run(&with(RUN, &["--yes"])).await.assert_code(0);
    let run = only_run(&cli).await;
    let applied = stage.repo.read("calc.py");
    let mine = applied.replace(NEW, "    return a * b  # by hand\n");
    stage.repo.write("calc.py", &mine);

    let told = cli.run(&["pipelines", "revert", &run, "--json"]).await;
    told.assert_code(1);
    let answer = told.json();
    assert_eq!(answer["files"][0]["result"], "conflict", "{answer:#}");
    assert_eq!(stage.repo.read("calc.py"), mine);
    assert_eq!(states(&cli, &run).await, ["applied"]);

    stage.repo.write("calc.py", format!("{applied}\n\nLIMIT = 10\n"));
    cli.run(&["pipelines", "revert", &run, "--file", "calc.py"])
        .await
        .assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), format!("{MODULE}\n\nLIMIT = 10\n"));
    stage.assert_git_untouched();
}

/// The hunks of a run, by name.
async fn hunks_of(cli: &Cli, run: &str) -> Vec<String> {
    of_hunks(cli, run, "id").await
}

/// The states of the hunks of a run.
async fn states(cli: &Cli, run: &str) -> Vec<String> {
    of_hunks(cli, run, "state").await
}

async fn of_hunks(cli: &Cli, run: &str, field: &str) -> Vec<String> {
    let detail = shown(cli, run).await;
    let files = detail["files"].as_array().into_iter().flatten();
    let hunks = files.flat_map(|file| file["hunks"].as_array().into_iter().flatten());
    hunks
        .map(|hunk| hunk[field].as_str().unwrap_or_default().to_owned())
        .collect()
}
