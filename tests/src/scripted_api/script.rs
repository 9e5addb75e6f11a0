//! What the scripted API answers, written as a scenario: who is expected to call, and what each call gets.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::fault::Fault;

/// How long a test waits for a call to come.
const REACH_LIMIT: Duration = Duration::from_secs(60);
/// More permits than any test takes: a released hold stays open.
const RELEASED_PERMITS: usize = 1_000;

/// All that is expected to be asked, and the answers.
#[derive(Debug, Default)]
pub struct Script {
    pub(super) queues: Vec<Queue>,
}

/// The steps of one caller.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) caller: Caller,
    pub(super) steps: Steps,
}

/// Who a queue belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// One of our own agents: a line `clode-agent: <id>` in its system prompt; with `mark`, only the calls
    /// whose conversation contains that text.
    Agent { id: String, mark: Option<String> },
    /// The real Claude Code. Every session of it goes through the steps from the beginning.
    ClaudeCode,
    /// Whoever no other queue fits.
    Anyone,
}

impl Script {
    /// Nobody is expected to call.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The calls of our agent `id`, in their order over all runs.
    #[must_use]
    pub fn agent(self, id: &str, build: impl FnOnce(Steps) -> Steps) -> Self {
        self.queue(
            Caller::Agent {
                id: id.to_owned(),
                mark: None,
            },
            build,
        )
    }

    /// The calls of our agent `id` in whose conversation `mark` occurs: tells parallel runs apart.
    #[must_use]
    pub fn agent_about(self, id: &str, mark: &str, build: impl FnOnce(Steps) -> Steps) -> Self {
        self.queue(
            Caller::Agent {
                id: id.to_owned(),
                mark: Some(mark.to_owned()),
            },
            build,
        )
    }

    /// The calls of the real Claude Code, per session. `{cwd}` in the input of a tool call becomes the
    /// working directory that the request names.
    #[must_use]
    pub fn claude_code(self, build: impl FnOnce(Steps) -> Steps) -> Self {
        self.queue(Caller::ClaudeCode, build)
    }

    /// The calls that fit no other queue.
    #[must_use]
    pub fn anyone(self, build: impl FnOnce(Steps) -> Steps) -> Self {
        self.queue(Caller::Anyone, build)
    }

    fn queue(mut self, caller: Caller, build: impl FnOnce(Steps) -> Steps) -> Self {
        self.queues.push(Queue {
            caller,
            steps: build(Steps::default()),
        });
        self
    }
}

/// The answers of one caller, in order.
#[derive(Debug, Default)]
pub struct Steps {
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

/// What happens at the end of a queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every step must be asked for, and nothing more.
    #[default]
    Exact,
    /// The steps need not all be asked for.
    MayEndEarly,
    /// The last step answers every further call; the steps need not all be asked for.
    Repeats,
}

impl Steps {
    /// The model answers with this text and ends its turn.
    #[must_use]
    pub fn says(self, text: &str) -> Self {
        self.replies(Reply::text(text))
    }

    /// The model calls one tool.
    #[must_use]
    pub fn calls(self, tool: &str, input: Value) -> Self {
        self.replies(Reply::call(tool, input))
    }

    /// The model gives this reply.
    #[must_use]
    pub fn replies(mut self, reply: Reply) -> Self {
        self.steps.push(Step::Reply(reply));
        self
    }

    /// The call goes wrong.
    #[must_use]
    pub fn fails(mut self, fault: Fault) -> Self {
        self.steps.push(Step::Fault(fault));
        self
    }

    /// Not all of the steps need to be asked for.
    #[must_use]
    pub fn may_end_early(mut self) -> Self {
        self.end = End::MayEndEarly;
        self
    }

    /// The last step is the answer to every further call.
    #[must_use]
    pub fn and_so_on(mut self) -> Self {
        self.end = End::Repeats;
        self
    }
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Reply(Reply),
    Fault(Fault),
}

/// One message of the model.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) parts: Vec<Part>,
    pub(super) usage: Usage,
    pub(super) stop: Option<Stop>,
    pub(super) piece_bytes: Option<usize>,
    pub(super) hold: Option<Hold>,
    pub(super) model: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    Thinking { text: String, signature: String },
    Call { tool: String, input: Value },
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is done.
    EndTurn,
    /// It waits for tool results.
    ToolUse,
    /// It ran into `max_tokens`.
    MaxTokens,
    /// It refuses.
    Refusal,
}

/// The tokens that a reply is charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Input that came from no cache.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from the cache.
    pub cache_read: u64,
    /// Input written to the cache.
    pub cache_write: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            input: 1_000,
            output: 50,
            cache_read: 0,
            cache_write: 0,
        }
    }
}

impl Reply {
    /// Says this and ends the turn.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::of(Part::Text(text.to_owned()))
    }

    /// Calls one tool.
    #[must_use]
    pub fn call(tool: &str, input: Value) -> Self {
        Self::of(Part::Call {
            tool: tool.to_owned(),
            input,
        })
    }

    /// Thinks first; a conversation that goes on must bring the signed thought back unchanged.
    #[must_use]
    pub fn thinking(text: &str, signature: &str) -> Self {
        Self::of(Part::Thinking {
            text: text.to_owned(),
            signature: signature.to_owned(),
        })
    }

    /// And says this in the same message.
    #[must_use]
    pub fn and_says(mut self, text: &str) -> Self {
        self.parts.push(Part::Text(text.to_owned()));
        self
    }

    /// And calls this tool in the same message.
    #[must_use]
    pub fn and_calls(mut self, tool: &str, input: Value) -> Self {
        self.parts.push(Part::Call {
            tool: tool.to_owned(),
            input,
        });
        self
    }

    /// Charges for this.
    #[must_use]
    pub fn using(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Stops for this reason; without it, for tools if there is a call, else because it is done.
    #[must_use]
    pub fn stopping(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Travels in pieces of so many bytes, wherever that cuts lines and characters.
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.piece_bytes = Some(bytes.max(1));
        self
    }

    /// Waits for the test before it sends its first byte.
    #[must_use]
    pub fn held_by(mut self, hold: &Hold) -> Self {
        self.hold = Some(hold.clone());
        self
    }

    /// Names another model than the one that was asked for.
    #[must_use]
    pub fn from_model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    pub(super) fn stop(&self) -> Stop {
        self.stop.unwrap_or_else(|| {
            if self.parts.iter().any(|part| matches!(part, Part::Call { .. })) {
                Stop::ToolUse
            } else {
                Stop::EndTurn
            }
        })
    }

    fn of(part: Part) -> Self {
        Self {
            parts: vec![part],
            usage: Usage::default(),
            stop: None,
            piece_bytes: None,
            hold: None,
            model: None,
        }
    }
}

/// A point at which a call waits until the test lets it go on.
#[derive(Debug, Clone)]
pub struct Hold {
    reached: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            reached: Arc::new(Semaphore::new(0)),
            released: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Hold {
    /// A closed one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until a call has come here; each call is told once.
    pub async fn reached(&self) {
        let arrived = tokio::time::timeout(REACH_LIMIT, self.reached.acquire()).await;
        match arrived {
            Ok(Ok(permit)) => permit.forget(),
            _ => panic!("no call came to its hold within {REACH_LIMIT:?}"),
        }
    }

    /// Lets this and every later call pass.
    pub fn release(&self) {
        self.released.add_permits(RELEASED_PERMITS);
    }

    pub(super) async fn wait(&self) {
        self.reached.add_permits(1);
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
    }
}
