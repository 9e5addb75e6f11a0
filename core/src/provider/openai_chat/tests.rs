use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::provider::testing::{self, Reply, Server, judge_chat, request, with_tool_results};
use crate::provider::{
    CallFailure, Content, Delta, FailureClass, Message, ProviderKind, Request, Response, Sent, Stop, Usage,
};

fn chunk(delta: &Value) -> Value {
    json!({"id": "chat_1", "model": "local-7b", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn end(reason: &str) -> Vec<Value> {
    vec![
        json!({"choices": [{"delta": {}, "finish_reason": reason}], "usage": null}),
        json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}}),
    ]
}

fn answer(pieces: &[Value], reason: &str) -> Vec<String> {
    let mut all: Vec<Value> = pieces.iter().map(chunk).collect();
    all.extend(end(reason));
    let mut writes = testing::events(&all);
    writes.insert(0, ": a comment to keep the line alive\n\n".to_owned());
    writes.push("data: [DONE]\n\n".to_owned());
    writes
}

async fn call(server: &Server, request: &Request) -> Result<(Response, Vec<Delta>), CallFailure> {
    let provider = testing::provider(ProviderKind::OpenAiCompatible, server);
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

async fn once(writes: Vec<String>) -> Result<Response, CallFailure> {
    let server = Server::start(judge_chat, vec![Reply::Stream(writes)]).await;
    let result = call(&server, &request("hello"))
        .await
        .map(|(response, _)| response);
    assert_eq!(server.requests().len(), 1);
    result
}

#[tokio::test]
async fn an_answer_comes_with_the_usage_of_its_last_chunk() {
    let response = once(answer(
        &[
            json!({"role": "assistant", "content": ""}),
            json!({"content": "Grü"}),
            json!({"content": "ße"}),
        ],
        "stop",
    ))
    .await
    .expect("answers");
    assert_eq!(
        (response.text().as_str(), response.stop),
        ("Grüße", Stop::EndTurn)
    );
    assert_eq!(
        response.usage,
        Usage {
            input_tokens: 40,
            output_tokens: 7,
            cache_read_tokens: 60,
            cache_write_tokens: 0
        }
    );
}

#[tokio::test]
async fn tool_calls_are_put_together_from_their_pieces_and_make_the_round_trip() {
    let pieces = [
        json!({"content": "Let me look."}),
        json!({"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "read_file", "arguments": ""}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"path\":"}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"a.rs\"}"}}]}),
        json!({"tool_calls": [{"index": 1, "id": "call_b", "function": {"name": "list_files", "arguments": "{}"}}]}),
    ];
    let replies = vec![
        Reply::Stream(answer(&pieces, "tool_calls")),
        Reply::Stream(answer(&[json!({"content": "done"})], "stop")),
    ];
    let server = Server::start(judge_chat, replies).await;
    let ask = request("read it");
    let (response, _) = call(&server, &ask).await.expect("answers");
    assert_eq!(response.stop, Stop::ToolUse);
    let read = Content::ToolUse {
        id: "call_a".to_owned(),
        name: "read_file".to_owned(),
        input: json!({"path": "a.rs"}),
    };
    assert_eq!(response.content.get(1), Some(&read));
    let mut next = with_tool_results(ask, response.content, "text");
    next.messages.push(Message::user("go on"));
    assert_eq!(call(&server, &next).await.expect("answers").0.text(), "done");
}

#[tokio::test]
async fn servers_that_leave_things_out_are_understood() {
    let no_ids = [
        json!({"tool_calls": [{"id": "", "function": {"name": "list_files", "arguments": {"path": "src"}}}]}),
        json!({"unknown": 1, "reasoning_content": "hm"}),
    ];
    let mut writes = testing::events(&no_ids.iter().map(chunk).collect::<Vec<_>>());
    writes.extend(testing::events(&[
        json!({"choices": [{"delta": null, "finish_reason": "stop"}]}),
    ]));
    let response = once(writes)
        .await
        .expect("no [DONE], no usage, no index, no id, arguments as an object");
    assert_eq!(response.stop, Stop::ToolUse);
    assert_eq!(
        response.content,
        [Content::ToolUse {
            id: "call_0".to_owned(),
            name: "list_files".to_owned(),
            input: json!({"path": "src"})
        }]
    );
    assert!(response.usage.is_empty());
}

#[tokio::test]
async fn an_end_without_a_reason_is_a_truncation_even_with_done() {
    let mut done = testing::events(&[chunk(&json!({"content": "half an answer"}))]);
    for with_done in [false, true] {
        if with_done {
            done.push("data: [DONE]\n\n".to_owned());
        }
        let failure = once(done.clone()).await.expect_err("truncated");
        assert_eq!(
            (failure.class, failure.sent),
            (FailureClass::Truncated, Sent::Started)
        );
        assert!(failure.usage_seen.output_tokens > 0);
    }
}

#[tokio::test]
async fn an_error_in_the_stream_is_an_error_in_any_shape() {
    let broken = |error: Value| testing::events(&[chunk(&json!({"content": "a"})), json!({"error": error})]);
    let failure = once(broken(json!({"code": 429, "message": "slow down"})))
        .await
        .expect_err("throttled");
    assert_eq!(failure.class, FailureClass::Throttled { retry_after: None });
    let failure = once(broken(json!("out of memory"))).await.expect_err("failed");
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(failure.error.message.contains("out of memory"));
}

#[tokio::test]
async fn refusals_and_limits_are_told_apart() {
    for (reason, stop) in [
        ("length", Stop::MaxTokens),
        ("content_filter", Stop::Refusal),
        ("eos", Stop::EndTurn),
    ] {
        assert_eq!(
            once(answer(&[json!({"content": "a"})], reason))
                .await
                .expect("answers")
                .stop,
            stop
        );
    }
    let refused = once(answer(&[json!({"refusal": "I will not"})], "stop"))
        .await
        .expect("answers");
    assert_eq!(
        (refused.stop, refused.text().as_str()),
        (Stop::Refusal, "I will not")
    );
}
