//! The loop over real pipes, with a service that does what no service should.

mod endings;
mod lab;
mod limits;
mod order;

use std::io::{self, BufReader, PipeReader, PipeWriter, Write};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab::Lab;
use serde_json::{Value, json};

use super::serve;
use crate::lsp::client::{Client, connect};
use crate::lsp::frame::{Frame, FrameReader, Limits};

/// How long anything may take that should happen at once.
const LIMIT: Duration = Duration::from_secs(20);

/// An editor at one end of two pipes, the loop with a [`Lab`] at the other.
struct Rig {
    input: Option<PipeWriter>,
    output: Option<PipeReader>,
    messages: Option<mpsc::Receiver<Value>>,
    /// What came while something else was waited for.
    kept: Vec<Value>,
    server: Option<JoinHandle<i32>>,
    client: Client,
}

impl Rig {
    /// Starts the loop; nothing is said yet, nothing is read.
    fn start() -> Self {
        Self::start_with(async || {})
    }

    fn start_with(stop: impl AsyncFnOnce() + Send + 'static) -> Self {
        let (server_input, input) = io::pipe().unwrap();
        let (output, server_output) = io::pipe().unwrap();
        let (client, drain) = connect();
        let server_client = client.clone();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let service = Lab::service(server_client.clone());
            let code = runtime.block_on(serve(
                server_input,
                server_output,
                (server_client, drain),
                service,
                stop,
            ));
            runtime.shutdown_background();
            code
        });
        Self {
            input: Some(input),
            output: Some(output),
            messages: None,
            kept: Vec::new(),
            server: Some(server),
            client,
        }
    }

    /// A loop after the handshake, with an editor that reads.
    fn ready() -> Self {
        let mut rig = Self::start();
        rig.read();
        rig.initialize(&json!({}));
        rig
    }

    fn initialize(&mut self, capabilities: &Value) {
        let params = json!({ "processId": null, "rootUri": null, "capabilities": capabilities });
        assert!(self.call("initialize", &params)["result"].is_object());
        self.notify("initialized", &json!({}));
    }

    /// Begins to read what the server writes.
    fn read(&mut self) {
        let output = self.output.take().unwrap();
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            let mut frames = FrameReader::new(BufReader::new(output), Limits::default());
            while let Ok(Frame::Body(body)) = frames.next_frame() {
                if sender.send(serde_json::from_slice(&body).unwrap()).is_err() {
                    return;
                }
            }
        });
        self.messages = Some(messages);
    }

    fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.input.as_mut().unwrap().write_all(bytes.as_ref()).unwrap();
    }

    fn post(&mut self, message: &Value) {
        let text = message.to_string();
        self.write(format!("Content-Length: {}\r\n\r\n{text}", text.len()));
    }

    fn notify(&mut self, method: &str, params: &Value) {
        self.post(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn request(&mut self, id: impl Into<Value>, method: &str, params: &Value) {
        self.post(&json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params }));
    }

    /// A request under an id that nothing else uses, and its answer.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = format!("call of {method}");
        self.request(id.as_str(), method, params);
        self.answer(id)
    }

    /// The answer to this request.
    fn answer(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        self.expect(|message| message["id"] == id && message.get("method").is_none())
    }

    /// The first message like this; others are kept.
    fn expect(&mut self, like: impl Fn(&Value) -> bool) -> Value {
        if let Some(found) = self.kept.iter().position(&like) {
            return self.kept.remove(found);
        }
        loop {
            let message = self
                .messages
                .as_ref()
                .unwrap()
                .recv_timeout(LIMIT)
                .expect("the server says nothing");
            if like(&message) {
                return message;
            }
            self.kept.push(message);
        }
    }

    /// Waits until the server has more to say than it may keep.
    fn wait_until_full(&self) {
        let asked = Instant::now();
        while self
            .client
            .outbox()
            .try_send(&json!({ "jsonrpc": "2.0", "method": "lab/filler" }))
            .is_ok()
        {
            assert!(asked.elapsed() < LIMIT, "the outbox never fills");
        }
    }

    /// The code with which the loop ended.
    fn code(&mut self) -> i32 {
        let server = self.server.take().unwrap();
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(server.join()));
        ended
            .recv_timeout(LIMIT)
            .expect("the loop does not end")
            .expect("the loop panicked")
    }
}

fn code_of(answer: &Value) -> i64 {
    answer["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("no error: {answer}"))
}
