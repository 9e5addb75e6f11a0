//! From the domain's errors to JSON-RPC: the one place that knows the codes.

use std::borrow::Cow;

use clode_core::{Error, Kind};
use serde_json::json;
use tower_lsp::jsonrpc;

/// Understood, but it cannot be done.
const REQUEST_FAILED: i64 = -32803;
/// The document changed under a position.
const CONTENT_MODIFIED: i64 = -32801;
/// Somebody asked to stop.
const REQUEST_CANCELLED: i64 = -32800;

/// The error as the editor gets it; `data` says what code, status and hint there are.
pub(crate) fn to_jsonrpc(error: &Error) -> jsonrpc::Error {
    let code = match error.kind {
        Kind::Usage => jsonrpc::ErrorCode::InvalidParams,
        Kind::Cancelled => jsonrpc::ErrorCode::ServerError(REQUEST_CANCELLED),
        Kind::Internal => jsonrpc::ErrorCode::InternalError,
        Kind::Conflict if error.code == "contentModified" => jsonrpc::ErrorCode::ServerError(CONTENT_MODIFIED),
        _ => jsonrpc::ErrorCode::ServerError(REQUEST_FAILED),
    };
    jsonrpc::Error {
        code,
        message: Cow::Owned(error.message.clone()),
        data: Some(json!({"code": error.code, "kind": error.kind, "hint": error.first_hint(), "hints": error.hints})),
    }
}
