//! A session over a real house in a directory of its own, for the tests of what talks to an editor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clode_core::config::Environment;
use clode_core::redact::Redactor;
use serde_json::{Value, json};
use url::Url;

use super::client::peer::Peer;
use super::session::Session;
use super::{command, handshake};

/// Longest time for anything in a test.
const LIMIT: Duration = Duration::from_secs(60);

/// What every file of the repository says at first.
pub(crate) const TEXT: &str = "// TODO: sum the list\nfn sum() {}\n";

/// An editor with one folder open.
pub(crate) struct Lab {
    pub(crate) session: Session,
    pub(crate) peer: Peer,
    pub(crate) folder: PathBuf,
    _home: tempfile::TempDir,
}

impl Lab {
    /// Opens a fresh repository in a fresh home.
    pub(crate) fn open(capabilities: &Value) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let place = home.path().canonicalize().expect("a path");
        let folder = place.join("repository");
        repository(&folder);
        let (client, peer) = Peer::connect(capabilities);
        let folders = [json!({ "uri": uri(&folder), "name": "repository" })];
        client.open(json!({ "capabilities": capabilities, "workspaceFolders": folders }));
        let at = |name: &str| place.join(name).into_os_string();
        let environment = Environment::from_pairs([
            ("PATH", std::ffi::OsString::from("/usr/local/bin:/usr/bin:/bin")),
            ("HOME", at("home")),
            ("CLODE_STATE_DIR", at("state")),
            ("CLODE_CACHE_DIR", at("cache")),
            ("CLODE_CONFIG_DIR", at("config")),
        ]);
        let session = Session::new(client, Arc::new(environment), Arc::new(Redactor::new()));
        handshake::initialize(&session).expect("an answer");
        session.settle();
        Self {
            session,
            peer,
            folder,
            _home: home,
        }
    }

    /// Address of a file of the repository.
    pub(crate) fn uri(&self, path: &str) -> Url {
        uri(&self.folder.join(path))
    }

    /// Carries out a command: its answer, or the code, message and data of the error.
    pub(crate) async fn command(&self, id: &str, arguments: Value) -> Result<Value, (i64, String, Value)> {
        let params = json!({ "command": id, "arguments": arguments });
        let answer = tokio::time::timeout(LIMIT, command::execute(&self.session, params))
            .await
            .expect("in time");
        answer.map_err(|error| {
            (
                error.code.code(),
                error.message.into_owned(),
                error.data.unwrap_or_default(),
            )
        })
    }

    /// Starts a task and waits for its plan; answers the pipeline and the approval.
    pub(crate) async fn planned(&self, options: Value) -> (String, String) {
        let started = self
            .command("clode.run", json!([options]))
            .await
            .expect("started");
        let run = text(&started, "/pipelineId");
        let waited = self
            .command("clode.pipeline.wait", json!([{ "pipelineId": run }]))
            .await
            .expect("waited");
        assert_eq!(waited["status"], "awaitingApproval", "{waited}");
        (run, text(&waited, "/pendingApproval/id"))
    }

    /// Everything that the session sent so far.
    pub(crate) fn sent(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.peer.next_now()).collect()
    }

    /// What the session sends until a message is like this, which is the last; requests are answered with `null`.
    pub(crate) async fn sent_until(&mut self, like: impl Fn(&Value) -> bool) -> Vec<Value> {
        let read = async {
            let mut messages = Vec::new();
            loop {
                let message = self.peer.next().await;
                if message.get("id").is_some() && message.get("method").is_some() {
                    self.peer.answer(&message, Value::Null);
                }
                let is_last = like(&message);
                messages.push(message);
                if is_last {
                    return messages;
                }
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("in time")
    }
}

/// A text in an answer.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
        .to_owned()
}

fn uri(path: &Path) -> Url {
    Url::from_file_path(path).expect("an absolute path")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a repository of the user's is made by the user's own git"
)]
fn repository(folder: &Path) {
    std::fs::create_dir_all(folder.join("src")).expect("made");
    std::fs::write(folder.join("src/sum.rs"), TEXT).expect("written");
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    for arguments in [
        &["init", "-q"][..],
        &["add", "."],
        &["commit", "-q", "-m", "Begin"],
    ] {
        let mut git = std::process::Command::new("git");
        git.args(identity).args(arguments).current_dir(folder);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(git.status().expect("git runs").success(), "git {arguments:?}");
    }
}
