//! What every command has at hand: who calls, from where, and the house once it is opened.

use std::path::PathBuf;
use std::sync::Arc;

use clode_core::config::{Config, Environment};
use clode_core::engine::{Configured, Engine};
use clode_core::pipeline::Answerer;
use clode_core::redact::Redactor;
use clode_core::workspace::Repository;
use clode_core::{Error, Result};

use super::Exit;
use super::interrupt::Interrupt;
use super::output::Output;
use crate::app::{App, Providers};

/// Who calls, and from where. Nothing is opened yet.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) environment: Arc<Environment>,
    pub(super) redactor: Arc<Redactor>,
    pub(super) folder: PathBuf,
    pub(super) output: Output,
    pub(super) interrupt: Interrupt,
}

/// The house, opened for one repository.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) app: App,
    pub(super) repository: Arc<Repository>,
    pub(super) configured: Arc<Configured>,
}

impl Caller {
    /// From the current directory.
    pub(super) fn here(
        environment: Arc<Environment>,
        redactor: Arc<Redactor>,
        output: Output,
        interrupt: Interrupt,
    ) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line passes the directory on"
        )]
        let folder = std::env::current_dir().map_err(|error| {
            Error::io("the current directory cannot be used", &error).hint("go to a directory that exists")
        })?;
        Ok(Self {
            environment,
            redactor,
            folder,
            output,
            interrupt,
        })
    }

    /// Opens the house.
    pub(super) async fn open(&self, providers: Providers) -> Result<App> {
        App::open_with(
            Arc::clone(&self.environment),
            Arc::clone(&self.redactor),
            providers,
        )
        .await
    }

    /// Opens the house for the repository of the current directory.
    pub(super) async fn open_here(&self) -> Result<Desk> {
        let app = self.open(Providers::Configured).await?;
        self.desk(app, &self.folder).await
    }

    /// The desk for a folder of a repository.
    pub(super) async fn desk(&self, app: App, folder: &std::path::Path) -> Result<Desk> {
        let repository = app.engine.repository(folder).await?;
        let configured = app.engine.configuration(&repository).await?;
        self.learn_keys(&configured.loaded.config);
        Ok(Desk {
            app,
            repository,
            configured,
        })
    }

    /// Keys under names of the user's own choice are kept out of logs as well.
    pub(super) fn learn_keys(&self, config: &Config) {
        let names = config
            .providers
            .values()
            .filter_map(|provider| provider.api_key_env.as_deref());
        for key in names.filter_map(|name| self.environment.get(name)) {
            self.redactor.learn(key.trim());
        }
    }

    /// Does the work, unless a person interrupts it. For what is durable at every moment.
    pub(super) async fn unless_interrupted(&self, work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
        tokio::select! {
            result = work => result,
            () = self.interrupt.happened() => Ok(Exit::Interrupted),
        }
    }
}

impl Desk {
    pub(super) fn engine(&self) -> &Engine {
        &self.app.engine
    }

    /// Says once what is wrong with the configuration; the last good one holds.
    pub(super) fn tell_problems(&self, output: &Output) {
        for problem in &self.configured.loaded.errors {
            output.note(&format!("warning: {problem}"));
        }
        if !self.configured.loaded.errors.is_empty() {
            output.note("hint: `clode-ls config check` shows each of them; what is wrong does not count");
        }
    }
}

/// Answers that are given here.
pub(super) fn by_command_line() -> Answerer {
    Answerer {
        surface: "commandLine".to_owned(),
        detail: String::new(),
    }
}
