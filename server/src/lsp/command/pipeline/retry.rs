//! `clode.pipeline.retry`: does again what failed or was not done, or goes on with another pipeline.

use clode_core::Result;
use clode_core::engine::Signal;
use clode_core::id::StepId;
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
    from_step: Option<String>,
    pipeline: Option<String>,
}

pub(in crate::lsp::command) fn run(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let again = options.from_step.is_some() || options.pipeline.is_some();
        let fits = if again { Fits::Ended } else { Fits::Retriable };
        let run = target::resolve(
            session,
            &invocation.subject,
            Named::pipeline(options.pipeline_id),
            fits,
        )
        .await?;
        let engine = session.engine().await?;
        let detail = json!({"fromStep": options.from_step, "pipeline": options.pipeline});
        let signal = Signal::Retry {
            from: options.from_step.map(StepId::new),
            pipeline: options.pipeline,
        };
        engine.signal(&run, signal).await?;
        engine.record(&run, "retried", &session.answerer(), &detail).await;
        super::summary(engine, &run).await
    }
    .boxed()
}
