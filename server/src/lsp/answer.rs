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

/// The error as the editor gets it; `data` says what code and hint there are.
pub(crate) fn to_jsonrpc(error: &Error) -> jsonrpc::Error {
    with_status(error, None)
}

/// The error as the editor gets it, with the status of the pipeline that it is about.
pub(crate) fn with_status(error: &Error, status: Option<&str>) -> jsonrpc::Error {
    let code = match error.kind {
        Kind::Usage => jsonrpc::ErrorCode::InvalidParams,
        Kind::Cancelled => jsonrpc::ErrorCode::ServerError(REQUEST_CANCELLED),
        Kind::Internal => jsonrpc::ErrorCode::InternalError,
        Kind::Conflict if error.code == "contentModified" => {
            jsonrpc::ErrorCode::ServerError(CONTENT_MODIFIED)
        }
        _ => jsonrpc::ErrorCode::ServerError(REQUEST_FAILED),
    };
    let data = json!({
        "code": error.code, "kind": error.kind, "status": status, "hint": error.first_hint(), "hints": error.hints,
    });
    jsonrpc::Error {
        code,
        message: Cow::Owned(error.message.clone()),
        data: Some(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_the_code_that_the_protocol_gives_it() {
        let code = |error: Error| to_jsonrpc(&error).code.code();
        assert_eq!(code(Error::usage("invalidParams", "x")), -32602);
        assert_eq!(code(Error::state("notAllowed", "x")), REQUEST_FAILED);
        assert_eq!(
            code(Error::new(Kind::Conflict, "contentModified", "x")),
            CONTENT_MODIFIED
        );
        assert_eq!(code(Error::new(Kind::Budget, "budget", "x")), REQUEST_FAILED);
        assert_eq!(code(Error::cancelled()), REQUEST_CANCELLED);
        assert_eq!(code(Error::internal("x")), -32603);
    }

    #[test]
    fn a_refusal_says_how_the_pipeline_stands_and_what_to_do() {
        let error = Error::state("notAllowed", "no").hint("wait");
        let data = with_status(&error, Some("completed")).data.unwrap_or_default();
        assert_eq!(
            (&data["code"], &data["status"], &data["hint"]),
            (&json!("notAllowed"), &json!("completed"), &json!("wait"))
        );
    }
}
