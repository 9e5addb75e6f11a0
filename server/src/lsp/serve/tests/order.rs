//! Who is heard when, and in which order.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn sixty_four_pending_commands_hold_nobody_up() {
    let mut rig = Rig::ready();
    for id in 0..64 {
        rig.request(id, "lab/wait", &json!({ "id": id }));
    }
    let asked = Instant::now();
    assert_eq!(
        rig.call("lab/echo", &json!({ "n": 1 }))["result"],
        json!({ "n": 1 })
    );
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "the others starved this one"
    );

    rig.notify("$/cancelRequest", &json!({ "id": 7 }));
    assert_eq!(code_of(&rig.answer(7)), -32800);
    rig.notify("window/workDoneProgress/cancel", &json!({ "token": "t" }));
    assert_eq!(
        rig.call("lab/notes", &json!({}))["result"],
        json!([{ "token": "t" }])
    );

    rig.notify("lab/release", &json!({}));
    for id in (0..64).filter(|&id| id != 7) {
        assert_eq!(rig.answer(id)["result"], json!({ "id": id }));
    }
    assert_eq!(rig.kept, Vec::<Value>::new(), "somebody was answered twice");
}

#[test]
fn a_flood_of_notifications_does_not_lock_out_the_answers_that_handlers_wait_for() {
    let mut rig = Rig::start();
    rig.read();
    rig.initialize(&json!({ "workspace": { "configuration": true } }));
    for id in 0..4 {
        rig.request(id, "lab/ask", &json!({}));
    }
    let questions: Vec<Value> = (0..4)
        .map(|_| rig.expect(|it| it["method"] == "workspace/configuration"))
        .collect();
    for n in 0..400 {
        rig.notify("lab/noteAfterAwait", &json!(n));
    }
    for question in questions {
        rig.post(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": [{ "n": 1 }] }));
    }
    for id in 0..4 {
        assert_eq!(rig.answer(id)["result"], json!({ "n": 1 }));
    }
    assert_eq!(
        rig.call("lab/notes", &json!({}))["result"]
            .as_array()
            .unwrap()
            .len(),
        400
    );
}

#[test]
fn ten_thousand_notifications_are_handled_in_order_even_if_handlers_await() {
    let mut rig = Rig::ready();
    for n in 0..10_000 {
        rig.notify("lab/noteAfterAwait", &json!(n));
    }
    let notes = rig.call("lab/notes", &json!({}))["result"].clone();
    assert_eq!(notes, json!((0..10_000).collect::<Vec<_>>()));
}

#[test]
fn twenty_thousand_instant_answers_keep_the_order_of_their_requests() {
    let mut rig = Rig::ready();
    let mut input = rig.input.take().unwrap();
    let sending = thread::spawn(move || {
        for id in 0..20_000 {
            let text = json!({ "jsonrpc": "2.0", "id": id, "method": "lab/echo", "params": [] }).to_string();
            write!(input, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        }
        input
    });
    let messages = rig.messages.as_ref().unwrap();
    for id in 0..20_000 {
        assert_eq!(messages.recv_timeout(LIMIT).unwrap()["id"], id);
    }
    rig.input = Some(sending.join().unwrap());
}

#[test]
fn what_a_request_does_before_its_first_await_is_ordered_with_notifications() {
    let mut rig = Rig::ready();
    for n in 0..500 {
        rig.notify("lab/note", &json!(2 * n));
        rig.request(n, "lab/noteAndWait", &json!(2 * n + 1));
    }
    let notes = rig.call("lab/notes", &json!({}))["result"].clone();
    assert_eq!(notes, json!((0..1000).collect::<Vec<_>>()));
}

#[test]
fn a_slow_handler_delays_nobody_else() {
    let mut rig = Rig::ready();
    rig.request("slow", "lab/slow", &json!({}));
    let asked = Instant::now();
    rig.call("lab/echo", &json!({}));
    assert!(
        asked.elapsed() < Duration::from_millis(500),
        "the slow handler was waited for"
    );
    rig.answer("slow");
}

#[test]
fn the_end_of_a_progress_is_on_the_wire_before_the_answer_of_its_command() {
    let mut rig = Rig::ready();
    for id in 0..200 {
        rig.request(id, "lab/progress", &json!({ "workDoneToken": format!("t{id}") }));
    }
    let mut last_value = std::collections::HashMap::new();
    let mut answered = 0;
    while answered < 200 {
        let message = rig.messages.as_ref().unwrap().recv_timeout(LIMIT).unwrap();
        if let Some(id) = message["id"].as_u64() {
            let ended: &Value = &last_value[&json!(format!("t{id}"))];
            assert_eq!(ended["kind"], "end", "answered too early");
            answered += 1;
        } else {
            let value = message["params"]["value"].clone();
            let before = last_value.insert(message["params"]["token"].clone(), value.clone());
            if value["kind"] == "end" {
                assert_eq!(before.unwrap()["percentage"], 100, "the last report is missing");
            }
        }
    }
}

#[test]
fn an_editor_that_does_not_read_is_still_heard() {
    let mut rig = Rig::start();
    // Given a server that floods an editor which does not read
    let params = json!({ "processId": null, "rootUri": null, "capabilities": {} });
    rig.request("initialize", "initialize", &params);
    rig.request(
        "flood",
        "lab/flood",
        &json!({ "messages": 1000, "bytes": 100_000 }),
    );
    // when the editor goes on sending
    for n in 0..1000 {
        rig.notify("lab/note", &json!(n));
    }
    rig.request("notes", "lab/notes", &json!({}));
    // then all of it is taken, and nothing of the flood is lost once it reads.
    rig.read();
    assert_eq!(rig.answer("notes")["result"].as_array().unwrap().len(), 1000);
    rig.answer("flood");
    let seen: Vec<u64> = rig
        .kept
        .iter()
        .filter_map(|message| message["params"]["seq"].as_u64())
        .collect();
    assert!(seen.iter().copied().eq(0..1000));
}

#[test]
fn an_editor_that_asks_two_thousand_times_before_it_reads_gets_every_answer_in_order() {
    let mut rig = Rig::start();
    rig.request("initialize", "initialize", &json!({ "capabilities": {} }));
    let mut input = rig.input.take().unwrap();
    let sending = thread::spawn(move || {
        let padding = "x".repeat(1000);
        for id in 0..2000 {
            let text =
                json!({ "jsonrpc": "2.0", "id": id, "method": "lab/echo", "params": padding }).to_string();
            write!(input, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        }
        input
    });
    rig.wait_until_full();
    rig.read();
    rig.answer("initialize");
    for id in 0..2000 {
        assert_eq!(rig.answer(id)["id"], id);
        assert!(
            rig.kept.iter().all(|message| message.get("id").is_none()),
            "an answer came too early"
        );
    }
    rig.input = Some(sending.join().unwrap());
}
