//! Model providers behind one request, one stream of events, one usage.
//!
//! A [`Provider`] makes exactly one physical send per call: it neither retries nor chooses; that is
//! the [`router`](crate::router)'s work. Each speaks one wire and translates it to the canonical
//! words of [`message`]. What a provider cannot finish is a [`CallFailure`] that says what was seen
//! and whether the send may have cost something.

pub mod anthropic;
pub mod demo;
pub mod failure;
pub mod http;
pub mod message;
pub mod openai;
pub mod openai_chat;
pub mod settings;
pub mod sse;
mod wire;

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use crate::config::Price;
pub use failure::{CallFailure, FailureClass, Sent};
pub use message::{
    Check, Content, Delta, Message, Request, Response, Role, Stop, SystemBlock, ToolSpec, Usage,
};
pub use settings::{Deadlines, ModelSettings, ProviderKind, ProviderSettings};

use crate::Result;
use http::Http;

/// Receives the pieces of an answer while it is written.
pub type Events<'a> = &'a mut (dyn FnMut(Delta) + Send);

/// One way to reach models.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// As in the configuration: `anthropic`, `openai`, …
    fn kind(&self) -> &'static str;

    /// One physical send. Success only when the provider said that the answer is complete.
    fn call<'a>(
        &'a self,
        request: &'a Request,
        events: Events<'a>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Response, CallFailure>>;

    /// The cheapest real request: proves address, key and model.
    fn check<'a>(
        &'a self,
        model: &'a str,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Check, CallFailure>> {
        Box::pin(async move {
            let request = Request::probe(model);
            let response = self.call(&request, &mut |_| {}, cancel).await?;
            Ok(Check {
                model: response.model,
                usage: response.usage,
            })
        })
    }
}

/// A line of the roster.
#[derive(Debug, Clone, Copy)]
pub struct Roster {
    /// The kind that it serves.
    pub kind: ProviderKind,
    /// Where it is reached when the configuration names no `baseUrl`; empty: it must name one.
    pub base_url: &'static str,
    /// Whether it is of no use without a key.
    pub needs_key: bool,
    build: fn(&ProviderSettings, &Http) -> Result<Arc<dyn Provider>>,
}

/// Every kind of provider, one line each.
#[rustfmt::skip]
pub const PROVIDERS: &[Roster] = &[
    Roster { kind: ProviderKind::Anthropic, base_url: "https://api.anthropic.com", needs_key: true, build: anthropic::build },
    Roster { kind: ProviderKind::OpenAi, base_url: "https://api.openai.com", needs_key: true, build: openai::build },
    Roster { kind: ProviderKind::OpenAiCompatible, base_url: "", needs_key: false, build: openai_chat::build },
    Roster { kind: ProviderKind::Demo, base_url: "", needs_key: false, build: demo::build },
];

/// The roster's line for this kind.
pub fn roster(kind: ProviderKind) -> Option<&'static Roster> {
    PROVIDERS.iter().find(|line| line.kind == kind)
}

/// The provider that these settings describe.
pub fn build(settings: &ProviderSettings, http: &Http) -> Result<Arc<dyn Provider>> {
    let line = roster(settings.kind).ok_or_else(|| {
        crate::Error::internal(format!(
            "no provider of kind `{}` is built in",
            settings.kind.as_str()
        ))
    })?;
    (line.build)(settings, http)
}

#[cfg(test)]
pub(crate) mod testing;
