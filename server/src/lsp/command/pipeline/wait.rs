//! `clode.pipeline.wait`: until the end, or until a person has to do something.

use std::time::Duration;

use clode_core::Result;
use clode_core::engine::Until;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use crate::lsp::command::target::{self, Fits, Named};
use crate::lsp::command::{Invocation, arguments};
use crate::lsp::session::Session;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    pipeline_id: Option<String>,
    timeout_ms: Option<u64>,
}

pub(in crate::lsp::command) fn run(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let named = Named::pipeline(options.pipeline_id);
        let run = target::resolve(session, &invocation.subject, named, Fits::Any).await?;
        let progress = session.desk().under(&run, invocation.work_done_token).await;
        let limit = options.timeout_ms.map(Duration::from_millis);
        session
            .engine()
            .await?
            .wait(&run, Until::EndedOrWaiting, limit)
            .await?;
        progress.end().await;
        super::detail(session, &run).await
    }
    .boxed()
}
