//! OpenAI Chat Completions, as many servers speak it: asked for strictly, read leniently.

mod request;
mod stream;

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::failure::CallFailure;
use super::http::{Endpoint, Http, KeyHeader};
use super::message::{Request, Response};
use super::settings::{ProviderKind, ProviderSettings};
use super::{Events, Provider, wire};
use crate::Result;

const KIND: &str = ProviderKind::OpenAiCompatible.as_str();

#[derive(Debug)]
struct OpenAiChat {
    endpoint: Endpoint,
}

/// The provider that these settings describe.
pub fn build(settings: &ProviderSettings, http: &Http) -> Result<Arc<dyn Provider>> {
    let endpoint = Endpoint::new(settings, http, "chat/completions", KeyHeader::Bearer)?
        .with_configured_headers(settings)?;
    Ok(Arc::new(OpenAiChat { endpoint }))
}

impl Provider for OpenAiChat {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn call<'a>(
        &'a self,
        request: &'a Request,
        events: Events<'a>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Response, CallFailure>> {
        Box::pin(async move {
            let body = wire::encode(&request::body(request))?;
            let reducer = stream::Answer::new(&self.endpoint.provider);
            wire::exchange(&self.endpoint, body, reducer, events, cancel).await
        })
    }
}

#[cfg(test)]
pub(super) fn reduce_for_tests(events: &[super::sse::Event]) {
    wire::reduce_for_tests(stream::Answer::new("test"), events);
}

#[cfg(test)]
mod tests;
