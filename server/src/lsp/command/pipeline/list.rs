//! `clode.pipeline.list`: pipelines of the open repositories, or of all, newest first.

use clode_core::Result;
use clode_core::engine::PipelineSummary;
use clode_core::pipeline::Status;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use crate::lsp::command::{Invocation, arguments};
use crate::lsp::session::Session;

/// Pipelines in one answer unless the caller says otherwise.
const LISTED_DEFAULT: usize = 100;
/// Pipelines that are looked through for one status.
const LOOKED_AT_MAX: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    status: Option<Statuses>,
    limit: Option<usize>,
    all: bool,
}

/// One status or several.
#[derive(Debug)]
struct Statuses(Vec<Status>);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = Value::deserialize(deserializer)?;
        let read = |value: Value| serde_json::from_value::<Status>(value).map_err(D::Error::custom);
        match value {
            Value::Array(items) => items.into_iter().map(read).collect::<Result<_, _>>().map(Self),
            one => read(one).map(|status| Self(vec![status])),
        }
    }
}

pub(in crate::lsp::command) fn run(
    session: &Session,
    invocation: Invocation,
) -> BoxFuture<'_, Result<Value>> {
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let engine = session.engine().await?;
        let limit = options.limit.unwrap_or(LISTED_DEFAULT).clamp(1, LOOKED_AT_MAX);
        let repositories = if options.all {
            vec![None]
        } else {
            let mut ids: Vec<_> = session
                .find_repositories()
                .await
                .iter()
                .map(|found| found.id.clone())
                .collect();
            ids.sort();
            ids.dedup();
            ids.into_iter().map(Some).collect()
        };
        let wanted = options
            .status
            .map(|statuses| statuses.0)
            .filter(|statuses| !statuses.is_empty());
        let looked_at = if wanted.is_some() { LOOKED_AT_MAX } else { limit };
        let mut summaries: Vec<PipelineSummary> = Vec::new();
        for repository in repositories {
            summaries.extend(engine.list(repository, None, looked_at).await?);
        }
        summaries.retain(|summary| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&summary.status))
        });
        summaries.sort_by(|one, other| other.created_at.cmp(&one.created_at));
        summaries.truncate(limit);
        super::json(&summaries)
    }
    .boxed()
}
