//! `clode.pipeline.revert`: takes applied hunks out of the user's text again.

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
        edit::revert(session, &run, &selection).await
    })
}
