//! Everything that goes wrong between us and a provider.

use std::time::{Duration, Instant};

use clode_tests::fixture::Repo;
use clode_tests::scripted_api::{DUMMY_KEY, Fault, Script, ScriptedApi, Steps};
use clode_tests::stage::{API_CONFIG, PLAN, Stage, assert_usd, cost_of, develops, says, step, with_a_todo};
use clode_tests::text_editor::FINISH_LIMIT;
use serde_json::{Value, json};

use super::{opened, team};

/// A team whose Task Master's calls are these.
fn team_of(task_master: impl FnOnce(Steps) -> Steps) -> Script {
    Script::new()
        .agent("taskMaster", task_master)
        .agent("architect", |s| s.replies(says(PLAN)).may_end_early())
        .agent("developer", |s| develops(s).may_end_early())
        .agent("kbBuilder", |s| s.replies(says("[]")).may_end_early())
}

/// The run comes to its plan gate in spite of what the Task Master's calls meet; answers the detail.
fn survives(task_master: impl FnOnce(Steps) -> Steps, calls: usize, more: &str) -> Value {
    let api = ScriptedApi::start(team_of(task_master));
    let stage = Stage::api_with(&api, with_a_todo(), more);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    let detail = editor.until_gate(&run, "plan");
    assert_eq!(api.requests_of("taskMaster").len(), calls);
    drop(editor);
    api.assert_clean();
    detail
}

#[tokio::test]
async fn a_busy_provider_is_asked_again_and_the_refusal_costs_nothing() {
    let detail = survives(
        |s| s.fails(Fault::status(429, "slow down")).replies(says("A brief.")),
        2,
        "",
    );
    assert_usd(&detail["metrics"]["totalCost"], cost_of(2));
    assert_usd(&detail["metrics"]["unconfirmedCost"], 0.0);
}

#[tokio::test]
async fn the_time_that_a_busy_provider_names_is_waited_for() {
    let begun = Instant::now();
    survives(
        |s| {
            s.fails(Fault::status(429, "slow down").header("retry-after", "2"))
                .replies(says("A brief."))
        },
        2,
        "",
    );
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "it was asked again after {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_error_of_the_provider_is_followed_by_another_try() {
    survives(
        |s| {
            s.fails(Fault::status(500, "oops"))
                .fails(Fault::status(529, "overloaded"))
                .replies(says("A brief."))
        },
        3,
        "",
    );
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_first_byte_is_tried_again() {
    survives(
        |s| s.fails(Fault::ResetBeforeFirstByte).replies(says("A brief.")),
        2,
        "",
    );
}

#[tokio::test]
async fn a_stream_that_breaks_is_tried_again_and_what_it_may_have_cost_is_never_forgotten() {
    let detail = survives(
        |s| {
            s.fails(Fault::CutMidStream(says("A brief that breaks off.")))
                .replies(says("A brief."))
        },
        2,
        "",
    );
    let unconfirmed = detail["metrics"]["unconfirmedCost"].as_f64().unwrap_or_default();
    assert!(unconfirmed > 0.0, "{:#}", detail["metrics"]);
    assert_usd(&detail["metrics"]["totalCost"], cost_of(2) + unconfirmed);
}

#[tokio::test]
async fn an_answer_that_is_no_stream_of_events_is_tried_again() {
    survives(
        |s| {
            s.fails(Fault::MalformedSse)
                .fails(Fault::EmptyStream)
                .replies(says("A brief."))
        },
        3,
        "",
    );
}

#[tokio::test]
async fn an_error_inside_the_stream_is_tried_again() {
    let fault = Fault::InBandError {
        kind: "overloaded_error".to_owned(),
        message: "busy".to_owned(),
    };
    survives(|s| s.fails(fault).replies(says("A brief.")), 2, "");
}

#[tokio::test]
async fn a_stream_in_tiny_pieces_is_read_like_any_other() {
    let reply = says("Ein Überblick: `multiply` fehlt. 🙂").in_pieces_of(1);
    let detail = survives(|s| s.replies(reply), 1, "");
    assert!(step(&detail, "taskMaster")["summary"].is_string());
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_at_once_with_the_run_and_stays_on_the_bill() {
    let api = ScriptedApi::start(team_of(|s| s.fails(Fault::NeverAnswers)));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    api.wait_for_calls(1, FINISH_LIMIT).await;
    let reserved = editor.detail(&run)["metrics"]["reservedCost"].clone();
    assert!(
        reserved.as_f64() > Some(0.0),
        "no call without money held for it: {reserved}"
    );

    let begun = Instant::now();
    editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    let ended = editor.until_status(&run, "cancelled");

    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        begun.elapsed()
    );
    assert_usd(&ended["metrics"]["reservedCost"], 0.0);
    assert!(
        ended["metrics"]["unconfirmedCost"].as_f64() > Some(0.0),
        "{:#}",
        ended["metrics"]
    );
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_wrong_key_fails_the_run_with_a_hint_and_a_retry_finishes_it() {
    let script = team_of(|s| {
        s.fails(Fault::status(401, "invalid x-api-key"))
            .replies(says("A brief."))
    });
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));

    let failed = editor.until_status(&run, "failed");

    let error = &failed["error"];
    assert!(
        error["code"].is_string() && error["message"].as_str().is_some_and(|text| !text.is_empty()),
        "{error:#}"
    );
    assert!(
        error["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("ANTHROPIC_API_KEY")),
        "{error:#}"
    );
    assert!(!failed.to_string().contains(DUMMY_KEY));
    assert_eq!(api.requests().len(), 1, "a key does not become right by trying");
    assert_usd(&failed["metrics"]["totalCost"], 0.0);

    editor.must("clode.pipeline.retry", &json!({ "pipelineId": run }));
    editor.approve(&run, "plan");
    editor.approve(&run, "patch");
    let done = editor.until_status(&run, "completed");
    assert!(done["error"].is_null(), "{:#}", done["error"]);
    assert_usd(&done["metrics"]["totalCost"], cost_of(7));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn a_run_that_failed_late_is_retried_from_where_it_failed() {
    let api = ScriptedApi::start(team(|s| {
        develops(s.fails(Fault::status(401, "invalid x-api-key")))
    }));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let failed = editor.until_status(&run, "failed");
    assert_eq!(step(&failed, "developer")["status"], "failed");
    assert!(
        step(&failed, "developer")["error"]["code"].is_string(),
        "{failed:#}"
    );

    editor.must("clode.pipeline.retry", &json!({ "pipelineId": run }));
    editor.approve(&run, "patch");
    let done = editor.until_status(&run, "completed");

    assert_usd(&done["metrics"]["totalCost"], cost_of(7));
    drop(editor);
    api.assert_clean(); // brief and plan were asked for once
}

#[tokio::test]
async fn another_provider_takes_over_when_the_first_stays_away() {
    let down = ScriptedApi::start(Script::new().anyone(|s| s.fails(Fault::status(500, "oops")).and_so_on()));
    let up = ScriptedApi::start(
        Script::new()
            .agent("taskMaster", |s| s.says("A brief."))
            .agent("architect", |s| s.says(PLAN)),
    );
    let mut stage = Stage::api_with(&down, Repo::with_a_bug(), "");
    stage.home.set("OPENAI_API_KEY", DUMMY_KEY);
    stage.home.set("OPENAI_BASE_URL", &format!("{}/v1", up.url()));
    stage.home.configure(&API_CONFIG.replace(
        "    type: byAgent\n",
        "    type: byAgent\n    fallback: [{ provider: openai, model: gpt-5 }]\n",
    ));
    let mut editor = stage.editor();
    let run = editor.run(&json!({ "task": { "title": "Fix add" }, "eventToken": "mine" }));
    let detail = editor.until_gate(&run, "plan");

    for agent in ["taskMaster", "architect"] {
        assert_eq!(
            step(&detail, agent)["provider"],
            "openai",
            "{:#}",
            detail["steps"]
        );
    }
    assert!(!down.requests().is_empty(), "the first choice was tried first");
    // Two calls at 1.25 and 10 dollars a million; what was refused costs nothing.
    assert_usd(
        &detail["metrics"]["totalCost"],
        2.0 * (1_000.0 * 1.25 + 50.0 * 10.0) / 1e6,
    );
    let told = editor.client.notifications("$/progress");
    let routes: Vec<&Value> = told
        .iter()
        .map(|params| &params["value"])
        .filter(|value| value["type"] == "routeDecision")
        .collect();
    assert!(routes.len() >= 3, "each route is told: {routes:#?}");
    drop(editor);
    down.ignore_complaints();
    up.assert_clean();
}
