//! `clode.pipeline.subscribe`: events from a number on, those that were and those to come.

use clode_core::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use crate::lsp::command::options::EventToken;
use crate::lsp::command::target::{self, Fits, Named};
use crate::lsp::command::{Invocation, arguments};
use crate::lsp::session::Session;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    #[serde(default)]
    pipeline_id: Option<String>,
    event_token: EventToken,
    #[serde(default)]
    after_seq: u64,
}

pub(in crate::lsp::command) fn run(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let named = Named::pipeline(options.pipeline_id);
        let run = target::resolve(session, &invocation.subject, named, Fits::Any).await?;
        session
            .desk()
            .subscribe(&run, options.event_token.0, options.after_seq)
            .await;
        super::summary(session.engine().await?, &run).await
    }
    .boxed()
}
