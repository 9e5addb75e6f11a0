//! The Status of the contract: what runs, what it costs, how the providers are.

use std::time::Duration;

use clode_core::engine::Engine;
use clode_core::workspace::SlotUsage;
use clode_core::{Error, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::lsp::session::{Folder, Session};

/// How long a measure of the working directories is good enough.
const USAGE_AGE_MAX: Duration = Duration::from_secs(10);
/// How long a status waits for the first measure.
const USAGE_WAIT_MAX: Duration = Duration::from_millis(250);
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
    let (mut repositories, mut others) = (Vec::new(), Vec::new());
    for folder in &folders {
        match session.repository(folder).await {
            Ok(repository) => repositories.push(repository),
            Err(error) => others.push(json!({
                "uri": folder.uri, "repository": null, "trusted": false, "demo": false,
                "error": { "code": error.code, "message": error.message, "hint": error.first_hint() },
            })),
        }
    }
    let status = crate::status::of(engine, &repositories, usage(session, engine).await).await?;
    let mut status = serde_json::to_value(status)
        .map_err(|error| Error::internal(format!("a status cannot be written: {error}")))?;
    let mut alerts: Vec<Value> = session
        .desk()
        .alerts()
        .all()
        .iter()
        .filter_map(|alert| serde_json::to_value(alert).ok())
        .collect();
    alerts.extend(demo_alert(&status));
    for (part, more) in [("workspaces", others), ("alerts", alerts)] {
        if let Some(list) = status.get_mut(part).and_then(Value::as_array_mut) {
            list.extend(more);
        }
    }
    Ok(status)
}

/// Says plainly that no model is at work.
fn demo_alert(status: &Value) -> Option<Value> {
    let workspaces = status.get("workspaces").and_then(Value::as_array)?;
    let is_demo = workspaces
        .iter()
        .any(|workspace| workspace.get("demo") == Some(&Value::Bool(true)));
    is_demo.then(|| {
        json!({
            "code": "demoProvider", "severity": "info",
            "message": "No provider is set up: the built-in demo stands in, which is no model.",
            "hint": "set ANTHROPIC_API_KEY or OPENAI_API_KEY, or install `claude`",
        })
    })
}

/// The last measure; a new one is taken beside when it is old.
async fn usage(session: &Session, engine: &Engine) -> SlotUsage {
    let (last, begin) = {
        let mut usage = session.desk().usage();
        let is_fresh = usage
            .last
            .as_ref()
            .is_some_and(|(at, _)| at.elapsed() < USAGE_AGE_MAX);
        let begin = !is_fresh && !usage.is_measuring;
        usage.is_measuring |= begin;
        (usage.last.as_ref().map(|(_, last)| *last), begin)
    };
    if begin {
        let (session, engine) = (session.clone(), engine.clone());
        let measuring = tokio::spawn(async move {
            let measured = engine.services().workspaces.usage().await;
            let mut usage = session.desk().usage();
            usage.is_measuring = false;
            match measured {
                Ok(measured) => {
                    usage.last = Some((Instant::now(), measured));
                    measured
                }
                Err(error) => {
                    tracing::debug!(%error, "the working directories cannot be measured");
                    usage.last.as_ref().map(|(_, last)| *last).unwrap_or_default()
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
