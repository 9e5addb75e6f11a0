//! What a client may not do, and what a handler may do wrong.

use super::*;

#[test]
fn a_panic_costs_one_request_and_its_id_can_be_used_again() {
    let mut rig = Rig::ready();
    for method in ["lab/panic", "lab/panicLater"] {
        for _ in 0..3 {
            rig.request(1, method, &json!({}));
            let answer = rig.answer(1);
            assert_eq!(code_of(&answer), -32603);
            assert_eq!(answer["error"]["data"]["kind"], "internal");
            assert!(answer["error"]["data"]["hint"].is_string());
        }
    }
    rig.notify("lab/panicInNotification", &json!({}));
    assert_eq!(
        rig.call("lab/echo", &json!({ "alive": true }))["result"],
        json!({ "alive": true })
    );
    assert_eq!(rig.kept, Vec::<Value>::new());
}

#[test]
fn a_notification_that_never_ends_is_given_up() {
    let mut rig = Rig::ready();
    rig.notify("lab/stuckNotification", &json!({}));
    assert_eq!(rig.call("lab/echo", &json!({}))["result"], json!({}));
}

#[test]
fn an_id_in_use_is_refused_and_the_first_request_still_answered() {
    let mut rig = Rig::ready();
    rig.request("same", "lab/wait", &json!({ "first": true }));
    rig.request("same", "lab/echo", &json!({}));
    assert_eq!(code_of(&rig.answer("same")), -32600);
    rig.notify("lab/release", &json!({}));
    assert_eq!(rig.answer("same")["result"], json!({ "first": true }));
    rig.request("same", "lab/echo", &json!({ "again": true }));
    assert_eq!(rig.answer("same")["result"], json!({ "again": true }));
}

#[test]
fn a_number_and_a_text_that_look_alike_are_two_ids() {
    let mut rig = Rig::ready();
    rig.request(1, "lab/wait", &json!({ "number": 1 }));
    rig.request("1", "lab/wait", &json!({ "text": 1 }));
    rig.notify("$/cancelRequest", &json!({ "id": "1" }));
    assert_eq!(code_of(&rig.answer("1")), -32800);
    rig.notify("lab/release", &json!({}));
    assert_eq!(rig.answer(1)["result"], json!({ "number": 1 }));
}

#[test]
fn above_the_limit_requests_are_refused_and_below_it_taken_again() {
    let mut rig = Rig::ready();
    for id in 0..257 {
        rig.request(id, "lab/wait", &json!({}));
    }
    let refused = rig.answer(256);
    assert_eq!(code_of(&refused), -32803);
    assert_eq!(refused["error"]["data"]["code"], "tooManyRequests");

    rig.notify("$/cancelRequest", &json!({ "id": 0 }));
    assert_eq!(code_of(&rig.answer(0)), -32800);
    assert!(rig.call("lab/echo", &json!({}))["result"].is_object());
    rig.notify("lab/release", &json!({}));
    for id in 1..256 {
        assert!(rig.answer(id)["result"].is_object());
    }
}

#[test]
fn a_cancelled_or_unknown_request_is_answered_once() {
    let mut rig = Rig::ready();
    rig.request(1, "lab/wait", &json!({}));
    for id in [json!(1), json!(1), json!("nobody"), json!(null), json!({})] {
        rig.notify("$/cancelRequest", &json!({ "id": id }));
    }
    rig.notify("$/cancelRequest", &json!(null));
    assert_eq!(code_of(&rig.answer(1)), -32800);
    assert_eq!(code_of(&rig.call("lab/nothing", &json!({}))), -32601);
    rig.call("lab/echo", &json!({}));
    assert_eq!(rig.kept, Vec::<Value>::new());
}

#[test]
fn parameters_that_the_typed_form_rejects_still_initialize() {
    for params in [
        json!({}),
        json!([]),
        json!({ "processId": "x", "capabilities": [], "rootUri": 5, "trace": "loud" }),
    ] {
        let mut rig = Rig::start();
        rig.read();
        assert!(rig.call("initialize", &params)["result"].is_object(), "{params}");
        let expected = if params.is_array() { json!({}) } else { params };
        assert_eq!(rig.client.opening().params, expected);
    }
    let mut rig = Rig::start();
    rig.read();
    for params in [json!(null), json!("x"), json!([1])] {
        assert_eq!(code_of(&rig.call("initialize", &params)), -32602, "{params}");
    }
    assert!(
        rig.call("initialize", &json!({}))["result"].is_object(),
        "a failed attempt may be repeated"
    );
}

#[test]
fn an_answer_without_result_counts_as_null() {
    let mut rig = Rig::start();
    rig.read();
    rig.initialize(&json!({ "workspace": { "configuration": true } }));
    rig.request(1, "lab/ask", &json!({}));
    let question = rig.expect(|message| message["method"] == "workspace/configuration");
    rig.post(&json!({ "jsonrpc": "2.0", "id": question["id"] }));
    assert_eq!(rig.answer(1)["result"], Value::Null);
    rig.post(&json!({ "jsonrpc": "2.0", "id": question["id"] }));
    assert_eq!(code_of(&rig.answer(Value::Null)), -32600, "nobody waits any more");
}
