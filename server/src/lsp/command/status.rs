//! `clode.status`: what runs, what it costs, how the providers are.

use clode_core::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::{Invocation, arguments};
use crate::lsp::notices::status_of;
use crate::lsp::session::Session;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    workspace_folder: Option<String>,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let folder = match &options.workspace_folder {
            Some(named) => Some(session.folder_for(Some(named), None)?),
            None => None,
        };
        status_of(session, folder.as_ref()).await
    }
    .boxed()
}
