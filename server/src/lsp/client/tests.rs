use lsp_types::MessageType;
use url::Url;

use super::peer::Peer;
use super::*;

fn able() -> Value {
    json!({
        "window": { "workDoneProgress": true, "showDocument": { "support": true }, "showMessage": {} },
        "workspace": {
            "applyEdit": true,
            "configuration": true,
            "codeLens": { "refreshSupport": true },
            "executeCommand": { "dynamicRegistration": true },
        },
        "experimental": { "clode": { "version": 1, "input": true } },
    })
}

fn uri() -> Url {
    Url::parse("file:///srv/a.rs").unwrap()
}

/// Sends one request and gives it the answer that `answer` makes.
async fn asked<T: Send + 'static>(
    request: impl AsyncFnOnce(Client) -> T,
    answer: impl FnOnce(&Peer, &Value),
) -> (T, Value) {
    let (client, mut peer) = Peer::connect(&able());
    let far_end = async {
        let message = peer.next().await;
        answer(&peer, &message);
        message
    };
    tokio::join!(request(client), far_end)
}

#[tokio::test]
async fn an_edit_is_applied_only_when_the_editor_says_so() {
    let edit = json!({ "changes": {} });
    for (answer, expected) in [
        (json!({ "applied": true }), Outcome::Yes),
        (
            json!({ "applied": false, "failureReason": "read\u{1b}only" }),
            Outcome::No {
                reason: "readonly".into(),
            },
        ),
        (
            json!({ "applied": false }),
            Outcome::No {
                reason: "the editor gives no reason".into(),
            },
        ),
        (
            json!({ "applied": "yes" }),
            Outcome::No {
                reason: "the editor gives no reason".into(),
            },
        ),
        (
            Value::Null,
            Outcome::No {
                reason: "the editor gives no reason".into(),
            },
        ),
    ] {
        let edit = edit.clone();
        let apply = async move |client: Client| client.apply_edit("Add\u{0} test", &edit).await;
        let (applied, message) = asked(apply, |peer, request| {
            assert!(peer.answer(request, answer.clone()));
        })
        .await;
        assert_eq!(applied, expected, "{answer}");
        assert_eq!(message["method"], "workspace/applyEdit");
        assert_eq!(
            message["params"],
            json!({ "label": "Add test", "edit": { "changes": {} } })
        );
    }
}

#[tokio::test]
async fn errors_of_any_code_are_a_no() {
    for code in [-32603, 32603, 0] {
        let apply = async |client: Client| client.apply_edit("x", &json!({})).await;
        let (applied, _) = asked(apply, |peer, request| {
            assert!(peer.refuse(request, code, "stale"));
        })
        .await;
        assert_eq!(
            applied,
            Outcome::No {
                reason: format!("stale ({code})")
            }
        );
    }
}

#[tokio::test]
async fn what_the_editor_did_not_declare_is_never_sent() {
    let (client, mut peer) = Peer::connect(&json!({}));
    assert_eq!(client.apply_edit("x", &json!({})).await, Outcome::Unsupported);
    assert_eq!(
        client.show_document(&uri(), ShowDocument::default()).await,
        Outcome::Unsupported
    );
    assert_eq!(client.create_progress("t").await, Outcome::Unsupported);
    assert_eq!(client.refresh_code_lenses().await, Outcome::Unsupported);
    assert_eq!(
        client.refresh_text_document_content(&uri()).await,
        Outcome::Unsupported
    );
    assert_eq!(
        client
            .register_capability("1", "workspace/executeCommand", &json!({}))
            .await,
        Outcome::Unsupported
    );
    assert_eq!(client.configuration("clode", None).await, None);
    let cancelled = CancellationToken::new();
    assert_eq!(
        client
            .show_message_request(MessageType::Info, "?", &["Later"], &cancelled)
            .await,
        None
    );
    client.custom_notify("clode/alert", &json!({})).await;
    let input = client
        .custom_request("clode/input", &json!({}), Patience::default())
        .await;
    assert_eq!(input, Err(NoResult::Unsupported));
    assert_eq!(peer.next_now(), None);
}

#[tokio::test]
async fn of_our_own_requests_only_the_announced_ones_are_sent() {
    let (client, mut peer) = Peer::connect(&able());
    let diff = client
        .custom_request("clode/showDiff", &json!({}), Patience::default())
        .await;
    assert_eq!(diff, Err(NoResult::Unsupported));
    assert_eq!(peer.next_now(), None);
    let input = async |client: Client| {
        client
            .custom_request("clode/input", &json!({}), Patience::default())
            .await
    };
    let (typed, _) = asked(input, |peer, request| {
        assert!(peer.answer(request, json!({ "value": "text" })));
    })
    .await;
    assert_eq!(typed, Ok(json!({ "value": "text" })));
}

#[tokio::test]
async fn an_editor_that_does_not_answer_is_given_up_and_its_late_answer_ignored() {
    let (client, mut peer) = Peer::connect(&able());
    let patience = Patience::Limit(Duration::from_millis(20));
    assert_eq!(
        client.request("window/showDocument", &json!({}), patience).await,
        Err(NoResult::Unanswered)
    );
    let request = peer.next_now().unwrap();
    let cancel = peer.next_now().unwrap();
    assert_eq!(cancel["method"], "$/cancelRequest");
    assert_eq!(cancel["params"]["id"], request["id"]);
    assert!(!peer.answer(&request, json!({ "success": true })));
}

#[tokio::test]
async fn a_prompt_waits_until_it_is_cancelled_and_null_chooses_nothing() {
    let choices = ["Later", "Approve"];
    for (answer, expected) in [
        (json!({ "title": "Approve" }), Some(1)),
        (Value::Null, None),
        (json!({ "title": "Other" }), None),
        (json!([]), None),
    ] {
        let prompt = async |client: Client| {
            client
                .show_message_request(MessageType::Info, "Plan?", &choices, &CancellationToken::new())
                .await
        };
        let (choice, _) = asked(prompt, |peer, request| {
            assert!(peer.answer(request, answer.clone()));
        })
        .await;
        assert_eq!(choice, expected, "{answer}");
    }

    let (client, mut peer) = Peer::connect(&able());
    let cancelled = CancellationToken::new();
    let prompt = client.show_message_request(MessageType::Info, "Plan?", &choices, &cancelled);
    let far_end = async {
        let request = peer.next().await;
        cancelled.cancel();
        assert_eq!(peer.next().await["params"]["id"], request["id"]);
    };
    assert_eq!(tokio::join!(prompt, far_end).0, None);
}

#[tokio::test]
async fn a_caller_that_is_dropped_leaves_nothing_behind() {
    let (client, mut peer) = Peer::connect(&able());
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.apply_edit("x", &json!({})).await }
    });
    let request = peer.next().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    assert_eq!(peer.next().await["method"], "$/cancelRequest");
    assert!(!peer.answer(&request, json!({ "applied": true })));
    assert!(client.inner.asked().is_empty());
}

#[tokio::test]
async fn settings_are_an_object_or_nothing() {
    for (answer, expected) in [
        (json!([{ "ui": {} }]), Some(json!({ "ui": {} }))),
        (json!([null]), None),
        (json!([[]]), None),
        (json!([]), None),
        (Value::Null, None),
        (json!({}), None),
    ] {
        let ask = async |client: Client| client.configuration("clode", None).await;
        let (settings, _) = asked(ask, |peer, request| assert!(peer.answer(request, answer.clone()))).await;
        assert_eq!(settings, expected, "{answer}");
    }
}

#[tokio::test]
async fn a_request_without_result_is_done_when_it_is_answered() {
    for request in ["create", "refresh", "register"] {
        let ask = async move |client: Client| match request {
            "create" => client.create_progress("t").await,
            "refresh" => client.refresh_code_lenses().await,
            _ => {
                client
                    .register_capability("1", "workspace/executeCommand", &json!({ "commands": [] }))
                    .await
            }
        };
        let (done, _) = asked(ask, |peer, message| assert!(peer.answer(message, Value::Null))).await;
        assert_eq!(done, Outcome::Yes, "{request}");
    }
}

#[tokio::test]
async fn nobody_waits_for_an_editor_that_is_gone() {
    let (client, mut peer) = Peer::connect(&able());
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.apply_edit("x", &json!({})).await }
    });
    peer.next().await;
    client.close();
    assert_eq!(asking.await.unwrap(), Outcome::Unanswered);
    assert_eq!(client.apply_edit("x", &json!({})).await, Outcome::Unanswered);
}

#[tokio::test]
async fn messages_to_people_are_plain_text() {
    let (client, mut peer) = Peer::connect(&json!({}));
    client
        .show_message(MessageType::Warning, "over\u{1b}[1m budget")
        .await;
    let shown = peer.next_now().unwrap();
    assert_eq!(shown["method"], "window/showMessage");
    assert_eq!(shown["params"], json!({ "type": 2, "message": "over[1m budget" }));
}

#[tokio::test]
async fn diagnostics_carry_a_version_only_for_clients_that_know_it() {
    let knows = json!({ "textDocument": { "publishDiagnostics": { "versionSupport": true } } });
    for (capabilities, version) in [(knows, json!(3)), (json!({}), Value::Null)] {
        let (client, mut peer) = Peer::connect(&capabilities);
        client.publish_diagnostics(&uri(), Some(3), &json!([])).await;
        let published = peer.next_now().unwrap();
        assert_eq!(published["method"], "textDocument/publishDiagnostics");
        assert_eq!(published["params"]["uri"], uri().as_str());
        assert_eq!(published["params"]["version"], version);
    }
}
