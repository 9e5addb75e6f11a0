//! Agents in a real engine: real git, a real database, real children; the model is scripted.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::claude::tests::scripted::{Api, Say};
use super::claude::tests::{found as claude, shim};
use crate::clock::SystemClock;
use crate::config::{Directories, Environment};
use crate::engine::{Configurations, Engine, Services, Signal, StartRequest};
use crate::id::{AgentId, ApprovalId, PipelineId, TaskId};
use crate::money::Money;
use crate::pipeline::{Answer, Answerer};
use crate::process::Spawner;
use crate::redact::Redactor;
use crate::store::Store;
use crate::task::{ApplyMode, Priority, RunOptions, Task};
use crate::workspace::{Places, UserHome, Workspaces};

/// How long a scenario may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

struct World {
    place: tempfile::TempDir,
    engine: Engine,
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

fn task(title: &str) -> Task {
    Task {
        id: TaskId::new("task"),
        explicit_id: false,
        title: title.to_owned(),
        description: String::new(),
        priority: Priority::Medium,
        tests: Vec::new(),
        constraints: Vec::new(),
        target_files: Vec::new(),
        origin: None,
        diagnostics: Vec::new(),
    }
}

impl World {
    async fn start(&self, task: Task, options: RunOptions, single: Option<(AgentId, Value)>) -> PipelineId {
        let repository = self
            .engine
            .repository(&self.place.path().join("repository"))
            .await
            .expect("a repository");
        let request = StartRequest {
            repository,
            task,
            options,
            buffers: crate::engine::Buffers::default(),
            single,
        };
        self.engine.start(request).await.expect("started").pipeline
    }

    /// One agent alone, until it ends or waits for a person.
    async fn single(&self, agent: &str, request: Value) -> Value {
        let run = self
            .start(
                task("Change one to two"),
                RunOptions::default(),
                Some((AgentId::new(agent), request)),
            )
            .await;
        self.rest(&run).await
    }

    /// The run once it has ended or waits for a person.
    async fn rest(&self, run: &PipelineId) -> Value {
        let mut notices = self.engine.notices();
        let ended = async {
            loop {
                let detail =
                    serde_json::to_value(self.engine.detail(run).await.expect("a run")).expect("JSON");
                let status = detail["status"].as_str().unwrap_or_default();
                if ["completed", "failed", "cancelled", "awaitingApproval"].contains(&status) {
                    return detail;
                }
                let _ = tokio::time::timeout(Duration::from_millis(200), notices.recv()).await;
            }
        };
        tokio::time::timeout(LIMIT, ended).await.expect("an end in time")
    }

    /// Answers the open gate.
    async fn answer(&self, run: &PipelineId, detail: &Value, answer: Answer) {
        let approval = detail["pendingApproval"]["id"].as_str().map(ApprovalId::from);
        let by = Answerer {
            surface: "editor".to_owned(),
            detail: String::new(),
        };
        self.engine
            .signal(
                run,
                Signal::Answer {
                    approval,
                    gate: None,
                    answer,
                    by,
                },
            )
            .await
            .expect("taken in");
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
    assert_eq!(detail["testRuns"][0]["exitCode"], 1, "{detail:#}");
    assert_eq!(detail["testRuns"][0]["passed"], false);
    assert_eq!(detail["findings"][0]["path"], "calc.py", "{detail:#}");
    let passing = world.single("qa", json!({ "objective": "check", "tests": [{ "command": "echo 3 passed", "successRegex": "3 passed" }] })).await;
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
    let world = world(
        PYTHON,
        shim,
        &[("ANTHROPIC_API_KEY", "sk-ant-api03-test")],
        &settings(&address, &claude),
    )
    .await;
    let detail = world
        .single(
            "developer",
            json!({ "objective": "Change one to two", "tests": ["sh check.sh"] }),
        )
        .await;
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
async fn a_command_of_claude_code_waits_for_a_person_and_the_no_is_told_to_the_model() {
    let Some((shim, claude)) = claude() else { return };
    let bash = |command: &str| Say::Tools(vec![("Bash", json!({ "command": command, "description": "x" }))]);
    let script = vec![
        Say::Tools(vec![("Read", json!({ "file_path": "calc.py" }))]),
        bash("python3 make_mischief.py"),
        Say::Tools(vec![(
            "Write",
            json!({ "file_path": "calc.py", "content": "ONE = 2\n" }),
        )]),
        Say::Text("Changed it without the command."),
    ];
    let (api, address) = Api::serve(script).await;
    let world = world(
        PYTHON,
        shim,
        &[("ANTHROPIC_API_KEY", "sk-ant-api03-test")],
        &settings(&address, &claude),
    )
    .await;
    let run = world
        .start(
            task("Change one"),
            RunOptions::default(),
            Some((AgentId::new("developer"), json!({ "objective": "x" }))),
        )
        .await;
    let waiting = world.rest(&run).await;
    assert_eq!(waiting["pendingApproval"]["gate"], "permission", "{waiting:#}");
    assert_eq!(
        waiting["pendingApproval"]["request"]["command"],
        "python3 make_mischief.py"
    );
    let no = Answer {
        approved: false,
        comment: Some("not on my machine".to_owned()),
        ..Answer::default()
    };
    world.answer(&run, &waiting, no).await;
    let ended = world.rest(&run).await;
    assert!(
        ended["patch"]
            .as_str()
            .is_some_and(|patch| patch.contains("+ONE = 2")),
        "{ended:#}"
    );
    let requests = api.requests.lock().expect("free");
    assert!(
        requests[2]
            .1
            .to_string()
            .contains("a person said no: not on my machine")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claude_code_stops_at_the_limit_of_the_run_and_goes_on_with_more_money() {
    let Some((shim, claude)) = claude() else { return };
    let script = vec![
        Say::Tools(vec![(
            "Write",
            json!({ "file_path": "new.py", "content": "TWO = 2\n" }),
        )]),
        Say::Text("Done."),
    ];
    let (api, address) = Api::serve(script).await;
    let world = world(
        PYTHON,
        shim,
        &[("ANTHROPIC_API_KEY", "sk-ant-api03-test")],
        &settings(&address, &claude),
    )
    .await;
    let options = RunOptions {
        max_cost: Money::from_usd(0.01),
        ..RunOptions::default()
    };
    let run = world
        .start(
            task("Change one"),
            options,
            Some((AgentId::new("developer"), json!({ "objective": "x" }))),
        )
        .await;
    let waiting = world.rest(&run).await;
    assert_eq!(waiting["pendingApproval"]["gate"], "budget", "{waiting:#}");
    assert_eq!(
        api.count(),
        0,
        "nothing was asked of the model before there was money for it"
    );
    let more = Answer {
        approved: true,
        max_cost: Money::from_usd(3.0),
        ..Answer::default()
    };
    world.answer(&run, &waiting, more).await;
    let ended = world.rest(&run).await;
    assert!(
        ended["patch"]
            .as_str()
            .is_some_and(|patch| patch.contains("+TWO = 2")),
        "{ended:#}"
    );
    assert!(
        ended["metrics"]["totalCost"]
            .as_f64()
            .is_some_and(|cost| cost > 0.0 && cost < 0.1),
        "{ended:#}"
    );
    assert_eq!(ended["metrics"]["reservedCost"], 0.0, "{ended:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_program_is_said_plainly() {
    let Some(shim) = shim() else { return };
    let settings = "version: 1\nlimits:\n  enforce: strict\nagents:\n  developer:\n    mode: cli\n";
    let world = world(PYTHON, shim, &[], settings).await;
    let detail = world.single("developer", json!({ "objective": "x" })).await;
    assert_eq!(detail["status"], "failed", "{detail:#}");
    assert_eq!(
        detail["steps"][0]["error"]["code"], "meteredRefused",
        "{detail:#}"
    );
}

/// The Developer by this program, at this address.
fn settings(address: &str, claude: &Path) -> String {
    let claude = claude.display();
    format!(
        "version: 1\nproviders:\n  claude-code:\n    kind: claude-code\n    apiKeyEnv: ANTHROPIC_API_KEY\n    \
         baseUrl: {address}\n    command: [{claude}]\nagents:\n  developer:\n    mode: cli\n"
    )
}

const RUST: &[(&str, &str)] = &[
    ("Makefile", "test:\n\tgrep -q 'a + b' src/lib.rs\n"),
    (
        "src/lib.rs",
        "//! Sums.\n\n/// Adds.\npub fn add(a: i32, b: i32) -> i32 {\n    todo!()\n}\n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_team_works_with_the_demonstration() {
    let Some(shim) = shim() else { return };
    let world = world(RUST, shim, &[], "").await;
    let options = RunOptions {
        skip_approvals: true,
        apply: ApplyMode::None,
        ..RunOptions::default()
    };
    let run = world.start(task("Implement `add`"), options, None).await;
    let detail = world.rest(&run).await;
    assert_eq!(detail["status"], "completed", "{detail:#}");
    assert!(
        detail["patch"]
            .as_str()
            .is_some_and(|patch| patch.contains("+    a + b")),
        "{detail:#}"
    );
    assert!(
        detail["plan"]
            .as_str()
            .is_some_and(|plan| plan.contains("- touches: src/lib.rs")),
        "{detail:#}"
    );
    assert_eq!(detail["testRuns"][0]["command"], "make test", "{detail:#}");
    assert_eq!(detail["testRuns"][0]["passed"], true, "{detail:#}");
    assert_eq!(detail["steps"].as_array().map(Vec::len), Some(5));
    assert!(
        detail["knowledge"]
            .as_array()
            .is_some_and(|entries| !entries.is_empty()),
        "{detail:#}"
    );
    assert_eq!(detail["metrics"]["totalCost"], 0.0);
}
