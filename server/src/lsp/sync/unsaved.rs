//! Which documents hold text that is not saved: said to the other clients of this machine, whose applies leave
//! those files alone.
//!
//! A document is marked by whoever notices something about it; one task takes the marks, compares with the disk and
//! says what changed. Text that turns unsaved is said at once; the look that finds out whether typing has brought it
//! back to what is saved is not in a hurry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use crate::lsp::session::Session;

/// Wait before a document that is known to be unsaved is compared again.
const AGAIN_MS: u64 = 300;
/// Wait before what others could not be told is said again.
const SAY_AGAIN_MS: u64 = 2_000;
/// Documents with unsaved text that are followed.
const FOLLOWED_MAX: usize = clode_core::store::DOCUMENTS_MAX;
/// How a file may begin that an editor shows without these bytes.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// What is known about the documents of a session.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Edited since they were opened, saved, or last found to be as on the disk.
    edited: BTreeSet<Url>,
    marked: BTreeSet<Url>,
    /// Those that hold unsaved text; others are told about them.
    told: BTreeMap<Url, PathBuf>,
    /// Something of that was not said yet.
    unsaid: bool,
    works: bool,
}

/// What happened to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    /// It may differ from the disk from now on.
    Edited,
    /// It was saved, closed, or its file changed.
    Settled,
}

/// Notes that something happened to a document. Returns at once.
pub(super) fn note(session: &Session, uri: &Url, happened: Happened) {
    if uri.scheme() != "file" {
        return;
    }
    let mut state = session.unsaved().state();
    if happened == Happened::Edited && state.edited.len() < FOLLOWED_MAX {
        state.edited.insert(uri.clone());
    }
    if !state.edited.contains(uri) && !state.told.contains_key(uri) {
        return;
    }
    state.marked.insert(uri.clone());
    if !state.works && !session.stop().is_cancelled() {
        state.works = true;
        tokio::spawn(work(session.clone()));
    }
}

impl Unsaved {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(session: Session) {
    loop {
        let (marked, is_news) = {
            let mut state = session.unsaved().state();
            if state.marked.is_empty() && !state.unsaid {
                state.works = false;
                return;
            }
            let marked = std::mem::take(&mut state.marked);
            let is_news = marked.iter().any(|uri| !state.told.contains_key(uri));
            (marked, is_news)
        };
        if !is_news {
            let wait = if marked.is_empty() { SAY_AGAIN_MS } else { AGAIN_MS };
            let pause = tokio::time::sleep(Duration::from_millis(wait));
            if session.stop().run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
        look(&session, marked).await;
        if session.unsaved().state().unsaid {
            say(&session).await;
        }
    }
}

async fn look(session: &Session, marked: BTreeSet<Url>) {
    for uri in marked {
        let is_unsaved = differs_from_disk(session, &uri).await;
        let mut state = session.unsaved().state();
        match uri.to_file_path() {
            Ok(path) if is_unsaved => state.unsaid |= state.told.insert(uri, path).is_none(),
            _ => {
                // What was typed meanwhile is marked, and looked at next.
                if !state.marked.contains(&uri) {
                    state.edited.remove(&uri);
                }
                state.unsaid |= state.told.remove(&uri).is_some();
            }
        }
    }
}

/// Tells the others. Where nothing can be written nobody can apply anything either.
async fn say(session: &Session) {
    session.unsaved().state().unsaid = false;
    let paths: Vec<PathBuf> = session.unsaved().state().told.values().cloned().collect();
    let Ok(engine) = session.engine().await else {
        return;
    };
    let client = session.answerer().detail;
    if let Err(error) = engine.hold_documents(&client, paths).await {
        tracing::debug!(%error, "what is unsaved here could not be said to others");
        session.unsaved().state().unsaid = engine.services().store.writable().is_ok();
    }
}

/// Whether the document is open with another text than its file. A file that cannot be read as text differs.
async fn differs_from_disk(session: &Session, uri: &Url) -> bool {
    let Some(document) = session.document(uri) else {
        return false;
    };
    let Ok(path) = uri.to_file_path() else {
        return false;
    };
    let shown = document.text();
    match tokio::fs::read(&path).await {
        Ok(bytes) => String::from_utf8(bytes).map_or(true, |saved| essence(&saved) != essence(&shown)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => !shown.is_empty(),
        Err(_) => true,
    }
}

/// The text without what editors add or leave out by themselves: the mark at the beginning, kinds of line ends, the
/// last line end.
fn essence(text: &str) -> String {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let text = text.replace("\r\n", "\n");
    text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_changes_by_itself_is_not_unsaved_text() {
        assert_eq!(essence("\u{feff}a\r\nb"), essence("a\nb\n"));
        assert_ne!(essence("a\n\n"), essence("a\n"));
        assert_ne!(essence("a"), essence("b"));
    }
}
