//! The configuration of each repository: found, merged, remembered until something changes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::{Engine, locked};
use crate::config::{self, Environment, FoundAgents, SourceText, Sources};
use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::process::find_program;
use crate::store::Store;
use crate::trust::{ClientTrust, TrustReview, TrustState};
use crate::workspace::Repository;

/// Most files of a repository that a review of trust reads.
const REVIEWED_FILES_MAX: usize = 500;
/// Largest file that a review reads (bytes).
const REVIEWED_BYTES_MAX: u64 = 256 << 10;
/// How deep below `.claude` a review looks.
const REVIEWED_DEPTH_MAX: usize = 6;

/// Configuration by repository and opened folder.
#[derive(Debug)]
pub struct Configurations {
    environment: Arc<Environment>,
    directory: PathBuf,
    store: Store,
    found: FoundAgents,
    client: Mutex<ClientSettings>,
    remembered: Mutex<HashMap<(RepositoryId, PathBuf), Arc<Configured>>>,
}

/// What an editor said about settings.
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    /// Section `clode`.
    pub settings: Option<serde_json::Value>,
    /// `initializationOptions.trusted`.
    pub trusted: Option<serde_json::Value>,
}

/// A repository's configuration and what was wrong with its sources.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The merged result, errors and warnings, origins.
    pub loaded: config::Loaded,
    /// What the repository wants to run or redirect.
    pub review: TrustReview,
    /// Whether a person trusts exactly that.
    pub trust: TrustState,
}

impl Configurations {
    /// Nothing is read yet.
    pub fn new(environment: Arc<Environment>, directory: PathBuf, store: Store) -> Self {
        let path = environment.search_path();
        let found = FoundAgents {
            claude: find_program("claude", &path),
            codex: find_program("codex", &path),
        };
        Self {
            environment,
            directory,
            store,
            found,
            client: Mutex::default(),
            remembered: Mutex::default(),
        }
    }

    /// Agent programs on this machine.
    pub fn found(&self) -> &FoundAgents {
        &self.found
    }

    /// Takes over what the editor says; everything is read again.
    pub fn set_client(&self, client: ClientSettings) {
        *locked(&self.client) = client;
        self.forget();
    }

    /// Everything is read again at the next use.
    pub fn forget(&self) {
        locked(&self.remembered).clear();
    }

    /// The user's own file, whether it exists or not.
    pub fn user_file(&self) -> PathBuf {
        self.directory.join(config::FILE_NAME)
    }

    /// The configuration without any repository.
    pub fn global(&self) -> Result<config::Loaded> {
        let sources = Sources {
            user: read(&self.user_file())?,
            client: locked(&self.client).settings.clone(),
            ..Sources::default()
        };
        Ok(config::load(&self.environment, &self.found, &sources))
    }

    /// The configuration of a repository as it is now.
    pub async fn of(&self, repository: &Repository) -> Result<Arc<Configured>> {
        let key = (repository.id.clone(), repository.folder.clone());
        if let Some(known) = locked(&self.remembered).get(&key) {
            return Ok(Arc::clone(known));
        }
        let workspace = workspace_files(repository)?;
        let review = crate::trust::review(&reviewed_files(repository)?);
        let client = locked(&self.client).clone();
        let granted = self.store.setting(&trust_key(&repository.id)).await?;
        let user = read(&self.user_file())?;
        let trust_client = self.global()?.config.trust_client;
        let trust = crate::trust::state(
            &review,
            granted.as_deref(),
            &ClientTrust::from_json(client.trusted.as_ref()),
            trust_client,
        );
        let sources = Sources {
            user,
            workspace,
            client: client.settings,
            trust: trust.clone(),
        };
        let configured = Arc::new(Configured {
            loaded: config::load(&self.environment, &self.found, &sources),
            review,
            trust,
        });
        locked(&self.remembered).insert(key, Arc::clone(&configured));
        Ok(configured)
    }

    /// Remembers that a person trusts what hashes to this; `None` takes it back.
    pub async fn set_trust(&self, repository: &RepositoryId, hash: Option<String>) -> Result<()> {
        self.store.set_setting(&trust_key(repository), hash).await?;
        self.forget();
        Ok(())
    }
}

impl Engine {
    /// The configuration of a repository as it is now.
    pub async fn configuration(&self, repository: &Repository) -> Result<Arc<Configured>> {
        self.services().configurations.of(repository).await
    }
}

fn trust_key(repository: &RepositoryId) -> String {
    format!("trust/{repository}")
}

fn workspace_files(repository: &Repository) -> Result<Vec<SourceText>> {
    let mut files = Vec::new();
    let top = repository.top_level.join(config::WORKSPACE_FILE);
    let folder = repository.folder.join(config::WORKSPACE_FILE);
    files.extend(read(&top)?);
    if folder != top {
        files.extend(read(&folder)?);
    }
    Ok(files)
}

/// Everything in the working tree that a person would have to trust, at the top level and in the opened folder.
fn reviewed_files(repository: &Repository) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut roots = vec![repository.top_level.clone()];
    if repository.folder != repository.top_level {
        roots.push(repository.folder.clone());
    }
    for root in roots {
        for name in [".worktreeinclude", ".mcp.json", ".claude"] {
            let walk = ignore::WalkBuilder::new(root.join(name))
                .standard_filters(false)
                .max_depth(Some(REVIEWED_DEPTH_MAX))
                .build();
            for entry in walk
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
            {
                let Ok(relative) = entry.path().strip_prefix(&repository.top_level) else {
                    continue;
                };
                let relative = relative.to_string_lossy().replace('\\', "/");
                if crate::trust::is_reviewed(&relative) && files.len() < REVIEWED_FILES_MAX {
                    files.push((relative, read_capped(entry.path())?));
                }
            }
        }
    }
    Ok(files)
}

fn read_capped(path: &std::path::Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let open = std::fs::File::open(path)
        .map_err(|error| Error::io(format!("reading {}", path.display()), &error))?;
    let mut bytes = Vec::new();
    open.take(REVIEWED_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(format!("reading {}", path.display()), &error))?;
    Ok(bytes)
}

fn read(path: &std::path::Path) -> Result<Option<SourceText>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(SourceText {
            path: path.to_path_buf(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::io(format!("reading {}", path.display()), &error)),
    }
}
