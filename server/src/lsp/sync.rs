//! Text synchronisation: documents open, change and close, in order of arrival.
//!
//! Tolerant: a message that makes no sense is passed over, never answered with a fault.

mod history;
mod marks;
mod unsaved;

#[cfg(test)]
mod tests;

use clode_core::config::{FILE_NAME, WORKSPACE_FILE};
use lsp_types::TextDocumentContentChangeEvent as Change;
use serde_json::Value;
use url::Url;

pub(crate) use history::{Carried, History};
pub(crate) use marks::{ConfigMarks, ConfigProblem, check_configuration};
pub(crate) use unsaved::Unsaved;

use super::command::{edit_plan, instruction};
use super::review;
use super::session::Session;
use unsaved::Happened;

/// Files on the disk that one message may tell about.
const WATCHED_FILES_MAX: usize = 10_000;

/// A document was opened.
pub(crate) fn did_open(session: &Session, params: &Value) {
    let Some(uri) = uri_of(params) else { return };
    let text = params.pointer("/textDocument/text").and_then(Value::as_str);
    let version = version_of(params).unwrap_or_default();
    session
        .documents()
        .open(uri.clone(), version, text.unwrap_or_default());
    session.history().forget(&uri);
    unsaved::note(session, &uri, Happened::Edited);
    review::document_changed(session, &uri);
}

/// A document was changed.
pub(crate) fn did_change(session: &Session, params: &Value) {
    let Some(uri) = uri_of(params) else { return };
    let changes = params
        .get("contentChanges")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    {
        let mut documents = session.documents();
        let Some(before) = documents.get(&uri).cloned() else {
            return tracing::warn!("the editor changed a document that it has not opened");
        };
        let version = version_of(params).unwrap_or_else(|| before.version.saturating_add(1));
        let mut history = session.history();
        history.remember(&before);
        for change in changes {
            let Ok(change) = serde_json::from_value::<Change>(change) else {
                tracing::warn!("a change of a document makes no sense");
                continue;
            };
            let Some(document) = documents.get(&uri) else {
                return;
            };
            history.edited(document, &change);
            if let Err(error) = documents.change(&uri, version, [change]) {
                return tracing::warn!(%error, "a change cannot be taken in");
            }
        }
        // A change without changes still names a version.
        let _ = documents.change(&uri, version, []);
    }
    unsaved::note(session, &uri, Happened::Edited);
    review::document_changed(session, &uri);
}

/// A document was saved.
pub(crate) fn did_save(session: &Session, params: &Value) {
    let Some(uri) = uri_of(params) else { return };
    if is_configuration(&uri) {
        look_at_configuration(session);
    }
    edit_plan::saved(session, &uri);
    instruction::saved(session, &uri);
    unsaved::note(session, &uri, Happened::Settled);
    review::document_changed(session, &uri);
}

/// A document was closed.
pub(crate) fn did_close(session: &Session, params: &Value) {
    let Some(uri) = uri_of(params) else { return };
    session.documents().close(&uri);
    session.history().forget(&uri);
    unsaved::note(session, &uri, Happened::Settled);
    review::document_changed(session, &uri);
}

/// Files changed on the disk.
pub(crate) fn did_change_watched_files(session: &Session, params: &Value) {
    let changes = params
        .get("changes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let uris = changes.filter_map(|change| Url::parse(change.get("uri")?.as_str()?).ok());
    let mut configuration_changed = false;
    for uri in uris.take(WATCHED_FILES_MAX) {
        configuration_changed |= is_configuration(&uri);
        unsaved::note(session, &uri, Happened::Settled);
        review::document_changed(session, &uri);
    }
    if configuration_changed {
        look_at_configuration(session);
    }
}

fn look_at_configuration(session: &Session) {
    let session = session.clone();
    tokio::spawn(async move {
        if let Some(app) = session.opened() {
            app.engine.services().configurations.forget();
        }
        check_configuration(&session).await;
    });
}

fn is_configuration(uri: &Url) -> bool {
    let path = uri.path();
    path.ends_with(&format!("/{WORKSPACE_FILE}")) || path.ends_with(&format!("/{FILE_NAME}"))
}

fn uri_of(params: &Value) -> Option<Url> {
    let uri = params
        .pointer("/textDocument/uri")
        .and_then(Value::as_str)
        .and_then(|text| Url::parse(text).ok());
    if uri.is_none() {
        tracing::warn!("a message about a document does not say which one");
    }
    uri
}

fn version_of(params: &Value) -> Option<i32> {
    params
        .pointer("/textDocument/version")
        .and_then(Value::as_i64)
        .and_then(|version| i32::try_from(version).ok())
}
