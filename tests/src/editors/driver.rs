//! A driver process: one JSON request a line in, one JSON answer a line out, and events in between.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{oneshot, watch};

use super::artifacts;
use crate::processes;

/// How long anything that an editor does may take on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(90);
/// The driver's own limit comes first: it can say what it saw instead.
const ANSWER_MARGIN: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(15);
/// What is kept of a driver's stderr.
const STDERR_BYTES_MAX: usize = 1 << 20;

/// One that runs. Dropped, it takes everything with it that carries its mark.
#[derive(Debug)]
pub(super) struct Driver {
    what: String,
    mark: String,
    child: Child,
    stdin: Option<ChildStdin>,
    heard: Arc<Heard>,
    news: watch::Receiver<usize>,
    next_id: u64,
}

#[derive(Debug)]
struct Heard {
    transcript: Mutex<File>,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Value>>>,
    events: Mutex<Vec<Value>>,
    stderr: Mutex<Vec<u8>>,
}

impl Driver {
    /// Starts it; `what` names its transcript, `mark` is in the environment of all that it starts.
    pub(super) fn start(what: &str, mark: &str, mut command: Command) -> Self {
        let transcript = artifacts().join(format!("{what}.jsonl"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        let heard = Arc::new(Heard {
            transcript: Mutex::new(File::create(transcript).expect("a transcript")),
            waiting: Mutex::default(),
            events: Mutex::default(),
            stderr: Mutex::default(),
        });
        let (count, news) = watch::channel(0);
        let stdout = child.stdout.take().expect("its stdout is piped");
        tokio::spawn(listen(stdout, Arc::clone(&heard), count));
        let stderr = child.stderr.take().expect("its stderr is piped");
        tokio::spawn(collect(stderr, Arc::clone(&heard)));
        Self {
            what: what.to_owned(),
            mark: mark.to_owned(),
            stdin: child.stdin.take(),
            child,
            heard,
            news,
            next_id: 1,
        }
    }

    /// Has something done; fails with the driver's own words when it could not be.
    #[track_caller]
    pub(super) fn ask(&mut self, request: Value) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            match self.try_ask(request.clone()).await {
                Ok(value) => value,
                Err(problem) => panic!(
                    "{} at {place}: {problem}\nasked: {request}\n{}",
                    self.what,
                    self.report()
                ),
            }
        }
    }

    /// The same, for what may go wrong.
    pub(super) async fn try_ask(&mut self, mut request: Value) -> Result<Value, String> {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = json!(id);
        let (answered, answer) = oneshot::channel();
        lock(&self.heard.waiting).insert(id, answered);
        let line = format!("{request}\n");
        self.heard.write("to", &request);
        let stdin = self.stdin.as_mut().ok_or("it has been ended")?;
        let sent = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await
        };
        sent.await
            .map_err(|error| format!("it does not listen any more: {error}"))?;
        let limit = request["limitMs"].as_u64().map_or(LIMIT, Duration::from_millis) + ANSWER_MARGIN;
        let answer = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err("it ended without an answer".to_owned()),
            Err(_) => return Err(format!("no answer within {limit:?}")),
        };
        match answer.get("error").and_then(Value::as_str) {
            Some(problem) => Err(problem.to_owned()),
            None => Ok(answer.get("value").cloned().unwrap_or_default()),
        }
    }

    /// All events of one kind so far.
    pub(super) fn events(&self, kind: &str) -> Vec<Value> {
        let events = lock(&self.heard.events);
        events
            .iter()
            .filter(|event| event["event"] == kind)
            .cloned()
            .collect()
    }

    /// Waits for an event that fits; those that came before count too.
    #[track_caller]
    pub(super) fn event<'a, Fits: Fn(&Value) -> bool>(
        &'a mut self,
        kind: &'static str,
        fits: Fits,
    ) -> impl Future<Output = Value> + use<'a, Fits> {
        let place = std::panic::Location::caller();
        async move {
            let found = async {
                loop {
                    if let Some(event) = self.events(kind).into_iter().find(|event| fits(event)) {
                        return Some(event);
                    }
                    self.news.changed().await.ok()?;
                }
            };
            match tokio::time::timeout(LIMIT, found).await {
                Ok(Some(event)) => event,
                _ => panic!(
                    "{} at {place}: no such `{kind}` came\n{}",
                    self.what,
                    self.report()
                ),
            }
        }
    }

    /// Its process number.
    pub(super) fn process_id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Closes its stdin, at which it ends, and waits for that.
    pub(super) async fn end(mut self) {
        drop(self.stdin.take());
        let ended = tokio::time::timeout(END_LIMIT, self.child.wait()).await;
        assert!(ended.is_ok(), "{} does not end\n{}", self.what, self.report());
    }

    /// The last that was heard of it, for a person who reads why a test failed.
    pub(super) fn report(&self) -> String {
        let events = lock(&self.heard.events);
        let last: Vec<String> = events.iter().rev().take(25).rev().map(Value::to_string).collect();
        let stderr = lock(&self.heard.stderr);
        format!(
            "events:\n{}\nstderr:\n{}",
            last.join("\n"),
            String::from_utf8_lossy(&stderr)
        )
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.stdin.is_none() {
            return;
        }
        // A test failed half-way: what was started ends with it.
        let _ = self.child.start_kill();
        for process in processes::carrying(&self.mark) {
            let id = i32::try_from(process.id)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            if let Some(id) = id {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Heard {
    fn write(&self, direction: &str, message: &Value) {
        let _ = writeln!(lock(&self.transcript), "{}", json!({ direction: message }));
    }
}

async fn listen(stdout: impl AsyncRead + Unpin, heard: Arc<Heard>, count: watch::Sender<usize>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let message =
            serde_json::from_str(&line).unwrap_or_else(|_| json!({ "event": "text", "text": line }));
        heard.write("from", &message);
        let waiting = message["id"]
            .as_u64()
            .and_then(|id| lock(&heard.waiting).remove(&id));
        if let Some(waiting) = waiting {
            let _ = waiting.send(message);
        } else {
            lock(&heard.events).push(message);
        }
        count.send_modify(|count| *count += 1);
    }
    // Whoever still waits is told at once.
    lock(&heard.waiting).clear();
}

async fn collect(mut stderr: impl AsyncRead + Unpin, heard: Arc<Heard>) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let mut all = lock(&heard.stderr);
        if all.len() < STDERR_BYTES_MAX {
            all.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
