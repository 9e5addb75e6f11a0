//! What all HTTP wires share: reading the stream to its end, and the classes of their errors.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::Events;
use super::failure::{CallFailure, FailureClass, Sent};
use super::http::Endpoint;
use super::message::{Response, Usage};
use super::sse::Event;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::Result;
use tokio_util::sync::CancellationToken;

/// Longest wait that a provider can impose.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// Longest text of a provider's that an error repeats (characters).
const MESSAGE_CHARS_MAX: usize = 400;
/// Bytes of streamed output that count as one token until the provider reports.
const BYTES_PER_TOKEN: u64 = 3;

/// What an event meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet: a ping, a frame of the protocol.
    Quiet,
    /// Content.
    Content,
    /// The provider said that the answer is complete.
    Complete,
}

/// Gathers the events of one wire into an answer.
pub(super) trait Reducer: Send {
    /// Takes one event.
    fn take(
        &mut self,
        event: &Event,
        events: &mut (dyn FnMut(super::Delta) + Send),
    ) -> Result<Progress, CallFailure>;
    /// What was used as far as is known now.
    fn usage_seen(&self) -> Usage;
    /// Whether an end of the body here is the end of the answer.
    fn may_end_here(&self) -> bool {
        false
    }
    /// The answer.
    fn finish(self) -> Result<Response, CallFailure>;
}

/// One physical send over HTTP, to its end.
pub(super) async fn exchange<R: Reducer>(
    endpoint: &Endpoint,
    body: Vec<u8>,
    mut reducer: R,
    events: Events<'_>,
    cancel: &CancellationToken,
) -> Result<Response, CallFailure> {
    let mut stream = endpoint.open(body, cancel).await?;
    loop {
        let event = stream
            .next()
            .await
            .map_err(|failure| failure.with_usage(reducer.usage_seen()))?;
        let Some(event) = event else {
            if reducer.may_end_here() {
                break;
            }
            let message = format!(
                "the answer of provider `{}` ended before it was complete",
                endpoint.provider
            );
            let failure = CallFailure::new(FailureClass::Truncated, Sent::Started, message);
            return Err(failure.with_usage(reducer.usage_seen()));
        };
        match reducer.take(&event, events) {
            Ok(Progress::Quiet) => {}
            Ok(Progress::Content) => stream.content_seen(),
            Ok(Progress::Complete) => break,
            Err(failure) => {
                let mut failure = failure.with_usage(reducer.usage_seen());
                failure.error.message = endpoint.scrub(&failure.error.message);
                return Err(with_hint(failure, endpoint));
            }
        }
    }
    let usage_seen = reducer.usage_seen();
    let request_id = stream.request_id.take();
    stream.drain().await;
    let response = reducer
        .finish()
        .map_err(|failure| failure.with_usage(usage_seen))?;
    Ok(Response {
        request_id: request_id.or(response.request_id),
        ..response
    })
}

/// The body of a request.
pub(super) fn encode(body: &impl serde::Serialize) -> Result<Vec<u8>, CallFailure> {
    serde_json::to_vec(body).map_err(|error| {
        CallFailure::new(
            FailureClass::Invalid,
            Sent::Nothing,
            format!("the request cannot be written as JSON: {error}"),
        )
    })
}

/// Reads the data of an event; what is not JSON is a fault of the provider.
pub(super) fn decode<'a, T: Deserialize<'a>>(provider: &str, event: &'a Event) -> Result<T, CallFailure> {
    serde_json::from_slice(&event.data).map_err(|error| malformed(provider, &error.to_string()))
}

/// An answer that breaks the protocol.
pub(super) fn malformed(provider: &str, what: &str) -> CallFailure {
    let message = format!("provider `{provider}` sent an answer that cannot be read: {what}");
    CallFailure::new(FailureClass::Transient, Sent::Started, message).with_code("malformedAnswer")
}

/// Reported output, or what the streamed bytes amount to if that is more.
pub(super) fn usage_so_far(reported: Usage, streamed_bytes: u64) -> Usage {
    let streamed = Usage {
        output_tokens: streamed_bytes.div_ceil(BYTES_PER_TOKEN),
        ..Usage::default()
    };
    reported.raised_to(streamed)
}

/// The error object that all wires send in one shape or another.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorObject {
    #[serde(rename = "type")]
    pub(super) kind: Option<Value>,
    pub(super) code: Option<Value>,
    pub(super) message: Option<Value>,
}

fn word(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// An error that came inside a stream which had begun with success.
pub(super) fn in_band(provider: &str, error: &ErrorObject) -> CallFailure {
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
pub(super) fn refusal(endpoint: &Endpoint, status: u16, headers: &HeaderMap, body: &[u8]) -> CallFailure {
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

fn with_hint(failure: CallFailure, endpoint: &Endpoint) -> CallFailure {
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
pub(super) fn classify(status: u16, code: &str, kind: &str, message: &str) -> FailureClass {
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

/// How long to wait, from all forms that are in use: what the provider asks for, else when the
/// allowance that ran out is full again. Bounded by [`RETRY_AFTER_MAX`].
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let asked = [
        text("retry-after-ms")
            .and_then(|text| text.parse::<f64>().ok())
            .and_then(|ms| seconds(ms / 1000.0)),
        text("retry-after").and_then(|text| match text.parse::<f64>() {
            Ok(number) => seconds(number),
            Err(_) => until_date(text, now),
        }),
    ];
    let wait = asked.into_iter().flatten().max().or_else(|| {
        let allowances = [
            "anthropic-ratelimit-requests",
            "anthropic-ratelimit-tokens",
            "anthropic-ratelimit-input-tokens",
            "anthropic-ratelimit-output-tokens",
        ];
        let anthropic = allowances.map(|name| (format!("{name}-remaining"), format!("{name}-reset")));
        let others = ["requests", "tokens"].map(|what| {
            (
                format!("x-ratelimit-remaining-{what}"),
                format!("x-ratelimit-reset-{what}"),
            )
        });
        let used_up = anthropic
            .iter()
            .chain(&others)
            .filter(|(remaining, _)| text(remaining).is_some_and(|left| left == "0"));
        let resets = used_up
            .filter_map(|(_, reset)| text(reset))
            .chain(text("x-ratelimit-reset"));
        resets.filter_map(|text| until_reset(text, now)).max()
    });
    wait.map(|wait| wait.min(RETRY_AFTER_MAX))
}

fn seconds(number: f64) -> Option<Duration> {
    let bounded = number
        .is_finite()
        .then(|| number.min(RETRY_AFTER_MAX.as_secs_f64()))?;
    Duration::try_from_secs_f64(bounded).ok()
}

fn until_date(text: &str, now: Timestamp) -> Option<Duration> {
    let moment = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(Duration::from_millis(
        Timestamp(moment.as_millisecond()).since_ms(now),
    ))
}

/// A reset as RFC 3339, as seconds from now or since 1970, or as `6m0s`, `1.5s`, `20ms`.
fn until_reset(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of this age are exact in a double"
        )]
        let since_1970 = number - now.0 as f64 / 1000.0;
        return seconds(if number > 1e9 { since_1970.max(0.0) } else { number });
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Duration::from_millis(
            Timestamp(moment.as_millisecond()).since_ms(now),
        ));
    }
    let span = text.parse::<jiff::SignedDuration>().ok()?;
    Duration::try_from(span).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(pairs: &[(&'static str, &str)]) -> Option<u128> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().expect("header"));
        }
        // 2026-11-24T06:00:00Z
        retry_after(&headers, Timestamp(1_795_500_000_000)).map(|wait| wait.as_millis())
    }

    #[test]
    fn every_form_of_retry_after_is_understood_and_bounded() {
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "2")]), Some(2_000));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(wait(&[("retry-after-ms", "750")]), Some(750));
        assert_eq!(
            wait(&[("retry-after-ms", "750"), ("retry-after", "1")]),
            Some(1_000),
            "the longer one holds"
        );
        assert_eq!(
            wait(&[("retry-after", "Tue, 24 Nov 2026 06:00:30 GMT")]),
            Some(30_000)
        );
        assert_eq!(
            wait(&[("retry-after", "Tue, 24 Nov 2020 06:00:30 GMT")]),
            Some(0),
            "a date that has passed"
        );
        assert_eq!(
            wait(&[("retry-after", "999999999")]),
            Some(RETRY_AFTER_MAX.as_millis())
        );
        for nonsense in ["-5", "NaN", "soon", ""] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn resets_count_only_for_the_allowance_that_ran_out() {
        assert_eq!(
            wait(&[
                ("x-ratelimit-remaining-requests", "90"),
                ("x-ratelimit-reset-requests", "6m0s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "1.5s"),
            ]),
            Some(1_500)
        );
        assert_eq!(
            wait(&[
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "2026-11-24T06:00:07Z"),
            ]),
            Some(7_000)
        );
        assert_eq!(wait(&[("x-ratelimit-reset", "1795500009")]), Some(9_000));
    }

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
