//! From hunks to the user's text: builds workspace edits for this client, applies them, and checks what landed.

use clode_core::Result;
use clode_core::id::{HunkId, PipelineId};
use serde_json::{Value, json};
use url::Url;

use super::session::Session;

/// Which hunks are meant; nothing named means every pending one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) files: Vec<Url>,
    pub(crate) hunks: Vec<HunkId>,
}

/// Applies hunks through the editor; answers `{files: [...]}` of the contract.
pub(crate) async fn apply(_session: &Session, _run: &PipelineId, _selection: &Selection) -> Result<Value> {
    Ok(json!({"files": []}))
}

/// The `files` of a PipelineDetail, with ranges in the text that this editor shows now.
pub(crate) async fn files(_session: &Session, _run: &PipelineId) -> Result<Vec<Value>> {
    Ok(Vec::new())
}
