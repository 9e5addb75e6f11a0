//! `clode.pipeline.rejectHunks`: a person does not want these hunks; nothing else happens.

use clode_core::id::HunkId;
use clode_core::{Error, Result};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::{Invocation, arguments};
use crate::lsp::session::Session;
use crate::lsp::{edit, review};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    pipeline_id: Option<String>,
    hunks: Vec<HunkId>,
    comment: Option<String>,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    Box::pin(async move {
        let options: Options = arguments::read(invocation.options)?;
        if options.hunks.is_empty() {
            return Err(Error::usage("invalidParams", "hunks: name the hunks to reject")
                .hint("`clode.pipeline.get` lists the hunks"));
        }
        let holds = |machine: &clode_core::pipeline::Machine| {
            options
                .hunks
                .iter()
                .all(|id| machine.hunks.iter().any(|record| record.id == *id))
        };
        let run = review::target(session, options.pipeline_id.as_deref(), holds).await?;
        invocation.subject.is(&run);
        edit::reject(session, &run, &options.hunks, options.comment).await
    })
}
