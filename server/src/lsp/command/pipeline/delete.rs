//! `clode.pipeline.delete`: forgets an ended pipeline.

use clode_core::Result;
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

pub(in crate::lsp::command) fn run(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let named = Named::pipeline(options.pipeline_id);
        let run = target::resolve(session, &invocation.subject, named, Fits::Ended).await?;
        let engine = session.engine().await?;
        let summary = super::summary(engine, &run).await?;
        engine.delete(&run).await?;
        engine
            .record(&run, "deleted", &session.answerer(), &json!({}))
            .await;
        session.desk().look_again().await;
        Ok(summary)
    }
    .boxed()
}
