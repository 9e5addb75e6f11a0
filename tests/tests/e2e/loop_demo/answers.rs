//! What commands answer: the shape of a run, and what is said to a wrong question.

use clode_tests::stage::{MODULE, TEST_COMMAND};
use serde_json::{Value, json};

use super::{at_the_patch, opened};

/// Fails unless `value` has these fields, of these kinds (`?` for those that may be null).
#[track_caller]
fn assert_fields(value: &Value, fields: &[(&str, &str)]) {
    for (name, kind) in fields {
        let found = value.get(name);
        let (kind, may_be_null) = kind.strip_suffix('?').map_or((*kind, false), |kind| (kind, true));
        let fits = found.is_some_and(|found| match kind {
            "text" => found.is_string(),
            "number" => found.is_number(),
            "list" => found.is_array(),
            "object" => found.is_object(),
            "bool" => found.is_boolean(),
            _ => false,
        });
        assert!(
            fits || (may_be_null && found.is_none_or(Value::is_null)),
            "`{name}` should be {kind}, it is {found:?} in {value:#}"
        );
    }
}

const SUMMARY: &[(&str, &str)] = &[
    ("pipelineId", "text"),
    ("task", "object"),
    ("status", "text"),
    ("progress", "number"),
    ("metrics", "object"),
    ("pendingApprovals", "list"),
    ("workspaceFolder", "text"),
    ("repository", "text"),
    ("origin", "object?"),
    ("createdAt", "text"),
    ("updatedAt", "text"),
];

#[tokio::test]
async fn a_run_has_the_shape_that_the_contract_names() {
    let (stage, mut editor, run, detail) = at_the_patch();

    assert_fields(&detail, SUMMARY);
    let metrics = [
        "totalCost",
        "reservedCost",
        "unconfirmedCost",
        "inputTokens",
        "outputTokens",
        "cacheReadTokens",
        "cacheWriteTokens",
        "llmCalls",
        "durationMs",
    ];
    assert_fields(&detail["metrics"], &metrics.map(|name| (name, "number")));
    assert_fields(&detail["origin"], &[("uri", "text"), ("range", "object")]);
    assert_fields(
        &detail,
        &[
            ("steps", "list"),
            ("plan", "text"),
            ("patch", "text"),
            ("base", "text"),
            ("files", "list"),
            ("testRuns", "list"),
            ("findings", "list"),
            ("knowledge", "list"),
        ],
    );
    let agents: Vec<&Value> = detail["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| &step["agent"])
        .collect();
    assert_eq!(
        agents,
        ["taskMaster", "architect", "developer", "qa", "kbBuilder"]
    );
    assert_fields(
        &detail["steps"][2],
        &[
            ("id", "text"),
            ("status", "text"),
            ("attempts", "number"),
            ("provider", "text"),
            ("model", "text"),
            ("cost", "number"),
            ("startedAt", "text"),
            ("endedAt", "text"),
            ("cached", "bool"),
            ("summary", "text"),
        ],
    );
    let file = &detail["files"][0];
    assert_fields(
        file,
        &[
            ("uri", "text"),
            ("path", "text"),
            ("change", "text"),
            ("baseUri", "text"),
            ("resultUri", "text"),
            ("binary", "bool"),
            ("insertions", "number"),
            ("deletions", "number"),
            ("verdict", "text"),
            ("hunks", "list"),
        ],
    );
    assert_fields(
        &file["hunks"][0],
        &[
            ("id", "text"),
            ("kind", "text"),
            ("state", "text"),
            ("round", "number"),
            ("range", "object"),
            ("version", "number?"),
            ("oldText", "text"),
            ("newText", "text"),
            ("baseRange", "object"),
        ],
    );
    assert_fields(
        &detail["testRuns"][0],
        &[
            ("command", "text"),
            ("exitCode", "number"),
            ("passed", "bool"),
            ("durationMs", "number"),
            ("output", "text"),
        ],
    );
    assert_fields(
        &detail["pendingApproval"],
        &[
            ("id", "text"),
            ("gate", "text"),
            ("title", "text"),
            ("summary", "text"),
            ("choices", "list"),
            ("since", "text"),
        ],
    );
    assert_eq!(detail["pendingApproval"], detail["pendingApprovals"][0]);

    // The patch is one that git takes, against the base that is named.
    let patch = stage.home.path("the.patch");
    std::fs::write(&patch, detail["patch"].as_str().unwrap_or_default()).expect("written");
    stage.repo.git(&["apply", "--check", &patch.to_string_lossy()]);

    // The list and the status know it too, and both documents of the file can be read.
    let list = editor.must("clode.pipeline.list", &json!({}));
    assert_fields(&list[0], SUMMARY);
    let status = editor.must("clode.status", &json!({}));
    assert_eq!(status["pipelines"][0]["pipelineId"], json!(run));
    assert_fields(
        &status,
        &[
            ("version", "text"),
            ("sandbox", "text"),
            ("workspaces", "list"),
            ("budget", "object"),
            ("providers", "list"),
            ("worktrees", "object"),
            ("alerts", "list"),
        ],
    );
    let base = editor.must("clode.document", &json!({ "uri": file["baseUri"] }));
    assert_eq!(base["text"], MODULE);
    let result = editor.must("clode.document", &json!({ "uri": file["resultUri"] }));
    assert!(
        result["text"]
            .as_str()
            .is_some_and(|text| text.contains("return a * b")),
        "{result}"
    );
}

#[tokio::test]
async fn wrong_questions_are_answered_with_what_is_wrong() {
    let (stage, mut editor) = opened();

    let untitled = editor.refused("clode.run", &json!({ "task": { "title": "" } }));
    let wrong_type = editor.refused(
        "clode.run",
        &json!({ "task": { "title": "X" }, "options": { "maxCost": "much" } }),
    );
    let unknown = editor.refused("clode.pipeline.get", &json!({ "pipelineId": "pipeline-none" }));
    let nothing = editor.refused("clode.pipeline.pause", &json!({}));

    assert_eq!(untitled.code, -32602, "{untitled:?}");
    assert_eq!(wrong_type.code, -32602);
    assert!(wrong_type.message.contains("options.maxCost"), "{wrong_type:?}");
    assert_eq!(unknown.code, -32602, "{unknown:?}");
    assert_eq!(nothing.code, -32602, "{nothing:?}");
    stage.assert_untouched();
}

#[tokio::test]
async fn the_same_named_task_is_one_run_and_the_same_name_with_other_content_is_refused() {
    let (stage, mut editor) = opened();
    let request = |title: &str, force: bool| json!({ "task": { "id": "T-1", "title": title, "tests": [TEST_COMMAND] }, "options": { "force": force } });
    let first = editor.must("clode.run", &request("Write multiply", false));
    let run = first["pipelineId"].as_str().unwrap_or_default().to_owned();
    assert!(run.starts_with("pipeline-T-1-"), "{first}");

    let again = editor.must("clode.run", &request("Write multiply", false));
    let other = editor.refused("clode.run", &request("Write divide", false));

    assert_eq!(
        (&again["pipelineId"], &again["reused"]),
        (&json!(run), &json!(true))
    );
    assert_eq!(
        (other.code, &other.data["code"]),
        (-32803, &json!("taskIdInUse")),
        "{other:?}"
    );
    let forced = editor.must("clode.run", &request("Write divide", true));
    assert_ne!(forced["pipelineId"], json!(run));
    stage.assert_untouched();
}

#[tokio::test]
async fn wait_true_answers_when_a_person_is_needed_and_cancelling_the_request_cancels_only_the_waiting() {
    let (stage, mut editor) = opened();
    let mut request = stage.request(&editor);
    request["wait"] = json!(true);

    let waited = editor.must("clode.run", &request);

    assert_eq!(
        (&waited["status"], &waited["pendingApproval"]["gate"]),
        (&json!("awaitingApproval"), &json!("plan"))
    );
    let run = waited["pipelineId"].as_str().unwrap_or_default().to_owned();
    let waiting = editor.client.begin_command(
        "clode.pipeline.wait",
        &json!({ "pipelineId": run, "timeoutMs": 60_000 }),
    );
    editor.client.cancel(&waiting);
    let _either_way = editor.client.finish(waiting);
    assert_eq!(editor.detail(&run)["status"], "awaitingApproval");
    editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
    editor.until_status(&run, "cancelled");
    stage.assert_untouched();
}

#[tokio::test]
async fn a_plan_only_run_ends_with_a_plan_that_retry_carries_out() {
    let (stage, mut editor) = opened();
    let mut request = stage.request(&editor);
    request["options"] = json!({ "pipeline": "plan" });

    let run = editor.run(&request);
    let planned = editor.until_status(&run, "completed");
    assert!(
        planned["plan"]
            .as_str()
            .is_some_and(|plan| plan.contains("## Steps")),
        "{planned:#}"
    );

    editor.must(
        "clode.pipeline.retry",
        &json!({ "pipelineId": run, "pipeline": "default" }),
    );
    let detail = editor.until(&run, "a gate", |detail| detail["status"] == "awaitingApproval");
    if detail["pendingApproval"]["gate"] == "plan" {
        editor.approve(&run, "plan");
    }
    editor.until_gate(&run, "patch");
    stage.assert_untouched();
}
