//! What an editor is told while a run works: progress, events, notifications.

use serde_json::{Value, json};

use super::opened;

/// The reports of progress, by token, in order.
fn progress(all: &[Value], kind: impl Fn(&Value) -> bool) -> Vec<&Value> {
    all.iter().filter(|params| kind(&params["value"])).collect()
}

fn is_progress(value: &Value) -> bool {
    ["begin", "report", "end"]
        .iter()
        .any(|kind| value["kind"] == *kind)
}

#[tokio::test]
async fn progress_begins_and_ends_with_the_work_and_its_percentage_never_falls() {
    let (stage, mut editor) = opened();
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    // The last progress may still be on its way.
    editor
        .client
        .expect_notification("clode/didChangePipeline", |params| {
            params["status"] == "completed"
        });

    let all = editor.client.notifications("$/progress");
    let reports = progress(&all, is_progress);
    let begun = reports
        .iter()
        .filter(|report| report["value"]["kind"] == "begin")
        .count();
    assert!(
        begun >= 2,
        "one progress to the plan, another after it: {reports:#?}"
    );
    let mut percentage = 0;
    let mut open: Vec<&Value> = Vec::new();
    for report in &reports {
        let value = &report["value"];
        match value["kind"].as_str() {
            Some("begin") => {
                assert!(open.is_empty(), "one progress at a time: {reports:#?}");
                open.push(&report["token"]);
                assert!(
                    value["title"]
                        .as_str()
                        .is_some_and(|title| title.starts_with("Clode: ")),
                    "{value}"
                );
                assert_eq!(value["cancellable"], true);
            }
            Some("end") => {
                assert_eq!(open.pop(), Some(&report["token"]), "{reports:#?}");
            }
            _ => {
                assert_eq!(open.last(), Some(&&report["token"]));
                assert!(
                    value["message"].is_string() && value["percentage"].is_u64(),
                    "both or neither is shown: {value}"
                );
            }
        }
        if let Some(now) = value["percentage"].as_u64() {
            assert!(
                now >= percentage && now <= 100,
                "{now} after {percentage}: {reports:#?}"
            );
            percentage = now;
        }
    }
    let ends: Vec<&str> = reports
        .iter()
        .filter(|report| report["value"]["kind"] == "end")
        .filter_map(|report| report["value"]["message"].as_str())
        .collect();
    assert!(
        ends.iter()
            .any(|message| message.contains("Waiting: approve plan")),
        "{ends:?}"
    );
    let says_step = |report: &&&Value| {
        report["value"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("Developer ·"))
    };
    assert!(reports.iter().any(|report| says_step(&report)), "{reports:#?}");
}

#[tokio::test]
async fn cancelling_the_progress_cancels_the_run() {
    let (stage, mut editor) = opened();
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    let begun = editor.client.expect_notification("$/progress", |params| {
        params["value"]["kind"] == "begin" && params["value"]["percentage"].as_u64() > Some(0)
    });

    editor.client.notify(
        "window/workDoneProgress/cancel",
        &json!({ "token": begun["token"] }),
    );

    // The offline agents are quick: the run may have come to its next gate before it was cancelled.
    let end = editor.until(&run, "an end or a gate", |detail| {
        detail["status"] == "cancelled" || detail["status"] == "awaitingApproval"
    });
    if end["status"] == "awaitingApproval" {
        editor.must("clode.pipeline.cancel", &json!({ "pipelineId": run }));
        editor.until_status(&run, "cancelled");
    }
    stage.assert_untouched();
}

#[tokio::test]
async fn events_come_without_a_gap_and_can_be_had_again() {
    let (stage, mut editor) = opened();
    let mut request = stage.request(&editor);
    request["eventToken"] = json!("mine");
    let run = editor.run(&request);
    editor.approve(&run, "plan");
    editor.approve(&run, "patch");
    editor.client.expect_notification("$/progress", |params| {
        params["token"] == "mine" && params["value"]["type"] == "finished"
    });

    let all = editor.client.notifications("$/progress");
    let mut events: Vec<Value> = all
        .iter()
        .filter(|params| params["token"] == "mine")
        .map(|params| params["value"].clone())
        .collect();
    let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    let first = seqs.first().copied().unwrap_or_default();
    assert!(
        seqs.iter().zip(first..).all(|(seq, wanted)| *seq == wanted),
        "{seqs:?}"
    );
    assert!(
        events
            .iter()
            .all(|event| event["kind"] == "clode" && event["pipelineId"] == json!(run)),
        "{events:#?}"
    );
    for kind in [
        "stepStarted",
        "stepFinished",
        "routeDecision",
        "usage",
        "approvalRequested",
        "approvalResolved",
        "patchReady",
    ] {
        assert!(
            events.iter().any(|event| event["type"] == kind),
            "no {kind} in {events:#?}"
        );
    }

    // From the third on, under another token, the very same ones again; the end, which was taken above, too.
    let after = first + 1;
    editor.must(
        "clode.pipeline.subscribe",
        &json!({ "pipelineId": run, "eventToken": "again", "afterSeq": after }),
    );
    editor.client.expect_notification("$/progress", |params| {
        params["token"] == "again" && params["value"]["type"] == "finished"
    });
    let again: Vec<Value> = editor
        .client
        .notifications("$/progress")
        .iter()
        .filter(|params| params["token"] == "again")
        .map(|params| params["value"].clone())
        .collect();
    events.retain(|event| event["seq"].as_u64() > Some(after));
    assert_eq!(again, events);
}

#[tokio::test]
async fn every_editor_on_the_repository_is_told_of_a_run_and_of_its_review() {
    let (stage, mut editor) = opened();
    let mut other = stage.editor();
    other.open(&stage.file());
    let run = editor.run(&stage.request(&editor));

    let is_it = |params: &Value| params["pipelineId"] == json!(run) && params["status"] == "awaitingApproval";
    editor
        .client
        .expect_notification("clode/didChangePipeline", is_it);
    other.client.expect_notification("clode/didChangePipeline", is_it);

    editor.approve(&run, "plan");
    editor.until_gate(&run, "patch");
    let uri = clode_tests::text_editor::file_uri(&stage.file());
    let review = editor
        .client
        .expect_notification("clode/didChangeReview", |params| {
            params["uri"] == uri.as_str() && params["hunks"].as_array().is_some_and(|hunks| !hunks.is_empty())
        });
    assert_eq!(review["hunks"][0]["state"], "pending", "{review:#}");
    let marks = editor
        .client
        .expect_notification("textDocument/publishDiagnostics", |params| {
            params["uri"] == uri.as_str()
                && params["diagnostics"]
                    .as_array()
                    .is_some_and(|list| list.iter().any(|mark| mark["source"] == "clode"))
        });
    assert!(
        marks["diagnostics"][0]["data"]["pipelineId"].is_string(),
        "{marks:#}"
    );
}
