//! `clode.pipeline.pause`, `.resume` and `.cancel`.

use clode_core::engine::Signal;
use clode_core::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::lsp::command::target::{self, Fits, Named};
use crate::lsp::command::{Invocation, arguments};
use crate::lsp::session::Session;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    pipeline_id: Option<String>,
}

pub(in crate::lsp::command) fn pause(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    control(session, invocation, Fits::Pausable, "paused", Signal::Pause).boxed()
}

pub(in crate::lsp::command) fn resume(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    control(session, invocation, Fits::Paused, "resumed", Signal::Resume).boxed()
}

pub(in crate::lsp::command) fn cancel(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    let signal = Signal::Cancel {
        by: session.answerer(),
    };
    control(session, invocation, Fits::Unfinished, "cancelled", signal).boxed()
}

async fn control(
    session: &Session,
    invocation: Invocation,
    fits: Fits,
    action: &'static str,
    signal: Signal,
) -> Result<Value> {
    let options: Options = arguments::read(invocation.options)?;
    let run = target::resolve(
        session,
        &invocation.subject,
        Named::pipeline(options.pipeline_id),
        fits,
    )
    .await?;
    let engine = session.engine().await?;
    let row = engine.row(&run).await?;
    if row.finished {
        let what = format!("an ended pipeline cannot be {action} (`{run}` is {})", row.status);
        return Err(Error::state("pipelineEnded", what).hint("`clode.pipeline.retry` starts it again"));
    }
    engine.signal(&run, signal).await?;
    engine.record(&run, action, &session.answerer(), &json!({})).await;
    super::summary(engine, &run).await
}
