//! Decides about each tool of the program: money, checkpoint, policy, a person; in this order.

use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;

use super::account::Contract;
use super::policy::{self, Decision, Surroundings};
use super::{FORM, Stored, note};
use crate::agent::claude::meter::Meter;
use crate::agent::claude::session::{Host, ToolCall, Verdict};
use crate::agent::survey;
use crate::engine::{Files, StepContext, WorkingDirectory};
use crate::error::{Error, Result};
use crate::money::Money;
use crate::pipeline::{GateRequest, PermissionAsk, StepFailure};
use crate::task::TestCommand;
use crate::workspace::Root;

/// A step's side of its sessions.
pub(super) struct SessionHost<'a> {
    context: &'a StepContext,
    contract: &'a Contract,
    surroundings: Surroundings,
    root: Root,
    state: Mutex<State>,
    /// One checkpoint at a time.
    storing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    granted: Money,
    session: String,
    model: Option<String>,
}

impl<'a> SessionHost<'a> {
    pub(super) fn new(
        context: &'a StepContext,
        contract: &'a Contract,
        place: &WorkingDirectory,
        tests: Vec<TestCommand>,
    ) -> Result<Self> {
        let surroundings = Surroundings {
            root: place.root.clone(),
            folder: place.folder.clone(),
            exclude: survey::excluded(&context.config.context.exclude),
            tests,
        };
        Ok(Self {
            context,
            contract,
            surroundings,
            root: Root::open(&place.root)?,
            state: Mutex::default(),
            storing: tokio::sync::Mutex::default(),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that starts now may spend so much.
    pub(super) fn granted(&self, amount: Money) {
        self.state().granted = amount;
    }

    /// The model that answered last.
    pub(super) fn model(&self) -> Option<String> {
        self.state().model.clone()
    }

    async fn decide(&self, call: ToolCall, meter: Meter, results_came: bool) -> Verdict {
        if self.context.pause_point().await.is_err() {
            return Verdict::Stop("the run was ended".to_owned());
        }
        let granted = {
            let mut state = self.state();
            state.model = meter.model().map(str::to_owned).or_else(|| state.model.take());
            state.granted
        };
        let next = self.contract.next_at_most(&meter);
        let spent = meter.cost(&|model| self.contract.price(model));
        if next > Money::ZERO && spent.plus(next) > granted {
            return Verdict::Stop(
                "the money that was set aside is used up; the work goes on when there is more".to_owned(),
            );
        }
        if results_came && let Err(error) = self.checkpoint().await {
            tracing::warn!(error = %error.error, "a checkpoint could not be made");
            return Verdict::Stop("the work could not be saved".to_owned());
        }
        match policy::decide(&call.tool, &call.input, &self.surroundings) {
            Decision::Allow { path: Some(path) } if self.leaves(&path) => {
                Verdict::Deny("a link on this path leads out of the working directory".to_owned())
            }
            Decision::Allow { .. } => {
                self.context.say(policy::activity(&call.tool, &call.input));
                Verdict::Allow
            }
            Decision::Deny { reason } => Verdict::Deny(reason),
            Decision::Ask(ask) => self.ask(ask).await,
        }
    }

    /// Whether a path leaves the root by a link; one that does not exist yet does not.
    fn leaves(&self, path: &str) -> bool {
        self.root
            .resolve(path)
            .is_err_and(|error| error.code == "refusedPath")
    }

    async fn ask(&self, ask: PermissionAsk) -> Verdict {
        if self.checkpoint().await.is_err() {
            return Verdict::Stop("the work could not be saved".to_owned());
        }
        self.context.say(format!(
            "asks whether it may run {}",
            ask.command.as_deref().unwrap_or(&ask.tool)
        ));
        match self.context.ask(GateRequest::Permission(ask)).await {
            Ok(answer) if answer.approved => Verdict::Allow,
            Ok(answer) => {
                let words = answer
                    .comment
                    .map(|comment| format!(": {comment}"))
                    .unwrap_or_default();
                Verdict::Deny(format!("a person said no{words}; go on without it"))
            }
            Err(_) => Verdict::Stop("the run was ended".to_owned()),
        }
    }

    async fn checkpoint(&self) -> Result<(), StepFailure> {
        let _one_at_a_time = self.storing.lock().await;
        let session = self.state().session.clone();
        let stored = serde_json::to_vec(&Stored { session })
            .map_err(|error| Error::internal(format!("a checkpoint cannot be written: {error}")))?;
        Ok(self
            .context
            .checkpoint(stored, Files::Changed, &note(self.context, FORM))
            .await?)
    }
}

impl Host for SessionHost<'_> {
    fn before_tool(&self, call: ToolCall, meter: Meter, results_came: bool) -> BoxFuture<'_, Verdict> {
        Box::pin(self.decide(call, meter, results_came))
    }

    fn begun(&self, session: &str) {
        session.clone_into(&mut self.state().session);
    }

    fn say(&self, words: String) {
        self.context.say(words);
    }
}
