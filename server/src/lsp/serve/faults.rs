//! The errors that the loop itself answers with, and what happens when a handler panics.

use std::backtrace::Backtrace;
use std::borrow::Cow;

use serde_json::{Value, json};
use tower_lsp::jsonrpc::{Error, ErrorCode};

/// Before `initialize`.
const NOT_INITIALIZED: i64 = -32002;
/// Understood, but not possible now.
const REQUEST_FAILED: i64 = -32803;

fn error(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Error {
    Error {
        code,
        message: message.into(),
        data: None,
    }
}

pub(super) fn unreadable(why: &'static str) -> Error {
    error(ErrorCode::ParseError, why)
}

pub(super) fn invalid(why: impl Into<Cow<'static, str>>) -> Error {
    error(ErrorCode::InvalidRequest, why)
}

pub(super) fn invalid_params(why: &'static str) -> Error {
    error(ErrorCode::InvalidParams, why)
}

pub(super) fn not_initialized() -> Error {
    error(
        ErrorCode::ServerError(NOT_INITIALIZED),
        "the server waits for `initialize`",
    )
}

pub(super) fn unknown_method(method: &str) -> Error {
    Error {
        data: Some(Value::from(method)),
        ..error(ErrorCode::MethodNotFound, "unknown method")
    }
}

pub(super) fn too_many_requests(limit: usize) -> Error {
    let data = json!({ "code": "tooManyRequests", "hint": "wait for some of the answers, then ask again" });
    let message = format!("{limit} requests are being worked on already");
    Error {
        data: Some(data),
        ..error(ErrorCode::ServerError(REQUEST_FAILED), message)
    }
}

pub(super) fn internal(method: &str) -> Error {
    let data = json!({
        "kind": "internal", "code": "internal",
        "hint": "this is a defect of clode-ls: please report it with the log",
    });
    Error {
        data: Some(data),
        ..error(
            ErrorCode::InternalError,
            format!("`{method}` failed inside the server"),
        )
    }
}

pub(super) fn timed_out(method: &str) -> Error {
    Error {
        message: format!("`{method}` took too long").into(),
        ..internal(method)
    }
}

/// Sends panics to the log, with where they came from, instead of to a stream that an editor may read.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::force_capture();
        tracing::error!(%panic, %backtrace, "a defect: some code panicked");
    }));
}
