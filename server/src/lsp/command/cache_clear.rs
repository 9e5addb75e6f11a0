//! `clode.cache.clear`: forgets the results of all earlier steps.

use clode_core::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::Invocation;
use crate::lsp::session::Session;

pub(super) fn run(session: &Session, _: Invocation) -> BoxFuture<'_, Result<Value>> {
    async move {
        let cleared = session.engine().await?.services().store.cache_clear().await?;
        tracing::info!(results = cleared.removed, "the step cache was cleared");
        Ok(json!({ "bytes": cleared.bytes }))
    }
    .boxed()
}
