//! The commands: each is one file and one line in [`COMMANDS`]; the capabilities come from the table.

use std::sync::{Arc, Mutex, PoisonError};

use clode_core::finish::to_its_end;
use clode_core::id::PipelineId;
use clode_core::{Error, Kind, Result};
use futures::future::BoxFuture;
use serde_json::Value;
use tower_lsp::jsonrpc;
use tracing::Instrument;

mod apply;
pub(crate) mod arguments;
mod cache_clear;
mod document;
mod edit;
pub(crate) mod edit_plan;
mod execute_agent;
pub(crate) mod instruction;
mod options;
mod pipeline;
mod providers_check;
mod reject_hunks;
mod reload_config;
mod revert;
mod run;
mod show_diff;
mod status;
pub(crate) mod target;
mod trust;

#[cfg(test)]
mod tests;

pub(crate) use pipeline::approve::give as give_answer;

use TakenBack::{Finishes, Stops};

use super::answer;
use super::session::Session;

/// Carries a command out.
pub(crate) type Run = for<'a> fn(&'a Session, Invocation) -> BoxFuture<'a, Result<Value>>;

/// A command as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The options: always an object.
    pub(crate) options: Value,
    /// The request's own progress token, if it brought one.
    pub(crate) work_done_token: Option<Value>,
    /// The pipeline that turned out to be meant; a refusal says how it stands.
    pub(crate) subject: Subject,
}

/// Remembers which pipeline a command is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject(Arc<Mutex<Option<PipelineId>>>);

impl Subject {
    pub(crate) fn is(&self, run: &PipelineId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
    }

    fn get(&self) -> Option<PipelineId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// As on the wire.
    pub(crate) id: &'static str,
    /// Carries it out.
    pub(crate) run: Run,
    /// What `$/cancelRequest` does to it.
    pub(crate) taken_back: TakenBack,
}

/// What becomes of a command whose request the editor takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenBack {
    /// It looks or waits: it stops where it is.
    Stops,
    /// It changes something: what has begun is finished, and nobody is told.
    Finishes,
}

/// Every command that is advertised.
#[rustfmt::skip]
pub(crate) static COMMANDS: &[Command] = &[
    Command { id: "clode.run", run: run::run, taken_back: Stops },
    Command { id: "clode.executeAgent", run: execute_agent::run, taken_back: Stops },
    Command { id: "clode.status", run: status::run, taken_back: Stops },
    Command { id: "clode.pipeline.get", run: pipeline::get::run, taken_back: Stops },
    Command { id: "clode.pipeline.list", run: pipeline::list::run, taken_back: Stops },
    Command { id: "clode.pipeline.wait", run: pipeline::wait::run, taken_back: Stops },
    Command { id: "clode.pipeline.subscribe", run: pipeline::subscribe::run, taken_back: Stops },
    Command { id: "clode.pipeline.pause", run: pipeline::control::pause, taken_back: Finishes },
    Command { id: "clode.pipeline.resume", run: pipeline::control::resume, taken_back: Finishes },
    Command { id: "clode.pipeline.cancel", run: pipeline::control::cancel, taken_back: Finishes },
    Command { id: "clode.pipeline.delete", run: pipeline::delete::run, taken_back: Finishes },
    Command { id: "clode.pipeline.retry", run: pipeline::retry::run, taken_back: Finishes },
    Command { id: "clode.pipeline.approve", run: pipeline::approve::run, taken_back: Finishes },
    Command { id: "clode.providers.check", run: providers_check::run, taken_back: Stops },
    Command { id: "clode.trust", run: trust::run, taken_back: Finishes },
    Command { id: "clode.reloadConfig", run: reload_config::run, taken_back: Finishes },
    Command { id: "clode.cache.clear", run: cache_clear::run, taken_back: Finishes },
    Command { id: "clode.document", run: document::run, taken_back: Stops },
    Command { id: "clode.pipeline.apply", run: apply::run, taken_back: Finishes },
    Command { id: "clode.pipeline.edit", run: edit::run, taken_back: Stops },
    Command { id: "clode.pipeline.editPlan", run: edit_plan::run, taken_back: Stops },
    Command { id: "clode.pipeline.rejectHunks", run: reject_hunks::run, taken_back: Finishes },
    Command { id: "clode.pipeline.revert", run: revert::run, taken_back: Finishes },
    Command { id: "clode.pipeline.showDiff", run: show_diff::run, taken_back: Stops },
];

/// Answers `workspace/executeCommand`.
pub(crate) async fn execute(session: &Session, params: Value) -> Result<Value, jsonrpc::Error> {
    let subject = Subject::default();
    match carry_out(session, params, subject.clone()).await {
        Ok(value) => Ok(value),
        Err(error) => Err(refusal(session, &error, &subject).await),
    }
}

async fn carry_out(session: &Session, params: Value, subject: Subject) -> Result<Value> {
    let id = params.get("command").and_then(Value::as_str).unwrap_or_default();
    let Some(command) = COMMANDS.iter().find(|command| command.id == id) else {
        return Err(Error::usage(
            "unknownCommand",
            format!("there is no command `{id}`"),
        ));
    };
    let invocation = Invocation {
        options: arguments::options(params.get("arguments"))?,
        work_done_token: params
            .get("workDoneToken")
            .filter(|token| !token.is_null())
            .cloned(),
        subject,
    };
    let span = tracing::info_span!("command", command = command.id);
    match command.taken_back {
        Stops => (command.run)(session, invocation).instrument(span).await,
        Finishes => {
            let session = session.clone();
            let work = async move { (command.run)(&session, invocation).await };
            to_its_end(work).instrument(span).await
        }
    }
}

/// The error for the editor; where the state does not allow the call, with that state.
async fn refusal(session: &Session, error: &Error, subject: &Subject) -> jsonrpc::Error {
    let status = match (subject.get(), session.opened()) {
        (Some(run), Some(app)) if error.kind != Kind::Usage => {
            app.engine.row(&run).await.ok().map(|row| row.status)
        }
        _ => None,
    };
    answer::with_status(error, status.as_deref())
}
