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
    remembered: Mutex<HashMap<(RepositoryId, PathBuf), Remembered>>,
    /// The last text of each file that had no error in it.
    good: Mutex<HashMap<PathBuf, String>>,
}

/// A configuration, and what its files looked like when it was read.
#[derive(Debug)]
struct Remembered {
    configured: Arc<Configured>,
    stamps: Vec<Stamp>,
}

/// Enough of a file's outside to see that it was written.
type Stamp = Option<(std::time::SystemTime, u64)>;

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
            good: Mutex::default(),
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
        Ok(self.load(&sources))
    }

    /// Loads; of a file with an error in it the last text without one stays in force.
    fn load(&self, sources: &Sources) -> config::Loaded {
        let loaded = config::load(&self.environment, &self.found, sources);
        let is_wrong = |file: &SourceText| {
            loaded
                .errors
                .iter()
                .any(|error| error.path.as_ref() == Some(&file.path))
        };
        let mut good = locked(&self.good);
        let mut last_good = sources.clone();
        let mut replaced = false;
        for file in last_good.user.iter_mut().chain(&mut last_good.workspace) {
            if !is_wrong(file) {
                good.insert(file.path.clone(), file.text.clone());
            } else if let Some(text) = good.get(&file.path) {
                file.text.clone_from(text);
                replaced = true;
            }
        }
        if !replaced {
            return loaded;
        }
        let standing = config::load(&self.environment, &self.found, &last_good);
        config::Loaded {
            errors: loaded.errors,
            warnings: loaded.warnings,
            ..standing
        }
    }

    /// The configuration of a repository as it is now.
    pub async fn of(&self, repository: &Repository) -> Result<Arc<Configured>> {
        let key = (repository.id.clone(), repository.folder.clone());
        let stamps = self.stamps(repository);
        if let Some(known) = locked(&self.remembered)
            .get(&key)
            .filter(|known| known.stamps == stamps)
        {
            return Ok(Arc::clone(&known.configured));
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
            loaded: self.load(&sources),
            review,
            trust,
        });
        locked(&self.remembered).insert(
            key,
            Remembered {
                configured: Arc::clone(&configured),
                stamps,
            },
        );
        Ok(configured)
    }

    /// The configuration of a repository, read again whatever is remembered: what would run is judged as it is.
    pub async fn fresh(&self, repository: &Repository) -> Result<Arc<Configured>> {
        locked(&self.remembered).remove(&(repository.id.clone(), repository.folder.clone()));
        self.of(repository).await
    }

    fn stamps(&self, repository: &Repository) -> Vec<Stamp> {
        let files = [
            self.user_file(),
            repository.top_level.join(config::WORKSPACE_FILE),
            repository.folder.join(config::WORKSPACE_FILE),
        ];
        let stamp = |file: &PathBuf| {
            let found = std::fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        files.iter().map(stamp).collect()
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
