//! An answer that is being read: events, and a deadline for each phase.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Endpoint, explain};
use crate::provider::failure::{CallFailure, FailureClass, Sent};
use crate::provider::sse::{Event, Parser};

/// Most bytes of one streamed answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long the end of an answer's body is waited for, so that the connection can be used again.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(20);

/// An answer whose headers said success, event by event.
pub(in crate::provider) struct Stream<'a> {
    endpoint: &'a Endpoint,
    response: reqwest::Response,
    cancel: &'a CancellationToken,
    parser: Parser,
    ready: VecDeque<Event>,
    bytes_seen: u64,
    sent_at: Instant,
    last_event_at: Option<Instant>,
    pub(in crate::provider) request_id: Option<String>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        endpoint: &'a Endpoint,
        response: reqwest::Response,
        sent_at: Instant,
        cancel: &'a CancellationToken,
    ) -> Self {
        let text = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let request_id = text("request-id").or_else(|| text("x-request-id"));
        Self {
            endpoint,
            response,
            cancel,
            parser: Parser::default(),
            ready: VecDeque::new(),
            bytes_seen: 0,
            sent_at,
            last_event_at: None,
            request_id,
        }
    }

    /// From the first piece of content on, the limit between two events holds.
    pub(in crate::provider) fn content_seen(&mut self) {
        self.last_event_at = Some(Instant::now());
    }

    /// The next event; `None` at the end of the body.
    pub(in crate::provider) async fn next(&mut self) -> Result<Option<Event>, CallFailure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if self.last_event_at.is_some() {
                    self.content_seen();
                }
                return Ok(Some(event));
            }
            let Some(chunk) = self.chunk().await? else {
                return Ok(None);
            };
            self.bytes_seen = self.bytes_seen.saturating_add(chunk.len() as u64);
            let ready = &mut self.ready;
            let parsed = self.parser.push(&chunk, |event| ready.push_back(event));
            if parsed.is_err() || self.bytes_seen > ANSWER_BYTES_MAX {
                let message = format!(
                    "provider `{}` sent more than an answer may hold",
                    self.endpoint.provider
                );
                return Err(CallFailure::new(FailureClass::Transient, Sent::Started, message)
                    .with_code("answerTooLarge"));
            }
        }
    }

    async fn chunk(&mut self) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, CallFailure> {
        let limits = &self.endpoint.deadlines;
        let (phase_end, what, limit) = match self.last_event_at {
            Some(last) => (
                last + limits.idle,
                "went silent: it sent no further event",
                limits.idle,
            ),
            None => (
                self.sent_at + limits.first_token,
                "wrote nothing",
                limits.first_token,
            ),
        };
        let total_end = self.sent_at + limits.total;
        let (end, what, limit) = if total_end < phase_end {
            (total_end, "did not finish", limits.total)
        } else {
            (phase_end, what, limit)
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(CallFailure::cancelled(Sent::Started)),
            chunk = tokio::time::timeout_at(end, self.response.chunk()) => match chunk {
                Ok(Ok(chunk)) => Ok(chunk),
                Ok(Err(error)) => {
                    let text = self.endpoint.scrub(&explain(error));
                    let message = format!("the answer of provider `{}` broke off: {text}", self.endpoint.provider);
                    Err(CallFailure::new(FailureClass::Truncated, Sent::Started, message))
                }
                Err(_) => Err(self.endpoint.too_slow(what, limit, Sent::Started)),
            },
        }
    }

    /// Reads to the end of the body if that comes at once: the connection can be used again.
    pub(in crate::provider) async fn drain(mut self) {
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
            while let Ok(Some(_)) = self.response.chunk().await {}
        })
        .await;
    }
}
