//! An editor for tests: it speaks LSP with the real binary over its real pipes.
//!
//! Everything that waits has a limit and fails the test when it is over. Dropping the client shuts the server
//! down and asserts that it left with code 0 and answered every request exactly once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

pub mod presets;
mod server;
mod wire;

use std::time::Duration;

use serde_json::{Value, json};

use server::Server;
pub use server::Setup;
use wire::Wire;

/// How long anything may take; generous, because the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The error that a request was answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseError {
    /// The JSON-RPC code.
    pub code: i64,
    /// For people.
    pub message: String,
    /// What came with it, or `null`.
    pub data: Value,
}

/// What the client says to a request of the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A result.
    Result(Value),
    /// An error.
    Error(i64, String),
    /// Nothing, ever.
    Silence,
}

/// A request that was sent and not waited for yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use = "the answer is worth waiting for"]
pub struct Pending(Value);

impl Pending {
    /// The id on the wire.
    pub fn id(&self) -> &Value {
        &self.0
    }
}

/// Sends notifications from inside a handler.
#[derive(Debug, Clone)]
pub struct Voice(Wire);

impl Voice {
    /// Sends a notification; a server that is gone does not hear it.
    pub fn notify(&self, method: &str, params: &Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        let _ = self.0.try_post(&message);
    }
}

/// The editor.
#[derive(Debug)]
pub struct LspClient {
    server: Server,
    wire: Wire,
    next_id: i64,
    leave: Leave,
}

/// What has to happen on drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// Shut down and expect code 0.
    Politely,
    /// The test saw the end itself.
    Already,
}

impl LspClient {
    /// Starts `clode-ls --stdio` in a world of its own.
    pub fn start() -> Self {
        Setup::default().start()
    }

    fn over(server: Server, wire: Wire) -> Self {
        Self {
            server,
            wire,
            next_id: 1,
            leave: Leave::Politely,
        }
    }

    /// Shakes hands as a client with these capabilities and no folder; answers the `InitializeResult`.
    pub fn initialize(&mut self, capabilities: &Value) -> Value {
        self.initialize_with(&json!({ "processId": null, "rootUri": null, "capabilities": capabilities }))
    }

    /// Shakes hands in a folder.
    pub fn initialize_in(&mut self, folder: &std::path::Path, capabilities: &Value) -> Value {
        let uri = url::Url::from_directory_path(folder).expect("an absolute path");
        self.initialize_with(&json!({
            "processId": std::process::id(),
            "rootUri": uri,
            "workspaceFolders": [{ "uri": uri, "name": "work" }],
            "capabilities": capabilities,
        }))
    }

    /// Shakes hands with exactly these parameters.
    pub fn initialize_with(&mut self, params: &Value) -> Value {
        let result = self
            .request("initialize", params)
            .expect("initialize is answered with a result");
        self.notify("initialized", &json!({}));
        result
    }

    /// Sends a request and waits for its answer.
    pub fn request(&mut self, method: &str, params: &Value) -> Result<Value, ResponseError> {
        let pending = self.begin(method, params);
        self.finish(pending)
    }

    /// Sends a request.
    pub fn begin(&mut self, method: &str, params: &Value) -> Pending {
        let id = self.next_id;
        self.next_id += 1;
        self.begin_as(&json!(id), method, params)
    }

    /// Sends a request under an id of the test's choice.
    pub fn begin_as(&mut self, id: &Value, method: &str, params: &Value) -> Pending {
        self.wire.register(id);
        self.wire
            .post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        Pending(id.clone())
    }

    /// Waits for the answer of a request.
    pub fn finish(&mut self, pending: Pending) -> Result<Value, ResponseError> {
        let Pending(id) = pending;
        outcome(&self.answer_to(&id))
    }

    /// Waits for the answer under this id, whoever asked.
    pub fn answer_to(&mut self, id: &Value) -> Value {
        self.wire
            .answer(id, LIMIT)
            .unwrap_or_else(|| panic!("no answer to {id}\n{}", self.log()))
    }

    /// Runs one of the server's commands with one argument.
    pub fn command(&mut self, command: &str, argument: &Value) -> Result<Value, ResponseError> {
        let pending = self.begin_command(command, argument);
        self.finish(pending)
    }

    /// Starts one of the server's commands.
    pub fn begin_command(&mut self, command: &str, argument: &Value) -> Pending {
        self.begin(
            "workspace/executeCommand",
            &json!({ "command": command, "arguments": [argument] }),
        )
    }

    /// Cancels a request; its answer still comes.
    pub fn cancel(&mut self, pending: &Pending) {
        self.notify("$/cancelRequest", &json!({ "id": pending.0 }));
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: &Value) {
        self.wire
            .post(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Opens a document.
    pub fn open(&mut self, uri: &url::Url, language_id: &str, text: &str) {
        let document = json!({ "uri": uri, "languageId": language_id, "version": 1, "text": text });
        self.notify("textDocument/didOpen", &json!({ "textDocument": document }));
    }

    /// Answers requests of this method from now on; without a handler they are answered -32601.
    pub fn on_request(&mut self, method: &str, handler: impl FnMut(&Value) -> Reply + Send + 'static) {
        self.wire.handle(method, Box::new(handler));
    }

    /// Waits for a notification whose parameters are like this, and gives them back. Others stay where they are.
    pub fn expect_notification(&mut self, method: &str, like: impl Fn(&Value) -> bool) -> Value {
        self.expect_notification_within(LIMIT, method, like)
            .unwrap_or_else(|| {
                panic!(
                    "no such {method}\nreceived: {:#?}\n{}",
                    self.wire.notifications(),
                    self.log()
                )
            })
    }

    /// The same with a limit of its own; `None` when it is over.
    pub fn expect_notification_within(
        &mut self,
        limit: Duration,
        method: &str,
        like: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let mut message = self.wire.notification(limit, |message| {
            message["method"] == method && like(&message["params"])
        })?;
        Some(message["params"].take())
    }

    /// The parameters of every notification of this method that came and was not taken, in their order.
    pub fn notifications(&self, method: &str) -> Vec<Value> {
        let heard = self.wire.notifications();
        let wanted = heard.into_iter().filter(|message| message["method"] == method);
        wanted.map(|mut message| message["params"].take()).collect()
    }

    /// Whether a request of this method came that nobody took.
    pub fn has_been_asked(&self, method: &str) -> bool {
        let is_it = |message: &Value| message["method"] == method;
        self.wire.has_request(is_it)
    }

    /// Lets handlers of requests send notifications.
    pub fn voice(&self) -> Voice {
        Voice(self.wire.clone())
    }

    /// Waits for a request of the server like this; it was answered by its handler already.
    pub fn expect_request(&mut self, method: &str, like: impl Fn(&Value) -> bool) -> Value {
        let mut message = self
            .wire
            .request(LIMIT, |message| {
                message["method"] == method && like(&message["params"])
            })
            .unwrap_or_else(|| panic!("the server did not ask for {method}\n{}", self.log()));
        message["params"].take()
    }

    /// Waits for the next answer under `id: null`.
    pub fn expect_complaint(&mut self) -> ResponseError {
        outcome(&self.answer_to(&Value::Null)).expect_err("a complaint is an error")
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write(bytes.as_ref()).expect("the server reads");
    }

    /// Writes bytes as they are to a server that may be gone.
    pub fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.wire.write(bytes.as_ref())
    }

    /// Writes a body with its header.
    pub fn write_body(&mut self, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let mut bytes = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        self.write(bytes);
    }

    /// Stops reading what the server writes, after what was read already.
    pub fn stop_reading(&mut self) {
        self.wire.pause();
    }

    /// Goes on reading.
    pub fn read_on(&mut self) {
        self.wire.resume();
    }

    /// Closes the server's input.
    pub fn close_input(&mut self) {
        self.wire.close_input();
    }

    /// Closes the server's output; what it writes from now on fails.
    pub fn close_output(&mut self) {
        self.wire.close_output();
    }

    /// Waits for the end of the server, however it comes, and gives back its exit code; `None` after a signal.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.leave = Leave::Already;
        match self.server.exit_status(LIMIT) {
            Some(status) => status.code(),
            None => panic!("the server does not end\n{}", self.log()),
        }
    }

    /// Kills the server as a crash would.
    pub fn kill(&mut self) {
        self.leave = Leave::Already;
        self.server.kill();
    }

    /// The process id of the server.
    pub fn process_id(&self) -> u32 {
        self.server.process_id()
    }

    /// What the server wrote to stderr so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The folder in which state, cache and configuration of this server live.
    pub fn home(&self) -> &std::path::Path {
        self.server.home()
    }

    /// Shuts the server down as an editor does, and gives back the exit code.
    pub fn shut_down(&mut self) -> Option<i32> {
        let answer = self.request("shutdown", &Value::Null);
        assert_eq!(answer, Ok(Value::Null));
        self.notify("exit", &Value::Null);
        self.exit_code()
    }
}

impl Drop for LspClient {
    fn drop(&mut self) {
        if self.leave == Leave::Politely && !std::thread::panicking() {
            self.wire.resume();
            let code = self.shut_down();
            let broken = self.wire.broken_rules();
            assert_eq!((code, broken), (Some(0), Vec::new()), "{}", self.log());
        }
        self.server.kill();
    }
}

fn outcome(answer: &Value) -> Result<Value, ResponseError> {
    match answer.get("error") {
        Some(error) => Err(ResponseError {
            code: error["code"].as_i64().expect("an error has a code"),
            message: error["message"]
                .as_str()
                .expect("an error has a message")
                .to_owned(),
            data: error["data"].clone(),
        }),
        None => Ok(answer
            .get("result")
            .expect("an answer has a result or an error")
            .clone()),
    }
}
