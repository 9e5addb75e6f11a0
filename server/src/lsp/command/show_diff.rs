//! `clode.pipeline.showDiff`: a patch, or what it makes of one file, by the best means that the client has.

use std::time::Duration;

use clode_core::workspace::Change;
use clode_core::{Error, Result};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Invocation, arguments};
use crate::lsp::client::{Outcome, Patience, ShowDocument};
use crate::lsp::review::{FileReview, RunReview};
use crate::lsp::session::Session;
use crate::lsp::{preview, review};
use crate::review::address;

/// How long the client may take to show it.
const SHOW_LIMIT_MS: u64 = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    pipeline_id: Option<String>,
    uri: Option<Url>,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    Box::pin(async move {
        let options: Options = arguments::read(invocation.options)?;
        let run = review::target(session, options.pipeline_id.as_deref(), |machine| {
            machine.patch.is_some()
        })
        .await?;
        invocation.subject.is(&run);
        let engine = session.engine().await?;
        let row = engine.row(&run).await?;
        let review = match RunReview::load(session, engine, &row).await? {
            Some(review) => review,
            None => RunReview::load_elsewhere(session, engine, &row).await?,
        };
        let Some(patch) = review.patch.clone() else {
            return Err(Error::state("noPatch", format!("`{run}` has no patch yet"))
                .hint("wait for it: `clode.pipeline.wait`"));
        };
        let file = match &options.uri {
            Some(uri) => Some(find(&review, uri)?),
            None => review
                .files
                .first()
                .filter(|_| review.files.len() == 1)
                .map(|file| &**file),
        };
        if let Some(file) = file
            && let Some(shown) = by_request(session, &review, file).await
        {
            return Ok(shown);
        }
        let text = file.and_then(|file| review.change(file)).map_or_else(
            || patch.to_unified(),
            clode_core::workspace::FileChange::to_unified,
        );
        by_document(session, &review, file, text).await
    })
}

fn find<'a>(review: &'a RunReview, uri: &Url) -> Result<&'a FileReview> {
    let is_it = |file: &&FileReview| {
        review
            .change(file)
            .is_some_and(|change| crate::lsp::edit::is_file(review, file, change, uri))
    };
    let found = review.files.iter().map(|file| &**file).find(is_it);
    found.ok_or_else(|| {
        Error::usage(
            "unknownFile",
            format!("uri: `{}` does not change {uri}", review.id),
        )
        .hint("`clode.pipeline.get` lists the files")
    })
}

/// `clode/showDiff`: what the person has against what it becomes.
async fn by_request(session: &Session, review: &RunReview, file: &FileReview) -> Option<Value> {
    let change = review.change(file)?;
    let exists = !file.now.shown(change).is_absent();
    let base = address::document(
        &review.id,
        "base",
        change.old_path.as_deref().unwrap_or(&change.path),
    );
    let left = if exists && change.change != Change::Added {
        file.uri.to_string()
    } else {
        base
    };
    let right = address::document(&review.id, if exists { "merged" } else { "result" }, &change.path);
    let title = format!("{}: {}", change.path, review.title);
    let params = json!({"left": left, "right": right, "title": title});
    let patience = Patience::Limit(Duration::from_millis(SHOW_LIMIT_MS));
    session
        .client()
        .custom_request("clode/showDiff", &params, patience)
        .await
        .ok()?;
    Some(json!({"shown": true, "uri": right}))
}

/// A document with the unified diff: virtual where the client can open it, else a file.
async fn by_document(
    session: &Session,
    review: &RunReview,
    file: Option<&FileReview>,
    text: String,
) -> Result<Value> {
    let virtual_uri = Url::parse(&address::named(&review.id, "patch.diff"))
        .map_err(|error| Error::internal(error.to_string()))?;
    let focused = ShowDocument {
        take_focus: true,
        selection: None,
    };
    if preview::opens_virtual(session)
        && file.is_none()
        && session.client().show_document(&virtual_uri, focused).await == Outcome::Yes
    {
        return Ok(json!({"shown": true, "uri": virtual_uri}));
    }
    let name = file.map_or_else(
        || "patch.diff".to_owned(),
        |file| format!("file-{}.diff", file.number),
    );
    let uri = preview::as_file(session, &review.id, &name, text).await?;
    let shown = session.client().show_document(&uri, focused).await == Outcome::Yes;
    Ok(json!({"shown": shown, "uri": uri}))
}
