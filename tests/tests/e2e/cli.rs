//! The command line as a person or a script uses it.

mod again;

use std::time::Duration;

use clode_tests::cli::{Cli, Finished};
use clode_tests::fixture::{Home, Repo};
use clode_tests::scripted_api::{Fault, Hold, Script, ScriptedApi};
use clode_tests::stage::{MODULE, NEW, OLD, PLAN, Stage, TEST_COMMAND, assert_usd, cost_of, develops, says};
use clode_tests::text_editor::FINISH_LIMIT;
use serde_json::{Value, json};

const RUN: &[&str] = &["run", "Write multiply", "--id", "T-1", "--test", TEST_COMMAND];

/// The command line of a stage, with time for a whole run.
fn cli(stage: &Stage) -> Cli {
    stage.cli().within(FINISH_LIMIT)
}

fn with<'a>(words: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [words, more].concat()
}

/// The last line of `--json`: how it ended.
#[track_caller]
fn result(finished: &Finished) -> Value {
    let last = finished.json_lines().pop().unwrap_or_default();
    assert_eq!(last["type"], "result", "{last}\n{}", finished.stderr);
    last
}

/// The id of the only run.
async fn only_run(cli: &Cli) -> String {
    let list = cli
        .run(&["pipelines", "list", "--json"])
        .await
        .expect_code(0)
        .json();
    list[0]["pipelineId"].as_str().unwrap_or_default().to_owned()
}

async fn shown(cli: &Cli, run: &str) -> Value {
    cli.run(&["pipelines", "show", run, "--json"])
        .await
        .expect_code(0)
        .json()
}

#[tokio::test]
async fn the_demo_makes_a_repository_and_goes_the_whole_way_for_nothing() {
    let home = Home::new();
    let place = home.path("home");
    let demo = Cli::new(&home, &place).within(FINISH_LIMIT);

    let finished = demo.run(&["demo", "--yes", "--json"]).await.expect_code(0);

    let end = result(&finished);
    assert_eq!(end["status"], "completed", "{end:#}");
    assert_eq!(
        (&end["demo"], &end["metrics"]["totalCost"]),
        (&json!(true), &json!(0.0))
    );
    assert!(
        end["testRuns"]
            .as_array()
            .is_some_and(|runs| runs.iter().any(|run| run["passed"] == true)),
        "{end:#}"
    );
    let lines = finished.json_lines();
    let types: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    for kind in [
        "stepStarted",
        "stepFinished",
        "approvalRequested",
        "approvalResolved",
        "patchReady",
        "finished",
    ] {
        assert!(types.contains(&kind), "no {kind} in {types:?}");
    }
    clode_tests::processes::assert_none_left(home.mark(), Duration::from_secs(2)).await;
}

#[tokio::test]
async fn the_demo_works_in_a_repository_of_the_person_s_own() {
    let stage = Stage::demo();
    let folder = stage.repo.path().to_string_lossy().into_owned();

    let finished = Cli::new(&stage.home, stage.home.path("home"))
        .within(FINISH_LIMIT)
        .run(&["demo", "--dir", &folder, "--yes"])
        .await;

    finished.assert_code(0);
    assert!(
        stage.repo.read("calc.py").contains("return a * b"),
        "{}",
        stage.repo.read("calc.py")
    );
    stage.assert_git_untouched();
    assert!(
        format!("{}{}", finished.stdout, finished.stderr).contains("$0"),
        "{finished:?}"
    );
}

#[tokio::test]
async fn a_run_with_yes_applies_its_patch_to_the_disk_and_exits_with_0() {
    let stage = Stage::demo();

    let finished = cli(&stage)
        .run(&with(RUN, &["--yes", "--json"]))
        .await
        .expect_code(0);

    let end = result(&finished);
    assert_eq!(
        (&end["status"], &end["files"][0]["hunks"][0]["state"]),
        (&json!("completed"), &json!("applied"))
    );
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
    stage.assert_nobody_left().await;
}

#[tokio::test]
async fn a_run_without_a_terminal_stops_at_each_gate_and_says_how_it_goes_on() {
    let stage = Stage::demo();
    let cli = cli(&stage);

    let stopped = cli.run(RUN).await.expect_code(3);
    let run = only_run(&cli).await;
    let said = format!("{}{}", stopped.stdout, stopped.stderr);
    let command = said
        .lines()
        .find_map(|line| {
            line.split_once("clode-ls pipelines approve").map(|(_, rest)| {
                rest.split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .trim_matches(['`', '.', '"'])
                    .to_owned()
            })
        })
        .unwrap_or_else(|| panic!("no command that goes on in: {said}"));
    assert_eq!(command, run);
    stage.assert_untouched();

    // The plan is approved and carried out in the foreground, to the next gate; then the patch.
    cli.run(&["pipelines", "approve", &run]).await.assert_code(3);
    let patch = cli.run(&["pipelines", "patch", &run]).await.expect_code(0);
    let file = stage.home.path("the.patch");
    std::fs::write(&file, &patch.stdout).expect("written");
    stage.repo.git(&["apply", "--check", &file.to_string_lossy()]);
    stage.assert_untouched();
    cli.run(&["pipelines", "approve", &run]).await.assert_code(0);

    assert_eq!(shown(&cli, &run).await["status"], "completed");
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
}

#[tokio::test]
async fn a_gate_is_refused_and_an_answer_only_recorded_with_no_wait() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    cli.run(RUN).await.assert_code(3);
    let run = only_run(&cli).await;

    cli.run(&["pipelines", "approve", &run, "--no-wait"])
        .await
        .assert_code(0);
    // The recorded yes is carried out by whoever drives the run next: to the next gate.
    cli.run(&["pipelines", "resume", &run]).await.assert_code(3);
    cli.run(&["pipelines", "reject", &run]).await.assert_code(0);

    let end = shown(&cli, &run).await;
    assert_eq!(end["files"][0]["hunks"][0]["state"], "rejected", "{end:#}");
    stage.assert_untouched();

    let other = with(
        &[
            "run",
            "Write multiply again",
            "--id",
            "T-2",
            "--test",
            TEST_COMMAND,
        ],
        &[],
    );
    cli.run(&other).await.assert_code(3);
    let list = cli
        .run(&["pipelines", "list", "--json"])
        .await
        .expect_code(0)
        .json();
    let waiting = list
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["status"] == "awaitingApproval")
        .cloned()
        .unwrap_or_default();
    let second = waiting["pipelineId"].as_str().unwrap_or_default();
    cli.run(&["pipelines", "reject", second]).await.assert_code(1);
    assert_eq!(shown(&cli, second).await["status"], "cancelled");
    stage.assert_untouched();
}

#[tokio::test]
async fn what_is_not_applied_at_once_can_be_applied_later() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    cli.run(&with(RUN, &["--yes", "--no-apply"])).await.assert_code(0);
    let run = only_run(&cli).await;
    stage.assert_untouched();

    cli.run(&["pipelines", "apply", &run]).await.assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
}

#[tokio::test]
async fn what_was_applied_is_put_on_a_branch() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    if !cli.offers(&["pipelines"], "branch").await {
        return;
    }
    cli.run(&with(RUN, &["--yes"])).await.assert_code(0);
    let run = only_run(&cli).await;
    cli.run(&["pipelines", "branch", &run, "agents/multiply"])
        .await
        .assert_code(0);

    assert_eq!(
        stage.repo.git(&["show", "agents/multiply:calc.py"]),
        MODULE.replace(OLD, NEW).trim_end()
    );
}

#[tokio::test]
async fn what_was_spent_and_what_was_done_is_told() {
    let api = ScriptedApi::start(
        Script::new()
            .agent("taskMaster", |s| s.replies(says("A brief.")))
            .agent("architect", |s| s.replies(says(PLAN)))
            .agent("developer", develops)
            .agent("kbBuilder", |s| s.replies(says("[]"))),
    );
    let stage = Stage::api(&api);
    let cli = cli(&stage);
    cli.run(&with(RUN, &["--yes"])).await.assert_code(0);
    api.assert_clean();
    if !cli.offers(&[], "costs").await || !cli.offers(&[], "audit").await {
        return;
    }

    for by in ["day", "agent", "model", "task", "repository"] {
        let costs = cli
            .run(&["costs", "--by", by, "--json"])
            .await
            .expect_code(0)
            .json();
        assert_usd(&costs["totalUSD"], cost_of(7));
    }
    let run = only_run(&cli).await;
    let audit = cli.run(&["audit", &run, "--json"]).await.expect_code(0).json();
    assert!(
        audit["records"]
            .as_array()
            .is_some_and(|records| !records.is_empty()),
        "{audit:#}"
    );
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_merged_and_a_conflict_overwrites_nothing() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    cli.run(&with(RUN, &["--yes", "--no-apply"])).await.assert_code(0);
    let run = only_run(&cli).await;

    stage
        .repo
        .write("calc.py", MODULE.replace(OLD, "    raise NotImplementedError\n"));
    cli.run(&["pipelines", "apply", &run]).await.assert_code(1);
    assert_eq!(
        stage.repo.read("calc.py"),
        MODULE.replace(OLD, "    raise NotImplementedError\n")
    );

    stage.repo.write("calc.py", format!("{MODULE}\n\nLIMIT = 10\n"));
    cli.run(&["pipelines", "apply", &run]).await.assert_code(0);
    assert_eq!(
        stage.repo.read("calc.py"),
        MODULE.replace(OLD, NEW) + "\n\nLIMIT = 10\n"
    );
    stage.assert_git_untouched();
}

#[tokio::test]
async fn a_failed_run_exits_with_1_and_a_retry_with_0() {
    let script = Script::new()
        .agent("taskMaster", |s| {
            s.fails(Fault::status(401, "invalid x-api-key"))
                .replies(says("A brief."))
        })
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent("developer", develops)
        .agent("kbBuilder", |s| s.replies(says("[]")));
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let cli = cli(&stage);

    let failed = cli.run(&with(RUN, &["--yes"])).await.expect_code(1);
    assert!(
        failed.stderr.contains("ANTHROPIC_API_KEY"),
        "what to do is said: {}",
        failed.stderr
    );
    let run = only_run(&cli).await;

    cli.run(&["pipelines", "retry", &run]).await.assert_code(0);
    let end = shown(&cli, &run).await;
    assert_eq!(end["status"], "completed");
    assert_usd(&end["metrics"]["totalCost"], cost_of(7));
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    api.assert_clean();
}

#[tokio::test]
async fn an_interrupted_run_exits_with_130_and_can_be_cancelled_or_resumed() {
    let hold = Hold::new();
    let script = Script::new()
        .agent("taskMaster", |s| {
            s.replies(says("A brief.").held_by(&hold)).and_so_on()
        })
        .agent("architect", |s| s.replies(says(PLAN)).may_end_early());
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let cli = cli(&stage);
    let running = cli.start(RUN);
    hold.reached().await;

    running.signal(rustix::process::Signal::INT);
    let finished = running.finish().await.expect_code(130);

    assert!(
        finished.stderr.contains("resume"),
        "how it goes on is said: {}",
        finished.stderr
    );
    stage.assert_nobody_left().await;
    hold.release();
    let run = only_run(&cli).await;
    cli.run(&["pipelines", "resume", &run]).await.assert_code(3);
    cli.run(&["pipelines", "cancel", &run]).await.assert_code(0);
    assert_eq!(shown(&cli, &run).await["status"], "cancelled");
    api.ignore_complaints();
    stage.assert_untouched();
}

#[tokio::test]
async fn a_run_stopped_by_its_budget_exits_with_4() {
    let script = Script::new().agent("taskMaster", |s| s.replies(says("A brief.")).may_end_early());
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let cli = cli(&stage);

    let stopped = cli
        .run(&with(RUN, &["--yes", "--max-cost", "0.000001"]))
        .await
        .expect_code(4);

    assert!(
        stopped.stderr.to_lowercase().contains("budget"),
        "{}",
        stopped.stderr
    );
    assert_eq!(api.requests().len(), 0, "nothing is sent that cannot be paid");
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let stage = Stage::demo();
    let cli = cli(&stage);

    for words in [
        &["run"][..],
        &["no-such-command"],
        &["run", "X", "--max-cost", "much"],
        &["pipelines", "show", "pipeline-none"],
        &["agent", "nobody", "--request", "-"],
    ] {
        let finished = cli.run(words).await;
        assert_eq!(finished.code, Some(2), "{words:?}: {finished:?}");
        assert!(!finished.stderr.trim().is_empty(), "{words:?} says nothing");
        assert_eq!(finished.stdout, "", "{words:?}");
    }
    let outside = Cli::new(&stage.home, stage.home.path("home")).run(RUN).await;
    assert!(matches!(outside.code, Some(1 | 2)), "{outside:?}");
    assert!(outside.stderr.contains("git"), "{}", outside.stderr);
}

#[tokio::test]
async fn one_agent_prints_its_patch_and_applies_nothing() {
    let stage = Stage::demo();
    let request = json!({ "planStepId": "step-1", "objective": "Write multiply", "targetFiles": ["calc.py"], "tests": [{ "command": TEST_COMMAND }] });

    let finished = cli(&stage)
        .input(&request.to_string())
        .run(&["agent", "developer", "--request", "-"])
        .await
        .expect_code(0);
    assert!(finished.stdout.contains("+    return a * b"), "{finished:?}");

    let file = stage.home.path("request.json");
    std::fs::write(&file, request.to_string()).expect("written");
    let answer = cli(&stage)
        .run(&[
            "agent",
            "developer",
            "--request",
            &file.to_string_lossy(),
            "--json",
        ])
        .await
        .expect_code(0)
        .json();
    assert_eq!(
        (&answer["status"], &answer["testRun"]["passed"]),
        (&json!("completed"), &json!(true)),
        "{answer:#}"
    );
    stage.assert_untouched();
}

#[tokio::test]
async fn status_and_doctor_tell_how_things_stand() {
    let stage = Stage::demo();
    let cli = cli(&stage);

    let status = cli.run(&["status", "--json"]).await.expect_code(0).json();
    let doctor = cli.run(&["doctor", "--json"]).await.json();
    let doctor_words = cli.run(&["doctor"]).await;

    assert!(
        status["version"].is_string()
            && status["sandbox"].is_string()
            && status["budget"]["daily"].is_object(),
        "{status:#}"
    );
    let text = doctor.to_string();
    for known in ["git", "sandbox", "state", "cache"] {
        assert!(text.contains(known), "doctor says nothing of {known}: {doctor:#}");
    }
    assert!(
        text.contains(&*stage.home.path("state").to_string_lossy()),
        "{doctor:#}"
    );
    assert!(
        !format!("{}{}", doctor_words.stdout, doctor_words.stderr)
            .trim()
            .is_empty()
    );
    stage.assert_untouched();
}

#[tokio::test]
async fn every_provider_is_checked_and_what_is_wrong_with_it_is_said() {
    let good = ScriptedApi::start(Script::new().anyone(|s| s.says("Hi.").and_so_on()));
    let stage = Stage::api(&good);
    let checked = cli(&stage)
        .run(&["providers", "check", "--json"])
        .await
        .expect_code(0)
        .json();
    let anthropic = checked
        .as_array()
        .into_iter()
        .flatten()
        .find(|provider| provider["id"] == "anthropic")
        .cloned()
        .unwrap_or_default();
    assert_eq!(anthropic["ok"], true, "{checked:#}");
    assert!(anthropic["latencyMs"].is_number(), "{checked:#}");
    assert_eq!(good.violations(), Vec::<String>::new());
    good.ignore_complaints();

    let bad = ScriptedApi::start(
        Script::new().anyone(|s| s.fails(Fault::status(401, "invalid x-api-key")).and_so_on()),
    );
    let mut home = Home::new().with_api(&bad);
    home.unset("OPENAI_API_KEY");
    home.set("ANTHROPIC_API_KEY", "wrong-key-of-a-test");
    let stage = Stage::of(home, Repo::with_a_bug());
    let finished = cli(&stage).run(&["providers", "check"]).await;
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_ne!(finished.code, Some(0), "{said}");
    assert!(
        said.contains("anthropic") && said.contains("ANTHROPIC_API_KEY"),
        "{said}"
    );
    assert!(!said.contains("wrong-key-of-a-test"), "{said}");
    bad.ignore_complaints();
}

#[tokio::test]
async fn the_configuration_is_begun_shown_and_checked() {
    let stage = Stage::demo();
    let cli = cli(&stage);

    cli.run(&["config", "init"]).await.assert_code(0);
    cli.run(&["config", "check"]).await.assert_code(0);
    let shown = cli.run(&["config", "show"]).await.expect_code(0);
    assert!(shown.stdout.contains("perExecutionUSD"), "{}", shown.stdout);
    let schema = cli.run(&["config", "schema"]).await.expect_code(0).json();
    assert!(schema["properties"]["providers"].is_object(), "{schema:#}");
    let client = cli
        .run(&["config", "schema", "--client"])
        .await
        .expect_code(0)
        .json();
    assert!(client["properties"].is_object(), "{client:#}");

    stage
        .home
        .configure("routing:\n  default:\n    type: byAgent\nlimits:\n  perExecutionUSD: lots\n");
    let checked = cli.run(&["config", "check"]).await.expect_code(2);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(
        said.contains("providers.yaml:5:") && said.contains("perExecutionUSD"),
        "file, line, column and key: {said}"
    );
}

#[tokio::test]
async fn trust_is_shown_given_and_taken_back() {
    let stage = Stage::demo();
    stage.repo.write(
        ".claude/agents/config/providers.yaml",
        "providers:\n  anthropic: { kind: anthropic, baseUrl: \"http://127.0.0.1:9\" }\ntests: [\"make test\"]\n",
    );
    stage.repo.commit("A configuration");
    let cli = cli(&stage);

    let shown = cli
        .run(&["trust", "--show", "--json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(shown["trusted"], false, "{shown:#}");
    assert!(
        shown["items"].to_string().contains("make test"),
        "what it is about is listed: {shown:#}"
    );
    cli.run(&["trust"]).await.assert_code(0);
    let now = cli
        .run(&["trust", "--show", "--json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(now["trusted"], true, "{now:#}");
    cli.run(&["trust", "--revoke"]).await.assert_code(0);
    let then = cli
        .run(&["trust", "--show", "--json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(then["trusted"], false, "{then:#}");
}

#[tokio::test]
async fn completions_the_man_page_the_version_and_help_are_printed() {
    let home = Home::new();
    let cli = Cli::new(&home, home.path("home"));

    for shell in ["bash", "zsh", "fish"] {
        let finished = cli.run(&["completions", shell]).await.expect_code(0);
        assert!(finished.stdout.contains("clode-ls"), "{shell}");
    }
    let man = cli.run(&["man"]).await.expect_code(0);
    assert!(man.stdout.contains(".TH"), "{}", man.stdout);
    let version = cli.run(&["--version"]).await.expect_code(0);
    assert!(version.stdout.starts_with("clode-ls "), "{version:?}");
    let help = cli.run(&["--help"]).await.expect_code(0);
    for command in [
        "demo",
        "run",
        "agent",
        "status",
        "pipelines",
        "providers",
        "doctor",
        "config",
        "trust",
        "completions",
        "man",
    ] {
        assert!(
            help.stdout.contains(command),
            "{command} is not in: {}",
            help.stdout
        );
    }
}

#[tokio::test]
async fn working_directories_are_listed_and_cleaned() {
    let stage = Stage::demo();
    let cli = cli(&stage);
    if !cli.offers(&[], "worktrees").await {
        return;
    }
    cli.run(&with(RUN, &["--yes"])).await.assert_code(0);

    cli.run(&["worktrees", "list"]).await.assert_code(0);
    cli.run(&["worktrees", "clean"]).await.assert_code(0);
    let status = cli.run(&["status", "--json"]).await.expect_code(0).json();
    assert_eq!(
        (&status["worktrees"]["active"], &status["worktrees"]["pooled"]),
        (&json!(0), &json!(0)),
        "{:#}",
        status["worktrees"]
    );
}
