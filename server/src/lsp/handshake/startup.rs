//! What happens once the editor is ready: its settings, its watchers, the house behind it, and the
//! runs that nobody drives any more.

use std::sync::Arc;

use clode_core::Error;
use clode_core::config::ResumeMode;
use clode_core::engine::Engine;
use clode_core::id::{PipelineId, RepositoryId};
use clode_core::store::RunRow;
use clode_core::workspace::Repository;
use lsp_types::MessageType;
use serde_json::json;

use super::settings;
use crate::lsp::session::Session;
use crate::lsp::sync;

/// Runs that a message names.
const NAMED_MAX: usize = 3;

/// Opens the house while the editor is asked for its settings; neither waits for the other for long.
pub(super) async fn run(session: &Session) {
    let asking = session.clone();
    tokio::spawn(async move {
        settings::take_over(&asking, None).await;
        asking.settle();
        register(&asking).await;
    });
    match session.engine().await {
        Ok(engine) => {
            warm_up(session, engine);
            session.settled().await;
            folders_changed(session).await;
        }
        Err(error) => say_why(session, &error).await,
    }
}

async fn say_why(session: &Session, error: &Error) {
    tracing::error!(%error, code = %error.code, "the state cannot be opened");
    let hint = error
        .first_hint()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default();
    let message = format!("Clode cannot work: {}{hint}", error.message);
    session.client().show_message(MessageType::Error, &message).await;
}

/// Asks to be told about changed settings and files.
async fn register(session: &Session) {
    let client = session.client();
    let settings = json!({ "section": super::SECTION });
    client
        .register_capability("clode-settings", "workspace/didChangeConfiguration", &settings)
        .await;
    let files = json!({ "watchers": [{ "globPattern": "**/*" }] });
    client
        .register_capability("clode-files", "workspace/didChangeWatchedFiles", &files)
        .await;
}

/// Finds out in advance what a status would have to wait for.
fn warm_up(session: &Session, engine: &Engine) {
    let (spawner, stop) = (engine.services().spawner.clone(), session.stop().clone());
    tokio::spawn(async move {
        stop.run_until_cancelled(spawner.probe()).await;
    });
}

/// Looks at the folders that are open now: their configuration, and their runs.
pub(super) async fn folders_changed(session: &Session) {
    let Ok(engine) = session.engine().await else {
        return;
    };
    let repositories = session.find_repositories().await;
    sync::check_configuration(session).await;
    for repository in repositories {
        take_up(session, engine, &repository).await;
    }
    session.desk().look_again().await;
}

/// The process of these runs ended while their workspace is open here too.
pub(in crate::lsp) async fn left_behind(
    session: &Session,
    engine: &Engine,
    repository: &RepositoryId,
    runs: &[PipelineId],
) {
    let repositories = session.repositories();
    let Some(repository) = repositories.iter().find(|open| open.id == *repository) else {
        return;
    };
    let mut orphans = Vec::new();
    for run in runs {
        match (engine.row(run).await, engine.is_driven(run).await) {
            (Ok(row), Ok(false)) if !row.finished => orphans.push(row),
            (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, %run, "the run cannot be looked at"),
            _ => {}
        }
    }
    go_on_with(session, engine, repository, orphans).await;
}

/// Drives on what nobody drives, or asks whether it should.
async fn take_up(session: &Session, engine: &Engine, repository: &Arc<Repository>) {
    match engine.orphans(&repository.id).await {
        Ok(orphans) => go_on_with(session, engine, repository, orphans).await,
        Err(error) => tracing::warn!(%error, "runs that nobody drives cannot be listed"),
    }
}

async fn go_on_with(session: &Session, engine: &Engine, repository: &Arc<Repository>, orphans: Vec<RunRow>) {
    let resume = engine
        .configuration(repository)
        .await
        .map(|configured| configured.loaded.config.resume);
    let (waiting, working): (Vec<RunRow>, Vec<RunRow>) = orphans
        .into_iter()
        .partition(|row| row.status == "awaitingApproval");
    // A run that waits for a person costs nothing: whoever opens its workspace first shows its question.
    let waiting = adopt(engine, waiting).await;
    if !waiting.is_empty() {
        let message = format!("Clode: waiting for your answer: {}", names(&waiting));
        session.client().show_message(MessageType::Info, &message).await;
    }
    if working.is_empty() {
        return;
    }
    if resume.is_ok_and(|resume| resume == ResumeMode::Auto) {
        let working = adopt(engine, working).await;
        if working.is_empty() {
            return;
        }
        let message = format!("Clode: going on with what was interrupted: {}", names(&working));
        session.client().show_message(MessageType::Info, &message).await;
        return;
    }
    let (session, engine) = (session.clone(), engine.clone());
    tokio::spawn(async move {
        let question = format!("Clode: interrupted: {}. Go on?", names(&working));
        let answers = ["Later", "Go on"];
        let client = session.client();
        if client
            .show_message_request(MessageType::Info, &question, &answers, session.stop())
            .await
            == Some(1)
        {
            adopt(&engine, working).await;
        }
    });
}

/// Takes them up, and answers those that are driven here now: another server may have been faster.
async fn adopt(engine: &Engine, mut rows: Vec<RunRow>) -> Vec<RunRow> {
    for row in &rows {
        if let Err(error) = engine.adopt(&row.id).await {
            tracing::warn!(%error, run = %row.id, "the run cannot be taken up");
        }
    }
    rows.retain(|row| engine.drives(&row.id));
    rows
}

fn names(rows: &[RunRow]) -> String {
    let mut names: Vec<String> = rows
        .iter()
        .take(NAMED_MAX)
        .map(|row| format!("“{}”", row.title))
        .collect();
    if rows.len() > NAMED_MAX {
        names.push(format!("{} more", rows.len() - NAMED_MAX));
    }
    names.join(", ")
}
