//! Puts the house together: directories, database, children, workspaces, engine. Both edges begin here.

use std::sync::Arc;

use clode_core::Result;
use clode_core::clock::SystemClock;
use clode_core::config::{Directories, Environment};
use clode_core::engine::{Configurations, Engine, Services};
use clode_core::process::Spawner;
use clode_core::redact::Redactor;
use clode_core::store::Store;
use clode_core::workspace::{Places, UserHome, Workspaces};

/// Everything that is opened once for a process.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) environment: Arc<Environment>,
    pub(crate) directories: Directories,
}

impl App {
    /// Opens the state directory and all that lives on it.
    pub(crate) async fn open(environment: Arc<Environment>, redactor: Arc<Redactor>) -> Result<Self> {
        let directories = Directories::from_environment(&environment)?;
        let store = Store::open(&directories.state).await?;
        
        let protected = vec![directories.state.clone(), directories.config.clone(), directories.cache.clone()];
        let spawner = Spawner::from_own_executable(protected)?;
        let user = UserHome { home: environment.home(), config_home: environment.path("XDG_CONFIG_HOME") };
        let places = Places { state: directories.state.clone(), cache: directories.cache.clone(), user };
        let workspaces = Workspaces::open(places, spawner.clone(), environment.search_path()).await?;
        let configurations = Configurations::new(Arc::clone(&environment), directories.config.clone(), store.clone());
        let engine = Engine::open(Services {
            store,
            workspaces: Arc::new(workspaces),
            spawner,
            environment: Arc::clone(&environment),
            clock: Arc::new(SystemClock),
            redactor,
            configurations: Arc::new(configurations),
            state: directories.state.clone(),
            cache: directories.cache.clone(),
        })
        .await?;
        Ok(Self { engine, environment, directories })
    }
}
