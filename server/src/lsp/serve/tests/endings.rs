//! How the loop ends, and with which code.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn exit_after_shutdown_is_code_0_although_the_input_stays_open() {
    let mut rig = Rig::ready();
    rig.request("waits", "lab/wait", &json!({}));
    assert_eq!(rig.call("shutdown", &Value::Null)["result"], Value::Null);
    rig.notify("exit", &Value::Null);
    assert_eq!(rig.code(), 0);
}

#[test]
fn exit_without_shutdown_is_code_1() {
    let mut rig = Rig::ready();
    rig.notify("exit", &Value::Null);
    assert_eq!(rig.code(), 1);
    let mut rig = Rig::start();
    rig.notify("exit", &Value::Null);
    assert_eq!(rig.code(), 1);
}

#[test]
fn the_end_of_the_input_ends_the_loop_although_a_handler_waits() {
    let mut rig = Rig::ready();
    rig.request("waits", "lab/wait", &json!({}));
    rig.input = None;
    assert_eq!(rig.code(), 1);
}

#[test]
fn a_stream_that_cannot_be_understood_any_more_ends_the_loop() {
    let mut rig = Rig::ready();
    // The loop may be gone before all of it is written.
    let _ = rig.input.as_mut().unwrap().write_all(&vec![b'x'; 2 << 20]);
    assert_eq!(code_of(&rig.answer(Value::Null)), -32700);
    assert_eq!(rig.code(), 1);
}

#[test]
fn an_editor_that_stops_reading_for_good_ends_the_loop() {
    let mut rig = Rig::start();
    drop(rig.output.take());
    rig.request(1, "initialize", &json!({ "capabilities": {} }));
    assert_eq!(rig.code(), 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test needs a parent that dies")]
fn the_death_of_the_parent_ends_the_loop_although_the_input_stays_open() {
    let mut editor = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut rig = Rig::start();
    rig.read();
    rig.call(
        "initialize",
        &json!({ "processId": editor.id(), "capabilities": {} }),
    );
    rig.request("waits", "lab/wait", &json!({}));
    rig.call("lab/echo", &json!({}));
    drop(editor.stdin.take());
    editor.wait().unwrap();
    assert_eq!(rig.code(), 1);
}

#[test]
fn stopping_is_waited_for_but_not_for_ever() {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    let mut rig = Rig::start_with(async move || seen.store(true, Ordering::SeqCst));
    rig.input = None;
    assert_eq!(rig.code(), 1);
    assert!(stopped.load(Ordering::SeqCst));

    let mut rig = Rig::start_with(async || std::future::pending::<()>().await);
    rig.input = None;
    assert_eq!(rig.code(), 1);
}

#[test]
fn an_editor_that_never_reads_cannot_hold_up_the_end() {
    let mut rig = Rig::start();
    rig.request(1, "initialize", &json!({ "capabilities": {} }));
    rig.request(2, "lab/flood", &json!({ "messages": 1000, "bytes": 100_000 }));
    rig.input = None;
    assert_eq!(rig.code(), 1);
}

#[test]
fn the_answers_given_before_the_end_still_arrive() {
    let mut rig = Rig::ready();
    for id in 0..100 {
        rig.request(id, "lab/echo", &json!({}));
    }
    rig.input = None;
    for id in 0..100 {
        assert!(rig.answer(id)["result"].is_object());
    }
    assert_eq!(rig.code(), 1);
}
