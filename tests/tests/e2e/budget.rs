//! Money: no request without a reservation, no budget overshot by anybody, nothing lost at a limit.

use std::time::Instant;

use clode_tests::fixture::Home;
use clode_tests::scripted_api::{Hold, Script, ScriptedApi, Usage};
use clode_tests::stage::{API_CONFIG, PLAN, Stage, USAGE, assert_usd, cost_of, develops, says, with_a_todo};
use clode_tests::text_editor::{FINISH_LIMIT, TextEditor, gate, gates};
use serde_json::{Value, json};

/// A call that costs four dollars and a bit on `claude-sonnet-5`.
const DEAR: Usage = Usage {
    input: 2_000_000,
    output: 100,
    cache_read: 0,
    cache_write: 0,
};
const DEAR_USD: f64 = 4.001;

fn opened(stage: &Stage) -> TextEditor {
    let mut editor = stage.editor();
    editor.open(&stage.file());
    editor
}

fn with_limit(stage: &Stage, editor: &TextEditor, usd: f64) -> Value {
    let mut request = stage.request(editor);
    request["options"] = json!({ "maxCost": usd });
    request
}

/// The Task Master is dear, everybody else as always.
fn dear_at_first() -> Script {
    Script::new()
        .agent("taskMaster", |s| s.replies(says("A long brief.").using(DEAR)))
        .agent("architect", |s| s.replies(says(PLAN)).may_end_early())
        .agent("developer", |s| develops(s).may_end_early())
        .agent("kbBuilder", |s| s.replies(says("[]")).may_end_early())
}

#[tokio::test]
async fn at_its_limit_a_run_asks_sends_nothing_and_goes_on_when_the_limit_is_raised() {
    let api = ScriptedApi::start(dear_at_first());
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&with_limit(&stage, &editor, 4.001));

    let stopped = editor.until_gate(&run, "budget");

    let asked = gate(&stopped, "budget");
    let budget = &asked["budget"];
    assert_usd(&budget["limit"], 4.001);
    assert_usd(&budget["spent"], DEAR_USD);
    assert!(
        budget["needed"].as_f64() > Some(0.0) && budget["scope"].is_string(),
        "{asked:#}"
    );
    assert_eq!(api.requests().len(), 1);
    let vague = editor.refused(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approved": true, "maxCost": 5 }),
    );
    assert_eq!(vague.code, -32602, "a budget needs its id: {vague:?}");
    let too_little = json!({ "pipelineId": run, "approvalId": asked["id"], "approved": true });
    assert_eq!(
        editor.refused("clode.pipeline.approve", &too_little).code,
        -32602,
        "and an amount"
    );
    assert_eq!(api.requests().len(), 1, "nothing is sent before the yes");

    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": asked["id"], "approved": true, "maxCost": 4.9 }),
    );
    let planned = editor.until_gate(&run, "plan");
    assert_usd(&planned["metrics"]["totalCost"], DEAR_USD + cost_of(1));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn a_no_at_the_limit_cancels_the_run_and_keeps_what_was_paid_for() {
    let script = Script::new()
        .agent("taskMaster", |s| s.replies(says("A brief.")))
        .agent("architect", |s| s.replies(says(PLAN).using(DEAR)));
    let api = ScriptedApi::start(script);
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&with_limit(&stage, &editor, 4.005));
    editor.approve(&run, "plan");

    let asked = gate(&editor.until_gate(&run, "budget"), "budget");
    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": asked["id"], "approved": false }),
    );

    let end = editor.until_status(&run, "cancelled");
    assert!(
        end["plan"]
            .as_str()
            .is_some_and(|plan| plan.contains("Write multiply")),
        "{end:#}"
    );
    assert_usd(&end["metrics"]["totalCost"], DEAR_USD + cost_of(1));
    drop(editor);
    api.assert_clean();
    stage.assert_untouched();
}

#[tokio::test]
async fn the_limit_of_a_task_needs_no_configuration_and_no_request_can_exceed_it() {
    let api = ScriptedApi::start(dear_at_first());
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);

    let run = editor.run(&with_limit(&stage, &editor, 0.000_001));
    let asked = gate(&editor.until_gate(&run, "budget"), "budget");
    assert_eq!(
        api.requests().len(),
        0,
        "the first request would already exceed it: {asked:#}"
    );

    editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    editor.until_status(&run, "cancelled");
    let usual = editor.run(&stage.request(&editor));
    assert_usd(&editor.detail(&usual)["maxCost"], 5.0);
    editor.until_gate(&usual, "plan");
    drop(editor);
    api.assert_clean();
}

#[tokio::test]
async fn a_limit_of_the_day_can_be_lifted_for_today_only_by_a_person() {
    let api = ScriptedApi::start(dear_at_first());
    let stage = Stage::api_with(&api, with_a_todo(), "limits: { dailyBudgetUSD: 4 }\n");
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));

    let asked = gate(&editor.until_gate(&run, "budget"), "budget");
    assert_usd(&asked["budget"]["limit"], 4.0);
    assert_eq!(api.requests().len(), 1);
    let status = editor.must("clode.status", &json!({}));
    let daily = &status["budget"]["daily"];
    assert_usd(&daily["limit"], 4.0);
    assert_usd(&daily["spent"], DEAR_USD);
    assert!(
        daily["resetsAt"].is_string() && daily["remaining"].as_f64() <= Some(0.0),
        "{daily:#}"
    );

    editor.must(
        "clode.pipeline.approve",
        &json!({ "pipelineId": run, "approvalId": asked["id"], "approved": true, "choice": "today" }),
    );
    editor.until_gate(&run, "plan");
    drop(editor);
    api.assert_clean();
}

/// What one call of the Task Master holds while it is in flight.
async fn reservation_of_one_call() -> f64 {
    let hold = Hold::new();
    let api =
        ScriptedApi::start(Script::new().agent("taskMaster", |s| s.replies(says("A brief.").held_by(&hold))));
    let stage = Stage::api(&api);
    let mut editor = opened(&stage);
    let run = editor.run(&stage.request(&editor));
    hold.reached().await;
    let reserved = editor.detail(&run)["metrics"]["reservedCost"]
        .as_f64()
        .unwrap_or_default();
    assert!(
        reserved > cost_of(1) / 2.0,
        "a call in flight holds money: {reserved}"
    );
    hold.release();
    editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    editor.until_status(&run, "cancelled");
    api.ignore_complaints();
    reserved
}

#[tokio::test]
async fn two_servers_with_many_runs_never_overshoot_the_budget_of_the_day() {
    // Given a budget that covers two and a half calls in flight, and calls that are not answered yet.
    let reserved = reservation_of_one_call().await;
    let hold = Hold::new();
    let script = Script::new()
        .agent("taskMaster", |s| {
            s.replies(says("A brief.").held_by(&hold)).and_so_on()
        })
        .agent("architect", |s| s.replies(says(PLAN)).and_so_on());
    let api = ScriptedApi::start(script);
    let stage = Stage::api_with(
        &api,
        with_a_todo(),
        &format!("limits: {{ dailyBudgetUSD: {:.6} }}\n", reserved * 2.5),
    );
    let mut editors = [opened(&stage), opened(&stage)];

    // When six runs begin at once in two servers.
    let mut runs = Vec::new();
    for _ in 0..3 {
        for (at, editor) in editors.iter_mut().enumerate() {
            let run = editor.run(&stage.request(editor));
            runs.push((at, run));
        }
    }

    // Then what is left covers some of the requests (the last of them with fewer tokens to answer in), and
    // the other runs ask, whoever drives them.
    let end = Instant::now() + FINISH_LIMIT;
    let mut asking = 0;
    while asking + api.requests().len() < runs.len() {
        assert!(
            Instant::now() < end,
            "{asking} runs ask, {} are at work",
            api.requests().len()
        );
        asking = 0;
        for (at, run) in &runs {
            asking += gates(&editors[*at].detail(run), "budget").len();
        }
    }
    assert!(
        (2..=3).contains(&api.requests().len()),
        "{} requests are in flight",
        api.requests().len()
    );
    let status = editors[0].must("clode.status", &json!({}));
    let daily = &status["budget"]["daily"];
    let bound = daily["spent"]
        .as_f64()
        .zip(daily["reserved"].as_f64())
        .map(|(spent, reserved)| spent + reserved);
    assert!(bound <= daily["limit"].as_f64(), "{daily:#}");

    for (at, run) in &runs {
        editors[*at].must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    }
    hold.release();
    for (at, run) in &runs {
        editors[*at].until_status(run, "cancelled");
    }
    drop(editors);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    stage.assert_untouched();
}

#[tokio::test]
async fn a_model_whose_price_is_unknown_is_charged_like_the_dearest_of_its_provider() {
    let api = ScriptedApi::start(dear_at_first_with_usual_usage());
    let stage = Stage::api(&api);
    stage.home.configure(&API_CONFIG.replace(
        "taskMaster: { provider: anthropic, model: claude-sonnet-5 }",
        "taskMaster: { provider: anthropic, model: claude-of-tomorrow }",
    ));
    let mut editor = opened(&stage);

    let run = editor.run(&stage.request(&editor));
    let detail = editor.until_gate(&run, "plan");

    // The dearest known: 8, 40, 0.80 and 10 dollars a million.
    let dearest = (1_000.0 * 8.0 + 50.0 * 40.0 + 300.0 * 0.8 + 200.0 * 10.0) / 1e6;
    assert_usd(&detail["steps"][0]["cost"], dearest);
    assert_eq!(detail["steps"][0]["model"], "claude-of-tomorrow");
    drop(editor);
    api.assert_clean();
}

fn dear_at_first_with_usual_usage() -> Script {
    Script::new()
        .agent("taskMaster", |s| s.replies(says("A brief.").using(USAGE)))
        .agent("architect", |s| s.replies(says(PLAN)))
}

#[tokio::test]
async fn a_provider_without_any_known_price_gets_no_request_where_a_budget_is_set() {
    let api = ScriptedApi::start(Script::new().anyone(|s| s.says("Never.").may_end_early()));
    let mut home = Home::new();
    home.set("LOCAL_KEY", clode_tests::scripted_api::DUMMY_KEY);
    home.configure(&format!(
        "providers:\n  local: {{ kind: openai-compatible, baseUrl: \"{}/v1\", apiKeyEnv: LOCAL_KEY }}\n\
         routing:\n  default:\n    type: fixed\n    provider: local\n    model: some-model\n",
        api.url()
    ));
    let stage = Stage::of(home, with_a_todo());
    let mut editor = opened(&stage);

    let end = match editor.command("clode.run", &stage.request(&editor)) {
        Err(refused) => json!({ "error": { "message": refused.message, "code": refused.data["code"] } }),
        Ok(started) => {
            let run = started["pipelineId"].as_str().unwrap_or_default().to_owned();
            editor.until(&run, "a stop", |detail| {
                detail["status"] == "failed" || !gates(detail, "budget").is_empty()
            })
        }
    };

    assert_eq!(api.requests().len(), 0, "{end:#}");
    assert!(end.to_string().contains("price"), "it is said why: {end:#}");
    drop(editor);
    api.assert_clean();
}
