//! `providers check`: the cheapest real request to each configured provider.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use clode_core::config::Config;
use clode_core::redact::neutralise;
use clode_core::router::CheckReport;
use clode_core::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::desk::Caller;
use super::output::Colour;
use super::render::{Style, paint};
use crate::app::Providers as Opened;

/// Check the providers of models
#[derive(Debug, Args)]
pub(crate) struct Providers {
    /// One JSON document on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Ask each provider the cheapest real question
    Check {
        /// Only this one
        #[arg(value_name = "PROVIDER")]
        provider: Option<String>,
    },
}

impl Providers {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let Operation::Check { provider } = self.operation;
        let app = caller.open(Opened::Configured).await?;
        // Outside a repository the user's own configuration is checked.
        let repository = app.engine.repository(&caller.folder).await.ok();
        let loaded = match &repository {
            Some(repository) => app.engine.configuration(repository).await?.loaded.clone(),
            None => app.engine.services().configurations.global()?,
        };
        caller.learn_keys(&loaded.config);
        for error in &loaded.errors {
            caller.output.note(&format!("warning: {error}"));
        }
        let only = provider.as_deref();
        if let Some(unknown) = only.filter(|only| !loaded.config.providers.contains_key(*only)) {
            let known: Vec<&str> = loaded.config.providers.keys().map(String::as_str).collect();
            return Err(Error::usage(
                "unknownProvider",
                format!(
                    "there is no provider `{unknown}`; there are: {}",
                    known.join(", ")
                ),
            ));
        }
        let cancel = CancellationToken::new();
        let id = repository.as_ref().map(|repository| &repository.id);
        let mut reports = app
            .engine
            .check_providers(&loaded.config, only, id, &cancel)
            .await;
        reports.retain(|report| only.is_some() || loaded.is_configured(&report.id));
        if self.json {
            caller.output.document(&reports);
        } else {
            caller
                .output
                .print(&text(&reports, &loaded.config, caller.output.colour()));
        }
        app.engine.shutdown().await;
        Ok(if reports.iter().all(|report| report.ok) {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

fn text(reports: &[CheckReport], config: &Config, colour: Colour) -> String {
    let mut text = String::new();
    let width = reports
        .iter()
        .map(|report| report.id.chars().count())
        .max()
        .unwrap_or(0);
    for report in reports {
        let word = if report.ok {
            paint("ok    ", Style::Green, colour)
        } else {
            paint("failed", Style::Red, colour)
        };
        let time = if report.latency_ms > 0 {
            format!(" ({} ms)", report.latency_ms)
        } else {
            String::new()
        };
        let hint = report
            .hint
            .as_deref()
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<width$}  {word}  {}{time}{}",
            report.id,
            neutralise(&report.message),
            neutralise(&hint)
        );
    }
    if config.demo_only {
        text.push_str(
            "No provider is configured: the built-in demo stands in. It is no model.\n\
             Set ANTHROPIC_API_KEY or OPENAI_API_KEY, or install Claude Code; `clode-ls config init` writes a file to start from.\n",
        );
    }
    text
}
