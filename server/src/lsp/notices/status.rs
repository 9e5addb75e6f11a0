//! The Status of the contract: what runs, what it costs, how the providers are.

use std::time::Duration;

use clode_core::Result;
use clode_core::engine::Engine;
use clode_core::workspace::SlotUsage;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::alerts::Alert;
use crate::lsp::session::{Folder, Session};

/// How long a measure of the working directories is good enough.
const USAGE_AGE_MAX: Duration = Duration::from_secs(10);
/// How long a status waits for the first measure.
const USAGE_WAIT_MAX: Duration = Duration::from_millis(250);
/// How long a status waits until it is known whether the sandbox holds.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(3);

/// What the working directories take, as measured last.
#[derive(Debug, Default)]
pub(super) struct Usage {
    last: Option<(Instant, SlotUsage)>,
    is_measuring: bool,
}

/// The status of the open folders, or of one.
pub(crate) async fn status_of(session: &Session, folder: Option<&Folder>) -> Result<Value> {
    let engine = session.engine().await?;
    let folders = folder.map_or_else(|| session.folders(), |only| vec![only.clone()]);
    let mut workspaces = Vec::new();
    let mut repositories = Vec::new();
    for folder in &folders {
        let found = session.repository(folder).await;
        let mut entry = json!({ "uri": folder.uri, "repository": null, "trusted": false, "error": null });
        match found {
            Ok(repository) => {
                let configured = engine.configuration(&repository).await?;
                entry = json!({
                    "uri": folder.uri,
                    "repository": clode_core::engine::file_uri(&repository.top_level),
                    "trusted": configured.trust.is_trusted(),
                    "demo": configured.loaded.config.demo_only,
                    "error": null,
                });
                repositories.push((repository, configured));
            }
            Err(error) => {
                if let Some(entry) = entry.as_object_mut() {
                    entry.insert("error".to_owned(), json!({"code": error.code, "message": error.message, "hint": error.first_hint()}));
                }
            }
        }
        workspaces.push(entry);
    }
    let config = match repositories.first() {
        Some((_, configured)) => configured.loaded.config.clone(),
        None => engine.services().configurations.global()?.config,
    };
    let mut pipelines = Vec::new();
    let mut seen = Vec::new();
    for (repository, _) in &repositories {
        if seen.contains(&repository.id) {
            continue;
        }
        seen.push(repository.id.clone());
        for row in engine.unfinished(Some(repository.id.clone())).await? {
            pipelines.push(engine.summary_of(&row).await?);
        }
    }
    let budget = engine.budget(&config, seen.first()).await?;
    let sandbox = tokio::time::timeout(PROBE_WAIT_MAX, engine.services().spawner.probe()).await;
    let sandbox = sandbox.map_or_else(|_| "none: not known yet".to_owned(), |tier| tier.to_string());
    let mut alerts = session.desk().alerts().all();
    alerts.extend(standing_alerts(&config, repositories.iter().map(|(_, configured)| configured.loaded.errors.len()).sum()));
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "sandbox": sandbox,
        "workspaces": workspaces,
        "pipelines": pipelines,
        "budget": budget,
        "providers": engine.providers(&config),
        "worktrees": usage(session, engine).await,
        "alerts": alerts,
    }))
}

/// What is so as long as nobody changes it.
fn standing_alerts(config: &clode_core::config::Config, errors: usize) -> Vec<Alert> {
    let alert = |code: &str, message: String, severity| Alert {
        code: code.to_owned(),
        message,
        severity,
        pipeline_id: None,
        at: None,
    };
    let mut alerts = Vec::new();
    if config.demo_only {
        let message = "No provider is set up: the built-in demo stands in. Set ANTHROPIC_API_KEY or OPENAI_API_KEY, or install `claude`.";
        alerts.push(alert("demoProvider", message.to_owned(), "info"));
    }
    if errors > 0 {
        let message = format!("The configuration has {errors} error(s); the last good one is in force.");
        alerts.push(alert("configInvalid", message, "warning"));
    }
    alerts
}

/// The last measure; a new one is taken beside when it is old.
async fn usage(session: &Session, engine: &Engine) -> SlotUsage {
    let (last, begin) = {
        let mut usage = session.desk().usage();
        let is_fresh = usage.last.as_ref().is_some_and(|(at, _)| at.elapsed() < USAGE_AGE_MAX);
        let begin = !is_fresh && !usage.is_measuring;
        usage.is_measuring |= begin;
        (usage.last.as_ref().map(|(_, last)| last.clone()), begin)
    };
    if begin {
        let (session, engine) = (session.clone(), engine.clone());
        let measuring = tokio::spawn(async move {
            let measured = engine.services().workspaces.usage().await;
            let mut usage = session.desk().usage();
            usage.is_measuring = false;
            match measured {
                Ok(measured) => {
                    usage.last = Some((Instant::now(), measured.clone()));
                    measured
                }
                Err(error) => {
                    tracing::debug!(%error, "the working directories cannot be measured");
                    usage.last.as_ref().map(|(_, last)| last.clone()).unwrap_or_default()
                }
            }
        });
        if last.is_none()
            && let Ok(Ok(measured)) = tokio::time::timeout(USAGE_WAIT_MAX, measuring).await
        {
            return measured;
        }
    }
    last.unwrap_or_default()
}
