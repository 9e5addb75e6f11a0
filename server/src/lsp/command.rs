//! The commands: each is one file and one line in [`COMMANDS`]; the capabilities come from the table.

use clode_core::{Error, Result};
use futures::future::BoxFuture;
use serde_json::Value;

mod apply;
pub(crate) mod arguments;
mod document;
mod edit;
pub(crate) mod edit_plan;
mod reject_hunks;
mod show_diff;

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
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// As on the wire.
    pub(crate) id: &'static str,
    /// Carries it out.
    pub(crate) run: Run,
}

/// Every command that is advertised.
pub(crate) static COMMANDS: &[Command] = &[
    Command { id: "clode.document", run: document::run },
    Command { id: "clode.pipeline.apply", run: apply::run },
    Command { id: "clode.pipeline.edit", run: edit::run },
    Command { id: "clode.pipeline.editPlan", run: edit_plan::run },
    Command { id: "clode.pipeline.rejectHunks", run: reject_hunks::run },
    Command { id: "clode.pipeline.showDiff", run: show_diff::run },
];

/// Answers `workspace/executeCommand`.
pub(crate) async fn execute(session: &Session, params: Value) -> Result<Value> {
    let id = params.get("command").and_then(Value::as_str).unwrap_or_default();
    let Some(command) = COMMANDS.iter().find(|command| command.id == id) else {
        return Err(Error::usage("unknownCommand", format!("there is no command `{id}`")));
    };
    let invocation = Invocation {
        options: arguments::options(params.get("arguments"))?,
        work_done_token: params.get("workDoneToken").filter(|token| !token.is_null()).cloned(),
    };
    (command.run)(session, invocation).await
}
