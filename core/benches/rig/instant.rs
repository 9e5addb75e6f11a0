//! An engine whose agents answer at once and whose files are made up; store, machine and actors are real.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clode_core::agent::{AGENTS, Agent};
use clode_core::clock::SystemClock;
use clode_core::config::Environment;
use clode_core::engine::{
    Buffers, Configurations, Engine, Hands, Services, Snapshots, StartRequest, StepContext,
};
use clode_core::id::{BlobId, CommitId, PipelineId, TaskId, TreeId};
use clode_core::pipeline::{PreparedPatch, StepFailure, StepOutput, StepRole, Verdict};
use clode_core::process::Spawner;
use clode_core::redact::Redactor;
use clode_core::store::Store;
use clode_core::task::{Priority, RunOptions, Task};
use clode_core::workspace::{Combined, Places, Repository, Snapshot, UserHome, Workspaces};
use futures::future::BoxFuture;

/// Whether a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gates {
    Asked,
    Skipped,
}

/// A user with a repository and a state directory.
pub(crate) struct World {
    root: PathBuf,
}

impl World {
    pub(crate) fn new(root: &Path) -> Self {
        let project = root.join("project");
        std::fs::create_dir_all(&project).unwrap();
        std::fs::create_dir_all(root.join("config")).unwrap();
        std::fs::write(root.join("config/providers.yaml"), "concurrency: 64\n").unwrap();
        #[expect(clippy::disallowed_methods, reason = "the bench plays the user")]
        let made = std::process::Command::new("git")
            .args(["init", "-q", "-b", "main"])
            .current_dir(&project)
            .status();
        assert!(made.unwrap().success());
        Self {
            root: root.to_path_buf(),
        }
    }

    /// A process: a store of its own on the same file, an owner of its own.
    pub(crate) async fn open(&self) -> Engine {
        let at = |name: &str| self.root.join(name);
        let environment = Arc::new(Environment::from_pairs([
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
            ("HOME", at("home").into_os_string()),
        ]));
        let store = Store::open(&at("state")).await.unwrap();
        let spawner = Spawner::new("/nonexistent/shim".into());
        let places = Places {
            state: at("state"),
            cache: at("cache"),
            user: UserHome::default(),
        };
        let workspaces = Workspaces::open(places, spawner.clone(), environment.search_path());
        let workspaces = Arc::new(workspaces.await.unwrap());
        let configurations = Configurations::new(Arc::clone(&environment), at("config"), store.clone());
        let services = Services {
            store,
            workspaces,
            spawner,
            environment,
            clock: Arc::new(SystemClock),
            redactor: Arc::new(Redactor::new()),
            configurations: Arc::new(configurations),
            state: at("state"),
            cache: at("cache"),
        };
        let agents = AGENTS.iter().map(|real| Instantly(*real)).collect();
        Engine::open_with(services, Arc::new(Made { agents }))
            .await
            .unwrap()
    }

    pub(crate) async fn repository(&self, engine: &Engine) -> Arc<Repository> {
        engine.repository(&self.root.join("project")).await.unwrap()
    }

    pub(crate) async fn start(&self, engine: &Engine, gates: Gates) -> PipelineId {
        let task = Task {
            id: TaskId::new(""),
            explicit_id: false,
            title: "Measure".to_owned(),
            description: String::new(),
            priority: Priority::Medium,
            tests: Vec::new(),
            constraints: Vec::new(),
            target_files: Vec::new(),
            origin: None,
            diagnostics: Vec::new(),
        };
        let options = RunOptions {
            skip_approvals: gates == Gates::Skipped,
            ..RunOptions::default()
        };
        let request = StartRequest {
            repository: self.repository(engine).await,
            task,
            options,
            buffers: Buffers::default(),
            single: None,
        };
        engine.start(request).await.unwrap().pipeline
    }
}

/// Files that nobody reads.
#[derive(Debug)]
struct Made {
    agents: Vec<Instantly>,
}

impl Hands for Made {
    fn agent(&self, id: &str) -> Option<&dyn Agent> {
        let agent = self.agents.iter().find(|agent| agent.id() == id)?;
        Some(agent)
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a Services,
        _: &'a Repository,
        _: Option<BlobId>,
    ) -> BoxFuture<'a, clode_core::Result<Snapshots>> {
        Box::pin(async {
            Ok(Snapshots {
                shown: Snapshot {
                    commit: CommitId::new("base"),
                    tree: TreeId::new("tree"),
                    head: None,
                    withheld: Vec::new(),
                    unreadable: Vec::new(),
                },
                for_agents: None,
            })
        })
    }

    fn patch<'a>(
        &'a self,
        services: &'a Services,
        _: &'a Repository,
        _: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, clode_core::Result<PreparedPatch>> {
        Box::pin(async move {
            let patch = services.store.put_blob(b"patch".to_vec()).await?;
            Ok(PreparedPatch {
                patch,
                result: result.clone(),
                hunks: Vec::new(),
            })
        })
    }

    fn combine<'a>(
        &'a self,
        _: &'a Services,
        _: &'a Repository,
        _: &'a CommitId,
        _: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, clode_core::Result<Combined>> {
        Box::pin(async move { Ok(Combined::Files(result.clone())) })
    }
}

/// An agent that is done at once.
#[derive(Debug)]
struct Instantly(&'static dyn Agent);

impl Agent for Instantly {
    fn id(&self) -> &'static str {
        self.0.id()
    }

    fn title(&self) -> &'static str {
        self.0.title()
    }

    fn step_id(&self) -> &'static str {
        self.0.step_id()
    }

    fn role(&self) -> StepRole {
        self.0.role()
    }

    fn run<'a>(&'a self, context: &'a StepContext) -> BoxFuture<'a, Result<StepOutput, StepFailure>> {
        Box::pin(async move {
            let role = self.role();
            Ok(StepOutput {
                summary: "done".to_owned(),
                document: Some(context.put_text("A brief, a plan, a change.").await?),
                files: (role == StepRole::Change).then(|| CommitId::new("result")),
                verdict: (role == StepRole::Verify).then_some(Verdict::Passed),
                ..StepOutput::default()
            })
        })
    }
}

/// SQLite with the same promise and nothing else.
pub(crate) fn bare(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    let table = "CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL)";
    connection.execute(table, []).unwrap();
    connection
}

/// So many durable inserts of so many bytes each.
pub(crate) fn insert(connection: &rusqlite::Connection, rows: usize, bytes: usize) -> Duration {
    let body = "x".repeat(bytes);
    let mut statement = connection
        .prepare_cached("INSERT INTO rows (body) VALUES (?1)")
        .unwrap();
    let begun = Instant::now();
    for _ in 0..rows {
        statement.execute([&body]).unwrap();
    }
    begun.elapsed()
}

/// Opens the file and reads so many rows.
pub(crate) fn read(path: &Path, rows: usize) -> Duration {
    let begun = Instant::now();
    let connection = bare(path);
    let mut statement = connection.prepare("SELECT body FROM rows").unwrap();
    let read = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(Result::unwrap)
        .count();
    assert_eq!(read, rows);
    begun.elapsed()
}

/// A line of this process's status (KiB).
pub(crate) fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().split(' ').next()?.parse().ok())
        .unwrap_or_default()
}
