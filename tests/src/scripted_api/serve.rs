//! The HTTP side of the scripted API: recognises who calls, plays the next step, breaks what shall break.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State as Extract};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::connection::{Doors, Wire};
use super::dialect::{Dialect, Names};
use super::fault::Fault;
use super::script::{Part, Reply, Step};
use super::{Play, Recorded, Shared, check, recorded_headers};

/// The name under which the calls of the real Claude Code are recorded.
pub(super) const CLAUDE_CODE: &str = "claude-code";
const BODY_BYTES_MAX: usize = 64 << 20;
const BYTES_PER_TOKEN: usize = 4;
const MODELS: [&str; 3] = ["claude-sonnet-5", "claude-haiku-5-5", "gpt-5"];

pub(super) fn run(listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is non-blocking");
        let service = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(shared)
            .into_make_service_with_connect_info::<Wire>();
        tokio::select! {
            served = async { axum::serve(Doors(listener), service).await } => {
                served.expect("the scripted API serves");
            }
            _ = stopped => {}
        }
    });
    // Calls that never answer are still waiting; they end with us.
    runtime.shutdown_background();
}

async fn answer(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let dialect = match (method.as_str(), uri.path()) {
        ("POST", "/v1/messages") => Dialect::Messages,
        ("POST", "/v1/responses") => Dialect::Responses,
        ("POST", "/v1/chat/completions") => Dialect::ChatCompletions,
        ("GET", path) if path.starts_with("/v1/models") => return models(&shared, &headers, path),
        ("POST", "/v1/messages/count_tokens") => return count_tokens(&shared, &headers, &body),
        (method, path) => {
            shared
                .state()
                .violations
                .push(format!("nothing answers {method} {path}"));
            return whole(
                StatusCode::NOT_FOUND,
                &Dialect::Messages.error(404, "no such path"),
            );
        }
    };
    let parsed: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let request = Recorded {
        path: uri.to_string(),
        caller: caller(&headers, &parsed),
        session: session(&headers, &parsed),
        headers: recorded_headers(&headers),
        body: parsed,
    };
    let played = judge(&shared, dialect, &headers, &request);
    shared.calls.send_modify(|calls| *calls += 1);
    match played {
        Ok(play) => perform(play, dialect, &request, &wire).await,
        Err(refusal) => refusal,
    }
}

/// Records the request; what the real service would refuse is refused, all else gets its step.
#[expect(clippy::result_large_err, reason = "the refusal is the answer itself")]
fn judge(
    shared: &Shared,
    dialect: Dialect,
    headers: &HeaderMap,
    request: &Recorded,
) -> Result<Play, Response> {
    let mut state = shared.state();
    state.requests.push(request.clone());
    let number = state.requests.len();
    if !check::key_is_right(headers) {
        state.violations.push(format!(
            "call {number} ({}): wrong or missing key",
            request.caller
        ));
        return Err(whole(
            StatusCode::UNAUTHORIZED,
            &dialect.error(401, "invalid key"),
        ));
    }
    let found = check::violations(dialect, headers, &request.body);
    if !found.is_empty() {
        let text = found.join("; ");
        state
            .violations
            .push(format!("call {number} ({}): {text}", request.caller));
        return Err(whole(StatusCode::BAD_REQUEST, &dialect.error(400, &text)));
    }
    state.play(request).ok_or_else(|| {
        let text = format!(
            "call {number}: the script has nothing left for `{}`",
            request.caller
        );
        state.violations.push(text.clone());
        whole(StatusCode::BAD_REQUEST, &dialect.error(400, &text))
    })
}

async fn perform(play: Play, dialect: Dialect, request: &Recorded, wire: &Wire) -> Response {
    let names = |reply: Option<&Reply>| Names {
        stem: play.stem.clone(),
        model: reply
            .and_then(|reply| reply.model.clone())
            .unwrap_or_else(|| request.body["model"].as_str().unwrap_or_default().to_owned()),
        usage_asked: request.body["stream_options"]["include_usage"] == true,
    };
    let streamed = request.body["stream"] == true;
    let bytes = |reply: &Reply| -> Vec<Vec<u8>> {
        let reply = in_directory(reply, request);
        let names = names(Some(&reply));
        let parts: Vec<Vec<u8>> = if streamed {
            dialect
                .events(&reply, &names)
                .into_iter()
                .map(String::into_bytes)
                .collect()
        } else {
            vec![dialect.whole(&reply, &names).to_string().into_bytes()]
        };
        match reply.piece_bytes {
            Some(size) => parts.concat().chunks(size).map(<[u8]>::to_vec).collect(),
            None => parts,
        }
    };
    match play.step {
        Step::Reply(reply) => {
            if let Some(hold) = &reply.hold {
                hold.wait().await;
            }
            flowing(streamed, bytes(&reply), Tail::Ends)
        }
        Step::Fault(Fault::Status {
            code,
            headers,
            message,
        }) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = whole(status, &dialect.error(code, &message));
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                    response.headers_mut().append(name, value);
                }
            }
            response
        }
        Step::Fault(Fault::CutMidStream(reply)) => {
            flowing(streamed, half(bytes(&reply)), Tail::Breaks(wire.clone()))
        }
        Step::Fault(Fault::Stall(reply)) => flowing(streamed, half(bytes(&reply)), Tail::Silence),
        Step::Fault(Fault::ResetBeforeFirstByte) => {
            wire.break_now();
            StatusCode::OK.into_response()
        }
        Step::Fault(Fault::NeverAnswers) => std::future::pending().await,
        Step::Fault(Fault::MalformedSse) => flowing(
            true,
            vec![b"event: message_start\ndata: {\"type\": \"mess\n\n".to_vec()],
            Tail::Ends,
        ),
        Step::Fault(Fault::InBandError { kind, message }) => {
            let events = dialect.in_band_error(&kind, &message, &names(None));
            flowing(
                true,
                events.into_iter().map(String::into_bytes).collect(),
                Tail::Ends,
            )
        }
        Step::Fault(Fault::EmptyStream) => flowing(true, Vec::new(), Tail::Ends),
        Step::Fault(Fault::Html) => {
            let page = "<!doctype html><title>Sign in</title><p>Please sign in to this network.";
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
        }
    }
}

/// How a body goes on after its last scripted byte.
enum Tail {
    Ends,
    Breaks(Wire),
    Silence,
}

fn flowing(streamed: bool, parts: Vec<Vec<u8>>, tail: Tail) -> Response {
    let kind = if streamed {
        "text/event-stream"
    } else {
        "application/json"
    };
    let sent = stream::iter(parts.into_iter().map(Ok::<_, io::Error>));
    let body = match tail {
        Tail::Ends => Body::from_stream(sent),
        Tail::Breaks(wire) => Body::from_stream(sent.chain(stream::once(async move {
            // What was sent is on its way before the connection breaks.
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            wire.break_now();
            Err(io::Error::other("cut by the script"))
        }))),
        Tail::Silence => Body::from_stream(sent.chain(stream::pending())),
    };
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// The first half, in events if there are several, else in bytes; never all of it.
fn half(parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if let [only] = parts.as_slice() {
        return vec![only.iter().take(only.len() / 2).copied().collect()];
    }
    let keep = parts.len() / 2;
    parts.into_iter().take(keep).collect()
}

fn whole(status: StatusCode, value: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

fn models(shared: &Shared, headers: &HeaderMap, path: &str) -> Response {
    if !check::key_is_right(headers) {
        shared
            .state()
            .violations
            .push(format!("GET {path}: wrong or missing key"));
        return whole(
            StatusCode::UNAUTHORIZED,
            &Dialect::Messages.error(401, "invalid key"),
        );
    }
    let entry = |id: &str| json!({"id": id, "type": "model", "object": "model", "display_name": id});
    if let Some(id) = path.strip_prefix("/v1/models/") {
        return match MODELS.iter().find(|model| **model == id) {
            Some(model) => whole(StatusCode::OK, &entry(model)),
            None => whole(
                StatusCode::NOT_FOUND,
                &Dialect::Messages.error(404, &format!("model: {id}")),
            ),
        };
    }
    let list: Vec<Value> = MODELS.iter().map(|model| entry(model)).collect();
    whole(
        StatusCode::OK,
        &json!({"object": "list", "data": list, "has_more": false}),
    )
}

fn count_tokens(shared: &Shared, headers: &HeaderMap, body: &Bytes) -> Response {
    if !check::key_is_right(headers) {
        shared
            .state()
            .violations
            .push("count_tokens: wrong or missing key".to_owned());
        return whole(
            StatusCode::UNAUTHORIZED,
            &Dialect::Messages.error(401, "invalid key"),
        );
    }
    whole(
        StatusCode::OK,
        &json!({"input_tokens": body.len() / BYTES_PER_TOKEN}),
    )
}

/// All text that the caller gave as instructions, whatever the dialect calls it.
fn instructions(body: &Value) -> String {
    let mut texts = Vec::new();
    collect_text(&body["system"], &mut texts);
    collect_text(&body["instructions"], &mut texts);
    for list in ["messages", "input"] {
        for message in body[list].as_array().into_iter().flatten() {
            if message["role"] == "system" || message["role"] == "developer" {
                collect_text(&message["content"], &mut texts);
            }
        }
    }
    texts.join("\n")
}

fn collect_text(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(blocks) => into.extend(
            blocks
                .iter()
                .filter_map(|block| block["text"].as_str())
                .map(str::to_owned),
        ),
        _ => {}
    }
}

fn caller(headers: &HeaderMap, body: &Value) -> String {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let instructions = instructions(body);
    // A gateway in between may hide the user agent, not what the instructions begin with.
    if agent.starts_with("claude-cli/") || instructions.contains("You are Claude Code,") {
        return CLAUDE_CODE.to_owned();
    }
    instructions
        .lines()
        .find_map(|line| line.trim().strip_prefix("clode-agent:"))
        .map_or_else(|| "?".to_owned(), |id| id.trim().to_owned())
}

fn session(headers: &HeaderMap, body: &Value) -> Option<String> {
    if let Some(id) = headers
        .get("x-claude-code-session-id")
        .and_then(|value| value.to_str().ok())
    {
        return Some(id.to_owned());
    }
    let user: Value = serde_json::from_str(body["metadata"]["user_id"].as_str()?).ok()?;
    user["session_id"].as_str().map(str::to_owned)
}

/// `{cwd}` in tool inputs becomes the directory that Claude Code says it works in.
fn in_directory(reply: &Reply, request: &Recorded) -> Reply {
    let mut reply = reply.clone();
    let instructions = instructions(&request.body);
    let Some(directory) = instructions
        .lines()
        .find_map(|line| line.trim().strip_prefix("- Primary working directory: "))
    else {
        return reply;
    };
    for part in &mut reply.parts {
        if let Part::Call { input, .. } = part {
            substitute(input, directory);
        }
    }
    reply
}

fn substitute(value: &mut Value, directory: &str) {
    match value {
        Value::String(text) => *text = text.replace("{cwd}", directory),
        Value::Array(values) => values.iter_mut().for_each(|value| substitute(value, directory)),
        Value::Object(fields) => fields.values_mut().for_each(|value| substitute(value, directory)),
        _ => {}
    }
}
