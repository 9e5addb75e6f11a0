//! Brings what runs tell to the editor: progress, events, notifications, prompts.
//!
//! One task per session listens ([`watcher`]); it alone sends events, so that their order is that of their
//! numbers, and it reads them from the store, so that none is missing and none comes twice. Progress and
//! prompts wait for the editor: each has a task of its own.

mod alerts;
mod bar;
mod desk;
mod prompt;
mod status;
mod watcher;
pub(crate) mod words;

#[cfg(test)]
mod tests;

use clode_core::engine::{Engine, Signal};
use serde_json::Value;

pub(crate) use desk::Desk;
pub(crate) use status::status_of;

use super::session::Session;

/// Begins to listen.
pub(crate) fn start(session: &Session, engine: &Engine) {
    let Some(orders) = session.desk().take_orders() else {
        return;
    };
    tokio::spawn(watcher::run(session.clone(), engine.clone(), orders));
}

/// The person pressed cancel on a progress of ours: the pipeline is cancelled, its results stay.
pub(crate) fn progress_cancelled(session: &Session, params: &Value) {
    let Some(run) = params.get("token").and_then(|token| session.desk().run_of(token)) else {
        return tracing::debug!("cancel of a progress that is none of ours");
    };
    let session = session.clone();
    tokio::spawn(async move {
        let Ok(engine) = session.engine().await else {
            return;
        };
        let by = session.answerer();
        if let Err(error) = engine.signal(&run, Signal::Cancel { by }).await {
            tracing::debug!(%error, %run, "cancelled from its progress too late");
        }
    });
}
