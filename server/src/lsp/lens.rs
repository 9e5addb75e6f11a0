//! Code lenses: hunks under review, where a task began, plan and patch documents; no I/O.

use clode_core::Result;
use serde_json::Value;

use super::session::Session;

/// Answers `textDocument/codeLens`.
pub(crate) fn lenses(_session: &Session, _params: Value) -> Result<Value> {
    Ok(Value::Array(Vec::new()))
}
