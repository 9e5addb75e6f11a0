//! The conversation with a model that has tools: call, carry out what it asks for, answer in order,
//! make it durable, go on until it is done.

mod transcript;

use futures::future::BoxFuture;
use serde_json::Value;

pub(super) use transcript::Transcript;

use super::answer::Spoken;
use super::toolbox::{Record, ToolAnswer, Toolbox};
use crate::engine::{Files, ModelAnswer};
use crate::pipeline::StepFailure;
use crate::provider::{Content, Message, Request, Role, Stop, SystemBlock, ToolSpec};
use crate::{Error, Kind};

/// How often an answer that ran out of tokens is continued.
const CONTINUED_MAX: u32 = 3;
/// What is said to a model whose answer was cut.
const GO_ON: &str = "Your answer was cut at the limit of its length. Go on where it ended, in smaller parts.";
/// Stands for an answer without content, which no provider takes back.
const NOTHING_SAID: &str = "(no words)";

/// What the loop needs from its surroundings.
pub(super) trait Host: Sync {
    /// One model call.
    fn call(&self, request: Request) -> BoxFuture<'_, Result<ModelAnswer, StepFailure>>;
    /// Runs the tests of the task; a failure ends the step.
    fn run_tests(&self) -> BoxFuture<'_, Result<ToolAnswer, StepFailure>>;
    /// Asks a person, and waits for the answer.
    fn ask(&self, question: String) -> BoxFuture<'_, Result<ToolAnswer, StepFailure>>;
    /// Makes files and transcript durable.
    fn checkpoint(&self, transcript: Vec<u8>, files: Files) -> BoxFuture<'_, Result<(), StepFailure>>;
    /// Says what happens right now.
    fn say(&self, words: String);
}

/// The fixed side of a conversation.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) system: Vec<SystemBlock>,
    pub(super) tools: Vec<ToolSpec>,
    /// Most model calls.
    pub(super) turns_max: u32,
    /// Most output tokens of one call.
    pub(super) tokens_max: u32,
    /// Most tokens of prompt and answer together.
    pub(super) window_tokens: u64,
}

/// How a conversation came to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rest {
    /// The model is done and says this.
    Said(String),
    /// The calls are used up.
    OutOfTurns,
}

/// A conversation under way.
pub(super) struct Conversation<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) toolbox: &'a Toolbox,
    pub(super) setting: Setting,
    pub(super) transcript: Transcript,
    /// Who answered last.
    pub(super) spoken: Spoken,
}

impl Conversation<'_> {
    /// Talks until the model is done.
    pub(super) async fn run(&mut self) -> Result<Rest, StepFailure> {
        let mut continued = 0;
        self.take_up().await?;
        while self.transcript.turns < self.setting.turns_max {
            self.transcript.fit(
                self.setting.window_tokens,
                self.setting.tokens_max,
                &self.setting.system,
            );
            let answer = self.host.call(self.request()).await?;
            self.transcript.turns += 1;
            self.transcript.cost = self.transcript.cost.plus(answer.cost);
            self.spoken = Spoken::of(&answer);
            let response = answer.response;
            if response.stop == Stop::Refusal {
                return Err(StepFailure::permanent(refused(&answer.model, &response.text())));
            }
            let text = response.text();
            let calls = tool_calls(&response.content);
            self.push_answer(response.content);
            if !calls.is_empty() {
                continued = 0;
                // What was paid for is kept before anything is made of it: a tool may wait for a person.
                let said = self.transcript.to_bytes()?;
                self.host.checkpoint(said, Files::Unchanged).await?;
                self.answer_calls(calls).await?;
            } else if response.stop == Stop::MaxTokens && continued < CONTINUED_MAX {
                continued += 1;
                self.transcript.tell(GO_ON);
            } else if response.stop == Stop::MaxTokens {
                return Err(StepFailure::permanent(cut_off(&answer.model)));
            } else {
                return Ok(Rest::Said(text));
            }
        }
        Ok(Rest::OutOfTurns)
    }

    /// Carries out the calls that an earlier attempt was cut off at.
    async fn take_up(&mut self) -> Result<(), StepFailure> {
        let last = self.transcript.messages.last();
        let calls = last
            .filter(|last| last.role == Role::Assistant)
            .map(|last| tool_calls(&last.content))
            .unwrap_or_default();
        if calls.is_empty() {
            return Ok(());
        }
        self.answer_calls(calls).await
    }

    fn request(&self) -> Request {
        Request {
            model: String::new(),
            system: self.setting.system.clone(),
            messages: self.transcript.messages.clone(),
            tools: self.setting.tools.clone(),
            max_tokens: self.setting.tokens_max,
        }
    }

    fn push_answer(&mut self, mut content: Vec<Content>) {
        content.retain(|piece| !matches!(piece, Content::Text(text) if text.trim().is_empty()));
        if !content
            .iter()
            .any(|piece| matches!(piece, Content::Text(_) | Content::ToolUse { .. }))
        {
            content.push(Content::Text(NOTHING_SAID.to_owned()));
        }
        self.transcript.messages.push(Message::assistant(content));
    }

    /// Carries out all calls of one turn, in their order, and answers them together.
    async fn answer_calls(&mut self, calls: Vec<(String, String, Value)>) -> Result<(), StepFailure> {
        let mut results = Vec::new();
        for (id, name, input) in calls {
            self.host.say(activity(&name, &input));
            let answer = self.carry_out(&name, input).await?;
            results.push(Content::ToolResult {
                id,
                text: answer.text,
                is_error: answer.is_error,
            });
        }
        self.transcript.messages.push(Message {
            role: Role::User,
            content: results,
        });
        self.host
            .checkpoint(self.transcript.to_bytes()?, Files::Changed)
            .await
    }

    async fn carry_out(&mut self, name: &str, input: Value) -> Result<ToolAnswer, StepFailure> {
        if !self.setting.tools.iter().any(|tool| tool.name == name) {
            return Ok(ToolAnswer::error(format!("there is no tool `{name}`")));
        }
        if name == "run_test" {
            self.transcript.record = Record::with_gaps();
            return self.host.run_tests().await;
        }
        if name == "ask_person" {
            self.transcript.record = Record::with_gaps();
            return match input.get("question").and_then(Value::as_str).map(str::trim) {
                Some(question) if !question.is_empty() => self.host.ask(question.to_owned()).await,
                _ => Ok(ToolAnswer::error("the argument `question` is missing")),
            };
        }
        let (toolbox, tool) = (self.toolbox.clone(), name.to_owned());
        let mut record = std::mem::replace(&mut self.transcript.record, Record::with_gaps());
        let run = move || {
            let answer = toolbox.run_recorded(&tool, &input, &mut record);
            (answer, record)
        };
        Ok(match tokio::task::spawn_blocking(run).await {
            Ok((answer, record)) => {
                self.transcript.record = record;
                answer
            }
            Err(error) => {
                tracing::error!(%error, tool = name, "a tool fell over");
                ToolAnswer::error("the tool failed")
            }
        })
    }
}

fn tool_calls(content: &[Content]) -> Vec<(String, String, Value)> {
    let calls = content.iter().filter_map(|piece| match piece {
        Content::ToolUse { id, name, input } => Some((id.clone(), name.clone(), input.clone())),
        _ => None,
    });
    calls.collect()
}

/// A few words about a call, for progress.
fn activity(name: &str, input: &Value) -> String {
    let of = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
    match name {
        "read_file" => format!("reads {}", of("path")),
        "write_file" => format!("writes {}", of("path")),
        "edit_file" => format!("edits {}", of("path")),
        "delete_file" => format!("deletes {}", of("path")),
        "search" => format!("searches for {}", of("pattern")),
        "list_files" => "looks at the files".to_owned(),
        "run_test" => "runs the tests".to_owned(),
        "ask_person" => "asks a question".to_owned(),
        other => format!("uses {other}"),
    }
}

pub(super) fn refused(model: &str, words: &str) -> Error {
    let said: String = words.trim().chars().take(300).collect();
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    Error::new(
        Kind::Provider,
        "modelRefused",
        format!("{model} declined to do this{said}"),
    )
    .hint("say the task in other words, or choose another model for this agent")
}

fn cut_off(model: &str) -> Error {
    Error::new(
        Kind::Provider,
        "outputLimit",
        format!("{model} ran out of output tokens {CONTINUED_MAX} times in a row"),
    )
    .hint("make the task smaller, or choose a model with a higher limit of output")
}

#[cfg(test)]
mod tests;
