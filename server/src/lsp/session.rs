//! What belongs to one editor: its documents, its folders, what it can do, and the engine behind it.
//!
//! Documents change in notification handlers only, in order of arrival, under a leaf lock that is never
//! held across an await; everybody else takes a snapshot (a clone of a rope costs nothing).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clode_core::config::Environment;
use clode_core::engine::Engine;
use clode_core::redact::Redactor;
use clode_core::workspace::{Buffer, Repository};
use clode_core::{Error, Result};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::capabilities::ClientCapabilities;
use super::client::Client;
use super::document::{Document, Documents};
use crate::app::App;

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
    folders: Mutex<Vec<Folder>>,
    reviews: super::review::Reviews,
    stop: CancellationToken,
}

impl Session {
    pub(crate) fn new(client: Client, environment: Arc<Environment>, redactor: Arc<Redactor>) -> Self {
        let shared = Shared {
            client,
            environment,
            redactor,
            app: OnceCell::new(),
            documents: Mutex::new(Documents::new(super::encoding::PositionEncoding::default())),
            folders: Mutex::default(),
            reviews: super::review::Reviews::default(),
            stop: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
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

    /// Fires when the server ends.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// The house behind the editor; opened at the first use, and again after a failure.
    pub(crate) async fn app(&self) -> Result<&App> {
        let open = || App::open(Arc::clone(&self.shared.environment), Arc::clone(&self.shared.redactor));
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
        self.shared.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One open document as it is now.
    pub(crate) fn document(&self, uri: &Url) -> Option<Document> {
        self.documents().get(uri).cloned()
    }

    /// Takes over the folders of `initialize` or `didChangeWorkspaceFolders`.
    pub(crate) fn set_folders(&self, uris: impl IntoIterator<Item = Url>) {
        let folders = uris.into_iter().filter_map(|uri| Some(Folder { path: uri.to_file_path().ok()?, uri })).collect();
        *self.folders_mut() = folders;
    }

    /// The folders that are open.
    pub(crate) fn folders(&self) -> Vec<Folder> {
        self.folders_mut().clone()
    }

    fn folders_mut(&self) -> MutexGuard<'_, Vec<Folder>> {
        self.shared.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder that a file lies in: the innermost one.
    pub(crate) fn folder_of(&self, file: &Path) -> Option<Folder> {
        let holds = |folder: &Folder| file.starts_with(&folder.path);
        self.folders().into_iter().filter(holds).max_by_key(|folder| folder.path.components().count())
    }

    /// The folder that a command means: the named one, that of the document, or the only one.
    pub(crate) fn folder_for(&self, named: Option<&str>, document: Option<&Url>) -> Result<Folder> {
        let folders = self.folders();
        if let Some(named) = named {
            let path = Url::parse(named).ok().and_then(|uri| uri.to_file_path().ok()).unwrap_or_else(|| PathBuf::from(named));
            let found = folders.iter().find(|folder| folder.path == path || folder.uri.as_str().trim_end_matches('/') == named.trim_end_matches('/'));
            return found.cloned().ok_or_else(|| self.which_folder(&format!("workspaceFolder: `{named}` is not open")));
        }
        if let Some(folder) = document.and_then(|uri| uri.to_file_path().ok()).and_then(|path| self.folder_of(&path)) {
            return Ok(folder);
        }
        match folders.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(self.which_folder("workspaceFolder: name the folder that is meant")),
        }
    }

    fn which_folder(&self, what: &str) -> Error {
        let open: Vec<String> = self.folders().iter().map(|folder| folder.uri.to_string()).collect();
        let open = if open.is_empty() { "none is open".to_owned() } else { format!("open are: {}", open.join(", ")) };
        Error::usage("invalidParams", format!("{what}; {open}"))
    }

    /// The repository of a folder.
    pub(crate) async fn repository(&self, folder: &Folder) -> Result<Arc<Repository>> {
        self.engine().await?.repository(&folder.path).await
    }

    /// The unsaved text of every open file below the top level, as the editor shows it now.
    pub(crate) fn buffers(&self, repository: &Repository) -> Vec<Buffer> {
        let documents = self.documents().snapshot();
        documents
            .iter()
            .filter_map(|document| {
                let path = document.uri.to_file_path().ok()?;
                let relative = path.strip_prefix(&repository.top_level).ok()?.to_str()?.replace('\\', "/");
                Some(Buffer { path: relative, text: document.text().into_bytes() })
            })
            .collect()
    }

    /// Ends the work of this process.
    pub(crate) async fn close(&self) {
        self.shared.stop.cancel();
        if let Some(app) = self.opened() {
            app.engine.shutdown().await;
        }
    }
}
