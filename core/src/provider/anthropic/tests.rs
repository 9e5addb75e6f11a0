use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::provider::http::Http;
use crate::provider::testing::{self, Reply, Server, judge_messages, request, with_tool_results};
use crate::provider::{
    CallFailure, Content, Delta, FailureClass, Message, ProviderKind, Request, Response, Role, Sent, Stop,
    Usage,
};

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "model": "model-1-dated", "role": "assistant", "new_field": {},
        "stop_reason": null, "usage": {"input_tokens": 12, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 40, "output_tokens": 1, "service_tier": "x"}}})
}

fn text_block(text: &str) -> Vec<Value> {
    vec![
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "invented_delta", "x": 1}}),
        json!({"type": "content_block_stop", "index": 0}),
    ]
}

fn end(reason: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_details": null}, "usage": {"output_tokens": 25}}),
        json!({"type": "an_event_of_next_year", "data": [1]}),
        json!({"type": "message_stop"}),
    ]
}

fn answer(text: &str) -> Vec<String> {
    let mut all = vec![start()];
    all.extend(text_block(text));
    all.extend(end("end_turn"));
    testing::events(&all)
}

async fn call(server: &Server, request: &Request) -> Result<(Response, Vec<Delta>), CallFailure> {
    let provider = testing::provider(ProviderKind::Anthropic, server);
    let mut deltas = Vec::new();
    let response = provider
        .call(
            request,
            &mut |delta| deltas.push(delta),
            &CancellationToken::new(),
        )
        .await?;
    Ok((response, deltas))
}

async fn failure_of(reply: Reply) -> CallFailure {
    let server = Server::start(judge_messages, vec![reply]).await;
    let failure = call(&server, &request("hello")).await.expect_err("fails");
    assert_eq!(server.requests().len(), 1, "a provider sends once");
    assert!(!format!("{failure:?}").contains(testing::KEY), "{failure:?}");
    failure
}

#[tokio::test]
async fn an_answer_comes_with_its_text_its_usage_and_the_cache_marks_were_set() {
    let server = Server::start(judge_messages, vec![Reply::Stream(answer("Grüße"))]).await;
    let (response, deltas) = call(&server, &request("hello")).await.expect("answers");
    assert_eq!(response.text(), "Grüße");
    assert_eq!(response.stop, Stop::EndTurn);
    assert_eq!(response.model, "model-1-dated");
    assert_eq!(response.request_id.as_deref(), Some("req_1"));
    let expected = Usage {
        input_tokens: 12,
        output_tokens: 25,
        cache_read_tokens: 900,
        cache_write_tokens: 40,
    };
    assert_eq!(
        response.usage, expected,
        "cumulative usage replaces, it does not add"
    );
    assert_eq!(deltas, [Delta::Text("Grüße".to_owned())]);
    let body = &server.requests()[0];
    assert_eq!(body["system"][0].get("cache_control"), None);
    assert_eq!(body["system"][1]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(
        body["messages"][0]["content"][0]["cache_control"],
        json!({"type": "ephemeral"})
    );
}

#[tokio::test]
async fn tools_make_the_round_trip_and_signed_reasoning_is_echoed_verbatim() {
    let mut first = vec![start()];
    first.extend([
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"path\": \"src/"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "lib.rs\"}"}}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_2", "name": "list_files", "input": {}}}),
    ]);
    first.extend(end("tool_use"));
    let replies = vec![
        Reply::Stream(testing::events(&first)),
        Reply::Stream(answer("done")),
    ];
    let server = Server::start(judge_messages, replies).await;
    let ask = request("read it");
    let (response, deltas) = call(&server, &ask).await.expect("answers");
    assert_eq!(response.stop, Stop::ToolUse);
    assert!(deltas.contains(&Delta::ToolUse {
        id: "toolu_1".to_owned(),
        name: "read_file".to_owned()
    }));
    let read = Content::ToolUse {
        id: "toolu_1".to_owned(),
        name: "read_file".to_owned(),
        input: json!({"path": "src/lib.rs"}),
    };
    assert!(response.content.contains(&read));

    let mut next = with_tool_results(ask, response.content, "   1\tpub fn a() {}");
    next.messages.push(Message::user("and be quick"));
    let (response, _) = call(&server, &next).await.expect("answers");
    assert_eq!(response.text(), "done");
    let echoed = &server.requests()[1]["messages"][1]["content"][0];
    assert_eq!(
        echoed,
        &json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"})
    );
}

#[tokio::test]
async fn what_another_provider_signed_is_left_out() {
    let server = Server::start(judge_messages, vec![Reply::Stream(answer("ok"))]).await;
    let mut ask = request("one");
    let foreign = Content::Opaque {
        kind: "openai".to_owned(),
        value: json!({"type": "reasoning"}),
    };
    ask.messages.push(Message {
        role: Role::Assistant,
        content: vec![
            foreign,
            Content::Text("two".to_owned()),
            Content::Text(" ".to_owned()),
        ],
    });
    ask.messages.push(Message::user("three"));
    call(&server, &ask).await.expect("answers");
    assert_eq!(
        server.requests()[0]["messages"][1]["content"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_tool_call_that_the_token_limit_cut_is_left_out() {
    let mut cut = vec![start()];
    cut.extend(text_block("first"));
    cut.extend([
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "write_file"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"path\": \"a"}}),
    ]);
    cut.extend(end("max_tokens"));
    let server = Server::start(judge_messages, vec![Reply::Stream(testing::events(&cut))]).await;
    let (response, _) = call(&server, &request("write")).await.expect("answers");
    assert_eq!(response.stop, Stop::MaxTokens);
    assert_eq!(response.content, [Content::Text("first".to_owned())]);
}

#[tokio::test]
async fn a_rejected_key_names_the_variable_and_shows_no_key() {
    let body = json!({"type": "error", "error": {"type": "authentication_error", "message": format!("invalid x-api-key {}", testing::KEY)}});
    let failure = failure_of(Reply::Status(401, vec![], body.to_string())).await;
    assert_eq!(
        (failure.class, failure.sent, failure.status),
        (FailureClass::Auth, Sent::Refused, Some(401))
    );
    assert_eq!(failure.error.code, "keyRejected");
    assert_eq!(
        failure.error.first_hint(),
        Some("key rejected: check ANTHROPIC_API_KEY")
    );
}

#[tokio::test]
async fn too_many_requests_say_how_long_to_wait_where_the_provider_does() {
    let body = json!({"error": {"type": "rate_limit_error", "message": "slow down"}}).to_string();
    let failure = failure_of(Reply::Status(
        429,
        vec![("retry-after", "3".to_owned())],
        body.clone(),
    ))
    .await;
    assert_eq!(
        failure.class,
        FailureClass::Throttled {
            retry_after: Some(Duration::from_secs(3))
        }
    );
    let failure = failure_of(Reply::Status(429, vec![], body)).await;
    assert_eq!(failure.class, FailureClass::Throttled { retry_after: None });
    let failure = failure_of(Reply::Status(529, vec![], String::new())).await;
    assert_eq!(failure.class, FailureClass::Throttled { retry_after: None });
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(judge_messages, vec![Reply::Stream(answer("stolen"))]).await;
    let failure = failure_of(Reply::Status(
        307,
        vec![("location", elsewhere.url.clone())],
        String::new(),
    ))
    .await;
    assert_eq!(failure.error.code, "redirectRefused");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_stream_without_its_end_is_never_a_success_whether_it_breaks_or_closes() {
    let mut half = vec![start()];
    half.extend(text_block("a few words of an answer that"));
    for reply in [
        Reply::Cut(testing::events(&half)),
        Reply::Stream(testing::events(&half)),
    ] {
        let failure = failure_of(reply).await;
        assert_eq!(
            (failure.class, failure.sent),
            (FailureClass::Truncated, Sent::Started)
        );
        assert_eq!(failure.usage_seen.input_total(), 952, "what was seen is charged");
        assert!(
            failure.usage_seen.output_tokens >= 8,
            "streamed output counts: {:?}",
            failure.usage_seen
        );
    }
}

#[tokio::test]
async fn an_error_inside_the_stream_is_an_error_of_its_class() {
    let mut broken = vec![start()];
    broken.extend(text_block("well"));
    broken.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
    let failure = failure_of(Reply::Stream(testing::events(&broken))).await;
    assert_eq!(
        (failure.class, failure.sent),
        (FailureClass::Throttled { retry_after: None }, Sent::Started)
    );
    assert_eq!(failure.usage_seen.input_total(), 952);
}

#[tokio::test]
async fn an_event_that_is_no_json_is_a_malformed_answer() {
    let failure = failure_of(Reply::Stream(vec![
        "data: {\"type\": \"message_start\n\n".to_owned(),
    ]))
    .await;
    assert_eq!(
        (failure.class, failure.error.code.as_ref()),
        (FailureClass::Transient, "malformedAnswer")
    );
}

#[tokio::test]
async fn every_phase_has_its_deadline() {
    let mut quiet = vec![start()];
    quiet.extend(text_block("one word"));
    let cases = [
        (Reply::Never, Sent::Unknown, "response headers"),
        (
            Reply::Stall(testing::events(&[start()])),
            Sent::Started,
            "wrote nothing",
        ),
        (
            Reply::Stall(testing::events(&quiet)),
            Sent::Started,
            "went silent",
        ),
    ];
    for (reply, sent, words) in cases {
        let server = Server::start(judge_messages, vec![reply]).await;
        let mut settings = testing::settings(ProviderKind::Anthropic, &server.url);
        settings.deadlines.headers = Duration::from_millis(150);
        settings.deadlines.first_token = Duration::from_millis(300);
        settings.deadlines.idle = Duration::from_millis(150);
        let provider = crate::provider::build(&settings, &Http::new().expect("client")).expect("provider");
        let begun = Instant::now();
        let failure = provider
            .call(&request("hello"), &mut |_| {}, &CancellationToken::new())
            .await
            .expect_err("too slow");
        assert_eq!(
            (failure.class, failure.sent, failure.error.code.as_ref()),
            (FailureClass::Transient, sent, "providerTimeout")
        );
        assert!(failure.error.message.contains(words), "{}", failure.error.message);
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{words}: {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn a_cancelled_call_ends_at_once_and_reports_what_was_seen() {
    let mut begun = vec![start()];
    begun.extend(text_block("on it"));
    let server = Server::start(judge_messages, vec![Reply::Stall(testing::events(&begun))]).await;
    let provider = testing::provider(ProviderKind::Anthropic, &server);
    let cancel = CancellationToken::new();
    let on_text = cancel.clone();
    let failure = provider
        .call(&request("hello"), &mut |_| on_text.cancel(), &cancel)
        .await
        .expect_err("cancelled");
    assert_eq!(
        (failure.class, failure.sent),
        (FailureClass::Cancelled, Sent::Started)
    );
    assert_eq!(failure.usage_seen.input_total(), 952);
}

#[tokio::test]
async fn a_port_where_nobody_listens_means_that_nothing_was_sent() {
    let server = Server::start(judge_messages, vec![]).await;
    let url = server.url.clone();
    drop(server);
    let mut settings = testing::settings(ProviderKind::Anthropic, &url);
    settings.base_url = Some("http://127.0.0.1:1".to_owned());
    let provider = crate::provider::build(&settings, &Http::new().expect("client")).expect("provider");
    let failure = provider
        .call(&request("hello"), &mut |_| {}, &CancellationToken::new())
        .await
        .expect_err("refused");
    assert_eq!(
        (failure.sent, failure.error.code.as_ref()),
        (Sent::Nothing, "providerUnreachable")
    );
}

#[tokio::test]
async fn json_where_a_stream_was_asked_for_is_a_failure_with_the_class_of_its_error() {
    let json = |body: Value| {
        Reply::Status(
            200,
            vec![("content-type", "application/json".to_owned())],
            body.to_string(),
        )
    };
    let failure = failure_of(json(
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
    ))
    .await;
    assert_eq!(
        (failure.class, failure.sent),
        (FailureClass::Throttled { retry_after: None }, Sent::Started)
    );
    let failure = failure_of(json(json!({"content": [{"type": "text", "text": "whole"}]}))).await;
    assert_eq!(
        (failure.class, failure.sent),
        (FailureClass::Invalid, Sent::Started),
        "never a success"
    );
}

#[tokio::test]
async fn null_where_others_leave_out_is_no_error() {
    let frames = [
        json!({"type": "message_start", "message": {"id": null, "model": null, "usage": null}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "fine"}}),
        json!({"type": "message_delta", "delta": null, "usage": null}),
        json!({"type": "message_stop"}),
    ];
    let server = Server::start(judge_messages, vec![Reply::Stream(testing::events(&frames))]).await;
    let (response, _) = call(&server, &request("hello")).await.expect("answers");
    assert_eq!(
        (response.text().as_str(), response.usage.is_empty()),
        ("fine", true)
    );
}
