//! A provider on the loopback: real HTTP, scripted answers, and a judge that looks at every request.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use futures::stream;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::http::Http;
use super::{
    Content, Message, Provider, ProviderKind, ProviderSettings, Request, Role, SystemBlock, ToolSpec,
};

pub(crate) const KEY: &str = "test-key-0123456789";

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A stream that ends well; each text is one write.
    Stream(Vec<String>),
    /// A stream whose connection breaks after these writes.
    Cut(Vec<String>),
    /// A stream that goes silent after these writes.
    Stall(Vec<String>),
    /// A plain answer.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Nothing, ever.
    Never,
}

type Judge = fn(&str, &HeaderMap, &Value) -> Result<(), String>;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    judge: Judge,
    replies: Mutex<VecDeque<Reply>>,
    last: Mutex<Option<Reply>>,
    requests: Mutex<Vec<Value>>,
    complaints: Mutex<Vec<String>>,
}

impl Server {
    /// Answers with these replies in order; the last one again and again.
    pub(crate) async fn start(judge: Judge, replies: Vec<Reply>) -> Self {
        let shared = Arc::new(Shared {
            judge,
            replies: Mutex::new(replies.into()),
            last: Mutex::default(),
            requests: Mutex::default(),
            complaints: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { url, shared, task }
    }

    /// The bodies that came, after making sure that each was in order.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let complaints = self.shared.complaints.lock().expect("lock").clone();
        assert!(complaints.is_empty(), "the judge complains: {complaints:#?}");
        self.shared.requests.lock().expect("lock").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if let Err(complaint) = (shared.judge)(uri.path(), &headers, &body) {
        shared.complaints.lock().expect("lock").push(complaint);
    }
    shared.requests.lock().expect("lock").push(body);
    let next = shared.replies.lock().expect("lock").pop_front();
    let reply = {
        let mut last = shared.last.lock().expect("lock");
        if next.is_some() {
            *last = next;
        }
        last.clone().expect("a reply in the script")
    };
    let event_stream = |body: Body| {
        Response::builder()
            .header("content-type", "text/event-stream")
            .header("request-id", "req_1")
            .body(body)
            .expect("response")
    };
    let pieces = |writes: Vec<String>| {
        writes
            .into_iter()
            .map(|write| Ok::<_, std::io::Error>(Bytes::from(write)))
    };
    match reply {
        Reply::Stream(writes) => event_stream(Body::from_stream(stream::iter(pieces(writes)))),
        Reply::Cut(writes) => {
            // The server drops what it has not flushed when a body fails, so the failure comes a moment later.
            let cut = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("cut"))
            });
            event_stream(Body::from_stream(futures::StreamExt::chain(
                stream::iter(pieces(writes)),
                cut,
            )))
        }
        Reply::Stall(writes) => event_stream(Body::from_stream(futures::StreamExt::chain(
            stream::iter(pieces(writes)),
            stream::pending(),
        ))),
        Reply::Status(status, headers, body) => {
            let mut builder = Response::builder().status(status);
            for (name, value) in headers {
                builder = builder.header(name, value);
            }
            builder.body(Body::from(body)).expect("response")
        }
        Reply::Never => std::future::pending().await,
    }
}

/// Events as the wire writes them, each split in two writes to exercise the parser.
pub(crate) fn events(datas: &[Value]) -> Vec<String> {
    let mut writes = Vec::new();
    for data in datas {
        let name = data
            .get("type")
            .and_then(Value::as_str)
            .map(|name| format!("event: {name}\n"))
            .unwrap_or_default();
        let text = format!("{name}data: {data}\n\n");
        let middle = text.len() / 2;
        let middle = (middle..text.len())
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        let (head, tail) = text.split_at(middle);
        writes.extend([head.to_owned(), tail.to_owned()]);
    }
    writes
}

/// A provider of this kind that talks to the server, with short limits.
pub(crate) fn provider(kind: ProviderKind, server: &Server) -> Arc<dyn Provider> {
    super::build(&settings(kind, &server.url), &Http::new().expect("client")).expect("provider")
}

pub(crate) fn settings(kind: ProviderKind, url: &str) -> ProviderSettings {
    let mut settings = ProviderSettings::new(kind.as_str(), kind);
    settings.base_url = Some(url.to_owned());
    settings.api_key = Some(SecretString::from(KEY));
    settings.api_key_env = Some(format!(
        "{}_API_KEY",
        kind.as_str().to_ascii_uppercase().replace('-', "_")
    ));
    settings.headers.insert("x-team".to_owned(), "blue".to_owned());
    settings.deadlines.headers = Duration::from_secs(5);
    settings
}

/// A request with a tool.
pub(crate) fn request(text: &str) -> Request {
    Request {
        model: "model-1".to_owned(),
        system: vec![
            SystemBlock {
                text: "clode-agent: developer".to_owned(),
                cache: false,
            },
            SystemBlock {
                text: "Stable rules.".to_owned(),
                cache: true,
            },
        ],
        messages: vec![Message::user(text)],
        tools: vec![ToolSpec {
            name: "read_file".to_owned(),
            description: "Reads a file.".to_owned(),
            input_schema: json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}),
        }],
        max_tokens: 2048,
    }
}

/// The request that follows: the answer, and the result of each tool that it asked for.
pub(crate) fn with_tool_results(mut request: Request, answer: Vec<Content>, result: &str) -> Request {
    let results = answer.iter().filter_map(|content| match content {
        Content::ToolUse { id, .. } => Some(Content::ToolResult {
            id: id.clone(),
            text: result.to_owned(),
            is_error: false,
        }),
        _ => None,
    });
    let results = results.collect();
    request.messages.push(Message::assistant(answer));
    request.messages.push(Message {
        role: Role::User,
        content: results,
    });
    request
}

fn ensure(holds: bool, complaint: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint.to_owned()) }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn judge_common(headers: &HeaderMap, body: &Value) -> Result<(), String> {
    ensure(
        header(headers, "content-type") == Some("application/json"),
        "content-type",
    )?;
    ensure(
        header(headers, "x-team") == Some("blue"),
        "the configured header is missing",
    )?;
    ensure(body["model"].is_string(), "model")?;
    ensure(body["stream"] == true, "stream")
}

/// What the Messages API insists on.
pub(crate) fn judge_messages(path: &str, headers: &HeaderMap, body: &Value) -> Result<(), String> {
    judge_common(headers, body)?;
    ensure(path == "/v1/messages", "path")?;
    ensure(header(headers, "x-api-key") == Some(KEY), "x-api-key")?;
    ensure(
        header(headers, "anthropic-version") == Some("2023-06-01"),
        "anthropic-version",
    )?;
    ensure(
        body["max_tokens"].as_u64().is_some_and(|tokens| tokens > 0),
        "max_tokens",
    )?;
    let marks = body.to_string().matches("\"cache_control\"").count();
    ensure(marks <= 4, "more than four cache marks")?;
    let empty = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&empty);
    let mut open: BTreeSet<String> = BTreeSet::new();
    for (position, message) in messages.iter().enumerate() {
        let expected = if position % 2 == 0 { "user" } else { "assistant" };
        ensure(message["role"] == expected, "roles do not alternate from user")?;
        let blocks = message["content"].as_array().unwrap_or(&empty);
        ensure(!blocks.is_empty(), "an empty turn")?;
        let mut other_seen = false;
        for block in blocks {
            match block["type"].as_str() {
                Some("tool_result") => {
                    ensure(!other_seen, "a tool_result after other blocks")?;
                    let id = block["tool_use_id"].as_str().unwrap_or_default();
                    ensure(open.remove(id), "a tool_result without its tool_use")?;
                }
                Some("tool_use") => {
                    ensure(block["input"].is_object(), "tool_use.input is no object")?;
                    open.insert(block["id"].as_str().unwrap_or_default().to_owned());
                }
                Some("text") => ensure(
                    !block["text"].as_str().unwrap_or_default().is_empty(),
                    "an empty text block",
                )?,
                Some("thinking") => ensure(block["signature"].is_string(), "thinking without signature")?,
                _ => return Err(format!("block {block}")),
            }
            other_seen |= block["type"] != "tool_result";
        }
        ensure(
            expected == "assistant" || open.is_empty(),
            "a tool_use without its tool_result",
        )?;
    }
    ensure(messages.len() % 2 == 1, "the last turn is not the user's")
}

/// What the Responses API insists on.
pub(crate) fn judge_responses(path: &str, headers: &HeaderMap, body: &Value) -> Result<(), String> {
    judge_common(headers, body)?;
    ensure(path == "/v1/responses", "path")?;
    ensure(
        header(headers, "authorization") == Some(&format!("Bearer {KEY}")),
        "authorization",
    )?;
    ensure(body["store"] == false, "store")?;
    ensure(
        body["max_output_tokens"]
            .as_u64()
            .is_some_and(|tokens| tokens >= 16),
        "max_output_tokens",
    )?;
    let mut open: BTreeSet<String> = BTreeSet::new();
    for item in body["input"].as_array().ok_or("input")? {
        let call_id = item["call_id"].as_str().unwrap_or_default().to_owned();
        match item["type"].as_str() {
            Some("message") => {
                let expected = if item["role"] == "user" {
                    "input_text"
                } else {
                    "output_text"
                };
                ensure(
                    item["content"][0]["type"] == expected,
                    "the type of a content part",
                )?;
            }
            Some("function_call") => {
                ensure(item["arguments"].is_string(), "arguments are no text")?;
                open.insert(call_id);
            }
            Some("function_call_output") => ensure(open.remove(&call_id), "an output without its call")?,
            Some("reasoning") => ensure(
                item["encrypted_content"].is_string(),
                "reasoning without its content",
            )?,
            _ => return Err(format!("item {item}")),
        }
    }
    ensure(open.is_empty(), "a call without its output")
}

/// What Chat Completions insists on.
pub(crate) fn judge_chat(path: &str, headers: &HeaderMap, body: &Value) -> Result<(), String> {
    judge_common(headers, body)?;
    ensure(path == "/v1/chat/completions", "path")?;
    ensure(
        header(headers, "authorization") == Some(&format!("Bearer {KEY}")),
        "authorization",
    )?;
    ensure(
        body["stream_options"]["include_usage"] == true,
        "usage was not asked for",
    )?;
    let mut open: BTreeSet<String> = BTreeSet::new();
    for message in body["messages"].as_array().ok_or("messages")? {
        if message["role"] != "tool" {
            ensure(open.is_empty(), "a tool call without its result")?;
        }
        match message["role"].as_str() {
            Some("system" | "user") => ensure(message["content"].is_string(), "content")?,
            Some("assistant") => {
                for call in message["tool_calls"].as_array().unwrap_or(&Vec::new()) {
                    ensure(
                        call["type"] == "function" && call["function"]["arguments"].is_string(),
                        "tool call",
                    )?;
                    open.insert(call["id"].as_str().unwrap_or_default().to_owned());
                }
            }
            Some("tool") => {
                let id = message["tool_call_id"].as_str().unwrap_or_default();
                ensure(open.remove(id), "a result without its tool call")?;
            }
            _ => return Err(format!("message {message}")),
        }
    }
    ensure(open.is_empty(), "a tool call without its result")
}

proptest::proptest! {
    /// Whatever a server sends, the reducers answer with an answer or a failure.
    #[test]
    fn no_stream_makes_a_reducer_fall_over(
        frames in proptest::collection::vec(proptest::sample::select(FRAGMENTS), 0..12),
        end in proptest::sample::select(&["{\"type\":\"message_stop\"}", "[DONE]", "{\"type\":\"response.completed\",\"response\":{}}"][..]),
    ) {
        let all = frames.iter().copied().chain([end]);
        let datas: Vec<super::sse::Event> = all.map(|data| super::sse::Event { name: String::new(), data: data.into() }).collect();
        super::anthropic::reduce_for_tests(&datas);
        super::openai::reduce_for_tests(&datas);
        super::openai_chat::reduce_for_tests(&datas);
    }
}

const FRAGMENTS: &[&str] = &[
    "",
    "null",
    "[]",
    "{",
    "{}",
    "\u{0}",
    "{\"type\":null}",
    "{\"type\":7}",
    "{\"type\":\"content_block_start\",\"index\":18446744073709551615,\"content_block\":{\"type\":\"tool_use\",\"input\":[]}}",
    "{\"type\":\"content_block_start\",\"content_block\":{\"thinking\":3}}",
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"x\"}}",
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"}\"}}",
    "{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":18446744073709551615}}",
    "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":[1,null,{}]}}",
    "{\"type\":\"response.output_item.done\",\"item\":null}",
    "{\"type\":\"response.incomplete\",\"response\":{\"usage\":{\"input_tokens\":1,\"input_tokens_details\":{\"cached_tokens\":9}}}}",
    "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":18446744073709551615,\"function\":{\"arguments\":[1]}},{}]},\"finish_reason\":\"stop\"}]}",
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":5}}}",
    "{\"error\":[]}",
    "{\"error\":{\"code\":-1,\"message\":{}}}",
];
