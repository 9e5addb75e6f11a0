//! Virtual documents: plans, patches, costs, steps, and the files of a patch before, after and merged.

use clode_core::Result;
use serde_json::Value;

use super::session::Session;

/// Answers `workspace/textDocumentContent`.
pub(crate) async fn content(_session: &Session, _params: Value) -> Result<Value> {
    Ok(Value::Null)
}
