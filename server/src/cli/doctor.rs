//! `doctor`: what is here, what is missing, and what to do about it.

mod look;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use clode_core::Result;
use clode_core::config::Directories;
use clode_core::redact::neutralise;
use serde::Serialize;

use super::Exit;
use super::desk::Caller;
use super::output::Colour;
use super::render::{Style, paint, table};

/// Look at this machine: versions, paths, git, agents, sandbox, providers, trust, disk
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Health {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// Something essential is broken.
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// What, such as `git`.
    id: String,
    health: Health,
    /// What was found.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn ok(id: &str, message: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            health: Health::Ok,
            message: message.into(),
            hint: None,
        }
    }

    fn warning(id: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            health: Health::Warning,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    fn broken(id: &str, error: &clode_core::Error) -> Self {
        let hint = error.first_hint().map(str::to_owned);
        Self {
            id: id.to_owned(),
            health: Health::Broken,
            message: error.message.clone(),
            hint,
        }
    }
}

/// All that was looked at.
#[derive(Debug, Clone, Serialize)]
struct Report {
    version: &'static str,
    ok: bool,
    paths: Option<Paths>,
    findings: Vec<Finding>,
}

/// Where we keep things.
#[derive(Debug, Clone, Serialize)]
struct Paths {
    state: PathBuf,
    cache: PathBuf,
    config: PathBuf,
}

impl Report {
    fn new(paths: Option<Paths>, findings: Vec<Finding>) -> Self {
        let ok = findings.iter().all(|finding| finding.health != Health::Broken);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ok,
            paths,
            findings,
        }
    }
}

impl Doctor {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let report = Report::new(paths(caller), look::everywhere(caller).await);
        if self.json {
            caller.output.document(&report);
        } else {
            caller.output.print(&text(&report, caller.output.colour()));
        }
        Ok(if report.ok { Exit::Done } else { Exit::Failed })
    }
}

fn paths(caller: &Caller) -> Option<Paths> {
    let Directories { state, cache, config } = Directories::named_by(&caller.environment).ok()?;
    Some(Paths { state, cache, config })
}

/// For people.
fn text(report: &Report, colour: Colour) -> String {
    let rows: Vec<Vec<String>> = report
        .findings
        .iter()
        .map(|finding| {
            let mark = match finding.health {
                Health::Ok => "ok",
                Health::Warning => "note",
                Health::Broken => "BROKEN",
            };
            vec![
                mark.to_owned(),
                finding.id.clone(),
                neutralise(&finding.message).into_owned(),
            ]
        })
        .collect();
    let mut text = String::new();
    for (line, finding) in table(&rows).lines().zip(&report.findings) {
        let style = match finding.health {
            Health::Ok => Style::Green,
            Health::Warning => Style::Yellow,
            Health::Broken => Style::Red,
        };
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let _ = writeln!(text, "{} {rest}", paint(mark, style, colour));
        if let Some(hint) = &finding.hint {
            let _ = writeln!(
                text,
                "        {} {}",
                paint("hint:", Style::Cyan, colour),
                neutralise(hint)
            );
        }
    }
    text.push_str(if report.ok {
        "\nNothing essential is broken.\n"
    } else {
        "\nSomething essential is broken: see above.\n"
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_comes_with_what_to_do() {
        let error = clode_core::Error::io(
            "the state directory",
            &std::io::ErrorKind::PermissionDenied.into(),
        );
        let report = Report::new(
            None,
            vec![
                Finding::ok("git", "git 2.47.3 at /usr/bin/git"),
                Finding::warning(
                    "claude",
                    "Claude Code was not found",
                    "install it, or set ANTHROPIC_API_KEY",
                ),
                Finding::broken("state", &error),
            ],
        );
        assert!(!report.ok);
        insta::assert_snapshot!(text(&report, Colour::Off));
    }
}
