//! What providers say when they refuse, and the class of each refusal.

use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::retry_after::retry_after;
use crate::clock::{Clock, SystemClock};
use crate::provider::failure::{CallFailure, FailureClass, Sent};
use crate::provider::http::Endpoint;

/// Longest text of a provider's that an error repeats (characters).
const MESSAGE_CHARS_MAX: usize = 400;

/// The error object that all wires send in one shape or another.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::provider) struct ErrorObject {
    #[serde(rename = "type")]
    pub(in crate::provider) kind: Option<Value>,
    pub(in crate::provider) code: Option<Value>,
    pub(in crate::provider) message: Option<Value>,
}

fn word(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// An error that came inside a stream which had begun with success.
pub(in crate::provider) fn in_band(provider: &str, error: &ErrorObject) -> CallFailure {
    let (kind, code, message) = (
        word(error.kind.as_ref()),
        word(error.code.as_ref()),
        word(error.message.as_ref()),
    );
    let status = code.parse().unwrap_or(0);
    let class = classify(status, &code, &kind, &message);
    let name = if kind.is_empty() { &code } else { &kind };
    let text = format!(
        "provider `{provider}` broke off with {name}: {}",
        shorten(&message)
    );
    CallFailure::new(class, Sent::Started, text)
}

/// The failure behind an error status.
pub(in crate::provider) fn refusal(
    endpoint: &Endpoint,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> CallFailure {
    if (300..400).contains(&status) {
        let message = format!(
            "provider `{}` answered with a redirect (HTTP {status}), which a key must not follow",
            endpoint.provider
        );
        let failure =
            CallFailure::new(FailureClass::NotFound, Sent::Refused, message).with_code("redirectRefused");
        return failure.hint(format!(
            "set `baseUrl` to the final address instead of {}",
            endpoint.origin()
        ));
    }
    let (kind, code, message) = read_error(body);
    let class = match classify(status, &code, &kind, &message) {
        FailureClass::Throttled { .. } => FailureClass::Throttled {
            retry_after: retry_after(headers, SystemClock.now()),
        },
        class => class,
    };
    let text = endpoint.scrub(&shorten(&message));
    let message = if text.is_empty() {
        format!("provider `{}` answered HTTP {status}", endpoint.provider)
    } else {
        format!("provider `{}` answered HTTP {status}: {text}", endpoint.provider)
    };
    with_hint(CallFailure::new(class, Sent::Refused, message), endpoint)
}

pub(super) fn with_hint(failure: CallFailure, endpoint: &Endpoint) -> CallFailure {
    match failure.class {
        FailureClass::Auth => failure.hint(format!("key rejected: {}", endpoint.key_hint())),
        FailureClass::Billing => failure.hint(format!(
            "add credit or raise the spend limit at provider `{}`",
            endpoint.provider
        )),
        FailureClass::NotFound => failure.hint("check the model's name, and `baseUrl`"),
        _ => failure,
    }
}

/// Type, code and message of an error body: `{"error": {…}}`, `{"error": "…"}`, `{"message": …}` or text.
fn read_error(body: &[u8]) -> (String, String, String) {
    let text = || String::from_utf8_lossy(body).trim().to_owned();
    let Ok(Value::Object(top)) = serde_json::from_slice::<Value>(body) else {
        return (String::new(), String::new(), text());
    };
    match top.get("error") {
        Some(Value::Object(error)) => (
            word(error.get("type")),
            word(error.get("code")),
            word(error.get("message")),
        ),
        Some(Value::String(message)) => (String::new(), word(top.get("code")), message.clone()),
        _ if top.contains_key("message") => (
            word(top.get("type")),
            word(top.get("code")),
            word(top.get("message")),
        ),
        _ => (String::new(), String::new(), text()),
    }
}

fn shorten(text: &str) -> String {
    let flat: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_CHARS_MAX + 1)
        .collect();
    match flat.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", flat.get(..end).unwrap_or_default()),
        None => flat,
    }
}

/// Codes and types first, then the status, and only within 400 the words of the message.
pub(in crate::provider) fn classify(status: u16, code: &str, kind: &str, message: &str) -> FailureClass {
    let throttled = FailureClass::Throttled { retry_after: None };
    for name in [code, kind] {
        match name {
            "context_length_exceeded" | "string_above_max_length" => return FailureClass::ContextOverflow,
            "content_policy_violation" | "content_filter" | "invalid_prompt" => {
                return FailureClass::ContentPolicy;
            }
            "insufficient_quota" | "billing_error" | "billing_hard_limit_reached" => {
                return FailureClass::Billing;
            }
            "invalid_api_key" | "authentication_error" | "permission_error" => return FailureClass::Auth,
            "model_not_found" | "not_found_error" => return FailureClass::NotFound,
            "overloaded_error" | "rate_limit_error" | "rate_limit_exceeded" => return throttled,
            "api_error" | "server_error" | "timeout_error" => return FailureClass::Transient,
            _ => {}
        }
    }
    match status {
        401 | 403 => FailureClass::Auth,
        402 => FailureClass::Billing,
        404 => FailureClass::NotFound,
        429 | 529 => throttled,
        408 | 425 | 500.. => FailureClass::Transient,
        _ => classify_by_words(message, status == 0 && kind.is_empty() && code.is_empty()),
    }
}

fn classify_by_words(message: &str, nothing_else_known: bool) -> FailureClass {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&[
        "prompt is too long",
        "context length",
        "context window",
        "context limit",
        "too many tokens",
        "maximum context",
    ]) {
        FailureClass::ContextOverflow
    } else if has(&[
        "usage limit",
        "spend limit",
        "spending limit",
        "credit balance",
        "insufficient credit",
    ]) {
        FailureClass::Billing
    } else if has(&[
        "content filter",
        "content policy",
        "content management policy",
        "usage policies",
    ]) {
        FailureClass::ContentPolicy
    } else if nothing_else_known {
        FailureClass::Transient
    } else {
        FailureClass::Invalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_by_code_then_status_then_words() {
        use FailureClass::{
            Auth, Billing, ContentPolicy, ContextOverflow, Invalid, NotFound, Throttled, Transient,
        };
        let throttled = Throttled { retry_after: None };
        let cases = [
            (
                400,
                "",
                "invalid_request_error",
                "messages: field required",
                Invalid,
            ),
            (
                400,
                "",
                "invalid_request_error",
                "prompt is too long: 210000 tokens > 200000 maximum",
                ContextOverflow,
            ),
            (
                400,
                "",
                "invalid_request_error",
                "You have reached your specified API usage limits.",
                Billing,
            ),
            (
                400,
                "context_length_exceeded",
                "invalid_request_error",
                "",
                ContextOverflow,
            ),
            (400, "content_policy_violation", "", "", ContentPolicy),
            (
                400,
                "",
                "",
                "Output blocked by content filtering policy",
                ContentPolicy,
            ),
            (401, "", "authentication_error", "invalid x-api-key", Auth),
            (402, "", "billing_error", "", Billing),
            (403, "", "", "", Auth),
            (404, "", "not_found_error", "model: nothing", NotFound),
            (408, "", "", "", Transient),
            (409, "", "", "", Invalid),
            (413, "", "request_too_large", "", Invalid),
            (429, "", "rate_limit_error", "", throttled),
            (429, "insufficient_quota", "insufficient_quota", "", Billing),
            (500, "", "api_error", "", Transient),
            (504, "", "timeout_error", "", Transient),
            (529, "", "overloaded_error", "", throttled),
            (0, "", "overloaded_error", "Overloaded", throttled),
            (0, "", "", "", Transient),
        ];
        for (status, code, kind, message, class) in cases {
            assert_eq!(
                classify(status, code, kind, message),
                class,
                "{status} {code} {kind} {message}"
            );
        }
    }

    #[test]
    fn long_and_odd_messages_are_cut_and_flattened() {
        assert_eq!(shorten("a\nb"), "a b");
        assert_eq!(shorten(&"é".repeat(5_000)).chars().count(), MESSAGE_CHARS_MAX + 1);
        assert_eq!(read_error(b"{\"error\":{\"message\":7}}").2, "7");
        assert_eq!(
            read_error(b"<html>Bad gateway</html>").2,
            "<html>Bad gateway</html>"
        );
        assert_eq!(
            read_error(b"{\"error\":\"model not loaded\"}").2,
            "model not loaded"
        );
    }
}
