//! What belongs to one editor: its documents, its folders, what it can do, and the engine behind it.
//!
//! Documents change in notification handlers only, in order of arrival, under a leaf lock that is never
//! held across an await; everybody else takes a snapshot (a clone of a rope costs nothing).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clode_core::config::Environment;
use clode_core::engine::{Buffers, ClientSettings, Engine};
use clode_core::id::RepositoryId;
use clode_core::pipeline::Answerer;
use clode_core::redact::Redactor;
use clode_core::workspace::{Buffer, Repository};
use clode_core::{Error, Result};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::action::comment;
use super::capabilities::ClientCapabilities;
use super::client::Client;
use super::document::{Document, Documents};
use super::encoding::PositionEncoding;
use super::notices::Desk;
use super::sync::{ConfigMarks, History};
use crate::app::App;

/// How long a command that starts something waits for the settings of the editor.
const SETTLING_MAX: Duration = Duration::from_millis(500);

/// A folder that the editor opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) uri: Url,
    pub(crate) path: PathBuf,
}

/// One editor; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    environment: Arc<Environment>,
    redactor: Arc<Redactor>,
    app: OnceCell<App>,
    documents: Mutex<Documents>,
    history: Mutex<History>,
    folders: Mutex<Vec<Folder>>,
    repositories: Mutex<HashMap<PathBuf, Arc<Repository>>>,
    settings: Mutex<Settings>,
    config_marks: Mutex<ConfigMarks>,
    settled: watch::Sender<bool>,
    desk: Desk,
    reviews: super::review::Reviews,
    drafts: super::command::edit_plan::Drafts,
    unsaved: super::sync::Unsaved,
    stop: CancellationToken,
}

/// What the editor says about settings, by where it said it.
#[derive(Debug, Default)]
struct Settings {
    opening: Option<serde_json::Value>,
    trusted: Option<serde_json::Value>,
    section: Option<serde_json::Value>,
}

impl Session {
    pub(crate) fn new(client: Client, environment: Arc<Environment>, redactor: Arc<Redactor>) -> Self {
        let shared = Shared {
            client,
            environment,
            redactor,
            app: OnceCell::new(),
            documents: Mutex::new(Documents::new(PositionEncoding::default())),
            history: Mutex::default(),
            folders: Mutex::default(),
            repositories: Mutex::default(),
            settings: Mutex::default(),
            config_marks: Mutex::default(),
            settled: watch::Sender::new(false),
            desk: Desk::new(),
            reviews: super::review::Reviews::default(),
            drafts: super::command::edit_plan::Drafts::new(),
            unsaved: super::sync::Unsaved::default(),
            stop: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The editor.
    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// What the editor can do.
    pub(crate) fn capabilities(&self) -> ClientCapabilities {
        self.shared.client.opening().capabilities.clone()
    }

    /// The runs under review.
    pub(crate) fn reviews(&self) -> &super::review::Reviews {
        &self.shared.reviews
    }

    /// Plans that were saved and are not stored yet.
    pub(crate) fn drafts(&self) -> &super::command::edit_plan::Drafts {
        &self.shared.drafts
    }

    /// Documents that differ from the disk.
    pub(crate) fn unsaved(&self) -> &super::sync::Unsaved {
        &self.shared.unsaved
    }

    /// Fires when the server ends.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// The house behind the editor; opened at the first use, and again after a failure.
    pub(crate) async fn app(&self) -> Result<&App> {
        let open = async || {
            let app = App::open(
                Arc::clone(&self.shared.environment),
                Arc::clone(&self.shared.redactor),
            )
            .await?;
            app.engine
                .services()
                .configurations
                .set_client(self.client_settings());
            app.engine.set_editor(super::edit::port(self));
            super::notices::start(self, &app.engine);
            Ok(app)
        };
        self.shared.app.get_or_try_init(open).await
    }

    /// The house, if it has been opened.
    pub(crate) fn opened(&self) -> Option<&App> {
        self.shared.app.get()
    }

    /// The engine behind the editor.
    pub(crate) async fn engine(&self) -> Result<&Engine> {
        Ok(&self.app().await?.engine)
    }

    /// The open documents; a leaf lock, never across an await.
    pub(crate) fn documents(&self) -> MutexGuard<'_, Documents> {
        locked(&self.shared.documents)
    }

    /// One open document as it is now.
    pub(crate) fn document(&self, uri: &Url) -> Option<Document> {
        self.documents().get(uri).cloned()
    }

    /// What each document was like at its last versions; a leaf lock, never across an await.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.shared.history)
    }

    /// Configuration errors that are shown in files now; a leaf lock, never across an await.
    pub(crate) fn config_marks(&self) -> MutexGuard<'_, ConfigMarks> {
        locked(&self.shared.config_marks)
    }

    /// What brings news of runs to the editor.
    pub(crate) fn desk(&self) -> &Desk {
        &self.shared.desk
    }

    /// Positions are counted as negotiated from now on; nothing is open yet.
    pub(crate) fn set_encoding(&self, encoding: PositionEncoding) {
        *self.documents() = Documents::new(encoding);
    }

    /// Takes over `initializationOptions`.
    pub(crate) fn set_opening_settings(
        &self,
        settings: Option<serde_json::Value>,
        trusted: Option<serde_json::Value>,
    ) {
        let mut known = locked(&self.shared.settings);
        known.opening = settings;
        known.trusted = trusted;
    }

    /// Takes over the section `clode` of the editor's settings; everything is read again.
    pub(crate) fn set_section(&self, section: Option<serde_json::Value>) {
        locked(&self.shared.settings).section = section;
        if let Some(app) = self.opened() {
            app.engine
                .services()
                .configurations
                .set_client(self.client_settings());
        }
    }

    fn client_settings(&self) -> ClientSettings {
        let known = locked(&self.shared.settings);
        let settings = super::handshake::settings(known.opening.as_ref(), known.section.as_ref());
        ClientSettings {
            settings,
            trusted: known.trusted.clone(),
        }
    }

    /// The settings of the editor are known from now on, or it has none.
    pub(crate) fn settle(&self) {
        self.shared.settled.send_replace(true);
    }

    /// Waits, not for long, until the settings of the editor are known.
    pub(crate) async fn settled(&self) {
        let mut settled = self.shared.settled.subscribe();
        let _ = tokio::time::timeout(SETTLING_MAX, settled.wait_for(|settled| *settled)).await;
    }

    /// This editor, as the one who answers.
    pub(crate) fn answerer(&self) -> Answerer {
        let opening = self.client().opening();
        let name = |field: &str| {
            opening
                .params
                .pointer(field)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let detail = format!("{} {}", name("/clientInfo/name"), name("/clientInfo/version"));
        Answerer {
            surface: "editor".to_owned(),
            detail: detail.trim().to_owned(),
        }
    }

    /// Takes over the folders of `initialize` or `didChangeWorkspaceFolders`.
    pub(crate) fn set_folders(&self, uris: impl IntoIterator<Item = Url>) {
        let folders = uris
            .into_iter()
            .filter_map(|uri| {
                Some(Folder {
                    path: uri.to_file_path().ok()?,
                    uri,
                })
            })
            .collect();
        *self.folders_mut() = folders;
        let open: Vec<PathBuf> = self.folders().into_iter().map(|folder| folder.path).collect();
        locked(&self.shared.repositories).retain(|path, _| open.contains(path));
    }

    /// The folders that are open.
    pub(crate) fn folders(&self) -> Vec<Folder> {
        self.folders_mut().clone()
    }

    fn folders_mut(&self) -> MutexGuard<'_, Vec<Folder>> {
        locked(&self.shared.folders)
    }

    /// The folder that a file lies in: the innermost one.
    pub(crate) fn folder_of(&self, file: &Path) -> Option<Folder> {
        let holds = |folder: &Folder| file.starts_with(&folder.path);
        self.folders()
            .into_iter()
            .filter(holds)
            .max_by_key(|folder| folder.path.components().count())
    }

    /// The folder that a command means: the named one, that of the document, or the only one.
    pub(crate) fn folder_for(&self, named: Option<&str>, document: Option<&Url>) -> Result<Folder> {
        let folders = self.folders();
        if let Some(named) = named {
            let path = Url::parse(named)
                .ok()
                .and_then(|uri| uri.to_file_path().ok())
                .unwrap_or_else(|| PathBuf::from(named));
            let found = folders.iter().find(|folder| {
                folder.path == path
                    || folder.uri.as_str().trim_end_matches('/') == named.trim_end_matches('/')
            });
            return found
                .cloned()
                .ok_or_else(|| self.which_folder(&format!("workspaceFolder: `{named}` is not open")));
        }
        if let Some(folder) = document
            .and_then(|uri| uri.to_file_path().ok())
            .and_then(|path| self.folder_of(&path))
        {
            return Ok(folder);
        }
        match folders.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(self.which_folder("workspaceFolder: name the folder that is meant")),
        }
    }

    fn which_folder(&self, what: &str) -> Error {
        let open: Vec<String> = self
            .folders()
            .iter()
            .map(|folder| folder.uri.to_string())
            .collect();
        let open = if open.is_empty() {
            "none is open".to_owned()
        } else {
            format!("open are: {}", open.join(", "))
        };
        Error::usage("invalidParams", format!("{what}; {open}"))
    }

    /// The repository of a folder; found once as long as the folder is open.
    pub(crate) async fn repository(&self, folder: &Folder) -> Result<Arc<Repository>> {
        if let Some(known) = locked(&self.shared.repositories).get(&folder.path) {
            return Ok(Arc::clone(known));
        }
        let found = self.engine().await?.repository(&folder.path).await?;
        locked(&self.shared.repositories).insert(folder.path.clone(), Arc::clone(&found));
        Ok(found)
    }

    /// The repositories of the open folders that are known by now.
    pub(crate) fn repositories(&self) -> Vec<Arc<Repository>> {
        locked(&self.shared.repositories).values().cloned().collect()
    }

    /// The open folders as the editor names them, each with its path without symbolic links.
    pub(crate) fn opened_folders(&self) -> Vec<(PathBuf, PathBuf)> {
        locked(&self.shared.repositories)
            .iter()
            .map(|(path, found)| (path.clone(), found.folder.clone()))
            .collect()
    }

    /// How positions are counted.
    pub(crate) fn encoding(&self) -> PositionEncoding {
        self.documents().encoding()
    }

    /// Whether a repository is open here, as far as is known by now.
    pub(crate) fn has_repository(&self, id: &RepositoryId) -> bool {
        locked(&self.shared.repositories)
            .values()
            .any(|repository| repository.id == *id)
    }

    /// Looks at every open folder and answers those that are repositories.
    pub(crate) async fn find_repositories(&self) -> Vec<Arc<Repository>> {
        for folder in self.folders() {
            if let Err(error) = self.repository(&folder).await {
                tracing::debug!(%error, folder = %folder.uri, "an open folder is no repository");
            }
        }
        self.repositories()
    }

    /// The text of those of these documents that lie below the top level.
    pub(crate) fn buffers_of(&self, documents: &[Document], repository: &Repository) -> Buffers {
        let buffer = |document: &Document| {
            let path = self.relative_path(repository, &document.uri.to_file_path().ok()?)?;
            Some(Buffer {
                path,
                text: document.text().into_bytes(),
            })
        };
        let shown: Vec<Buffer> = documents.iter().filter_map(buffer).collect();
        let for_agents = shown.iter().filter_map(|buffer| {
            let text = std::str::from_utf8(&buffer.text).ok()?;
            let text = comment::without_instructions(text)?.into_bytes();
            Some(Buffer {
                text,
                ..buffer.clone()
            })
        });
        let for_agents = for_agents.collect();
        Buffers { shown, for_agents }
    }

    /// A file relative to the top level, with `/`; also where the editor knows the folder by another path.
    pub(crate) fn relative_path(&self, repository: &Repository, file: &Path) -> Option<String> {
        if let Ok(relative) = file.strip_prefix(&repository.top_level) {
            return Some(relative.to_str()?.replace('\\', "/"));
        }
        let opened: Vec<PathBuf> = {
            let known = locked(&self.shared.repositories);
            let same = known
                .iter()
                .filter(|(_, found)| found.folder == repository.folder);
            same.map(|(path, _)| path.clone()).collect()
        };
        let relative = opened
            .iter()
            .find_map(|folder| file.strip_prefix(folder).ok())?
            .to_str()?
            .replace('\\', "/");
        let folder = repository.folder_path.as_str();
        Some(if folder.is_empty() {
            relative
        } else {
            format!("{folder}/{relative}")
        })
    }

    /// Ends the work of this process.
    pub(crate) async fn close(&self) {
        self.shared.stop.cancel();
        if let Some(app) = self.opened() {
            app.engine.shutdown().await;
        }
    }
}

/// The value behind a leaf lock that is never held across an await.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
