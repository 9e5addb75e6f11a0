//! The base protocol and the lifecycle, with everything that can be wrong about them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bytes;
mod lifecycle;
mod pressure;

use clode_tests::lsp_client::{LspClient, presets};
use serde_json::{Value, json};

/// A server after the handshake with a client that declares nothing.
fn ready() -> LspClient {
    let mut client = LspClient::start();
    client.initialize(&presets::bare());
    client
}

/// The server lives and takes the next message.
#[track_caller]
fn assert_alive(client: &mut LspClient) {
    assert_eq!(
        client.request("no/such/method", &json!({})).unwrap_err().code,
        -32601
    );
}

fn framed(body: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

fn request(id: u32) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "no/such/method", "params": {} }).to_string()
}

#[track_caller]
fn code_of(answer: &Value) -> i64 {
    answer["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("no error: {answer}"))
}
