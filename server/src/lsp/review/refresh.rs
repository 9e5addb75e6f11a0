//! Looks again at what was marked: loads runs, places hunks, records what changed, shows it.

use std::path::PathBuf;
use std::sync::Arc;

use clode_core::engine::Engine;
use clode_core::id::PipelineId;

use super::cache::RunReview;
use super::decide::{self, Acquaintance};
use super::{Marks, show};
use crate::lsp::session::Session;

/// Ended runs that are remembered for hover and undo.
const ENDED_RUNS_MAX: usize = 50;

/// Which settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settings {
    Missing,
    All,
}

/// Takes the marks.
pub(super) async fn refresh(session: &Session, marks: Marks) {
    let Some(app) = session.opened() else { return };
    let engine = &app.engine;
    let paths: Vec<PathBuf> = marks
        .documents
        .iter()
        .filter_map(|uri| uri.to_file_path().ok())
        .collect();
    read_settings(
        session,
        engine,
        if marks.settings {
            Settings::All
        } else {
            Settings::Missing
        },
    )
    .await;
    for run in &marks.runs {
        load(session, engine, run).await;
    }
    if !paths.is_empty() {
        for review in session.reviews().runs() {
            if !marks.runs.contains(&review.id) {
                look_again(session, engine, &review, &paths).await;
            }
        }
    }
    forget_old(session);
    show::all(session, &marks.runs).await;
}

async fn load(session: &Session, engine: &Engine, run: &PipelineId) {
    let row = match engine.row(run).await {
        Ok(row) => row,
        Err(error) => {
            if error.code == "unknownPipeline" {
                session.reviews().state().runs.remove(run);
            }
            return;
        }
    };
    let known = session.reviews().run(run).is_some();
    let review = match RunReview::load(session, engine, &row).await {
        Ok(Some(review)) => review,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%run, %error, "a run cannot be shown"),
    };
    let acquaintance = if known {
        Acquaintance::Known
    } else {
        Acquaintance::First
    };
    keep(session, engine, review, acquaintance).await;
}

async fn look_again(session: &Session, engine: &Engine, review: &Arc<RunReview>, paths: &[PathBuf]) {
    let mut again = RunReview::clone(review);
    again.look(session, Some(paths)).await;
    keep(session, engine, again, Acquaintance::Known).await;
}

async fn keep(session: &Session, engine: &Engine, review: RunReview, acquaintance: Acquaintance) {
    let review = Arc::new(review);
    session
        .reviews()
        .state()
        .runs
        .insert(review.id.clone(), Arc::clone(&review));
    // an apply records what it does by itself
    let Ok(quiet) = session.reviews().applying.try_lock() else {
        return;
    };
    let recorded = decide::record(session, engine, &review, acquaintance).await;
    drop(quiet);
    if recorded {
        super::run_changed(session, &review.id);
    }
}

fn forget_old(session: &Session) {
    let mut state = session.reviews().state();
    let ended: Vec<PipelineId> = state
        .runs
        .values()
        .filter(|review| review.machine.ending.is_some())
        .map(|review| review.id.clone())
        .collect();
    for id in ended.iter().take(ended.len().saturating_sub(ENDED_RUNS_MAX)) {
        state.runs.remove(id);
        state.seen.retain(|(run, _)| run != id);
        state.announced.retain(|(run, _), _| run != id);
    }
}

async fn read_settings(session: &Session, engine: &Engine, wanted: Settings) {
    for folder in session.folders() {
        if wanted == Settings::Missing && session.reviews().state().ui.contains_key(&folder.path) {
            continue;
        }
        let configured = match engine.repository(&folder.path).await {
            Ok(repository) => engine.configuration(&repository).await,
            Err(error) => Err(error),
        };
        match configured {
            Ok(configured) => {
                session
                    .reviews()
                    .state()
                    .ui
                    .insert(folder.path, configured.loaded.config.ui);
            }
            Err(error) => tracing::debug!(%error, "no settings for this folder"),
        }
    }
}
