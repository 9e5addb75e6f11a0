//! An editor with buffers: what a person types reaches the server, and edits of the server land in the
//! buffers as in a real editor, versions and unsaved text included.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod buffers;
mod runs;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use url::Url;

use crate::fixture::Home;
use crate::lsp_client::{LspClient, Reply, ResponseError, Setup, presets};
use crate::skip::skipped;
use buffers::Buffers;
pub use runs::{FINISH_LIMIT, gate, gates};

/// A person's editor with the server behind it.
#[derive(Debug)]
pub struct TextEditor {
    /// The protocol underneath.
    pub client: LspClient,
    buffers: Arc<Mutex<Buffers>>,
    offered: Vec<String>,
}

impl TextEditor {
    /// Starts one in these folders: VS Code with our extension.
    #[must_use]
    pub fn start(home: &Home, folders: &[PathBuf]) -> Self {
        Self::start_as(home, folders, &presets::vscode_with_extension(), &Value::Null)
    }

    /// Starts one with these capabilities and `initializationOptions`.
    #[must_use]
    pub fn start_as(home: &Home, folders: &[PathBuf], capabilities: &Value, options: &Value) -> Self {
        let mut client = Setup::default().of(home).start();
        let buffers = Arc::new(Mutex::new(Buffers::new(client.voice())));
        answer_as_an_editor(&mut client, &buffers);
        let folders: Vec<Value> = folders
            .iter()
            .map(|folder| json!({ "uri": folder_uri(folder), "name": folder.file_name().map(|name| name.to_string_lossy()) }))
            .collect();
        let answer = client.initialize_with(&json!({
            "processId": std::process::id(),
            "clientInfo": { "name": "text-editor", "version": "1" },
            "rootUri": folders.first().map(|folder| folder["uri"].clone()),
            "workspaceFolders": folders,
            "capabilities": capabilities,
            "initializationOptions": options,
        }));
        let offered = answer["capabilities"]["executeCommandProvider"]["commands"].as_array();
        let offered = offered.into_iter().flatten().filter_map(Value::as_str);
        Self {
            client,
            buffers,
            offered: offered.map(str::to_owned).collect(),
        }
    }

    /// Whether the server offers all of these commands: a command is advertised from the day on that brings it
    /// whole. The test of one that is not offered is skipped, loudly.
    #[must_use]
    pub fn offers(&self, commands: &[&str]) -> bool {
        let is_missing = |command: &&&str| !self.offered.iter().any(|offered| offered == *command);
        let missing: Vec<&&str> = commands.iter().filter(is_missing).collect();
        if !missing.is_empty() {
            skipped(&format!("the server does not offer {missing:?} yet"));
        }
        missing.is_empty()
    }

    /// Opens a file with the text that is on the disk.
    pub fn open(&mut self, path: &Path) {
        self.buffers().open(&file_uri(path));
    }

    /// Closes a file; unsaved text is lost.
    pub fn close(&mut self, path: &Path) {
        self.buffers().close(&file_uri(path));
    }

    /// Types: the one place of a buffer that holds `old` holds `new` now.
    pub fn retype(&mut self, path: &Path, old: &str, new: &str) {
        self.buffers().retype(&file_uri(path), old, new);
    }

    /// Types at the end of a buffer.
    pub fn append(&mut self, path: &Path, text: &str) {
        self.buffers().append(&file_uri(path), text);
    }

    /// The buffer's text.
    #[must_use]
    pub fn text(&self, path: &Path) -> String {
        self.buffers().text(&file_uri(path))
    }

    /// Whether the file is open, and in which version.
    #[must_use]
    pub fn version(&self, path: &Path) -> Option<i64> {
        self.buffers().version(&file_uri(path))
    }

    /// Saves the buffer.
    pub fn save(&mut self, path: &Path) {
        self.buffers().save(&file_uri(path));
    }

    /// The position of the first occurrence of `text` in the buffer, as a range of that text.
    #[must_use]
    pub fn range_of(&self, path: &Path, text: &str) -> Value {
        self.buffers().range_of(&file_uri(path), text)
    }

    /// Runs a command.
    pub fn command(&mut self, command: &str, argument: &Value) -> Result<Value, ResponseError> {
        self.client.command(command, argument)
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn must(&mut self, command: &str, argument: &Value) -> Value {
        let answer = self.client.command(command, argument);
        answer.unwrap_or_else(|error| {
            panic!(
                "{command} {argument} is refused: {error:?}\n{}",
                self.client.log()
            )
        })
    }

    /// Runs a command that must be refused.
    #[track_caller]
    pub fn refused(&mut self, command: &str, argument: &Value) -> ResponseError {
        match self.client.command(command, argument) {
            Ok(answer) => panic!("{command} {argument} is not refused: {answer}"),
            Err(error) => error,
        }
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap()
    }
}

/// A file's URI.
#[must_use]
pub fn file_uri(path: &Path) -> Url {
    Url::from_file_path(path).expect("an absolute path")
}

/// A folder's URI as editors write it: without a slash at its end.
#[must_use]
pub fn folder_uri(path: &Path) -> String {
    file_uri(path).to_string().trim_end_matches('/').to_owned()
}

fn answer_as_an_editor(client: &mut LspClient, buffers: &Arc<Mutex<Buffers>>) {
    for method in [
        "window/workDoneProgress/create",
        "client/registerCapability",
        "client/unregisterCapability",
        "workspace/codeLens/refresh",
        "workspace/diagnostic/refresh",
        "workspace/inlayHint/refresh",
        "workspace/textDocumentContent/refresh",
        "window/showMessageRequest",
        "clode/showDiff",
    ] {
        client.on_request(method, |_| Reply::Result(Value::Null));
    }
    client.on_request("clode/input", |_| Reply::Result(json!({ "value": null })));
    client.on_request("workspace/configuration", |params| {
        let asked = params["items"].as_array().map_or(0, Vec::len);
        Reply::Result(json!(vec![Value::Null; asked]))
    });
    let opening = Arc::clone(buffers);
    client.on_request("window/showDocument", move |params| {
        let uri = params["uri"].as_str().and_then(|uri| Url::parse(uri).ok());
        if let Some(uri) = uri.filter(|uri| uri.scheme() == "file") {
            opening.lock().unwrap().open(&uri);
        }
        Reply::Result(json!({ "success": true }))
    });
    let applying = Arc::clone(buffers);
    client.on_request("workspace/applyEdit", move |params| {
        let applied = applying.lock().unwrap().apply(&params["edit"]);
        Reply::Result(match applied {
            Ok(()) => json!({ "applied": true }),
            Err(reason) => json!({ "applied": false, "failureReason": reason }),
        })
    });
}
