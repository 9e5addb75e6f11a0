//! A repository, a run that waits at its patch gate, and an editor made of channels that behaves as told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clode_core::clock::Timestamp;
use clode_core::config::Environment;
use clode_core::engine::Engine;
use clode_core::id::{CommitId, HunkId, OwnerId, PipelineId, StepId, TaskId};
use clode_core::pipeline::{
    Effect, Event, Finding, GatePolicy, HunkRecord, HunkState, Machine, PreparedPatch, RunSpec, StepOutput,
    StepRole, StepSpec,
};
use clode_core::redact::Redactor;
use clode_core::store::NewRun;
use clode_core::task::{Origin, RunOptions, Task};
use clode_core::workspace::{Patch, Verdict};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::lsp::client::peer::Peer;
use crate::lsp::document::Documents;
use crate::lsp::edit::{self, Selection};
use crate::lsp::review;
use crate::lsp::session::Session;

/// How long something may take to become true.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the editor does with edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Manners {
    /// Applies them, checking versions, and tells the truth.
    #[default]
    Honest,
    /// Says yes and does nothing.
    Lies,
    /// Says no without a reason the first time, because a change of the person is under way.
    IsTypedInto,
    /// Applies to whatever text there is by then, as positions say.
    IgnoresVersions,
    /// Applies into buffers that nobody is told of.
    Hides,
    /// Applies the text, then fails to move files.
    FailsMoves,
    /// Never answers.
    Silent,
}

/// What the editor was told and asked.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) messages: Vec<Value>,
    /// Buffers that the server does not know of.
    pub(crate) hidden: BTreeMap<Url, String>,
}

pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) folder: PathBuf,
    pub(crate) run: PipelineId,
    pub(crate) patch: Patch,
    log: Arc<Mutex<Log>>,
    manners: Arc<Mutex<Manners>>,
    driver: tokio::task::JoinHandle<()>,
    _place: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Files by path; `None`: not there.
pub(crate) type Files<'a> = &'a [(&'a str, Option<&'a str>)];

/// What a client that can do everything about edits declares.
pub(crate) fn able() -> Value {
    json!({
        "workspace": {
            "applyEdit": true,
            "workspaceEdit": {"documentChanges": true, "resourceOperations": ["create", "rename", "delete"]},
            "codeLens": {"refreshSupport": true},
            "textDocumentContent": {},
        },
        "window": {"showDocument": {"support": true}},
        "textDocument": {
            "publishDiagnostics": {"versionSupport": true, "dataSupport": true},
            "codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}}},
        },
        "experimental": {"clode": {"version": 1, "documents": true}},
    })
}

/// A client with text edits in the old form, and nothing else.
pub(crate) fn plain() -> Value {
    json!({"workspace": {"applyEdit": true}})
}

impl World {
    /// A run whose patch leads from the first files to the second, for an editor with these capabilities.
    pub(crate) async fn new(capabilities: &Value, before: Files<'_>, after: Files<'_>) -> Self {
        Self::with_spec(capabilities, before, after, |_| {}).await
    }

    /// A run whose plan waits for an answer.
    pub(crate) async fn planning(capabilities: &Value, plan: &str) -> Self {
        Self::at(capabilities, &[("a.txt", Some("one\n"))], &[], |_| {}, Some(plan)).await
    }

    pub(crate) async fn with_spec(
        capabilities: &Value,
        before: Files<'_>,
        after: Files<'_>,
        change: impl FnOnce(&mut RunSpec),
    ) -> Self {
        Self::at(capabilities, before, after, change, None).await
    }

    async fn at(
        capabilities: &Value,
        before: Files<'_>,
        after: Files<'_>,
        change: impl FnOnce(&mut RunSpec),
        plan: Option<&str>,
    ) -> Self {
        let place = TempDir::new().unwrap();
        let root = place.path().canonicalize().unwrap();
        let folder = root.join("repo");
        git_init(&folder);
        let below = |name: &str| root.join(name).into_os_string();
        let environment = Environment::from_pairs([
            ("PATH", search_path()),
            ("HOME", below("home")),
            ("CLODE_STATE_DIR", below("state")),
            ("CLODE_CACHE_DIR", below("cache")),
            ("CLODE_CONFIG_DIR", below("config")),
        ]);
        let (client, peer) = Peer::connect(capabilities);
        let session = Session::new(client, Arc::new(environment), Arc::new(Redactor::new()));
        let encoding = session.capabilities().position_encoding;
        *session.documents() = Documents::new(encoding);
        session.set_folders([Url::from_file_path(&folder).unwrap()]);
        let engine = session.engine().await.unwrap().clone();
        let (run, patch) = create_run(&engine, &folder, before, after, change, plan).await;
        let (log, manners) = (Arc::<Mutex<Log>>::default(), Arc::<Mutex<Manners>>::default());
        let editor = Editor {
            peer,
            session: session.clone(),
            log: Arc::clone(&log),
            manners: Arc::clone(&manners),
        };
        let driver = tokio::spawn(editor.drive());
        let world = Self {
            session,
            folder,
            run,
            patch,
            log,
            manners,
            driver,
            _place: place,
        };
        review::run_changed(&world.session, &world.run);
        world
            .until("the review is loaded", |world| {
                world.session.reviews().run(&world.run).is_some()
            })
            .await;
        world
    }

    pub(crate) fn behave(&self, manners: Manners) {
        *self.manners.lock().unwrap() = manners;
    }

    pub(crate) fn uri(&self, path: &str) -> Url {
        Url::from_file_path(self.folder.join(path)).unwrap()
    }

    pub(crate) fn on_disk(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(path)).ok()
    }

    /// `didOpen` with the text of the disk.
    pub(crate) fn open(&self, path: &str) -> Url {
        let text = self.on_disk(path).unwrap();
        self.open_with(path, &text)
    }

    pub(crate) fn open_with(&self, path: &str, text: &str) -> Url {
        let uri = self.uri(path);
        self.session.documents().open(uri.clone(), 1, text);
        review::document_changed(&self.session, &uri);
        uri
    }

    /// `didChange` with a whole new text.
    pub(crate) fn types(&self, path: &str, text: &str) {
        types(&self.session, &self.uri(path), text);
    }

    /// `didClose`.
    pub(crate) fn close(&self, path: &str) {
        let uri = self.uri(path);
        self.session.documents().close(&uri);
        review::document_changed(&self.session, &uri);
    }

    pub(crate) fn text(&self, path: &str) -> String {
        self.session.document(&self.uri(path)).unwrap().text()
    }

    pub(crate) fn hidden(&self, path: &str) -> Option<String> {
        self.log.lock().unwrap().hidden.get(&self.uri(path)).cloned()
    }

    /// Applies; answers result and code of each line, by path.
    pub(crate) async fn apply(&self, hunks: &[HunkId]) -> Vec<(String, String, String)> {
        let selection = Selection {
            files: Vec::new(),
            hunks: hunks.to_vec(),
        };
        told(&edit::apply(&self.session, &self.run, &selection).await.unwrap())
    }

    /// Takes back; answers result and code of each line, by path.
    pub(crate) async fn revert(&self, hunks: &[HunkId]) -> Vec<(String, String, String)> {
        let selection = Selection {
            files: Vec::new(),
            hunks: hunks.to_vec(),
        };
        told(&edit::revert(&self.session, &self.run, &selection).await.unwrap())
    }

    /// All hunks in the order of the patch.
    pub(crate) fn hunks(&self) -> Vec<HunkId> {
        self.patch
            .files
            .iter()
            .flat_map(|file| &file.hunks)
            .map(|hunk| hunk.id.clone())
            .collect()
    }

    /// The recorded states, in the order of the patch.
    pub(crate) async fn recorded(&self) -> Vec<HunkState> {
        let machine = self.machine().await;
        machine.hunks.iter().map(|record| record.state).collect()
    }

    pub(crate) async fn machine(&self) -> Machine {
        self.session
            .engine()
            .await
            .unwrap()
            .row(&self.run)
            .await
            .unwrap()
            .machine()
            .unwrap()
    }

    /// The states as the editor is shown them, in the order of the patch.
    pub(crate) async fn shown(&self) -> Vec<String> {
        let files = edit::files(&self.session, &self.run).await.unwrap();
        let hunks = files.iter().flat_map(|file| file["hunks"].as_array().unwrap());
        hunks
            .map(|hunk| hunk["state"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Everything that was sent to the editor under this method.
    pub(crate) fn sent(&self, method: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.messages
            .iter()
            .filter(|message| message["method"] == method)
            .map(|message| message["params"].clone())
            .collect()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.sent("window/showMessage")
            .iter()
            .map(|params| params["message"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn until(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_true(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, wait).await.is_ok(),
            "in time: {what}"
        );
    }

    pub(crate) async fn until_recorded(&self, states: &[HunkState]) {
        let wait = async {
            while self.recorded().await != states {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(
            in_time,
            "recorded in time: {states:?}, found {:?}",
            self.recorded().await
        );
    }
}

fn told(answer: &Value) -> Vec<(String, String, String)> {
    let lines = answer["files"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .map(|line| {
            (
                text(&line["uri"]).rsplit("/repo/").next().unwrap().to_owned(),
                text(&line["result"]),
                text(&line["code"]),
            )
        })
        .collect()
}

fn types(session: &Session, uri: &Url, text: &str) {
    let whole = lsp_types::TextDocumentContentChangeWholeDocument {
        text: text.to_owned(),
    };
    let mut documents = session.documents();
    let version = documents.get(uri).unwrap().version + 1;
    documents
        .change(
            uri,
            version,
            [lsp_types::TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(whole)],
        )
        .unwrap();
    drop(documents);
    review::document_changed(session, uri);
}

#[expect(clippy::disallowed_methods, reason = "the test's own environment")]
fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a repository for the test")]
fn git_init(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let status = std::process::Command::new("git")
        .args(["init", "--quiet"])
        .arg(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status()
        .unwrap();
    assert!(status.success());
}

fn put(folder: &Path, files: Files<'_>) {
    for (path, text) in files {
        let full = folder.join(path);
        match text {
            Some(text) => {
                std::fs::create_dir_all(full.parent().unwrap()).unwrap();
                std::fs::write(full, text).unwrap();
            }
            None => {
                let _ = std::fs::remove_file(full);
            }
        }
    }
}

async fn create_run(
    engine: &Engine,
    folder: &Path,
    before: Files<'_>,
    after: Files<'_>,
    change: impl FnOnce(&mut RunSpec),
    plan: Option<&str>,
) -> (PipelineId, Patch) {
    let repository = engine.repository(folder).await.unwrap();
    let workspaces = &engine.services().workspaces;
    put(folder, before);
    let base = workspaces.snapshot(&repository, &[]).await.unwrap();
    put(folder, after);
    let result = workspaces.snapshot(&repository, &[]).await.unwrap();
    let added: Vec<(&str, Option<&str>)> = after.iter().map(|(path, _)| (*path, None)).collect();
    put(folder, &added);
    put(folder, before);
    let patch = workspaces
        .patch(&repository, &base.commit, &result.commit)
        .await
        .unwrap();
    let config = engine
        .configuration(&repository)
        .await
        .unwrap()
        .loaded
        .config
        .clone();
    let store = &engine.services().store;
    let config = store
        .put_blob(serde_json::to_vec(&config).unwrap())
        .await
        .unwrap();
    let blob = store.put_blob(serde_json::to_vec(&patch).unwrap()).await.unwrap();
    let mut spec = spec(config);
    change(&mut spec);
    let prepared = PreparedPatch {
        patch: blob,
        result: result.commit.clone(),
        hunks: records(&patch),
    };
    let machine = match plan {
        Some(plan) => at_the_plan(
            spec,
            base.commit,
            base.tree,
            store.put_blob(plan.as_bytes().to_vec()).await.unwrap(),
        ),
        None => at_the_gate(spec, base.commit, base.tree, &result.commit, prepared),
    };
    let new = NewRun {
        id: machine.spec.pipeline.clone(),
        repository: repository.id.clone(),
        top_level: repository.top_level.to_string_lossy().into_owned(),
        folder: repository.folder.to_string_lossy().into_owned(),
        task_id: machine.spec.task.id.clone(),
        explicit: false,
        force: false,
        identity_hash: "test".to_owned(),
        title: machine.spec.shown_title(),
        owner: OwnerId::new("nobody"),
        status: machine.status().as_str().to_owned(),
        state: serde_json::to_string(&machine).unwrap(),
        blobs: Vec::new(),
        events: Vec::new(),
        created_at: Timestamp(0),
    };
    let id = new.id.clone();
    store.create_run(new).await.unwrap();
    (id, patch)
}

fn records(patch: &Patch) -> Vec<HunkRecord> {
    let of_file = |file: &clode_core::workspace::FileChange| {
        let (name, ask) = (file.path.clone(), matches!(file.verdict, Verdict::Ask { .. }));
        let record = move |hunk: &clode_core::workspace::Hunk| HunkRecord {
            id: hunk.id.clone(),
            path: name.clone(),
            state: HunkState::Pending,
            round: 0,
            ask,
            comment: None,
            reason: None,
        };
        file.hunks.iter().map(record).collect::<Vec<_>>()
    };
    patch.files.iter().flat_map(of_file).collect()
}

fn spec(config: clode_core::id::BlobId) -> RunSpec {
    RunSpec {
        pipeline: PipelineId::new("pipeline-task-1"),
        task: Task {
            id: TaskId::new("task"),
            explicit_id: false,
            title: "Make it better".to_owned(),
            description: String::new(),
            priority: clode_core::task::Priority::Medium,
            tests: Vec::new(),
            constraints: Vec::new(),
            target_files: Vec::new(),
            origin: None::<Origin>,
            diagnostics: Vec::new(),
        },
        options: RunOptions::default(),
        steps: vec![StepSpec::new(
            "developer",
            "developer",
            StepRole::Change,
            Vec::new(),
            3_600_000,
        )],
        plan_gate: GatePolicy::Skip,
        patch_gate: GatePolicy::Ask,
        rounds_max: 2,
        attempts_max: 1,
        retry_initial_ms: 0,
        retry_max_ms: 0,
        time_limit_ms: None,
        buffers: None,
        request: None,
        config,
        demo: false,
    }
}

/// Drives a machine to where its patch is computed.
fn at_the_gate(
    spec: RunSpec,
    commit: CommitId,
    tree: clode_core::id::TreeId,
    result: &CommitId,
    prepared: PreparedPatch,
) -> Machine {
    let mut machine = Machine::new(spec);
    let output = StepOutput {
        files: Some(result.clone()),
        model: Some("model-x".to_owned()),
        findings: vec![Finding {
            path: Some("a.txt".to_owned()),
            line: Some(2),
            severity: "warning".to_owned(),
            message: "no test".to_owned(),
        }],
        ..StepOutput::default()
    };
    let events = [
        Event::Admitted,
        Event::SnapshotTaken {
            commit,
            tree,
            for_agents: None,
            withheld: Vec::new(),
        },
        Event::StepFinished {
            step: StepId::new("developer"),
            attempt: 1,
            output: Box::new(output),
        },
        Event::PatchPrepared {
            prepared: Box::new(prepared),
        },
    ];
    for event in events {
        let done = machine.next(Timestamp(0), event).unwrap();
        assert!(!done.effects.contains(&Effect::Ended));
    }
    machine
}

/// Drives a machine to where its plan is written.
fn at_the_plan(
    spec: RunSpec,
    commit: CommitId,
    tree: clode_core::id::TreeId,
    plan: clode_core::id::BlobId,
) -> Machine {
    let architect = StepSpec::new("architect", "architect", StepRole::Plan, Vec::new(), 3_600_000);
    let mut steps = vec![architect];
    steps.extend(spec.steps.iter().cloned().map(|step| StepSpec {
        needs: vec![StepId::new("architect")],
        ..step
    }));
    let mut machine = Machine::new(RunSpec {
        plan_gate: GatePolicy::Ask,
        steps,
        ..spec
    });
    let output = StepOutput {
        document: Some(plan),
        ..StepOutput::default()
    };
    let events = [
        Event::Admitted,
        Event::SnapshotTaken {
            commit,
            tree,
            for_agents: None,
            withheld: Vec::new(),
        },
        Event::StepFinished {
            step: StepId::new("architect"),
            attempt: 1,
            output: Box::new(output),
        },
    ];
    for event in events {
        machine.next(Timestamp(0), event).unwrap();
    }
    machine
}

/// The far end: takes messages and answers them.
struct Editor {
    peer: Peer,
    session: Session,
    log: Arc<Mutex<Log>>,
    manners: Arc<Mutex<Manners>>,
}

impl Editor {
    async fn drive(mut self) {
        loop {
            let Some(message) = self.peer.next_now() else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            self.log.lock().unwrap().messages.push(message.clone());
            if message.get("id").is_none() {
                continue;
            }
            let manners = *self.manners.lock().unwrap();
            let answer = match message["method"].as_str() {
                _ if manners == Manners::Silent => continue,
                Some("workspace/applyEdit") => {
                    json!({"applied": self.apply(&message["params"]["edit"], manners)})
                }
                Some("window/showDocument") => {
                    json!({"success": self.show(&message["params"]["uri"], manners)})
                }
                _ => Value::Null,
            };
            self.peer.answer(&message, answer);
        }
    }

    fn show(&self, uri: &Value, manners: Manners) -> bool {
        let uri = Url::parse(uri.as_str().unwrap()).unwrap();
        let Some(text) = uri
            .to_file_path()
            .ok()
            .and_then(|path| std::fs::read_to_string(path).ok())
        else {
            return true;
        };
        if manners != Manners::Hides {
            self.session.documents().open(uri.clone(), 1, &text);
            review::document_changed(&self.session, &uri);
        }
        true
    }

    fn apply(&self, edit: &Value, manners: Manners) -> bool {
        if manners == Manners::Lies {
            return true;
        }
        if manners == Manners::IsTypedInto {
            *self.manners.lock().unwrap() = Manners::Honest;
            let uri = Url::parse(
                edit["documentChanges"][0]["textDocument"]["uri"]
                    .as_str()
                    .unwrap(),
            )
            .unwrap();
            let text = self.session.document(&uri).unwrap().text();
            types(&self.session, &uri, &format!("typed meanwhile\n{text}"));
            return false;
        }
        if manners == Manners::IgnoresVersions {
            *self.manners.lock().unwrap() = Manners::Honest;
            for uri in edit["changes"]
                .as_object()
                .unwrap()
                .keys()
                .map(|uri| Url::parse(uri).unwrap())
            {
                let text = self.session.document(&uri).unwrap().text();
                types(&self.session, &uri, &format!("typed meanwhile\n{text}"));
            }
        }
        if let Some(changes) = edit["changes"].as_object() {
            for (uri, edits) in changes {
                self.change(&Url::parse(uri).unwrap(), &Value::Null, edits);
            }
            return true;
        }
        let changes = edit["documentChanges"].as_array().unwrap();
        let stale = |change: &&Value| {
            let open = change["textDocument"]["uri"]
                .as_str()
                .and_then(|uri| self.session.document(&Url::parse(uri).unwrap()));
            open.is_some_and(|document| {
                change["textDocument"]["version"].as_i64() != Some(document.version.into())
                    && !change["textDocument"]["version"].is_null()
            })
        };
        if changes.iter().any(|change| stale(&change)) {
            return false;
        }
        changes.iter().all(|change| self.carry_out(change, manners))
    }

    fn carry_out(&self, change: &Value, manners: Manners) -> bool {
        let path = |key: &str| {
            Url::parse(change[key].as_str().unwrap())
                .unwrap()
                .to_file_path()
                .unwrap()
        };
        match change["kind"].as_str() {
            None => {
                let uri = Url::parse(change["textDocument"]["uri"].as_str().unwrap()).unwrap();
                self.change(&uri, &change["textDocument"]["version"], &change["edits"]);
            }
            Some("create") => std::fs::write(path("uri"), "").unwrap(),
            Some("delete") => std::fs::remove_file(path("uri")).unwrap(),
            Some(_) if manners == Manners::FailsMoves => return false,
            Some(_) => {
                let (from, to) = (
                    Url::from_file_path(path("oldUri")).unwrap(),
                    Url::from_file_path(path("newUri")).unwrap(),
                );
                std::fs::rename(path("oldUri"), path("newUri")).unwrap();
                let closed = self.session.documents().close(&from);
                if let Some(document) = closed {
                    self.session.documents().open(to.clone(), 1, &document.text());
                }
                review::document_changed(&self.session, &from);
                review::document_changed(&self.session, &to);
            }
        }
        true
    }

    /// Edits of one document, last first, in positions of the text before.
    fn change(&self, uri: &Url, _version: &Value, edits: &Value) {
        let hides = *self.manners.lock().unwrap() == Manners::Hides;
        let open = self.session.document(uri);
        let document = open.clone().unwrap_or_else(|| {
            let text = std::fs::read_to_string(uri.to_file_path().unwrap()).unwrap();
            let mut documents = Documents::new(self.session.documents().encoding());
            documents.open(uri.clone(), 1, &text).clone()
        });
        let mut text = document.text();
        let edits: Vec<(std::ops::Range<usize>, String)> = edits
            .as_array()
            .unwrap()
            .iter()
            .map(|edit| {
                let range = serde_json::from_value(edit["range"].clone()).unwrap();
                (
                    document.bytes_of(range),
                    edit["newText"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        for (bytes, new) in edits.into_iter().rev() {
            text.replace_range(bytes, &new);
        }
        if open.is_some() {
            types(&self.session, uri, &text);
        } else if hides {
            self.log.lock().unwrap().hidden.insert(uri.clone(), text);
        } else {
            self.session.documents().open(uri.clone(), 1, &text);
            review::document_changed(&self.session, uri);
        }
    }
}
