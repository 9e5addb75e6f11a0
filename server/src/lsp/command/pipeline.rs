//! The commands about one pipeline, or all of them.

pub(crate) mod approve;
pub(super) mod control;
pub(super) mod delete;
pub(super) mod get;
pub(super) mod list;
pub(super) mod retry;
pub(super) mod subscribe;
pub(super) mod wait;

use clode_core::Result;
use clode_core::engine::Engine;
use clode_core::id::PipelineId;
use serde::Serialize;
use serde_json::Value;

use crate::lsp::edit;
use crate::lsp::session::Session;

/// A `PipelineDetail` with the files as this editor shows them now.
pub(super) async fn detail(session: &Session, run: &PipelineId) -> Result<Value> {
    let mut detail = session.engine().await?.detail(run).await?;
    detail.files = edit::files(session, run).await?;
    json(&detail)
}

/// A `PipelineSummary`.
pub(super) async fn summary(engine: &Engine, run: &PipelineId) -> Result<Value> {
    json(&engine.summary(run).await?)
}

/// An answer as JSON.
pub(super) fn json(answer: &impl Serialize) -> Result<Value> {
    serde_json::to_value(answer)
        .map_err(|error| clode_core::Error::internal(format!("an answer cannot be written: {error}")))
}
