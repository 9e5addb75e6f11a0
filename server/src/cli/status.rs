//! `status`: what runs, what it may still cost, and how the providers are.

use std::fmt::Write as _;

use clap::Args;
use clode_core::Result;
use clode_core::redact::neutralise;

use super::desk::Caller;
use super::output::Colour;
use super::{Exit, render};
use crate::status as wire;

/// Show pipelines that have not ended, budget, providers
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

impl Status {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let desk = caller.open_here().await?;
        let worktrees = desk.engine().services().workspaces.usage().await?;
        let status = wire::of(desk.engine(), std::slice::from_ref(&desk.repository), worktrees).await?;
        if self.json {
            caller.output.document(&status);
        } else {
            caller.output.print(&text(&status, caller.output.colour()));
        }
        desk.engine().shutdown().await;
        Ok(Exit::Done)
    }
}

/// For people.
fn text(status: &wire::Status, colour: Colour) -> String {
    let mut text = format!("clode-ls {}, sandbox: {}\n", status.version, status.sandbox);
    let day = &status.budget.daily;
    let _ = writeln!(
        text,
        "\n{}",
        render::paint("Budget today", render::Style::Bold, colour)
    );
    let limit = day
        .limit
        .map_or_else(|| "no limit".to_owned(), |limit| format!("of ${limit:.2}"));
    let _ = writeln!(
        text,
        "${:.4} spent, ${:.4} reserved {limit}",
        day.spent, day.reserved
    );
    let _ = writeln!(
        text,
        "\n{}",
        render::paint("Providers", render::Style::Bold, colour)
    );
    let rows: Vec<Vec<String>> = status
        .providers
        .iter()
        .map(|provider| {
            let health = provider.reason.clone().unwrap_or_else(|| word(&provider.health));
            vec![
                provider.id.clone(),
                provider.kind.clone(),
                health,
                format!("circuit {}", word(&provider.circuit)),
            ]
        })
        .collect();
    text.push_str(&render::table(&rows));
    let _ = writeln!(
        text,
        "\n{}",
        render::paint("Pipelines", render::Style::Bold, colour)
    );
    if status.pipelines.is_empty() {
        text.push_str("none is under way\n");
    }
    text.push_str(&render::table(
        &status
            .pipelines
            .iter()
            .map(super::pipelines::row)
            .collect::<Vec<_>>(),
    ));
    for alert in &status.alerts {
        let _ = writeln!(
            text,
            "{} {}",
            render::paint("!", render::Style::Yellow, colour),
            neutralise(&alert.message)
        );
    }
    text
}

fn word(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_reads_at_a_glance() {
        insta::assert_snapshot!(text(&wire::tests::sample(), Colour::Off));
    }
}
