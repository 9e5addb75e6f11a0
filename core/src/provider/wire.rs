//! What all HTTP wires share: reading the stream to its end, and the classes of their errors.

mod errors;
mod retry_after;

use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;

pub(super) use errors::{ErrorObject, in_band, refusal};

use errors::with_hint;

use super::Events;
use super::failure::{CallFailure, FailureClass, Sent};
use super::http::Endpoint;
use super::message::{Response, Usage};
use super::sse::Event;
use crate::error::Result;

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

/// For fields that some servers send as null where others leave them out.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    value: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
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

/// The events through a reducer as [`exchange`] does it, without the network.
#[cfg(test)]
pub(super) fn reduce_for_tests<R: Reducer>(mut reducer: R, events: &[Event]) {
    for event in events {
        match reducer.take(event, &mut |_| {}) {
            Ok(Progress::Complete) => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    let seen = reducer.usage_seen();
    if let Ok(response) = reducer.finish() {
        assert!(
            seen.output_tokens >= response.usage.output_tokens,
            "usage never falls"
        );
    }
}
