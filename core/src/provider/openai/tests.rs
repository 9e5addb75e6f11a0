use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::provider::testing::{self, Reply, Server, judge_responses, request, with_tool_results};
use crate::provider::{
    CallFailure, Content, Delta, FailureClass, Message, ProviderKind, Request, Response, Sent, Stop, Usage,
};

fn usage() -> Value {
    json!({"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 800, "x": 1}, "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 1030})
}

fn completed(output: &Value) -> Value {
    json!({"type": "response.completed", "response": {"id": "resp_1", "model": "model-1-x", "status": "completed", "output": output, "usage": usage()}})
}

fn message(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn answer(text: &str) -> Vec<String> {
    testing::events(&[
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_item.added", "item": {"type": "message"}}),
        json!({"type": "response.output_text.delta", "delta": text}),
        json!({"type": "response.an_event_of_next_year"}),
        json!({"type": "response.output_item.done", "item": message(text)}),
        completed(&json!([message(text)])),
    ])
}

async fn call(server: &Server, request: &Request) -> Result<(Response, Vec<Delta>), CallFailure> {
    let provider = testing::provider(ProviderKind::OpenAi, server);
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
    let server = Server::start(judge_responses, vec![reply]).await;
    let failure = call(&server, &request("hello")).await.expect_err("fails");
    assert_eq!(server.requests().len(), 1);
    failure
}

#[tokio::test]
async fn an_answer_comes_with_disjoint_usage() {
    let server = Server::start(judge_responses, vec![Reply::Stream(answer("Grüße"))]).await;
    let (response, deltas) = call(&server, &request("hello")).await.expect("answers");
    assert_eq!(
        (response.text().as_str(), response.stop),
        ("Grüße", Stop::EndTurn)
    );
    assert_eq!(
        response.usage,
        Usage {
            input_tokens: 200,
            output_tokens: 30,
            cache_read_tokens: 800,
            cache_write_tokens: 0
        }
    );
    assert_eq!(deltas, [Delta::Text("Grüße".to_owned())]);
    let body = &server.requests()[0];
    assert_eq!(body["instructions"], "clode-agent: developer\n\nStable rules.");
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
}

#[tokio::test]
async fn function_calls_make_the_round_trip_with_their_reasoning() {
    let reasoning =
        json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "c2VjcmV0", "summary": []});
    let function = json!({"type": "function_call", "call_id": "call_1", "name": "read_file", "arguments": "{\"path\":\"a.rs\"}"});
    let first = testing::events(&[
        json!({"type": "response.output_item.added", "item": {"type": "function_call", "call_id": "call_1", "name": "read_file"}}),
        json!({"type": "response.function_call_arguments.delta", "delta": "{\"path\":\"a.rs\"}"}),
        json!({"type": "response.output_item.done", "item": reasoning}),
        json!({"type": "response.output_item.done", "item": function}),
        completed(&json!([])),
    ]);
    let server = Server::start(
        judge_responses,
        vec![Reply::Stream(first), Reply::Stream(answer("done"))],
    )
    .await;
    let ask = request("read it");
    let (response, deltas) = call(&server, &ask).await.expect("answers");
    assert_eq!(response.stop, Stop::ToolUse);
    assert_eq!(
        deltas,
        [Delta::ToolUse {
            id: "call_1".to_owned(),
            name: "read_file".to_owned()
        }]
    );
    let mut next = with_tool_results(ask, response.content, "text");
    next.messages.push(Message::assistant(vec![Content::Text(
        "earlier words".to_owned(),
    )]));
    next.messages.push(Message::user("go on"));
    let (response, _) = call(&server, &next).await.expect("answers");
    assert_eq!(response.text(), "done");
    assert_eq!(
        server.requests()[1]["input"][1],
        reasoning,
        "reasoning is echoed verbatim"
    );
}

#[tokio::test]
async fn an_incomplete_answer_says_why() {
    let incomplete = |reason: &str| {
        testing::events(&[
            json!({"type": "response.incomplete", "response": {"model": "m", "usage": usage(), "incomplete_details": {"reason": reason},
            "output": [message("half"), {"type": "function_call", "call_id": "c", "name": "x", "arguments": "{\"a"}]}}),
        ])
    };
    for (reason, stop) in [
        ("max_output_tokens", Stop::MaxTokens),
        ("content_filter", Stop::Refusal),
    ] {
        let server = Server::start(judge_responses, vec![Reply::Stream(incomplete(reason))]).await;
        let (response, _) = call(&server, &request("hello")).await.expect("answers");
        assert_eq!(
            (response.stop, response.content.len()),
            (stop, 1),
            "the cut call is left out"
        );
    }
}

#[tokio::test]
async fn failures_keep_their_class_wherever_they_come() {
    let failed = |code: &str| json!({"type": "response.failed", "response": {"error": {"code": code, "message": "no"}, "usage": usage()}});
    let failure = failure_of(Reply::Stream(testing::events(&[failed("rate_limit_exceeded")]))).await;
    assert_eq!(
        (failure.class, failure.sent),
        (FailureClass::Throttled { retry_after: None }, Sent::Started)
    );
    assert_eq!(failure.usage_seen.output_tokens, 30);
    let failure = failure_of(Reply::Stream(testing::events(&[failed("server_error")]))).await;
    assert_eq!(failure.class, FailureClass::Transient);
    let failure = failure_of(Reply::Stream(testing::events(&[
        json!({"type": "error", "code": "server_error", "message": "x"}),
    ])))
    .await;
    assert_eq!(failure.class, FailureClass::Transient);
    let cut = testing::events(&[json!({"type": "response.output_text.delta", "delta": "half an answer"})]);
    for reply in [Reply::Cut(cut.clone()), Reply::Stream(cut)] {
        let failure = failure_of(reply).await;
        assert_eq!(failure.class, FailureClass::Truncated);
        assert!(failure.usage_seen.output_tokens > 0);
    }
    let body = json!({"error": {"code": "context_length_exceeded", "type": "invalid_request_error", "message": "too long"}}).to_string();
    assert_eq!(
        failure_of(Reply::Status(400, vec![], body)).await.class,
        FailureClass::ContextOverflow
    );
    let body = json!({"error": {"code": "insufficient_quota", "message": "no credit"}}).to_string();
    assert_eq!(
        failure_of(Reply::Status(429, vec![], body)).await.class,
        FailureClass::Billing
    );
    let failure = failure_of(Reply::Status(401, vec![], String::new())).await;
    assert_eq!(
        failure.error.first_hint(),
        Some("key rejected: check OPENAI_API_KEY")
    );
}
