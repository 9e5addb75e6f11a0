//! Looks at each thing. Whatever is broken, the rest is still looked at.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clode_core::config::{Directories, Loaded};
use clode_core::engine::Configured;
use clode_core::process::{Command, Confinement, Limits, SandboxTier, Spawner, find_program};
use clode_core::store::StoreMode;
use clode_core::workspace::{Git, UserHome};
use tokio_util::sync::CancellationToken;

use super::Finding;
use crate::app::{self, App, Providers};
use crate::cli::desk::Caller;
use crate::cli::render;

/// What an agent program needs to say its version.
const VERSION_LIMITS: Limits = Limits::new(Duration::from_secs(10), 4 << 10);
/// Longest version that is shown (characters).
const VERSION_CHARS_MAX: usize = 60;

pub(super) async fn everywhere(caller: &Caller) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        "clode-ls",
        format!("version {}", env!("CARGO_PKG_VERSION")),
    )];
    let directories = match Directories::named_by(&caller.environment) {
        Ok(directories) => directories,
        Err(error) => {
            findings.push(Finding::broken("directories", &error));
            return findings;
        }
    };
    findings.push(Finding::ok("configuration", configuration_file(&directories)));
    match app::spawner(&directories) {
        Ok(spawner) => {
            findings.push(git(caller, spawner.clone()).await);
            findings.push(sandbox(&spawner).await);
            for (name, what, hint) in [
                (
                    "claude",
                    "Claude Code",
                    "it is optional: install it to let it carry out the Developer's work",
                ),
                ("codex", "Codex", "it is optional and not used yet"),
            ] {
                findings.push(agent(caller, &spawner, name, what, hint).await);
            }
        }
        Err(error) => findings.push(Finding::broken("children", &error)),
    }
    match caller.open(Providers::Configured).await {
        Ok(app) => {
            opened(caller, &app, &mut findings).await;
            app.engine.shutdown().await;
        }
        Err(error) => findings.push(Finding::broken("state", &error)),
    }
    findings
}

fn configuration_file(directories: &Directories) -> String {
    let file = directories.user_file();
    if file.exists() {
        file.display().to_string()
    } else {
        format!("{} (not there; defaults hold)", file.display())
    }
}

async fn git(caller: &Caller, spawner: Spawner) -> Finding {
    let user = UserHome {
        home: caller.environment.home(),
        config_home: caller.environment.path("XDG_CONFIG_HOME"),
    };
    match Git::find(
        spawner,
        &caller.environment.search_path(),
        user,
        std::env::temp_dir(),
    )
    .await
    {
        Ok(git) => Finding::ok("git", format!("{} at {}", git.version(), git.program().display())),
        Err(error) => Finding::broken("git", &error),
    }
}

async fn sandbox(spawner: &Spawner) -> Finding {
    match spawner.probe().await {
        tier @ SandboxTier::Landlock { .. } => Finding::ok("sandbox", tier.to_string()),
        tier @ SandboxTier::None { .. } => Finding::warning(
            "sandbox",
            tier.to_string(),
            "commands that you did not type ask first; Linux 5.13 or later with landlock confines them",
        ),
    }
}

async fn agent(caller: &Caller, spawner: &Spawner, name: &str, what: &str, hint: &str) -> Finding {
    let Some(program) = find_program(name, &caller.environment.search_path()) else {
        return Finding::ok(name, format!("{what} was not found ({hint})"));
    };
    let mut command = Command::new(
        &program,
        caller.folder.as_path(),
        Confinement::Supervised,
        VERSION_LIMITS,
    )
    .arg("--version");
    command.env.extend(caller.environment.child_baseline());
    if let Some(home) = caller.environment.path("HOME") {
        command = command.env("HOME", home);
    }
    match spawner.run(command, &CancellationToken::new()).await {
        Ok(output) if output.end.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version: String = text
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(VERSION_CHARS_MAX)
                .collect();
            Finding::ok(name, format!("{} at {}", version.trim(), program.display()))
        }
        Ok(output) => Finding::warning(
            name,
            format!("{} does not say its version ({})", program.display(), output.end),
            "see whether it starts",
        ),
        Err(error) => Finding::warning(
            name,
            format!("{}: {error}", program.display()),
            "see whether it starts",
        ),
    }
}

async fn opened(caller: &Caller, app: &App, findings: &mut Vec<Finding>) {
    let services = app.engine.services();
    let size = render::bytes(services.store.size_bytes().await);
    findings.push(match services.store.mode() {
        StoreMode::ReadWrite => Finding::ok("state", format!("{} ({size})", app.directories.state.display())),
        StoreMode::ReadOnly { reason } => Finding::broken("state", &reason),
    });
    findings.push(match services.workspaces.usage().await {
        Ok(usage) => Finding::ok(
            "cache",
            format!(
                "{} ({} in {} working directories, {} in use)",
                app.directories.cache.display(),
                render::bytes(usage.bytes),
                usage.active + usage.pooled,
                usage.active
            ),
        ),
        Err(error) => Finding::broken("cache", &error),
    });
    findings.push(kept_results(app).await);
    let loaded = match here(caller, app).await {
        Ok(Some(configured)) => {
            findings.push(trust(&configured));
            configured.loaded.clone()
        }
        Ok(None) => match services.configurations.global() {
            Ok(loaded) => loaded,
            Err(error) => return findings.push(Finding::broken("configuration", &error)),
        },
        Err(error) => return findings.push(Finding::broken("repository", &error)),
    };
    configuration(&loaded, findings);
}

/// Results that nobody applied and whose pipelines have expired.
async fn kept_results(app: &App) -> Finding {
    let (name, salvaged) = ("results", app.engine.services().workspaces.salvaged().await);
    match salvaged {
        Ok(salvaged) if salvaged.is_empty() => {
            Finding::ok(name, "no pipeline expired with a result that nobody applied")
        }
        Ok(salvaged) => {
            let runs: Vec<&str> = salvaged.iter().map(|one| one.run.as_str()).collect();
            let message = format!(
                "kept of pipelines that have expired, and that nobody applied: {}",
                runs.join(", ")
            );
            let hint = "`clode-ls pipelines patch ID` prints the patch, in the repository that it is of";
            Finding::warning(name, message, hint)
        }
        Err(error) => Finding::warning(
            name,
            error.message,
            "git must be able to read the state directory",
        ),
    }
}

async fn here(caller: &Caller, app: &App) -> clode_core::Result<Option<Arc<Configured>>> {
    match app.engine.repository(&caller.folder).await {
        Ok(repository) => app.engine.configuration(&repository).await.map(Some),
        Err(error) if error.code == "notARepository" => Ok(None),
        Err(error) => Err(error),
    }
}

fn trust(configured: &Configured) -> Finding {
    let count = configured.review.items.len();
    match (configured.trust.is_trusted(), count) {
        (_, 0) => Finding::ok(
            "trust",
            "nothing in this repository would run or redirect anything",
        ),
        (true, _) => Finding::ok("trust", "this repository is trusted as it is now"),
        (false, count) => Finding::warning(
            "trust",
            format!(
                "this repository would run or redirect {count} things, which is ignored until you trust them"
            ),
            "clode-ls trust --show",
        ),
    }
}

fn configuration(loaded: &Loaded, findings: &mut Vec<Finding>) {
    for error in &loaded.errors {
        let file = error
            .path
            .as_deref()
            .map(Path::display)
            .map(|path| path.to_string())
            .unwrap_or_default();
        findings.push(Finding::warning(
            "config",
            error.to_string(),
            format!("clode-ls config check; {file} does not count until it is right"),
        ));
    }
    for (id, provider) in loaded
        .config
        .providers
        .iter()
        .filter(|(id, _)| loaded.is_configured(id))
    {
        let name = format!("provider {id}");
        findings.push(match provider.readiness.problem() {
            None => Finding::ok(&name, "ready (`clode-ls providers check` asks it)"),
            Some(problem) => Finding::warning(
                &name,
                problem,
                "set it, or take the provider out of the configuration",
            ),
        });
    }
    if loaded.config.demo_only {
        findings.push(Finding::warning(
            "providers",
            "none is configured: the built-in demo stands in, which is no model",
            "set ANTHROPIC_API_KEY or OPENAI_API_KEY, or install Claude Code",
        ));
    }
}
