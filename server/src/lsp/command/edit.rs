//! `clode.pipeline.edit`: the edit that would apply hunks, for the caller to look at or to apply.

use clode_core::Result;
use futures::future::BoxFuture;
use serde_json::Value;

use super::{Invocation, apply, arguments};
use crate::lsp::edit;
use crate::lsp::session::Session;

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    Box::pin(async move {
        let (run, selection) = arguments::read::<apply::Options>(invocation.options)?
            .resolve(session, &invocation.subject)
            .await?;
        edit::workspace_edit(session, &run, &selection).await
    })
}
