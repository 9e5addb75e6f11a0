//! One process of the program, from its first line to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::meter::Meter;
use super::outcome::{self, Outcome, broken};
pub(crate) use super::wire::Verdict;
use super::wire::{self, Said, Via};
use crate::id::random_hex;
use crate::money::Money;
use crate::process::{Child, ChildControl, ChildInput, ChildLines, Line};
use crate::{Error, Result};

/// How long the program may take to say that it is there.
const INITIALIZE_LIMIT: Duration = Duration::from_secs(90);
/// How long it may be silent while neither a tool nor a person is at work.
const SILENCE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long one of its tools may take.
const TOOL_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long it may take to end after its last line.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to say its last line after it was asked to stop.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(2);
/// Random bytes of an id.
const ID_BYTES: usize = 16;

/// A tool that the program wants to use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolCall {
    /// Its name.
    pub(crate) tool: String,
    /// Its arguments.
    pub(crate) input: Value,
}

/// The side of the driver that knows policy, money and persons.
pub(crate) trait Host: Sync {
    /// Decides about a tool; may take as long as a person needs.
    fn before_tool(&self, call: ToolCall, meter: Meter, results_came: bool) -> BoxFuture<'_, Verdict>;
    /// The session has this name now.
    fn begun(&self, session: &str);
    /// A few words about what happens.
    fn say(&self, words: String);
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it means.
    pub(crate) outcome: Outcome,
    /// What it used.
    pub(crate) meter: Meter,
    /// What the program itself says that it cost.
    pub(crate) reported: Option<Money>,
    /// Whether it had begun to work.
    pub(crate) begun: bool,
}

/// A fresh id in the form that the program wants.
pub(crate) fn new_id() -> Result<String> {
    let hex = random_hex(ID_BYTES)?;
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    ))
}

/// Speaks with a started process until its turn is over, and ends it.
pub(crate) async fn converse(
    child: Child,
    message: &str,
    host: &dyn Host,
    cancel: &CancellationToken,
) -> Result<Ended> {
    let (input, lines, control) = child.split();
    let mut session = Session {
        input,
        lines,
        control,
        host,
        meter: Meter::default(),
        pending: FuturesUnordered::new(),
        withdrawn: BTreeSet::new(),
        running: BTreeMap::new(),
        results_came: false,
        begun: false,
        heard: Instant::now(),
    };
    let result = session.talk(message, cancel).await;
    let end = session.end(result.is_err()).await;
    let outcome = match result {
        Ok(result) => {
            let reported = outcome::reported_cost(&result);
            return Ok(session.ended(outcome::judge(&result), reported));
        }
        Err(Stop::Ended) => Outcome::Interrupted(broken(
            &format!("ended without a last word ({end})"),
            &session.control.stderr_tail(),
        )),
        // What a cancelled session used has to be paid all the same.
        Err(Stop::Cancelled) => Outcome::Interrupted(Error::cancelled()),
        Err(Stop::Broken(error)) => Outcome::Interrupted(error),
        Err(Stop::Refused(error)) => Outcome::Failed(error),
    };
    Ok(session.ended(outcome, None))
}

/// Why a conversation ends before its result.
#[derive(Debug)]
enum Stop {
    Cancelled,
    /// The program is gone.
    Ended,
    Broken(Error),
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        if error.code == "programInput" {
            Self::Ended
        } else {
            Self::Broken(error)
        }
    }
}

type Decision<'h> = BoxFuture<'h, (String, Via, Option<String>, Verdict)>;

struct Session<'h> {
    input: ChildInput,
    lines: ChildLines,
    control: ChildControl,
    host: &'h dyn Host,
    meter: Meter,
    /// Questions about tools that are being decided, all at the same time.
    pending: FuturesUnordered<Decision<'h>>,
    withdrawn: BTreeSet<String>,
    /// Tools that were allowed and have not answered yet, with the time until which they may run.
    running: BTreeMap<String, Instant>,
    results_came: bool,
    begun: bool,
    heard: Instant,
}

impl Session<'_> {
    async fn talk(&mut self, message: &str, cancel: &CancellationToken) -> Result<Value, Stop> {
        self.input.write_line(&wire::initialize()).await?;
        let greeted = timeout(INITIALIZE_LIMIT, self.greeting());
        match cancel.run_until_cancelled(greeted).await {
            None => return Err(Stop::Cancelled),
            Some(Err(_)) => {
                return Err(Stop::Broken(broken(
                    "did not start up in time",
                    &self.control.stderr_tail(),
                )));
            }
            Some(Ok(Err(stop))) => return Err(stop),
            Some(Ok(Ok(Some(result)))) => return Ok(result),
            Some(Ok(Ok(None))) => {}
        }
        self.input.write_line(&wire::user(&new_id()?, message)).await?;
        self.heard = Instant::now();
        loop {
            let silent_until = self.heard + SILENCE_LIMIT;
            let tool_until = self.running.values().min().copied();
            let waits = !self.pending.is_empty();
            tokio::select! {
                () = cancel.cancelled() => return Err(Stop::Cancelled),
                line = self.lines.next() => {
                    let Some(line) = line? else { return Err(Stop::Ended) };
                    self.heard = Instant::now();
                    if let Some(result) = self.take_in(line).await? {
                        return Ok(result);
                    }
                }
                Some(decided) = self.pending.next(), if waits => {
                    self.heard = Instant::now();
                    self.tell(decided).await?;
                }
                () = sleep_until(tool_until.unwrap_or(silent_until)), if tool_until.is_some() && !waits => {
                    return Err(Stop::Broken(broken("waits for one of its tools for too long", &self.control.stderr_tail())));
                }
                () = sleep_until(silent_until), if tool_until.is_none() && !waits => {
                    let what = format!("was silent for {} s", SILENCE_LIMIT.as_secs());
                    return Err(Stop::Broken(broken(&what, &self.control.stderr_tail())));
                }
            }
        }
    }

    /// Waits for the answer to the first line. A result at this point is the end: a session that is not
    /// there any more.
    async fn greeting(&mut self) -> Result<Option<Value>, Stop> {
        loop {
            let Some(line) = self.lines.next().await? else {
                return Err(Stop::Ended);
            };
            let Line::Text(line) = line else { continue };
            match wire::read(&line) {
                Some(Said::Answer {
                    id,
                    failed: None,
                    body,
                }) if id == wire::INITIALIZE => {
                    if body.get("hooks_applied").and_then(Value::as_bool) == Some(false) {
                        let message = "Claude Code does not ask before it uses tools";
                        return Err(Stop::Refused(
                            Error::new(crate::Kind::Provider, "claudeTooOld", message).hint("update it"),
                        ));
                    }
                    return Ok(None);
                }
                Some(Said::Answer {
                    id,
                    failed: Some(why),
                    ..
                }) if id == wire::INITIALIZE => {
                    return Err(Stop::Broken(broken(
                        &format!("refused to start ({why})"),
                        &self.control.stderr_tail(),
                    )));
                }
                Some(Said::Result(result)) => return Ok(Some(result)),
                _ => {}
            }
        }
    }

    /// Takes in a line; the one that ends the turn comes back.
    async fn take_in(&mut self, line: Line) -> Result<Option<Value>, Stop> {
        let line = match line {
            Line::Text(line) => line,
            Line::TooLong { bytes } => {
                tracing::warn!(bytes, "a line of Claude Code is too long and was passed over");
                return Ok(None);
            }
        };
        let Some(said) = wire::read(&line) else {
            tracing::debug!(bytes = line.len(), "Claude Code wrote something that is no JSON");
            return Ok(None);
        };
        match said {
            Said::Begun { session } => {
                self.begun = true;
                self.host.begun(&session);
            }
            Said::ToolAsked {
                id,
                via,
                tool,
                input,
                call,
            } => self.ask(id, via, tool, input, call),
            Said::OtherRequest { id } => self.input.write_line(&wire::unsupported(&id)).await?,
            Said::Withdrawn { id } => {
                self.withdrawn.insert(id);
            }
            Said::Stream { event, parent } => self.meter.stream(&event, &parent),
            Said::Spoken { message } => self.meter.spoken(&message),
            Said::Results { calls } => {
                self.results_came |= !calls.is_empty();
                self.running.retain(|call, _| !calls.contains(call));
            }
            Said::Retry {
                status: Some(401 | 403),
                error,
            } => return Err(Stop::Refused(outcome::key_rejected(&error))),
            Said::Retry { error, .. } => self.host.say(format!("the model call is repeated ({error})")),
            Said::Result(result) => return Ok(Some(result)),
            Said::Answer { .. } | Said::Other => {}
        }
        Ok(None)
    }

    fn ask(&mut self, id: String, via: Via, tool: String, input: Value, call: Option<String>) {
        let results_came = std::mem::take(&mut self.results_came);
        let decided = self
            .host
            .before_tool(ToolCall { tool, input }, self.meter.clone(), results_came);
        self.pending
            .push(Box::pin(async move { (id, via, call, decided.await) }));
    }

    async fn tell(&mut self, (id, via, call, verdict): (String, Via, Option<String>, Verdict)) -> Result<()> {
        if self.withdrawn.remove(&id) {
            return Ok(());
        }
        if verdict == Verdict::Allow
            && let Some(call) = call
        {
            self.running.insert(call, Instant::now() + TOOL_LIMIT);
        }
        self.input.write_line(&wire::verdict(&id, via, &verdict)).await
    }

    /// Ends the process: by itself after its last line, else step by step harder.
    async fn end(&mut self, is_cut_short: bool) -> String {
        self.pending.clear();
        let mut patience = FAREWELL_LIMIT;
        if is_cut_short && self.input.write_line(&wire::interrupt()).await.is_ok() {
            let said_goodbye = async {
                while let Ok(Some(line)) = self.lines.next().await {
                    let Line::Text(line) = line else { continue };
                    match wire::read(&line) {
                        Some(Said::Result(_)) => break,
                        Some(Said::Stream { event, parent }) => self.meter.stream(&event, &parent),
                        _ => {}
                    }
                }
            };
            if timeout(INTERRUPT_LIMIT, said_goodbye).await.is_err() {
                patience = Duration::ZERO;
            }
        }
        self.input.close();
        let dropped = async {
            while self.lines.next().await.is_ok_and(|line| line.is_some()) {}
            std::future::pending::<()>().await;
        };
        let ended = async {
            match timeout(patience, self.control.wait()).await {
                Ok(end) => end,
                Err(_) => self.control.stop().await,
            }
        };
        let end = tokio::select! {
            end = ended => end,
            () = dropped => Err(Error::internal("a reader that never ends ended")),
        };
        end.map_or_else(|error| error.message, |end| end.to_string())
    }

    fn ended(&mut self, outcome: Outcome, reported: Option<Money>) -> Ended {
        Ended {
            outcome,
            meter: std::mem::take(&mut self.meter),
            reported,
            begun: self.begun,
        }
    }
}
