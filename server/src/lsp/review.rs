//! Hunks under review: where they lie in the documents of now; the cache behind lenses, actions, hover and
//! diagnostics, so that those need no I/O.
//!
//! Whoever notices a change marks it and goes on; one task per session takes the marks, a little later and
//! all at once, looks at what is there, and shows it. It ends when nothing is marked.

mod cache;
mod decide;
mod refresh;
mod show;
mod target;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clode_core::config::UiConfig;
use clode_core::id::{HunkId, PipelineId};
use clode_core::pipeline::Answerer;
use serde_json::Value;
use tokio::sync::Notify;
use url::Url;

use super::document::Document;
use super::session::Session;

pub(crate) use cache::{FileReview, RunReview, is_waiting, open_document};
pub(crate) use target::target;

/// Changes that come closer together than this are looked at once.
const DEBOUNCE_MS: u64 = 40;

/// Versions of a document that are kept while an edit is on its way.
const WATCHED_VERSIONS_MAX: usize = 32;

/// What a session knows about the runs that it shows.
#[derive(Debug, Default)]
pub(crate) struct Reviews {
    state: Mutex<State>,
    /// Held while hunks are brought into the user's text: one apply at a time.
    pub(crate) applying: tokio::sync::Mutex<()>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<PipelineId, Arc<RunReview>>,
    marked: Marks,
    /// Whether the task that takes the marks is there.
    works: bool,
    /// What the editor was told last, by address.
    published: BTreeMap<Url, String>,
    announced: BTreeMap<(PipelineId, String), Value>,
    lenses: String,
    /// Virtual documents that the editor asked for.
    fetched: BTreeSet<Url>,
    ui: BTreeMap<PathBuf, UiConfig>,
    /// Documents that an edit is on the way to, version by version since it was sent.
    watched: BTreeMap<Url, Vec<Document>>,
    /// Hunks whose text this session has seen in place.
    seen: BTreeSet<(PipelineId, HunkId)>,
}

#[derive(Debug, Default)]
struct Marks {
    runs: BTreeSet<PipelineId>,
    documents: BTreeSet<Url>,
    settings: bool,
}

impl Marks {
    fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.documents.is_empty() && !self.settings
    }
}

/// A run changed: reload its review, refresh what shows it. Returns at once.
pub(crate) fn run_changed(session: &Session, run: &PipelineId) {
    mark(session, |marks| {
        marks.runs.insert(run.clone());
    });
}

/// A document was opened, changed, closed, or changed on the disk. Returns at once.
pub(crate) fn document_changed(session: &Session, uri: &Url) {
    let document = session.document(uri);
    if let (Some(document), Some(versions)) = (document, session.reviews().state().watched.get_mut(uri))
        && versions.len() < WATCHED_VERSIONS_MAX
    {
        versions.push(document);
    }
    session.reviews().changed.notify_waiters();
    mark(session, |marks| {
        marks.documents.insert(uri.clone());
    });
}

/// The configuration changed: its `ui` switches are read again. Returns at once.
pub(crate) fn settings_changed(session: &Session) {
    mark(session, |marks| marks.settings = true);
}

fn mark(session: &Session, note: impl FnOnce(&mut Marks)) {
    let mut state = session.reviews().state();
    note(&mut state.marked);
    if !state.works && !session.stop().is_cancelled() {
        state.works = true;
        tokio::spawn(work(session.clone()));
    }
}

async fn work(session: Session) {
    loop {
        let pause = tokio::time::sleep(Duration::from_millis(DEBOUNCE_MS));
        if session.stop().run_until_cancelled(pause).await.is_none() {
            return;
        }
        let marks = {
            let mut state = session.reviews().state();
            if state.marked.is_empty() {
                state.works = false;
                return;
            }
            std::mem::take(&mut state.marked)
        };
        refresh::refresh(&session, marks).await;
    }
}

impl Reviews {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All runs that are known, oldest name first.
    pub(crate) fn runs(&self) -> Vec<Arc<RunReview>> {
        self.state().runs.values().cloned().collect()
    }

    /// One run.
    pub(crate) fn run(&self, id: &PipelineId) -> Option<Arc<RunReview>> {
        self.state().runs.get(id).cloned()
    }

    /// Remembers that the editor shows a virtual document.
    pub(crate) fn fetched(&self, uri: &Url) {
        self.state().fetched.insert(uri.clone());
    }

    /// The `ui` switches of the folder that holds this file, as last read.
    pub(crate) fn ui(&self, session: &Session, uri: &Url) -> UiConfig {
        let folder = uri.to_file_path().ok().and_then(|path| session.folder_of(&path));
        let state = self.state();
        let known = folder
            .and_then(|folder| state.ui.get(&folder.path))
            .or_else(|| state.ui.values().next());
        known.copied().unwrap_or(UiConfig {
            lens_hunks: true,
            lens_todos: false,
            inlay_hints: false,
            diagnostics: true,
            prompts: true,
        })
    }

    /// Waits until a document changes, or this time is over.
    pub(crate) async fn changed_within(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.changed.notified()).await;
    }

    /// Keeps every version of these documents from now on.
    pub(crate) fn watch(&self, documents: impl IntoIterator<Item = Document>) {
        self.state().watched = documents
            .into_iter()
            .map(|document| ((*document.uri).clone(), vec![document]))
            .collect();
    }

    /// The versions of a document since it is watched.
    pub(crate) fn versions(&self, uri: &Url) -> Vec<Document> {
        self.state().watched.get(uri).cloned().unwrap_or_default()
    }

    /// Remembers that the text of these hunks was seen in place.
    pub(crate) fn saw(&self, run: &PipelineId, hunks: impl IntoIterator<Item = HunkId>) {
        let mut state = self.state();
        state
            .seen
            .extend(hunks.into_iter().map(|hunk| (run.clone(), hunk)));
    }

    fn has_seen(&self, run: &PipelineId, hunk: &HunkId) -> bool {
        self.state().seen.contains(&(run.clone(), hunk.clone()))
    }
}

/// Who decides here, for the audit.
pub(crate) fn answerer(session: &Session) -> Answerer {
    let opening = session.client().opening();
    let name = opening
        .params
        .pointer("/clientInfo/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Answerer {
        surface: "editor".to_owned(),
        detail: name.to_owned(),
    }
}
