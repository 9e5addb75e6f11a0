//! Agents in a real engine: real git, a real database, real children; the model is scripted.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::claude::tests::scripted::{Api, Say};
use crate::clock::SystemClock;
use crate::config::{Directories, Environment};
use crate::engine::{Configurations, Engine, PipelineDetail, Services, StartRequest};
use crate::id::{AgentId, TaskId};
use crate::process::Spawner;
use crate::redact::Redactor;
use crate::store::Store;
use crate::task::{Priority, RunOptions, Task};
use crate::workspace::{Places, UserHome, Workspaces};

/// How long a scenario may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

struct World {
    place: tempfile::TempDir,
    engine: Engine,
}

/// Our own executable, which the tests of this crate are not.
fn shim() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.parent()?.join("clode-ls")).filter(|shim| shim.exists())
}

/// Our executable and the real program, where a test run brought both.
fn claude() -> Option<(PathBuf, PathBuf)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told by the environment where the program is"
    )]
    let claude = std::env::var_os("CLODE_TEST_CLAUDE")?;
    Some((shim()?, claude.into()))
}

fn git(folder: &Path, args: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the test plays the user")]
    let output = std::process::Command::new("git")
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output();
    let output = output.expect("git");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A repository with these files, and an engine that is told this by the environment and the user's file.
async fn world(files: &[(&str, &str)], shim: PathBuf, variables: &[(&str, &str)], settings: &str) -> World {
    let place = tempfile::tempdir().expect("a folder");
    let at = |name: &str| place.path().join(name);
    for (path, text) in files {
        let path = at("repository").join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    for args in [
        vec!["init", "-q", "-b", "main"],
        vec!["add", "-A"],
        vec![
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "-m",
            "first",
        ],
    ] {
        git(&at("repository"), &args);
    }
    std::fs::create_dir_all(at("config")).expect("made");
    std::fs::write(at("config/providers.yaml"), settings).expect("written");
    let own = [
        ("HOME", "home"),
        ("CLODE_STATE_DIR", "state"),
        ("CLODE_CACHE_DIR", "cache"),
        ("CLODE_CONFIG_DIR", "config"),
    ];
    let mut pairs: Vec<(String, String)> = own
        .iter()
        .map(|(name, folder)| ((*name).to_owned(), at(folder).to_string_lossy().into_owned()))
        .collect();
    pairs.push(("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()));
    pairs.extend(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let environment = Arc::new(Environment::from_pairs(pairs));
    let directories = Directories::from_environment(&environment).expect("directories");
    let store = Store::open(&directories.state).await.expect("a store");
    let places = Places {
        state: directories.state.clone(),
        cache: directories.cache.clone(),
        user: UserHome::default(),
    };
    let spawner = Spawner::new(shim);
    let workspaces = Workspaces::open(places, spawner.clone(), environment.search_path())
        .await
        .expect("workspaces");
    let configurations = Configurations::new(
        Arc::clone(&environment),
        directories.config.clone(),
        store.clone(),
    );
    let engine = Engine::open(Services {
        store,
        workspaces: Arc::new(workspaces),
        spawner,
        environment,
        clock: Arc::new(SystemClock),
        redactor: Arc::new(Redactor::new()),
        configurations: Arc::new(configurations),
        state: directories.state.clone(),
        cache: directories.cache.clone(),
    })
    .await
    .expect("an engine");
    World { place, engine }
}

impl World {
    async fn single(&self, agent: &str, request: serde_json::Value) -> PipelineDetail {
        let repository = self
            .engine
            .repository(&self.place.path().join("repository"))
            .await
            .expect("a repository");
        let task = Task {
            id: TaskId::new("task"),
            explicit_id: false,
            title: "Change one to two".to_owned(),
            description: String::new(),
            priority: Priority::Medium,
            tests: Vec::new(),
            constraints: Vec::new(),
            target_files: Vec::new(),
            origin: None,
            diagnostics: Vec::new(),
        };
        let request = StartRequest {
            repository,
            task,
            options: RunOptions::default(),
            buffers: Vec::new(),
            single: Some((AgentId::new(agent), request)),
        };
        let started = self.engine.start(request).await.expect("started");
        let mut notices = self.engine.notices();
        let ended = async {
            loop {
                let detail = self.engine.detail(&started.pipeline).await.expect("a run");
                let status = serde_json::to_value(&detail).expect("JSON")["status"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if ["completed", "failed", "cancelled", "awaitingApproval"].contains(&status.as_str()) {
                    return detail;
                }
                let _ = tokio::time::timeout(Duration::from_millis(200), notices.recv()).await;
            }
        };
        tokio::time::timeout(LIMIT, ended).await.expect("an end in time")
    }
}

const PYTHON: &[(&str, &str)] = &[
    ("calc.py", "ONE = 1\n"),
    (
        "check.sh",
        "grep -q 'ONE = 2' calc.py && echo fine || { echo 'calc.py:1: still 1'; exit 1; }\n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qa_judges_by_the_exit_code_alone_and_shows_the_failure_at_its_line() {
    let Some(shim) = shim() else { return };
    let world = world(PYTHON, shim, &[], "").await;
    let detail = world
        .single("qa", json!({ "objective": "check", "tests": ["sh check.sh"] }))
        .await;
    let detail = serde_json::to_value(&detail).expect("JSON");
    assert_eq!(detail["testRuns"][0]["exitCode"], 1, "{detail:#}");
    assert_eq!(detail["testRuns"][0]["passed"], false);
    assert_eq!(detail["findings"][0]["path"], "calc.py", "{detail:#}");
    let passing = world.single("qa", json!({ "objective": "check", "tests": [{ "command": "echo 3 passed", "successRegex": "3 passed" }] })).await;
    let passing = serde_json::to_value(&passing).expect("JSON");
    assert_eq!(passing["testRuns"][0]["passed"], true, "{passing:#}");
    assert_eq!(
        std::fs::read_dir(world.place.path().join("cache/private")).map_or(0, Iterator::count),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_developer_by_claude_code_changes_the_copy_and_pays() {
    let Some((shim, claude)) = claude() else { return };
    let script = vec![
        Say::Tools(vec![("Read", json!({ "file_path": "calc.py" }))]),
        Say::Tools(vec![(
            "Write",
            json!({ "file_path": "calc.py", "content": "ONE = 2\n" }),
        )]),
        Say::Tools(vec![(
            "Bash",
            json!({ "command": "sh check.sh", "description": "tests" }),
        )]),
        Say::Text("Changed one to two."),
    ];
    let (api, address) = Api::serve(script).await;
    let settings = format!(
        "version: 1\nproviders:\n  claude-code:\n    kind: claude-code\n    apiKeyEnv: ANTHROPIC_API_KEY\n    baseUrl: {address}\n    command: [{}]\nagents:\n  developer:\n    mode: cli\n",
        claude.display()
    );
    let world = world(
        PYTHON,
        shim,
        &[
            ("ANTHROPIC_API_KEY", "sk-ant-api03-test"),
            ("ANTHROPIC_BASE_URL", &address),
        ],
        &settings,
    )
    .await;
    let detail = world
        .single(
            "developer",
            json!({ "objective": "Change one to two", "tests": ["sh check.sh"] }),
        )
        .await;
    let detail = serde_json::to_value(&detail).expect("JSON");
    assert!(
        detail["patch"]
            .as_str()
            .is_some_and(|patch| patch.contains("+ONE = 2")),
        "{detail:#}"
    );
    assert_eq!(
        detail["steps"][0]["model"]
            .as_str()
            .map(|model| model.starts_with("claude")),
        Some(true),
        "{detail:#}"
    );
    assert!(
        detail["steps"][0]["summary"]
            .as_str()
            .is_some_and(|text| text.contains("Changed 1 file")),
        "{detail:#}"
    );
    assert_eq!(api.count(), 4);
    let original = std::fs::read_to_string(world.place.path().join("repository/calc.py")).expect("there");
    assert_eq!(original, "ONE = 1\n", "the user's file is untouched");
    assert_eq!(
        std::fs::read_dir(world.place.path().join("cache/claude")).map_or(0, Iterator::count),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_program_is_said_plainly() {
    let Some(shim) = shim() else { return };
    let settings = "version: 1\nlimits:\n  enforce: strict\nagents:\n  developer:\n    mode: cli\n";
    let world = world(PYTHON, shim, &[], settings).await;
    let detail =
        serde_json::to_value(world.single("developer", json!({ "objective": "x" })).await).expect("JSON");
    assert_eq!(detail["status"], "failed", "{detail:#}");
    assert_eq!(
        detail["steps"][0]["error"]["code"], "meteredRefused",
        "{detail:#}"
    );
}
