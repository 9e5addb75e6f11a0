//! `clode.providers.check`: asks every configured provider the cheapest real question.

use std::time::Duration;

use clode_core::{Error, Kind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Invocation, arguments, pipeline};
use crate::lsp::session::Session;

/// Longest time of the whole check.
const CHECK_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    provider: Option<String>,
    workspace_folder: Option<String>,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let engine = session.engine().await?;
        let repository = match (&options.workspace_folder, session.folders().as_slice()) {
            (Some(named), _) => Some(
                session
                    .repository(&session.folder_for(Some(named), None)?)
                    .await?,
            ),
            (None, [only, ..]) => session.repository(only).await.ok(),
            (None, []) => None,
        };
        let loaded = match &repository {
            Some(repository) => engine.configuration(repository).await?.loaded.clone(),
            None => engine.services().configurations.global()?,
        };
        let config = &loaded.config;
        let only = options.provider.as_deref();
        if let Some(unknown) = only.filter(|only| !config.providers.contains_key(*only)) {
            let known: Vec<&str> = config.providers.keys().map(String::as_str).collect();
            let what = format!(
                "provider: there is no provider `{unknown}`; there are: {}",
                known.join(", ")
            );
            return Err(Error::usage("unknownProvider", what));
        }
        let cancel = CancellationToken::new();
        let _cancelled_with_us = cancel.clone().drop_guard();
        let id = repository.as_ref().map(|repository| &repository.id);
        let check = engine.check_providers(config, only, id, &cancel);
        let mut reports = tokio::time::timeout(CHECK_MAX, check).await.map_err(|_| {
            Error::new(
                Kind::Provider,
                "checkTimedOut",
                format!("the check took longer than {} s", CHECK_MAX.as_secs()),
            )
            .hint("check the network, or one provider at a time")
        })?;
        reports.retain(|report| only.is_some() || loaded.is_configured(&report.id));
        pipeline::json(&reports)
    }
    .boxed()
}
