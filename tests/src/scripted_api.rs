//! A model provider on the loopback that answers from a script and refuses what the real ones would refuse.
//!
//! It speaks Anthropic Messages, `OpenAI` Responses and Chat Completions, streamed or whole, to our own
//! agents and to the real Claude Code. Every request is checked and recorded; [`ScriptedApi::assert_clean`]
//! at the end of a test says that none broke the rules and that the script was played to its end.

mod check;
mod connection;
mod dialect;
mod fault;
mod script;
mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

pub use check::DUMMY_KEY;
pub use dialect::Dialect;
pub use fault::Fault;
use script::{Caller, End, Queue, Step};
pub use script::{Hold, Reply, Script, Steps, Stop, Usage};

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Path and query.
    pub path: String,
    /// Who called: the agent's id, `claude-code`, or `?`.
    pub caller: String,
    /// The session of the real Claude Code.
    pub session: Option<String>,
    /// Headers in lower case; the key is among them.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
}

/// The running service. Dropping it ends it.
#[derive(Debug)]
pub struct ScriptedApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How many model calls have arrived.
    calls: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    queues: Vec<Queue>,
    /// The next step of a queue, for each session of its own.
    cursors: BTreeMap<(usize, String), usize>,
    requests: Vec<Recorded>,
    violations: Vec<String>,
    judged: bool,
}

impl ScriptedApi {
    /// Listens on a free port of the loopback, on a thread of its own.
    #[must_use]
    pub fn start(script: Script) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queues: script.queues,
                cursors: BTreeMap::new(),
                requests: Vec::new(),
                violations: Vec::new(),
                judged: false,
            }),
            calls: watch::Sender::new(0),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        listener
            .set_nonblocking(true)
            .expect("a fresh listener takes options");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("scripted-api".to_owned())
            .spawn(move || serve::run(listener, served, stopped))
            .expect("a thread starts");
        Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The environment that leads a program here: keys and base URLs of both kinds.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("ANTHROPIC_API_KEY".to_owned(), DUMMY_KEY.to_owned()),
            ("ANTHROPIC_BASE_URL".to_owned(), self.url()),
            ("OPENAI_API_KEY".to_owned(), DUMMY_KEY.to_owned()),
            ("OPENAI_BASE_URL".to_owned(), format!("{}/v1", self.url())),
        ]
    }

    /// Every model call so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// The model calls of one agent (`claude-code` for the real one).
    #[must_use]
    pub fn requests_of(&self, caller: &str) -> Vec<Recorded> {
        self.state()
            .requests
            .iter()
            .filter(|request| request.caller == caller)
            .cloned()
            .collect()
    }

    /// What was wrong so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Waits until `count` model calls have arrived.
    pub async fn wait_for_calls(&self, count: usize, limit: Duration) {
        let mut calls = self.shared.calls.subscribe();
        let arrived = tokio::time::timeout(limit, calls.wait_for(|seen| *seen >= count)).await;
        assert!(
            matches!(arrived, Ok(Ok(_))),
            "{count} model calls were expected within {limit:?}, {} came",
            *self.shared.calls.borrow()
        );
    }

    /// Ends the test's dealings with the service: no request broke a rule, and all that the script expected
    /// was asked for.
    #[track_caller]
    pub fn assert_clean(&self) {
        let complaints = {
            let mut state = self.state();
            state.judged = true;
            state.complaints()
        };
        assert!(
            complaints.is_empty(),
            "the scripted API complains:\n  {}",
            complaints.join("\n  ")
        );
    }

    /// Takes note that this test expects bad requests or an unfinished script.
    pub fn ignore_complaints(&self) {
        self.state().judged = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for ScriptedApi {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let state = self.state();
        let forgotten = !state.judged;
        drop(state);
        assert!(
            !forgotten || std::thread::panicking(),
            "a test with a scripted API ends with assert_clean() or ignore_complaints()"
        );
    }
}

/// What the script says about a call.
#[derive(Debug)]
struct Play {
    step: Step,
    stem: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn complaints(&self) -> Vec<String> {
        let mut complaints = self.violations.clone();
        for (number, queue) in self.queues.iter().enumerate() {
            if queue.steps.end != End::Exact {
                continue;
            }
            let wanted = queue.steps.steps.len();
            let sessions: Vec<(&String, usize)> = self
                .cursors
                .iter()
                .filter(|((queue, _), _)| *queue == number)
                .map(|((_, session), reached)| (session, *reached))
                .collect();
            if sessions.is_empty() && wanted > 0 {
                complaints.push(format!(
                    "{} was expected to call {wanted} times and never did",
                    queue.caller
                ));
            }
            for (session, reached) in sessions {
                if reached < wanted {
                    complaints.push(format!(
                        "{}{session} asked for {reached} of {wanted} steps",
                        queue.caller
                    ));
                }
            }
        }
        complaints
    }

    /// The next step for this request; none when the script has none left.
    fn play(&mut self, request: &Recorded) -> Option<Play> {
        let conversation = request.body.to_string();
        let number = self
            .queues
            .iter()
            .position(|queue| queue.caller.is(&request.caller, &conversation))?;
        let queue = self.queues.get(number)?;
        let session = match queue.caller {
            Caller::ClaudeCode => request
                .session
                .clone()
                .map_or_else(String::new, |id| format!(" session {id}")),
            _ => String::new(),
        };
        let cursor = self.cursors.entry((number, session)).or_insert(0);
        let step = match queue.steps.steps.get(*cursor) {
            Some(step) => step.clone(),
            None if queue.steps.end == End::Repeats => queue.steps.steps.last()?.clone(),
            None => return None,
        };
        let names = format!(
            "{}{number}_{}",
            request.caller.replace(|c: char| !c.is_ascii_alphanumeric(), ""),
            *cursor
        );
        *cursor += 1;
        Some(Play { step, stem: names })
    }
}

impl Caller {
    fn is(&self, caller: &str, conversation: &str) -> bool {
        match self {
            Self::Agent { id, mark } => {
                id == caller
                    && mark
                        .as_ref()
                        .is_none_or(|mark| conversation.contains(mark.as_str()))
            }
            Self::ClaudeCode => caller == serve::CLAUDE_CODE,
            Self::Anyone => true,
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Agent { id, mark: None } => write!(f, "agent {id}"),
            Self::Agent { id, mark: Some(mark) } => write!(f, "agent {id} (about {mark:?})"),
            Self::ClaudeCode => f.write_str("Claude Code"),
            Self::Anyone => f.write_str("anyone"),
        }
    }
}

fn recorded_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}
