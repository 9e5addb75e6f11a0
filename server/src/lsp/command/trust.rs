//! `clode.trust`: shows what the workspace would run or redirect, and takes a person's yes or no.

use clode_core::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Invocation, arguments};
use crate::lsp::session::Session;
use crate::lsp::sync::check_configuration;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    action: Action,
    hash: Option<String>,
    workspace_folder: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    #[default]
    Show,
    Grant,
    Revoke,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let folder = session.folder_for(options.workspace_folder.as_deref(), None)?;
        let repository = session.repository(&folder).await?;
        let configurations = &session.engine().await?.services().configurations;
        let before = configurations.fresh(&repository).await?;
        match (options.action, options.hash) {
            (Action::Show, _) => {}
            (Action::Grant, None) => {
                return Err(Error::usage(
                    "invalidParams",
                    "hash: missing; grant needs the hash that was shown",
                ));
            }
            (Action::Grant, Some(shown)) if shown != before.review.hash => {
                return Err(Error::state(
                    "trustChanged",
                    "what this workspace would run is not what was shown",
                )
                .hint("look at it again with action `show`, then grant the new hash"));
            }
            (Action::Grant, Some(shown)) => configurations.set_trust(&repository.id, Some(shown)).await?,
            (Action::Revoke, _) => configurations.set_trust(&repository.id, None).await?,
        }
        let now = configurations.of(&repository).await?;
        if options.action != Action::Show {
            check_configuration(session).await;
        }
        Ok(json!({
            "trusted": now.trust.is_trusted(), "hash": now.review.hash, "items": now.review.items,
        }))
    }
    .boxed()
}
