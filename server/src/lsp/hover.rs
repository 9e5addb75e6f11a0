//! What a hunk changes, and who changed a line; no I/O.

use clode_core::Result;
use serde_json::Value;

use super::session::Session;

/// Answers `textDocument/hover`.
pub(crate) fn hover(_session: &Session, _params: Value) -> Result<Value> {
    Ok(Value::Null)
}
