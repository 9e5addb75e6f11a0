//! A model interface that says what a test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

/// What the model says in one call.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    Text(&'static str),
    Tools(Vec<(&'static str, Value)>),
    Status(u16),
}

/// The interface.
#[derive(Clone, Default)]
pub(crate) struct Api {
    script: Arc<Mutex<VecDeque<Say>>>,
    pub(crate) requests: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

impl Api {
    /// Listens on a port of its own; answers its address.
    pub(crate) async fn serve(script: Vec<Say>) -> (Self, String) {
        let api = Self {
            script: Arc::new(Mutex::new(script.into())),
            ..Self::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/v1/messages", post(messages))
            .with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (api, address)
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().expect("free").len()
    }
}

async fn messages(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let number = {
        let mut requests = api.requests.lock().expect("free");
        requests.push((headers, body.clone()));
        requests.len()
    };
    let say = api
        .script
        .lock()
        .expect("free")
        .pop_front()
        .unwrap_or(Say::Text("The script is over."));
    if let Say::Status(status) = say {
        let error = json!({ "type": "error", "error": { "type": "authentication_error", "message": "no" } });
        let status = StatusCode::from_u16(status).expect("a status");
        return (
            status,
            [(header::CONTENT_TYPE, "application/json")],
            error.to_string(),
        )
            .into_response();
    }
    let events = events(number, body["model"].as_str().unwrap_or("claude-sonnet-5"), &say);
    let text: String = events.iter().fold(String::new(), |mut text, event| {
        let name = event["type"].as_str().unwrap_or_default();
        text.push_str("event: ");
        text.push_str(name);
        text.push_str("\ndata: ");
        text.push_str(&event.to_string());
        text.push_str("\n\n");
        text
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

fn events(number: usize, model: &str, say: &Say) -> Vec<Value> {
    let message = json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 1_000, "output_tokens": 1 },
    });
    let mut events = vec![json!({ "type": "message_start", "message": message })];
    let mut block = |index: usize, start: Value, delta: Value| {
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        events.push(json!({ "type": "content_block_stop", "index": index }));
    };
    let stop = match say {
        Say::Tools(calls) => {
            for (index, (name, input)) in calls.iter().enumerate() {
                let id = format!("toolu_{number}_{index}");
                let start = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                block(
                    index,
                    start,
                    json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
                );
            }
            "tool_use"
        }
        Say::Text(text) => {
            block(
                0,
                json!({ "type": "text", "text": "" }),
                json!({ "type": "text_delta", "text": text }),
            );
            "end_turn"
        }
        Say::Status(_) => "end_turn",
    };
    let delta = json!({ "stop_reason": stop, "stop_sequence": null });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 100 } }));
    events.push(json!({ "type": "message_stop" }));
    events
}
