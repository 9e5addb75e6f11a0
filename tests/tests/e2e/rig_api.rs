//! The scripted provider itself: that it lets pass what a service takes, and complains about all else.
//! A rig that never complains would make every other test worthless.

#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::time::Duration;

use clode_tests::scripted_api::{DUMMY_KEY, Fault, Hold, Reply, Script, ScriptedApi, Stop, Usage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

/// What came back, to the end of the connection; an error if it broke.
struct Answer {
    text: String,
    broken: bool,
}

async fn post(api: &ScriptedApi, path: &str, body: &Value) -> Answer {
    let key = format!("x-api-key: {DUMMY_KEY}\r\nanthropic-version: 2023-06-01\r\n");
    post_with(api, path, &key, body).await
}

async fn post_with(api: &ScriptedApi, path: &str, headers: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", api.port()))
        .await
        .expect("it listens");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut bytes))
        .await
        .expect("it ends in time");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // A body in chunks that has no last chunk was cut.
    let cut = text.contains("transfer-encoding: chunked") && !text.ends_with("0\r\n\r\n");
    Answer {
        broken: read.is_err() || cut || text.is_empty(),
        text,
    }
}

fn question(agent: &str) -> Value {
    json!({
        "model": "claude-sonnet-5", "max_tokens": 100, "stream": true,
        "system": [{"type": "text", "text": format!("You write.\nclode-agent: {agent}")}],
        "messages": [{"role": "user", "content": "Go."}],
    })
}

/// A conversation after one call of a tool, with these blocks as the user's turn.
fn after_a_call(results: &Value) -> Value {
    json!({
        "model": "claude-sonnet-5", "max_tokens": 100,
        "system": "clode-agent: developer",
        "tools": [{"name": "read", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "Go."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {}}]},
            {"role": "user", "content": results},
        ],
    })
}

#[tokio::test]
async fn each_agent_gets_its_own_steps_in_order() {
    let api = ScriptedApi::start(
        Script::new()
            .agent("architect", |s| s.says("The plan."))
            .agent("developer", |s| {
                s.calls("read", json!({"path": "a"})).says("Done.")
            }),
    );

    let first = post(&api, "/v1/messages", &question("developer")).await;
    let plan = post(&api, "/v1/messages", &question("architect")).await;
    let second = post(&api, "/v1/messages", &question("developer")).await;

    assert!(first.text.contains("input_json_delta") && first.text.contains("\"stop_reason\":\"tool_use\""));
    assert!(plan.text.contains("The plan.") && plan.text.contains("event: message_stop"));
    assert!(second.text.contains("Done.") && second.text.contains("\"id\":\"msg_developer1_1\""));
    assert_eq!(api.requests_of("developer").len(), 2);
    api.assert_clean();
}

#[tokio::test]
async fn a_script_that_is_not_played_to_its_end_is_a_complaint() {
    let api = ScriptedApi::start(Script::new().agent("qa", |s| s.says("One.").says("Two.")));
    post(&api, "/v1/messages", &question("qa")).await;

    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| api.assert_clean()));

    assert!(judged.is_err(), "one of two steps was asked for");
}

#[tokio::test]
async fn a_call_that_nobody_expected_is_refused_and_a_complaint() {
    let api = ScriptedApi::start(Script::new().agent("qa", |s| s.says("One.")));
    post(&api, "/v1/messages", &question("qa")).await;

    let answer = post(&api, "/v1/messages", &question("qa")).await;

    assert!(answer.text.starts_with("HTTP/1.1 400"), "{}", answer.text);
    assert!(
        api.violations()[0].contains("nothing left for `qa`"),
        "{:?}",
        api.violations()
    );
    api.ignore_complaints();
}

#[tokio::test]
async fn requests_that_no_service_takes_are_refused() {
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "x"});
    let mut no_limit = question("developer");
    no_limit["max_tokens"] = json!(0);
    let mut bad_tool = question("developer");
    bad_tool["tools"] = json!([{"name": "read file"}]);
    let mut no_model = question("developer");
    no_model["model"] = Value::Null;
    let mut from_assistant = question("developer");
    from_assistant["messages"] = json!([{"role": "assistant", "content": "Hi."}]);
    let mut empty_text = question("developer");
    empty_text["messages"] = json!([{"role": "user", "content": [{"type": "text", "text": ""}]}]);
    let text_first = json!([{"type": "text", "text": "Here:"}, result("t1")]);
    for (body, complaint) in [
        (no_limit, "`max_tokens` is not a positive number"),
        (bad_tool, "tool name `read file` is not allowed"),
        (no_model, "`model` is missing"),
        (from_assistant, "does not begin with the user"),
        (empty_text, "has an empty text block"),
        (after_a_call(&json!("no result")), "tool call `t1` has no result"),
        (
            after_a_call(&json!([result("t2")])),
            "tool result `t2` answers no open tool call",
        ),
        (
            after_a_call(&json!([result("t1"), result("t1")])),
            "tool result `t1` answers no open tool call",
        ),
        (after_a_call(&text_first), "has a tool result after other content"),
    ] {
        let api = ScriptedApi::start(Script::new().anyone(|s| s.says("Never.").may_end_early()));

        let answer = post(&api, "/v1/messages", &body).await;

        assert!(
            answer.text.starts_with("HTTP/1.1 400"),
            "{complaint}: {}",
            answer.text
        );
        let violations = api.violations().join("\n");
        assert!(
            violations.contains(complaint),
            "{complaint} is not in: {violations}"
        );
        api.ignore_complaints();
    }
}

#[tokio::test]
async fn a_right_tool_result_passes() {
    let api = ScriptedApi::start(Script::new().agent("developer", |s| s.says("Thanks.")));
    let results =
        json!([{"type": "tool_result", "tool_use_id": "t1", "content": "x"}, {"type": "text", "text": "go"}]);

    let answer = post(&api, "/v1/messages", &after_a_call(&results)).await;

    assert!(answer.text.contains("\"text\":\"Thanks.\"") && answer.text.contains("\"type\":\"message\""));
    api.assert_clean();
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_version_are_refused() {
    let api = ScriptedApi::start(Script::new().anyone(|s| s.says("Never.").may_end_early()));

    let wrong = post_with(&api, "/v1/messages", "x-api-key: other\r\n", &question("qa")).await;
    let key_only = format!("authorization: Bearer {DUMMY_KEY}\r\n");
    let versionless = post_with(&api, "/v1/messages", &key_only, &question("qa")).await;

    assert!(wrong.text.starts_with("HTTP/1.1 401"), "{}", wrong.text);
    assert!(
        versionless.text.starts_with("HTTP/1.1 400"),
        "{}",
        versionless.text
    );
    assert_eq!(api.violations().len(), 2);
    api.ignore_complaints();
}

#[tokio::test]
async fn the_network_dies_in_every_way_that_a_script_names() {
    let reply = || Reply::text("A text that is long enough for several pieces of a stream.");
    let api = ScriptedApi::start(Script::new().anyone(|s| {
        s.fails(Fault::CutMidStream(reply()))
            .fails(Fault::ResetBeforeFirstByte)
            .fails(Fault::status(529, "busy").header("retry-after", "7"))
            .fails(Fault::MalformedSse)
            .fails(Fault::InBandError {
                kind: "overloaded_error".to_owned(),
                message: "busy".to_owned(),
            })
            .fails(Fault::EmptyStream)
            .fails(Fault::Html)
    }));

    let cut = post(&api, "/v1/messages", &question("qa")).await;
    assert!(
        cut.broken && cut.text.contains("message_start") && !cut.text.contains("message_stop"),
        "{}",
        cut.text
    );
    let reset = post(&api, "/v1/messages", &question("qa")).await;
    assert!(reset.broken && reset.text.is_empty(), "{}", reset.text);
    let busy = post(&api, "/v1/messages", &question("qa")).await;
    assert!(
        busy.text.starts_with("HTTP/1.1 529") && busy.text.contains("retry-after: 7"),
        "{}",
        busy.text
    );
    assert!(busy.text.contains("overloaded_error"));
    let malformed = post(&api, "/v1/messages", &question("qa")).await;
    assert!(
        !malformed.broken && malformed.text.contains("\"mess\n"),
        "{}",
        malformed.text
    );
    let in_band = post(&api, "/v1/messages", &question("qa")).await;
    assert!(
        in_band.text.starts_with("HTTP/1.1 200") && in_band.text.contains("event: error"),
        "{}",
        in_band.text
    );
    let empty = post(&api, "/v1/messages", &question("qa")).await;
    assert!(!empty.broken && !empty.text.contains("event:"), "{}", empty.text);
    let page = post(&api, "/v1/messages", &question("qa")).await;
    assert!(page.text.contains("text/html"), "{}", page.text);
    api.assert_clean();
}

#[tokio::test]
async fn a_stalled_and_an_unanswered_call_stay_open() {
    for fault in [Fault::Stall(Reply::text("Half of it.")), Fault::NeverAnswers] {
        let api = ScriptedApi::start(Script::new().anyone(|s| s.fails(fault)));

        let answer = tokio::time::timeout(SHORT, post(&api, "/v1/messages", &question("qa"))).await;

        assert!(answer.is_err(), "it ended");
        api.assert_clean();
    }
}

#[tokio::test]
async fn a_held_call_answers_when_the_test_lets_it() {
    let hold = Hold::new();
    let api = ScriptedApi::start(Script::new().anyone(|s| s.replies(Reply::text("Now.").held_by(&hold))));
    let body = question("qa");
    let call = post(&api, "/v1/messages", &body);
    tokio::pin!(call);

    tokio::select! {
        () = hold.reached() => {}
        _ = &mut call => unreachable!("it answered before it was let"),
    }
    hold.release();

    assert!(call.await.text.contains("Now."));
    api.wait_for_calls(1, LIMIT).await;
    api.assert_clean();
}

#[tokio::test]
async fn both_openai_dialects_stream_text_calls_and_usage() {
    let reply = || {
        Reply::text("Grüße")
            .and_calls("read", json!({"path": "a"}))
            .using(Usage {
                input: 10,
                output: 5,
                cache_read: 7,
                cache_write: 0,
            })
            .in_pieces_of(3)
    };
    let api = ScriptedApi::start(Script::new().agent("qa", |s| s.replies(reply()).replies(reply())));
    let bearer = format!("authorization: Bearer {DUMMY_KEY}\r\n");

    let chat = json!({
        "model": "gpt-5", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "system", "content": "clode-agent: qa"}, {"role": "user", "content": "Go."}],
    });
    let chat = without_chunks(&post_with(&api, "/v1/chat/completions", &bearer, &chat).await.text);
    let responses = json!({
        "model": "gpt-5", "stream": true, "instructions": "clode-agent: qa",
        "input": [{"role": "user", "content": "Go."}],
    });
    let responses = without_chunks(&post_with(&api, "/v1/responses", &bearer, &responses).await.text);

    assert!(
        chat.contains("Grüße") && chat.ends_with("data: [DONE]\n\n"),
        "{chat}"
    );
    assert!(
        chat.contains("\"prompt_tokens\":17") && chat.contains("\"finish_reason\":\"tool_calls\""),
        "{chat}"
    );
    assert!(
        responses.contains("event: response.function_call_arguments.done"),
        "{responses}"
    );
    assert!(responses.contains("event: response.completed") && responses.contains("\"cached_tokens\":7"));
    api.assert_clean();
}

#[tokio::test]
async fn openai_conversations_are_checked_too() {
    let api = ScriptedApi::start(Script::new().anyone(|s| s.says("Never.").may_end_early()));
    let bearer = format!("authorization: Bearer {DUMMY_KEY}\r\n");
    let open_call = json!({"model": "gpt-5", "input": [
        {"role": "user", "content": "Go."},
        {"type": "function_call", "call_id": "c1", "name": "read", "arguments": "{}"},
    ]});
    let unknown = json!({"model": "gpt-5", "messages": [
        {"role": "user", "content": "Go."}, {"role": "tool", "tool_call_id": "c9", "content": "x"},
    ]});

    post_with(&api, "/v1/responses", &bearer, &open_call).await;
    post_with(&api, "/v1/chat/completions", &bearer, &unknown).await;

    let violations = api.violations();
    assert!(
        violations[0].contains("tool call `c1` has no result"),
        "{violations:?}"
    );
    assert!(
        violations[1].contains("tool result `c9` answers no open tool call"),
        "{violations:?}"
    );
    api.ignore_complaints();
}

#[tokio::test]
async fn the_reason_to_stop_can_be_scripted() {
    let api = ScriptedApi::start(Script::new().agent("qa", |s| {
        s.replies(Reply::text("Cut").stopping(Stop::MaxTokens))
            .and_so_on()
    }));

    for _ in 0..3 {
        let answer = post(&api, "/v1/messages", &question("qa")).await;
        assert!(
            answer.text.contains("\"stop_reason\":\"max_tokens\""),
            "{}",
            answer.text
        );
    }
    api.assert_clean();
}

/// The body of a chunked answer in one piece.
fn without_chunks(answer: &str) -> String {
    let Some((_, mut rest)) = answer.split_once("\r\n\r\n") else {
        return String::new();
    };
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = after.get(..size) else {
            return format!("{body}<cut inside a character>");
        };
        if size == 0 {
            break;
        }
        body.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}
