//! `clode.document`: a virtual document, for editors that cannot ask for one otherwise.

use clode_core::Result;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Invocation, arguments};
use crate::lsp::preview;
use crate::lsp::session::Session;

#[derive(Debug, Deserialize)]
struct Options {
    uri: Url,
    /// Also show it.
    #[serde(default)]
    show: bool,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    Box::pin(async move {
        let options: Options = arguments::read(invocation.options)?;
        let document = preview::document(session, &options.uri).await?;
        if options.show {
            preview::show(session, &options.uri, &document).await?;
        }
        Ok(json!({"text": document.text, "languageId": document.language}))
    })
}
