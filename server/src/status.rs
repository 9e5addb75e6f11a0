//! `clode.status` and `clode-ls status`: one shape for both edges.

use std::sync::Arc;

use clode_core::Result;
use clode_core::config::Config;
use clode_core::engine::{BudgetView, Engine, PipelineSummary, ProviderView, file_uri};
use clode_core::workspace::{Repository, SlotUsage};
use serde::Serialize;

/// Most pipelines that a status shows.
const PIPELINES_MAX: usize = 200;

/// As the contract has it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    /// The sandbox tier: what confinement is worth on this machine.
    pub(crate) sandbox: String,
    pub(crate) workspaces: Vec<Workspace>,
    /// Those that have not ended.
    pub(crate) pipelines: Vec<PipelineSummary>,
    pub(crate) budget: BudgetView,
    pub(crate) providers: Vec<ProviderView>,
    pub(crate) worktrees: SlotUsage,
    pub(crate) alerts: Vec<Alert>,
}

/// An opened folder.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Workspace {
    pub(crate) uri: String,
    pub(crate) repository: String,
    pub(crate) trusted: bool,
    /// Whether the demo provider stands in.
    pub(crate) demo: bool,
}

/// Something that a person should know.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Alert {
    pub(crate) code: String,
    pub(crate) message: String,
    /// `info` or `warning`.
    pub(crate) severity: &'static str,
}

impl Alert {
    fn new(code: &str, message: String, severity: &'static str) -> Self {
        Self {
            code: code.to_owned(),
            message,
            severity,
        }
    }
}

/// The status of these folders; money and providers are those of the first.
pub(crate) async fn of(
    engine: &Engine,
    repositories: &[Arc<Repository>],
    worktrees: SlotUsage,
) -> Result<Status> {
    let services = engine.services();
    let mut workspaces = Vec::new();
    let mut pipelines: Vec<PipelineSummary> = Vec::new();
    let mut alerts = Vec::new();
    let mut first: Option<(Config, &Repository)> = None;
    for repository in repositories {
        let configured = engine.configuration(repository).await?;
        let errors = configured.loaded.errors.len();
        if errors > 0 {
            let message = format!(
                "The configuration has {errors} error(s); what is wrong does not count. See `clode-ls config check`."
            );
            alerts.push(Alert::new("configInvalid", message, "warning"));
        }
        workspaces.push(Workspace {
            uri: file_uri(&repository.folder),
            repository: file_uri(&repository.top_level),
            trusted: configured.trust.is_trusted(),
            demo: configured.loaded.config.demo_only,
        });
        for summary in engine
            .list(Some(repository.id.clone()), None, PIPELINES_MAX)
            .await?
        {
            if !summary.status.is_ended()
                && !pipelines
                    .iter()
                    .any(|known| known.pipeline_id == summary.pipeline_id)
            {
                pipelines.push(summary);
            }
        }
        first.get_or_insert_with(|| (configured.loaded.config.clone(), repository));
    }
    let (config, repository) = match first {
        Some((config, repository)) => (config, Some(&repository.id)),
        None => (services.configurations.global()?.config, None),
    };
    if let Err(error) = services.store.writable().and_then(|()| services.store.room()) {
        alerts.push(Alert::new(&error.code, error.message.clone(), "warning"));
    }
    if let Some(account) = services.store.restoration() {
        alerts.push(Alert::new("storeRestored", account, "warning"));
    }
    if config.demo_only {
        let message = "No provider is set up: the built-in demo stands in. Set ANTHROPIC_API_KEY or OPENAI_API_KEY, or install `claude`.";
        alerts.push(Alert::new("demoProvider", message.to_owned(), "info"));
    }
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        sandbox: services.spawner.probe().await.to_string(),
        workspaces,
        pipelines,
        budget: engine.budget(&config, repository).await?,
        providers: engine.providers(&config),
        worktrees,
        alerts,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use clode_core::engine::DayView;
    use serde_json::json;

    use super::*;

    /// A status with something in every part.
    pub(crate) fn sample() -> Status {
        let day = |spent| DayView {
            limit: Some(50.0),
            spent,
            reserved: 0.5,
            remaining: Some(49.5 - spent),
            resets_at: "2026-11-25T00:00:00Z".to_owned(),
        };
        let provider = |id: &str, kind: &str, reason: Option<&str>| ProviderView {
            id: id.to_owned(),
            kind: kind.to_owned(),
            health: json!(if reason.is_some() { "blocked" } else { "ok" }),
            reason: reason.map(str::to_owned),
            circuit: json!("closed"),
            rpm: json!({"limit": 300, "used": 0}),
            tpm: json!({"limit": null, "used": 0}),
            models: vec!["claude-sonnet-5-5".to_owned()],
        };
        Status {
            version: "1.2.3",
            sandbox: "landlock (ABI 6)".to_owned(),
            workspaces: vec![Workspace {
                uri: "file:///home/ada/project".to_owned(),
                repository: "file:///home/ada/project".to_owned(),
                trusted: false,
                demo: false,
            }],
            pipelines: Vec::new(),
            budget: BudgetView {
                daily: day(1.25),
                per_provider: BTreeMap::from([("anthropic".to_owned(), day(1.25))]),
                repository: None,
            },
            providers: vec![
                provider("anthropic", "anthropic", None),
                provider("openai", "openai", Some("OPENAI_API_KEY is not set")),
            ],
            worktrees: SlotUsage {
                active: 1,
                pooled: 2,
                bytes: 4096,
            },
            alerts: vec![Alert::new(
                "configInvalid",
                "The configuration has 1 error(s)".to_owned(),
                "warning",
            )],
        }
    }

    #[test]
    fn every_part_of_the_contract_is_there() {
        let wire = serde_json::to_value(sample()).unwrap();
        for key in [
            "version",
            "sandbox",
            "workspaces",
            "pipelines",
            "budget",
            "providers",
            "worktrees",
            "alerts",
        ] {
            assert!(wire.get(key).is_some(), "{key}");
        }
        assert_eq!(
            wire["worktrees"],
            json!({"active": 1, "pooled": 2, "bytes": 4096})
        );
        for key in ["limit", "spent", "reserved", "remaining", "resetsAt"] {
            assert!(wire["budget"]["daily"].get(key).is_some(), "{key}");
        }
    }
}
