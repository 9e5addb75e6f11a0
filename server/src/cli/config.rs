//! `config`: what holds and why, a file to start from, the schema, and what is wrong.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use clode_core::config::{self, ConfigError, FoundAgents, Loaded, SourceText, Sources};
use clode_core::redact::neutralise;
use clode_core::trust::TrustState;
use clode_core::{Error, Result};
use serde_json::{Map, Value, json};

use super::Exit;
use super::desk::Caller;
use super::output::Colour;
use super::render::{self, Style, paint};
use crate::app::Providers;

/// Show, begin and check the configuration
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// One JSON document on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// What holds here, each value with its origin
    Show,
    /// Write a commented file to start from; an existing one is left alone
    Init,
    /// The JSON Schema of providers.yaml
    Schema {
        /// That of an editor's settings
        #[arg(long)]
        client: bool,
    },
    /// What is wrong, with line and column
    Check {
        /// This file, as if it were yours; without it all that count here
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

impl Config {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        match self.operation {
            Operation::Show => show(caller).await,
            Operation::Init => init(caller),
            Operation::Schema { client } => {
                let schema = if client {
                    config::schema::client()
                } else {
                    config::schema::providers()
                };
                caller.output.print(&config::schema::text(&schema));
                Ok(Exit::Done)
            }
            Operation::Check { file: Some(file) } => check_file(caller, &file),
            Operation::Check { file: None } => check_all(caller).await,
        }
    }
}

/// The configuration that counts here; outside a repository that of the user.
async fn loaded(caller: &Caller) -> Result<Loaded> {
    let app = caller.open(Providers::Configured).await?;
    let loaded = match app.engine.repository(&caller.folder).await {
        Ok(repository) => app.engine.configuration(&repository).await?.loaded.clone(),
        Err(error) if error.code == "notARepository" => app.engine.services().configurations.global()?,
        Err(error) => return Err(error),
    };
    app.engine.shutdown().await;
    Ok(loaded)
}

async fn show(caller: &Caller) -> Result<Exit> {
    let loaded = loaded(caller).await?;
    let origin = |key: &str| loaded.origins.get(key).map_or("default", |layer| layer.as_str());
    if caller.output.is_json() {
        let values: Map<String, Value> = loaded
            .values
            .iter()
            .map(|(key, value)| (key.clone(), json!({"value": value, "origin": origin(key)})))
            .collect();
        caller
            .output
            .document(&json!({"values": values, "errors": loaded.errors, "warnings": loaded.warnings}));
    } else {
        let colour = caller.output.colour();
        let mut text = String::new();
        for (key, value) in &loaded.values {
            let _ = writeln!(
                text,
                "{}: {}  {}",
                neutralise(key),
                neutralise(&value.to_string()),
                paint(&format!("# {}", origin(key)), Style::Dim, colour)
            );
        }
        caller.output.print(&text);
        caller.output.note(&problems(
            &loaded.errors,
            &loaded.warnings,
            caller.output.note_colour(),
        ));
    }
    Ok(if loaded.errors.is_empty() {
        Exit::Done
    } else {
        Exit::Usage
    })
}

fn init(caller: &Caller) -> Result<Exit> {
    let directories = config::Directories::named_by(&caller.environment)?;
    let file = directories.user_file();
    let failed = |error: &std::io::Error| Error::io(format!("writing {}", file.display()), error);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
    {
        Ok(mut new) => {
            use std::io::Write;
            new.write_all(config::STARTER.as_bytes())
                .map_err(|error| failed(&error))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::usage(
                "configurationExists",
                format!("{} exists already; it was left alone", file.display()),
            )
            .hint("`clode-ls config check` says whether it is right"));
        }
        Err(error) => return Err(failed(&error)),
    }
    if caller.output.is_json() {
        caller.output.document(&json!({"path": file}));
    } else {
        caller.output.print(&format!(
            "Written: {}\nEvery line of it is a comment until you change it.\n",
            file.display()
        ));
    }
    Ok(Exit::Done)
}

fn check_file(caller: &Caller, file: &Path) -> Result<Exit> {
    let path = caller.folder.join(file);
    let unreadable = |why: &dyn std::fmt::Display| {
        Error::usage("unreadable", format!("{}: cannot be read: {why}", file.display()))
    };
    let bytes = std::fs::read(&path).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(&"it is not UTF-8 text"))?;
    let user = Some(SourceText {
        path: file.to_owned(),
        text,
    });
    let sources = Sources {
        user,
        trust: TrustState::default(),
        ..Sources::default()
    };
    let loaded = config::load(&caller.environment, &FoundAgents::default(), &sources);
    Ok(tell(caller, &loaded))
}

async fn check_all(caller: &Caller) -> Result<Exit> {
    let loaded = loaded(caller).await?;
    Ok(tell(caller, &loaded))
}

fn tell(caller: &Caller, loaded: &Loaded) -> Exit {
    let is_right = loaded.errors.is_empty();
    if caller.output.is_json() {
        caller
            .output
            .document(&json!({"ok": is_right, "errors": loaded.errors, "warnings": loaded.warnings}));
    } else {
        let text = problems(&loaded.errors, &loaded.warnings, caller.output.colour());
        caller.output.print(&text);
        if is_right {
            caller.output.print("The configuration is right.\n");
        }
    }
    if is_right { Exit::Done } else { Exit::Usage }
}

/// Each with the line that it is about.
fn problems(errors: &[ConfigError], warnings: &[ConfigError], colour: Colour) -> String {
    let mut text = String::new();
    for (word, style, list) in [
        ("error", Style::Red, errors),
        ("warning", Style::Yellow, warnings),
    ] {
        for problem in list {
            let source = problem
                .path
                .as_ref()
                .and_then(|path| std::fs::read_to_string(path).ok());
            let _ = write!(
                text,
                "{} {}",
                render::paint(&format!("{word}:"), style, colour),
                neutralise(&problem.render(source.as_deref()))
            );
        }
    }
    text
}
