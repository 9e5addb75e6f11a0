use clode_core::clock::Timestamp;
use clode_core::id::{BlobId, CommitId, PipelineId, StepId, TaskId, TreeId};
use clode_core::money::Money;
use clode_core::pipeline::{Event, GatePolicy, Machine, RunSpec, StepRole, StepSpec};
use clode_core::task::{Priority, RunOptions, Task};
use serde_json::{Value, json};

use super::words::{Shown, shown};
use crate::lsp::lab::{Lab, text};

fn step(id: &str, agent: &str, role: StepRole, needs: &[&str]) -> StepSpec {
    let needs = needs.iter().map(|id| StepId::new(*id)).collect();
    StepSpec::new(id, agent, role, needs, 60_000)
}

/// A run that works at the second of its three steps.
fn working(max_cost: Option<Money>) -> Machine {
    let spec = RunSpec {
        pipeline: PipelineId::new("pipeline-1"),
        task: Task {
            id: TaskId::new("1"),
            explicit_id: false,
            title: "Sum the list".to_owned(),
            description: String::new(),
            priority: Priority::Medium,
            tests: Vec::new(),
            constraints: Vec::new(),
            target_files: Vec::new(),
            origin: None,
            diagnostics: Vec::new(),
        },
        options: RunOptions {
            max_cost,
            ..RunOptions::default()
        },
        steps: vec![
            step("architect", "architect", StepRole::Plan, &[]),
            step("developer", "developer", StepRole::Change, &["architect"]),
            step("qa", "qa", StepRole::Verify, &["developer"]),
        ],
        plan_gate: GatePolicy::Skip,
        patch_gate: GatePolicy::Ask,
        rounds_max: 2,
        attempts_max: 3,
        retry_initial_ms: 1,
        retry_max_ms: 1,
        time_limit_ms: None,
        buffers: None,
        request: None,
        config: BlobId::new("config"),
        demo: false,
    };
    let mut machine = Machine::new(spec);
    let snapshot = Event::SnapshotTaken {
        commit: CommitId::new("c"),
        tree: TreeId::new("t"),
        for_agents: None,
        withheld: Vec::new(),
    };
    let planned = Event::StepFinished {
        step: StepId::new("architect"),
        attempt: 1,
        output: Box::default(),
    };
    for event in [Event::Admitted, snapshot, planned] {
        machine.next(Timestamp(1), event).expect("taken in");
    }
    machine
}

fn words(machine: &Machine, model: Option<&str>, usd: f64) -> String {
    match shown(machine, model, Money::from_usd(usd).expect("an amount")) {
        Shown::Working { message, percentage } => format!("{message} ({percentage} %)"),
        Shown::Idle { message } => message,
    }
}

#[test]
fn a_progress_says_who_works_with_what_how_far_and_for_how_much() {
    let limited = working(Some(Money::from_dollars(5)));
    assert_eq!(
        words(&limited, Some("claude-sonnet-5"), 0.0421),
        "Developer · claude-sonnet-5 · step 2/3 · $0.0421 of $5.00 (50 %)"
    );
    assert_eq!(
        words(&working(None), None, 0.0),
        "Developer · step 2/3 · $0.0000 (50 %)"
    );
}

#[test]
fn a_progress_ends_with_what_the_run_waits_for() {
    let mut machine = working(None);
    machine.next(Timestamp(2), Event::Paused).expect("taken in");
    assert_eq!(words(&machine, None, 0.0), "Paused");
    let mut machine = working(None);
    let question = clode_core::pipeline::GateRequest::Question {
        text: "Which one?".to_owned(),
    };
    machine
        .next(
            Timestamp(2),
            Event::Asked {
                step: StepId::new("developer"),
                request: question,
            },
        )
        .expect("taken in");
    assert_eq!(words(&machine, None, 0.0), "Waiting: answer question");
}

#[test]
fn an_event_says_which_run_it_is_of_and_its_number() {
    let body = json!({"type": "patchReady", "round": 1});
    let value = super::watcher::on_the_wire(&PipelineId::new("pipeline-1"), 7, body);
    assert_eq!(
        value,
        json!({"kind": "clode", "seq": 7, "pipelineId": "pipeline-1", "type": "patchReady", "round": 1})
    );
}

fn events(messages: &[Value], token: &Value) -> Vec<u64> {
    let of_token = messages
        .iter()
        .filter(|message| message["method"] == "$/progress" && message["params"]["token"] == *token);
    of_token
        .filter_map(|message| message.pointer("/params/value/seq")?.as_u64())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_and_can_be_had_again_without_gap_or_duplicate() {
    let mut lab = Lab::open(&json!({}));
    let options = json!([{"task": {"title": "Sum the list"}, "eventToken": "mine", "wait": true}]);
    let detail = lab.command("clode.run", options).await.expect("waited");
    let first = events(&lab.sent(), &json!("mine"));
    assert!(first.len() > 4, "{first:?}");
    assert_eq!(first, (1..=first.len() as u64).collect::<Vec<_>>());
    let again = json!([{"pipelineId": text(&detail, "/pipelineId"), "eventToken": 9, "afterSeq": 2}]);
    lab.command("clode.pipeline.subscribe", again)
        .await
        .expect("subscribed");
    assert_eq!(events(&lab.sent(), &json!(9)), first[2..]);
    lab.command("clode.pipeline.cancel", json!([]))
        .await
        .expect("cancelled");
    let last = |message: &Value| {
        message["params"]["token"] == json!(9) && message["params"]["value"]["type"] == "finished"
    };
    let after = lab.sent_until(last).await;
    assert_eq!(events(&after, &json!(9)), [first.len() as u64 + 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_request_begins_and_ends_before_its_answer() {
    let mut lab = Lab::open(&json!({}));
    let params = json!({"command": "clode.run", "workDoneToken": "t", "arguments": [{"task": {"title": "Sum the list"}, "wait": true}]});
    crate::lsp::command::execute(&lab.session, params)
        .await
        .expect("waited");
    let messages = lab.sent();
    let of_token = messages
        .iter()
        .filter(|message| message["params"]["token"] == json!("t"));
    let kinds: Vec<&Value> = of_token
        .map(|message| &message["params"]["value"]["kind"])
        .collect();
    assert_eq!(
        (kinds.first(), kinds.last()),
        (Some(&&json!("begin")), Some(&&json!("end")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_who_started_a_run_is_asked_with_the_harmless_choice_first_and_silence_decides_nothing() {
    let mut lab = Lab::open(
        &json!({"window": {"showMessage": {}, "workDoneProgress": true}, "experimental": {"clode": true}}),
    );
    lab.session.find_repositories().await;
    lab.command("clode.run", json!([{"task": {"title": "Sum the list"}}]))
        .await
        .expect("started");
    let is_question = |message: &Value| message["method"] == "window/showMessageRequest";
    let is_end = |message: &Value| message["params"]["value"]["kind"] == "end";
    // Two tasks bring them: either may be first.
    let mut asked = lab
        .sent_until(|message| is_question(message) || is_end(message))
        .await;
    let is_missing = if asked.last().is_some_and(is_question) {
        is_end
    } else {
        is_question
    };
    asked.extend(lab.sent_until(is_missing).await);
    let question = asked
        .iter()
        .find(|message| is_question(message))
        .expect("a question");
    assert_eq!(
        question["params"]["actions"],
        json!([{"title": "Later"}, {"title": "Reject"}, {"title": "Approve"}])
    );
    let detail = lab
        .command("clode.pipeline.get", json!([]))
        .await
        .expect("the only one");
    assert_eq!(detail["status"], "awaitingApproval");
    let methods: Vec<&Value> = asked.iter().map(|message| &message["method"]).collect();
    for method in [
        "window/workDoneProgress/create",
        "clode/didChangePipeline",
        "clode/didChangeStatus",
    ] {
        assert!(methods.contains(&&json!(method)), "{method} in {methods:?}");
    }
    let ends = asked.iter().filter(|message| is_end(message));
    assert_eq!(
        ends.map(|end| text(end, "/params/value/message"))
            .collect::<Vec<_>>(),
        ["Waiting: approve plan"]
    );
}
