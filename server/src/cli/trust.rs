//! `trust`: what this repository would run or redirect, and a person's yes or no to exactly that.

use std::fmt::Write as _;

use clap::Args;
use clode_core::engine::Configured;
use clode_core::redact::neutralise;
use clode_core::{Error, Result};
use serde_json::json;

use super::Exit;
use super::desk::{Caller, Desk};
use super::output::Colour;
use super::render::{Style, paint};
use super::terminal::Terminal;

/// Trust what comes with this repository: what it would run is listed first
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the command line"
)]
pub(crate) struct Trust {
    /// Only list it
    #[arg(long, conflicts_with_all = ["revoke", "yes"])]
    show: bool,
    /// Take the trust back
    #[arg(long, conflicts_with = "yes")]
    revoke: bool,
    /// Do not ask; needs the hash that was shown
    #[arg(long, requires = "hash")]
    yes: bool,
    /// The hash that was shown
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

impl Trust {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let desk = caller.open_here().await?;
        let configurations = &desk.engine().services().configurations;
        if self.revoke {
            configurations.set_trust(&desk.repository.id, None).await?;
            return self.end(caller, &desk, Exit::Done).await;
        }
        if self.show {
            return self.end(caller, &desk, Exit::Done).await;
        }
        let shown = configurations.fresh(&desk.repository).await?;
        if let Some(hash) = self.hash.as_deref().filter(|hash| *hash != shown.review.hash) {
            return Err(Error::state(
                "trustChanged",
                format!("what this repository would run is not what `{hash}` stood for"),
            )
            .hint("look at it again with `clode-ls trust --show`"));
        }
        let exit = if self.yes {
            Exit::Done
        } else {
            self.ask(caller, &shown).await?
        };
        if exit == Exit::Done {
            let now = configurations.fresh(&desk.repository).await?;
            if now.review.hash != shown.review.hash {
                return Err(Error::state("trustChanged", "it changed while you looked at it")
                    .hint("run `clode-ls trust` again"));
            }
            configurations
                .set_trust(&desk.repository.id, Some(now.review.hash.clone()))
                .await?;
        }
        self.end(caller, &desk, exit).await
    }

    async fn ask(&self, caller: &Caller, shown: &Configured) -> Result<Exit> {
        caller.output.note(&text(shown, caller.output.note_colour()));
        if shown.trust.is_trusted() {
            return Ok(Exit::Done);
        }
        // Who runs this in a script has typed it: the list above is what the yes stands for.
        let Some(mut terminal) = Terminal::here() else {
            return Ok(Exit::Done);
        };
        let answer = terminal
            .ask("Trust exactly this? A change asks again. [y/N]: ")
            .await;
        let yes = answer.is_some_and(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"));
        Ok(if yes { Exit::Done } else { Exit::Failed })
    }

    async fn end(&self, caller: &Caller, desk: &Desk, exit: Exit) -> Result<Exit> {
        let now = desk
            .engine()
            .services()
            .configurations
            .fresh(&desk.repository)
            .await?;
        if self.json {
            caller.output.document(&json!({"trusted": now.trust.is_trusted(), "hash": now.review.hash, "items": now.review.items}));
        } else if self.show {
            caller.output.print(&text(&now, caller.output.colour()));
        } else {
            caller.output.print(if now.trust.is_trusted() {
                "trusted\n"
            } else {
                "not trusted\n"
            });
        }
        desk.engine().shutdown().await;
        Ok(exit)
    }
}

/// For people.
fn text(configured: &Configured, colour: Colour) -> String {
    let review = &configured.review;
    let mut text = String::new();
    if review.items.is_empty() {
        text.push_str("Nothing in this repository would run or redirect anything.\n");
    } else {
        let _ = writeln!(
            text,
            "{}",
            paint("This repository would run or redirect:", Style::Bold, colour)
        );
    }
    for item in &review.items {
        let kind = serde_json::to_value(item.kind)
            .ok()
            .and_then(|kind| kind.as_str().map(str::to_owned))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "\n{} ({kind})",
            paint(&neutralise(&item.path), Style::Yellow, colour)
        );
        for line in neutralise(&item.preview).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    let word = if configured.trust.is_trusted() {
        "trusted"
    } else {
        "not trusted"
    };
    let _ = writeln!(text, "\nHash: {}\nNow: {word}", review.hash);
    text
}
