use serde_json::{Value, json};

use crate::lsp::lab::{Lab, TEXT, text};

const INVALID_PARAMS: i64 = -32602;
const REQUEST_FAILED: i64 = -32803;
const CONTENT_MODIFIED: i64 = -32801;

/// The refusal's code and message.
async fn refused(lab: &Lab, id: &str, arguments: Value) -> (i64, String) {
    let answer = lab.command(id, arguments.clone()).await;
    let (code, message, _) = answer.expect_err(&format!("{id} {arguments} is refused"));
    (code, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_the_path_of_the_field() {
    let lab = Lab::open(&json!({}));
    let task = |more: Value| {
        let mut task = json!({"title": "Sum the list"});
        task.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        json!([{"task": task}])
    };
    let cases = [
        ("clode.run", json!(null), "task.title"),
        ("clode.run", json!([]), "task.title"),
        ("clode.run", json!([null]), "task.title"),
        ("clode.run", json!([[]]), "task.title"),
        ("clode.run", json!([{"task": []}]), "task.title"),
        ("clode.run", json!([{"task": {"title": "  "}}]), "task.title"),
        ("clode.run", json!(["text"]), "arguments[0]"),
        ("clode.run", json!([{"task": "text"}]), "task: "),
        ("clode.run", json!([{"task": ["text"]}]), "task: "),
        ("clode.run", task(json!({"title": 5})), "task.title: "),
        (
            "clode.run",
            task(json!({"priority": "urgent"})),
            "task.priority: ",
        ),
        (
            "clode.run",
            task(json!({"tests": ["a", {"command": 1}]})),
            "task.tests[1].command: ",
        ),
        (
            "clode.run",
            task(json!({"tests": [{"timeoutMs": 1}]})),
            "task.tests[0].command: missing",
        ),
        (
            "clode.run",
            task(json!({"targetFiles": ["../outside"]})),
            "task.targetFiles[0]: ",
        ),
        (
            "clode.run",
            json!([{"task": {"title": "x"}, "options": {"maxCost": -1}}]),
            "options.maxCost: ",
        ),
        (
            "clode.run",
            json!([{"task": {"title": "x"}, "options": {"apply": "maybe"}}]),
            "options.apply: ",
        ),
        (
            "clode.run",
            json!([{"task": {"title": "x"}, "options": {"pipeline": "nope"}}]),
            "`nope`",
        ),
        (
            "clode.run",
            json!([{"task": {"title": "x"}, "options": {"agents": ["nope"]}}]),
            "`nope`",
        ),
        (
            "clode.run",
            json!([{"task": {"title": "x"}, "eventToken": {}}]),
            "eventToken: ",
        ),
        (
            "clode.run",
            json!([{"task": {"title": "x"}, "workspaceFolder": "file:///nope"}]),
            "workspaceFolder: ",
        ),
        ("clode.executeAgent", json!([]), "agent: missing"),
        (
            "clode.executeAgent",
            json!([{"agent": "nope", "request": {"objective": "x"}}]),
            "agent: ",
        ),
        (
            "clode.executeAgent",
            json!([{"agent": "developer", "request": []}]),
            "request.objective: missing",
        ),
        (
            "clode.executeAgent",
            json!([{"agent": "developer", "request": {"objective": 1}}]),
            "request.objective: ",
        ),
        ("clode.pipeline.get", json!([{"pipelineId": 7}]), "pipelineId: "),
        ("clode.pipeline.get", json!([{"pipelineId": "nope"}]), "`nope`"),
        ("clode.pipeline.pause", json!([{"pipelineId": "nope"}]), "`nope`"),
        ("clode.pipeline.cancel", json!([]), "pipelineId: "),
        ("clode.pipeline.list", json!([{"status": "nope"}]), "status: "),
        (
            "clode.pipeline.subscribe",
            json!([{"pipelineId": "nope"}]),
            "eventToken: missing",
        ),
        ("clode.pipeline.approve", json!([{}]), "approved: missing"),
        (
            "clode.pipeline.approve",
            json!([{"approved": "yes"}]),
            "approved: ",
        ),
        (
            "clode.pipeline.approve",
            json!([{"approved": true, "gate": "nope"}]),
            "gate: ",
        ),
        ("clode.trust", json!([{"action": "grant"}]), "hash: missing"),
        (
            "clode.providers.check",
            json!([{"provider": "nope"}]),
            "provider: ",
        ),
        ("clode.nope", json!([]), "`clode.nope`"),
    ];
    for (id, arguments, path) in cases {
        let (code, message) = refused(&lab, id, arguments.clone()).await;
        assert_eq!(code, INVALID_PARAMS, "{id} {arguments}: {message}");
        assert!(message.contains(path), "{id} {arguments}: {message}");
        assert!(!message.contains("struct"), "{message}");
    }
    assert_eq!(
        lab.command("clode.pipeline.list", json!([]))
            .await
            .expect("a list"),
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_come_from_a_comment_that_moved_since_the_editor_asked() {
    let lab = Lab::open(&json!({}));
    let uri = lab.uri("src/sum.rs");
    let open = json!({"textDocument": {"uri": uri, "languageId": "rust", "version": 1, "text": TEXT}});
    crate::lsp::sync::did_open(&lab.session, &open);
    let place = |line: u32| json!({"line": line, "character": 0});
    let insert = json!([{"range": {"start": place(0), "end": place(0)}, "text": "\n\n"}]);
    crate::lsp::sync::did_change(
        &lab.session,
        &json!({"textDocument": {"uri": uri, "version": 2}, "contentChanges": insert}),
    );
    let context = |version: i32, line: u32| json!({"context": {"textDocument": {"uri": uri, "version": version}, "range": {"start": place(line), "end": place(line)}}});
    let (run, _) = lab.planned(context(1, 0)).await;
    let summary = lab
        .command("clode.pipeline.get", json!([{"pipelineId": run}]))
        .await
        .expect("found");
    assert!(
        text(&summary, "/task/title").ends_with("sum the list"),
        "{summary}"
    );
    assert_eq!(
        summary["origin"],
        json!({"uri": uri, "range": {"start": place(2), "end": place(3)}})
    );
    let (code, _) = refused(&lab, "clode.run", json!([context(99, 0)])).await;
    assert_eq!(code, CONTENT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnostic_is_a_task_of_its_own() {
    let lab = Lab::open(&json!({}));
    let range = json!({"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 2}});
    let diagnostic = json!({"message": "unused function\nmore", "range": range, "severity": 2, "source": "rustc", "code": "E1"});
    let options =
        json!({"context": {"textDocument": {"uri": lab.uri("src/sum.rs")}, "diagnostics": [diagnostic]}});
    let (run, _) = lab.planned(options).await;
    let engine = lab.session.engine().await.expect("open");
    let task = engine
        .row(&run.as_str().into())
        .await
        .expect("a row")
        .machine()
        .expect("readable")
        .spec
        .task
        .clone();
    assert_eq!(task.title, "Fix: unused function");
    assert_eq!(
        task.diagnostics,
        ["src/sum.rs:2: warning (rustc E1): unused function more"]
    );
    assert_eq!(
        task.origin.map(|origin| (origin.start_line, origin.end_line)),
        Some((1, 2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_approved_once_and_by_its_approval_alone() {
    let lab = Lab::open(&json!({}));
    let (run, approval) = lab.planned(json!({"task": {"title": "Sum the list"}})).await;
    let approve = |more: Value| {
        let mut answer = json!({"approvalId": approval, "approved": true});
        answer
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        json!([answer])
    };
    let (code, message) = refused(&lab, "clode.pipeline.approve", approve(json!({"plan": "\n"}))).await;
    assert_eq!(code, INVALID_PARAMS);
    assert!(message.contains("line 1"), "{message}");
    let detail = lab
        .command("clode.pipeline.get", json!([]))
        .await
        .expect("the only one");
    assert_eq!(
        text(&detail, "/pendingApproval/id"),
        approval,
        "the gate stays open"
    );
    let summary = lab
        .command("clode.pipeline.approve", approve(json!({})))
        .await
        .expect("approved");
    assert_eq!(text(&summary, "/pipelineId"), run);
    let (code, _, data) = lab
        .command("clode.pipeline.approve", approve(json!({})))
        .await
        .expect_err("closed");
    assert_eq!((code, &data["code"]), (REQUEST_FAILED, &json!("approvalClosed")));
    assert!(data["status"].is_string() && data["hint"].is_string(), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_request_is_taken_back_as_soon_as_it_is_stored_is_worked_on() {
    let lab = Lab::open(&json!({}));
    lab.command("clode.status", json!([])).await.expect("an engine");
    let engine = lab.session.engine().await.expect("an engine");
    let stored = async {
        loop {
            let rows = engine.unfinished(None).await.expect("runs");
            if let Some(row) = rows.into_iter().next() {
                return row.id;
            }
        }
    };

    let run = tokio::select! {
        biased;
        run = stored => run,
        answer = lab.command("clode.run", json!([{"task": {"title": "Sum the list"}, "wait": true}])) => {
            panic!("it answered: {answer:?}")
        }
    };

    let waited = lab
        .command("clode.pipeline.wait", json!([{"pipelineId": run}]))
        .await
        .expect("waited");
    assert_eq!(waited["status"], "awaitingApproval", "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_pipeline_can_be_retried_or_deleted_but_not_driven() {
    let lab = Lab::open(&json!({}));
    let (run, _) = lab.planned(json!({"task": {"title": "Sum the list"}})).await;
    let (code, _, data) = lab
        .command("clode.pipeline.delete", json!([{"pipelineId": run}]))
        .await
        .expect_err("alive");
    assert_eq!(
        (code, &data["status"]),
        (REQUEST_FAILED, &json!("awaitingApproval"))
    );
    let cancelled = lab
        .command("clode.pipeline.cancel", json!([]))
        .await
        .expect("the only one");
    assert_eq!(cancelled["status"], "cancelled");
    for control in ["pause", "resume", "cancel"] {
        let id = format!("clode.pipeline.{control}");
        let (code, _, data) = lab
            .command(&id, json!([{"pipelineId": run}]))
            .await
            .expect_err("ended");
        assert_eq!(
            (code, &data["code"], &data["status"]),
            (REQUEST_FAILED, &json!("pipelineEnded"), &json!("cancelled"))
        );
    }
    lab.command("clode.pipeline.delete", json!([]))
        .await
        .expect("the only ended one");
    assert_eq!(
        refused(&lab, "clode.pipeline.get", json!([{"pipelineId": run}]))
            .await
            .0,
        INVALID_PARAMS
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_task_is_found_again_and_its_name_means_nothing_else() {
    let lab = Lab::open(&json!({}));
    let task = |title: &str| json!({"task": {"id": "T-1", "title": title}});
    let (run, _) = lab.planned(task("Sum the list")).await;
    assert!(run.starts_with("pipeline-T-1-"), "{run}");
    let again = lab
        .command("clode.run", json!([task("Sum the list")]))
        .await
        .expect("found");
    assert_eq!(
        (&again["pipelineId"], &again["reused"]),
        (&json!(run), &json!(true))
    );
    let (code, _, data) = lab
        .command("clode.run", json!([task("Something else")]))
        .await
        .expect_err("in use");
    assert_eq!(
        (code, &data["code"], &data["status"]),
        (REQUEST_FAILED, &json!("taskIdInUse"), &json!("awaitingApproval"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_could_mean_several_pipelines_lists_them() {
    let lab = Lab::open(&json!({}));
    let (one, _) = lab.planned(json!({"task": {"title": "Sum the list"}})).await;
    let (other, _) = lab.planned(json!({"task": {"title": "Sum it twice"}})).await;
    let (code, message) = refused(&lab, "clode.pipeline.cancel", json!([])).await;
    assert_eq!(code, INVALID_PARAMS);
    assert!(message.contains(&one) && message.contains(&other), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_alone_answers_with_its_patch_and_applies_nothing() {
    let lab = Lab::open(&json!({}));
    let request = json!({"agent": "developer", "request": {"planStepId": "step-1", "objective": "Sum the list", "targetFiles": ["src/sum.rs"]}});
    let answer = lab
        .command("clode.executeAgent", json!([request]))
        .await
        .expect("done");
    assert_eq!(answer["status"], "completed", "{answer}");
    assert!(text(&answer, "/patch").contains("src/sum.rs"));
    assert!(answer["testRuns"].is_array() && answer["output"].is_string() && answer["metrics"].is_object());
    assert_eq!(
        std::fs::read_to_string(lab.folder.join("src/sum.rs")).expect("read"),
        TEXT
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_has_every_part_that_the_contract_names() {
    let lab = Lab::open(&json!({}));
    let (run, _) = lab.planned(json!({"task": {"title": "Sum the list"}})).await;
    let status = lab.command("clode.status", json!([])).await.expect("a status");
    for part in [
        "version",
        "sandbox",
        "workspaces",
        "pipelines",
        "budget",
        "providers",
        "worktrees",
        "alerts",
    ] {
        assert!(status.get(part).is_some(), "{part} in {status}");
    }
    assert_eq!(text(&status, "/pipelines/0/pipelineId"), run);
    for part in ["limit", "spent", "reserved", "remaining", "resetsAt"] {
        assert!(
            status["budget"]["daily"].get(part).is_some(),
            "{part} in {status}"
        );
    }
    let demo = status["providers"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|provider| provider["id"] == "demo")
        .expect("demo");
    assert_eq!(
        (&demo["circuit"], &demo["rpm"]),
        (&json!("closed"), &json!({"limit": null, "used": 0}))
    );
    assert!(
        status["alerts"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|alert| alert["message"].is_string())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_is_given_to_what_was_shown_and_taken_back() {
    let lab = Lab::open(&json!({}));
    let file = lab.folder.join(".claude/agents/config/providers.yaml");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, "tests:\n  - command: make check\n").expect("written");
    let shown = lab.command("clode.trust", json!([])).await.expect("shown");
    assert_eq!(shown["trusted"], false);
    assert!(!shown["items"].as_array().expect("a list").is_empty(), "{shown}");
    let hash = text(&shown, "/hash");
    let granted = lab
        .command("clode.trust", json!([{"action": "grant", "hash": hash}]))
        .await
        .expect("granted");
    assert_eq!(granted["trusted"], true);
    std::fs::write(&file, "tests:\n  - command: make something else\n").expect("written");
    assert_eq!(
        lab.command("clode.trust", json!([])).await.expect("shown")["trusted"],
        false
    );
    let stale = lab
        .command("clode.trust", json!([{"action": "grant", "hash": hash}]))
        .await
        .expect_err("changed");
    assert_eq!(
        (stale.0, &stale.2["code"]),
        (REQUEST_FAILED, &json!("trustChanged"))
    );
    lab.command("clode.trust", json!([{"action": "revoke"}]))
        .await
        .expect("revoked");
}
