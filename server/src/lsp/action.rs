//! Code actions: runs on what is under the cursor, decisions on hunks, answers to gates; no I/O.

use clode_core::Result;
use serde_json::Value;

use super::session::Session;

/// Answers `textDocument/codeAction`.
pub(crate) fn actions(_session: &Session, _params: Value) -> Result<Value> {
    Ok(Value::Array(Vec::new()))
}
