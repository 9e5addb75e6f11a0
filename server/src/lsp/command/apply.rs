//! `clode.pipeline.apply`: brings hunks into the user's text.

use clode_core::Result;
use clode_core::id::HunkId;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Invocation, Subject, arguments};
use crate::lsp::edit::{self, Selection};
use crate::lsp::review;
use crate::lsp::session::Session;

/// Hunks by file and by name; nothing means every pending one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Options {
    pipeline_id: Option<String>,
    files: Vec<Url>,
    hunks: Vec<HunkId>,
}

impl Options {
    pub(super) async fn resolve(
        self,
        session: &Session,
        subject: &Subject,
    ) -> Result<(clode_core::id::PipelineId, Selection)> {
        let run = review::target(session, self.pipeline_id.as_deref(), |machine| {
            machine.patch.is_some()
        })
        .await?;
        subject.is(&run);
        Ok((
            run,
            Selection {
                files: self.files,
                hunks: self.hunks,
            },
        ))
    }
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    Box::pin(async move {
        let (run, selection) = arguments::read::<Options>(invocation.options)?
            .resolve(session, &invocation.subject)
            .await?;
        edit::apply(session, &run, &selection).await
    })
}
