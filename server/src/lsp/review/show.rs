//! Brings what was found to the editor: diagnostics, `clode/didChangeReview`, and requests to ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clode_core::id::PipelineId;
use serde_json::{Value, json};
use url::Url;

use super::cache::RunReview;
use crate::lsp::diagnostic::{self, Published};
use crate::lsp::session::Session;
use crate::review::address;

/// Shows all that differs from what was shown last. `changed` are runs whose own state is another one.
pub(super) async fn all(session: &Session, changed: &BTreeSet<PipelineId>) {
    let runs = session.reviews().runs();
    publish(session, &runs).await;
    for run in &runs {
        announce(session, run).await;
    }
    let lenses = lens_state(&runs);
    let differ = {
        let mut state = session.reviews().state();
        let differ = state.lenses != lenses;
        state.lenses = lenses;
        differ
    };
    let mut fetched: Vec<Url> = session.reviews().state().fetched.iter().cloned().collect();
    fetched.retain(|uri| address::parse(uri).is_some_and(|(run, _)| changed.contains(&run)));
    let client = session.client().clone();
    // an editor that is slow to answer holds nothing up
    tokio::spawn(async move {
        if differ {
            client.refresh_code_lenses().await;
        }
        for uri in fetched {
            client.refresh_text_document_content(&uri).await;
        }
    });
}

async fn publish(session: &Session, runs: &[Arc<RunReview>]) {
    let mut wanted: BTreeMap<Url, Published> = BTreeMap::new();
    for run in runs {
        for (uri, published) in diagnostic::of_run(session, run) {
            let all = wanted.entry(uri).or_default();
            all.version = published.version;
            all.diagnostics.extend(published.diagnostics);
        }
    }
    for (uri, marks) in session.config_marks().all() {
        wanted.entry(uri).or_default().diagnostics.extend(marks);
    }
    let mut news = Vec::new();
    {
        let mut state = session.reviews().state();
        let gone: Vec<Url> = state
            .published
            .keys()
            .filter(|uri| !wanted.contains_key(uri))
            .cloned()
            .collect();
        for uri in gone {
            state.published.remove(&uri);
            news.push((uri, Published::default()));
        }
        for (uri, published) in wanted {
            let text = format!(
                "{:?} {}",
                published.version,
                Value::Array(published.diagnostics.clone())
            );
            if state.published.get(&uri) != Some(&text) {
                state.published.insert(uri.clone(), text);
                news.push((uri, published));
            }
        }
    }
    for (uri, published) in news {
        session
            .client()
            .publish_diagnostics(&uri, published.version, &published.diagnostics)
            .await;
    }
}

async fn announce(session: &Session, run: &RunReview) {
    if session.capabilities().clode.is_none() {
        return;
    }
    let mut now: BTreeMap<String, Value> = BTreeMap::new();
    if run.is_under_review() {
        for file in &run.files {
            let Some(view) = run.view(file) else { continue };
            let version = view.hunks.first().and_then(|hunk| hunk.version);
            let uri = file.uri.to_string();
            now.insert(
                uri.clone(),
                json!({"uri": uri, "version": version, "pipelineId": run.id, "hunks": view.hunks}),
            );
        }
    }
    let mut news = Vec::new();
    {
        let mut state = session.reviews().state();
        let gone: Vec<(PipelineId, String)> = state
            .announced
            .keys()
            .filter(|(id, uri)| *id == run.id && !now.contains_key(uri))
            .cloned()
            .collect();
        for key in gone {
            state.announced.remove(&key);
            news.push(json!({"uri": key.1, "version": null, "pipelineId": run.id, "hunks": []}));
        }
        for (uri, review) in now {
            let key = (run.id.clone(), uri);
            if state.announced.get(&key) != Some(&review) {
                state.announced.insert(key, review.clone());
                news.push(review);
            }
        }
    }
    for review in news {
        session
            .client()
            .custom_notify("clode/didChangeReview", &review)
            .await;
    }
}

/// What lenses depend on beside the text.
fn lens_state(runs: &[Arc<RunReview>]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for run in runs {
        let _ = write!(text, "{} {:?} ", run.id, run.machine.status());
        for gate in run.machine.open_gates() {
            let _ = write!(text, "{} ", gate.id);
        }
        for file in &run.files {
            for hunk in &file.hunks {
                let _ = write!(text, "{}={:?} ", hunk.id, hunk.state);
            }
        }
    }
    text
}
