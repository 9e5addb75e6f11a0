//! Both pipes of the server, and everything that came out of it.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Reply;

type Handler = Box<dyn FnMut(&Value) -> Reply + Send>;

/// The conversation.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    shared: Arc<Shared>,
}

struct Shared {
    input: Mutex<Option<ChildStdin>>,
    handlers: Mutex<HashMap<String, Handler>>,
    heard: Mutex<Heard>,
    changed: Condvar,
}

/// What the server said so far and nobody took.
#[derive(Debug, Default)]
struct Heard {
    notifications: Vec<Value>,
    requests: Vec<Value>,
    /// By the text of the id.
    answers: HashMap<String, Vec<Value>>,
    /// How many answers are still owed, by the text of the id.
    owed: HashMap<String, usize>,
    broken_rules: Vec<String>,
    reading: Reading,
    ended: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reading {
    #[default]
    On,
    Paused,
    Never,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(input: ChildStdin, output: ChildStdout) -> Self {
        let shared = Arc::new(Shared {
            input: Mutex::new(Some(input)),
            handlers: Mutex::default(),
            heard: Mutex::default(),
            changed: Condvar::new(),
        });
        let reader = Arc::clone(&shared);
        thread::spawn(move || reader.read(output));
        Self { shared }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.write(bytes)
    }

    pub(super) fn post(&self, message: &Value) {
        self.shared.post(message).expect("the server reads");
    }

    pub(super) fn try_post(&self, message: &Value) -> io::Result<()> {
        self.shared.post(message)
    }

    pub(super) fn close_input(&self) {
        *self.shared.input.lock().unwrap() = None;
    }

    pub(super) fn close_output(&self) {
        self.shared.set_reading(Reading::Never);
    }

    pub(super) fn pause(&self) {
        self.shared.set_reading(Reading::Paused);
    }

    pub(super) fn resume(&self) {
        self.shared.set_reading(Reading::On);
    }

    pub(super) fn handle(&self, method: &str, handler: Handler) {
        self.shared
            .handlers
            .lock()
            .unwrap()
            .insert(method.to_owned(), handler);
    }

    /// An answer is owed under this id.
    pub(super) fn register(&self, id: &Value) {
        *self.shared.heard().owed.entry(id.to_string()).or_default() += 1;
    }

    pub(super) fn answer(&self, id: &Value, limit: Duration) -> Option<Value> {
        self.shared.wait(limit, |heard| {
            let answers = heard.answers.get_mut(&id.to_string())?;
            (!answers.is_empty()).then(|| answers.remove(0))
        })
    }

    pub(super) fn notification(&self, limit: Duration, like: impl Fn(&Value) -> bool) -> Option<Value> {
        self.shared
            .wait(limit, |heard| take(&mut heard.notifications, &like))
    }

    pub(super) fn request(&self, limit: Duration, like: impl Fn(&Value) -> bool) -> Option<Value> {
        self.shared.wait(limit, |heard| take(&mut heard.requests, &like))
    }

    pub(super) fn has_request(&self, like: impl Fn(&Value) -> bool) -> bool {
        self.shared.heard().requests.iter().any(like)
    }

    pub(super) fn notifications(&self) -> Vec<Value> {
        self.shared.heard().notifications.clone()
    }

    pub(super) fn broken_rules(&self) -> Vec<String> {
        self.shared.heard().broken_rules.clone()
    }
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }

    fn set_reading(&self, reading: Reading) {
        self.heard().reading = reading;
        self.changed.notify_all();
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut input = self.input.lock().unwrap();
        let input = input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(bytes)?;
        input.flush()
    }

    fn post(&self, message: &Value) -> io::Result<()> {
        let text = message.to_string();
        self.write(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes())
    }

    /// Takes out what `found` finds, waiting for it.
    fn wait<T>(&self, limit: Duration, mut found: impl FnMut(&mut Heard) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut heard = self.heard();
        loop {
            if let Some(found) = found(&mut heard) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.ended {
                return None;
            }
            heard = self.changed.wait_timeout(heard, left).unwrap().0;
        }
    }

    fn read(&self, output: ChildStdout) {
        let mut output = BufReader::new(output);
        loop {
            {
                let mut heard = self.heard();
                while heard.reading == Reading::Paused {
                    heard = self.changed.wait(heard).unwrap();
                }
                if heard.reading == Reading::Never {
                    return;
                }
            }
            match read_message(&mut output) {
                Ok(Some(message)) => self.take(message),
                Ok(None) => break,
                Err(rule) => {
                    self.heard().broken_rules.push(rule);
                    break;
                }
            }
        }
        self.heard().ended = true;
        self.changed.notify_all();
    }

    fn take(&self, message: Value) {
        if message["jsonrpc"] != "2.0" {
            self.heard()
                .broken_rules
                .push(format!("no JSON-RPC 2.0: {message}"));
        }
        match (message.get("method").and_then(Value::as_str), message.get("id")) {
            (Some(method), Some(id)) => {
                let reply = match self.handlers.lock().unwrap().get_mut(method) {
                    Some(handler) => handler(&message["params"]),
                    None => Reply::Error(-32601, format!("this editor does not know {method}")),
                };
                let answer = match reply {
                    Reply::Result(result) => Some(json!({ "jsonrpc": "2.0", "id": id, "result": result })),
                    Reply::Error(code, message) => Some(
                        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }),
                    ),
                    Reply::Silence => None,
                };
                self.heard().requests.push(message);
                if let Some(answer) = answer {
                    let _ = self.post(&answer); // the server may be gone
                }
            }
            (Some(_), None) => self.heard().notifications.push(message),
            (None, id) => {
                let id = id.map(Value::to_string).unwrap_or_default();
                let mut heard = self.heard();
                match heard.owed.get_mut(&id) {
                    Some(0) => heard.broken_rules.push(format!("answered twice: {message}")),
                    Some(owed) => *owed -= 1,
                    None => {} // asked by raw bytes
                }
                heard.answers.entry(id).or_default().push(message);
            }
        }
        self.changed.notify_all();
    }
}

fn take(messages: &mut Vec<Value>, like: impl Fn(&Value) -> bool) -> Option<Value> {
    let found = messages.iter().position(like)?;
    Some(messages.remove(found))
}

/// Strict where the server has to be strict: nothing but frames of JSON may come out of it.
fn read_message(output: &mut impl BufRead) -> Result<Option<Value>, String> {
    let mut length = None;
    loop {
        let mut line = String::new();
        match output.read_line(&mut line) {
            Ok(0) if length.is_none() => return Ok(None),
            Ok(0) => return Err("the output ends inside a header".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("the output cannot be read: {error}")),
        }
        match (line.strip_suffix("\r\n"), length) {
            (Some(""), Some(length)) => return read_body(output, length).map(Some),
            (Some(header), _) => {
                let value = header
                    .strip_prefix("Content-Length: ")
                    .ok_or(format!("not a header: {header:?}"))?;
                length = Some(value.parse().map_err(|_| format!("not a length: {header:?}"))?);
            }
            (None, _) => return Err(format!("not a header line: {line:?}")),
        }
    }
}

fn read_body(output: &mut impl Read, length: usize) -> Result<Value, String> {
    let mut body = vec![0; length];
    output
        .read_exact(&mut body)
        .map_err(|error| format!("the output ends inside a body: {error}"))?;
    serde_json::from_slice(&body).map_err(|error| format!("the body is not JSON: {error}"))
}
