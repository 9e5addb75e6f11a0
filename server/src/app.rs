//! Puts the house together: directories, database, children, workspaces, engine. Both edges begin here.

use std::path::PathBuf;
use std::sync::Arc;

use clode_core::Result;
use clode_core::clock::{Clock, SystemClock};
use clode_core::config::{Directories, Environment};
use clode_core::engine::{Configurations, Engine, Services};
use clode_core::process::Spawner;
use clode_core::redact::Redactor;
use clode_core::store::Store;
use clode_core::workspace::{Places, UserHome, Workspaces};

/// Where the demonstration looks for a configuration of the user's: there is none.
const NO_CONFIGURATION: &str = "demo-has-no-configuration";

/// Everything that is opened once for a process.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) environment: Arc<Environment>,
    pub(crate) directories: Directories,
}

/// Which providers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Providers {
    /// Those of the configuration and the environment.
    Configured,
    /// The built-in demonstration, whatever is configured: no key of the environment is looked at.
    Demo,
}

impl App {
    /// Opens the state directory and all that lives on it.
    pub(crate) async fn open(environment: Arc<Environment>, redactor: Arc<Redactor>) -> Result<Self> {
        Self::open_with(environment, redactor, Providers::Configured).await
    }

    /// As [`App::open`], with a choice of providers.
    pub(crate) async fn open_with(
        environment: Arc<Environment>,
        redactor: Arc<Redactor>,
        providers: Providers,
    ) -> Result<Self> {
        let directories = Directories::from_environment(&environment)?;
        #[cfg(debug_assertions)]
        if let Some(text) = environment.get("CLODE_FAILPOINT") {
            text.parse::<clode_core::store::failpoint::Failpoint>()?.arm();
        }
        let store = Store::open(&directories.state).await?;
        let spawner = spawner(&directories)?;
        let user = UserHome {
            home: environment.home(),
            config_home: environment.path("XDG_CONFIG_HOME"),
        };
        let places = Places {
            state: directories.state.clone(),
            cache: directories.cache.clone(),
            user,
        };
        let workspaces = Workspaces::open(places, spawner.clone(), environment.search_path()).await?;
        let (keys, configuration) = match providers {
            Providers::Configured => (Arc::clone(&environment), directories.config.clone()),
            Providers::Demo => (Arc::default(), directories.state.join(NO_CONFIGURATION)),
        };
        let configurations = Configurations::new(keys, configuration, store.clone());
        let engine = Engine::open(Services {
            store,
            workspaces: Arc::new(workspaces),
            spawner,
            environment: Arc::clone(&environment),
            clock: clock(&environment)?,
            redactor,
            configurations: Arc::new(configurations),
            state: directories.state.clone(),
            cache: directories.cache.clone(),
        })
        .await?;
        Ok(Self {
            engine,
            environment,
            directories,
        })
    }
}

/// The machine's clock; tests of the program may have one that is ahead.
#[cfg_attr(not(debug_assertions), expect(unused_variables, clippy::unnecessary_wraps))]
fn clock(environment: &Environment) -> Result<Arc<dyn Clock>> {
    #[cfg(debug_assertions)]
    if let Some(text) = environment.get("CLODE_DAYS_AHEAD") {
        let days = text.parse().map_err(|_| {
            clode_core::Error::internal(format!("CLODE_DAYS_AHEAD={text} is not a number of days"))
        })?;
        return Ok(Arc::new(clode_core::clock::ClockAhead { days }));
    }
    Ok(Arc::new(SystemClock))
}

/// What starts children: they see nothing of ours.
pub(crate) fn spawner(directories: &Directories) -> Result<Spawner> {
    let protected: Vec<PathBuf> = vec![
        directories.state.clone(),
        directories.config.clone(),
        directories.cache.clone(),
    ];
    Spawner::from_own_executable(protected)
}
