//! A state directory with a repository beside it, and runs that end when the test says so.

use std::path::Path;
use std::sync::Arc;

use crate::clock::{Clock, ManualClock, Timestamp};
use crate::config::{Directories, Environment, Retention};
use crate::engine::retention::{Expired, expire};
use crate::engine::{Configurations, Services};
use crate::id::{AgentId, BlobId, CommitId, HunkId, OwnerId, PipelineId, StepId, TaskId};
use crate::pipeline::{
    Ending, GatePolicy, HunkRecord, HunkState, Machine, PatchStage, RunSpec, StepRole, StepSpec,
};
use crate::process::Spawner;
use crate::redact::Redactor;
use crate::store::{Finished, NewRun, Store, Transition, Weigh, blob_id};
use crate::task::{Priority, RunOptions, Task};
use crate::workspace::{Buffer, Places, Repository, UserHome, Workspaces};

pub(super) const BEGIN: Timestamp = Timestamp(1_795_500_000_000);
pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

pub(super) struct World {
    pub(super) services: Services,
    pub(super) clock: ManualClock,
    pub(super) repository: Repository,
    /// Where every run begins.
    base: CommitId,
    /// Where every run leads.
    pub(super) result: CommitId,
    _place: tempfile::TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let place = tempfile::tempdir().expect("a place");
        let root = place.path().canonicalize().expect("a place");
        let project = root.join("project");
        std::fs::create_dir(&project).expect("made");
        git_init(&project);
        std::fs::write(project.join("file.txt"), "one\n").expect("written");
        let clock = ManualClock::at(BEGIN);
        let services = services(&root, &clock).await;
        let repository = services
            .workspaces
            .repository(&project)
            .await
            .expect("a repository");
        let base = snapshot(&services, &repository, "one\n").await;
        let result = snapshot(&services, &repository, "two\n").await;
        Self {
            services,
            clock,
            repository,
            base,
            result,
            _place: place,
        }
    }

    /// Files with this text.
    pub(super) async fn files(&self, text: &str) -> CommitId {
        snapshot(&self.services, &self.repository, text).await
    }

    /// A run that ends now, with its only hunk in this state.
    pub(super) async fn ended(&self, name: &str, state: HunkState) -> PipelineId {
        let mut machine = self.machine(name);
        machine.hunks = vec![hunk(state)];
        machine.patch = Some(BlobId::new("patch"));
        machine.patch_stage = PatchStage::Settled;
        machine.ending = Some(Ending::Completed);
        self.store(&machine, Vec::new()).await
    }

    /// A run that has a result and goes on.
    pub(super) fn machine(&self, name: &str) -> Machine {
        let mut machine = Machine::new(spec(name));
        machine.base = Some(self.base.clone());
        machine.result = Some(self.result.clone());
        machine
    }

    /// Stores the run as it is, with contents that it names.
    pub(super) async fn store(&self, machine: &Machine, blobs: Vec<Vec<u8>>) -> PipelineId {
        let id = machine.spec.pipeline.clone();
        let top_level = self.repository.top_level.to_string_lossy().into_owned();
        let new = NewRun {
            id: id.clone(),
            repository: self.repository.id.clone(),
            top_level: top_level.clone(),
            folder: top_level,
            task_id: machine.spec.task.id.clone(),
            explicit: false,
            force: false,
            identity_hash: "identity".to_owned(),
            title: machine.spec.shown_title(),
            owner: OwnerId::new("nobody"),
            status: "running".to_owned(),
            state: "{}".to_owned(),
            blobs: Vec::new(),
            events: Vec::new(),
            created_at: self.clock.now(),
        };
        self.services.store.create_run(new).await.expect("created");
        let names: Vec<BlobId> = blobs.iter().map(|bytes| blob_id(bytes)).collect();
        let finished = match machine.ending {
            Some(_) => Finished::Yes { reuse: String::new() },
            None => Finished::No,
        };
        let transition = Transition {
            run: id.clone(),
            fence: 1,
            state: serde_json::to_string(machine).expect("JSON"),
            status: machine.status().as_str().to_owned(),
            finished,
            journal: serde_json::to_string(&names).expect("JSON"),
            events: Vec::new(),
            consumed: Vec::new(),
            audit: None,
            rejected: Vec::new(),
            blobs,
            at: self.clock.now(),
        };
        self.services.store.commit(transition).await.expect("committed");
        id
    }

    /// A step of this run has come so far in this round, from where every run begins.
    pub(super) async fn checkpoint(&self, run: &PipelineId, step: &str, round: u32, files: &CommitId) {
        let store = &self.services.store;
        let transcript = store.put_blob(b"{}".to_vec()).await.expect("stored");
        let (step, note) = (StepId::new(step), format!("{round}/{}\n", self.base));
        let kept = store.save_checkpoint(run, &step, 1, Some(files.clone()), transcript, note, BEGIN);
        kept.await.expect("stored");
    }

    pub(super) async fn expire(&self, retention: Retention) -> Expired {
        expire(&self.services, retention).await.expect("done")
    }

    pub(super) async fn is_there(&self, run: &PipelineId) -> bool {
        self.services.store.run(run).await.expect("read").is_some()
    }

    /// The runs whose result was kept.
    pub(super) async fn salvaged(&self) -> Vec<PipelineId> {
        let salvaged = self.services.workspaces.salvaged().await.expect("listed");
        salvaged.into_iter().map(|salvaged| salvaged.run).collect()
    }

    /// What runs and snapshots take together.
    pub(super) async fn size(&self) -> u64 {
        let stored = self.services.store.stored_runs(Weigh::Yes).await.expect("read");
        let snapshots = self.services.workspaces.repository_sizes().await.expect("read");
        let runs: u64 = stored.iter().map(|run| run.bytes).sum();
        runs + snapshots.iter().map(|(_, size)| size).sum::<u64>()
    }
}

async fn snapshot(services: &Services, repository: &Repository, text: &str) -> CommitId {
    let buffer = Buffer {
        path: "file.txt".to_owned(),
        text: text.as_bytes().to_vec(),
    };
    let taken = services.workspaces.snapshot(repository, &[buffer]).await;
    taken.expect("a snapshot").commit
}

async fn services(root: &Path, clock: &ManualClock) -> Services {
    let below = |name: &str| root.join(name).to_string_lossy().into_owned();
    let environment = Arc::new(Environment::from_pairs([
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("HOME".to_owned(), below("home")),
        ("CLODE_STATE_DIR".to_owned(), below("state")),
        ("CLODE_CACHE_DIR".to_owned(), below("cache")),
        ("CLODE_CONFIG_DIR".to_owned(), below("config")),
    ]));
    let directories = Directories::from_environment(&environment).expect("directories");
    let store = Store::open(&directories.state).await.expect("a store");
    let spawner = Spawner::new("/nonexistent/shim".into());
    let places = Places {
        state: directories.state.clone(),
        cache: directories.cache.clone(),
        user: UserHome::default(),
    };
    let workspaces = Workspaces::open(places, spawner.clone(), environment.search_path())
        .await
        .expect("workspaces");
    let configurations = Configurations::new(
        Arc::clone(&environment),
        directories.config.clone(),
        store.clone(),
    );
    Services {
        store,
        workspaces: Arc::new(workspaces),
        spawner,
        environment,
        clock: Arc::new(clock.clone()),
        redactor: Arc::new(Redactor::new()),
        configurations: Arc::new(configurations),
        state: directories.state.clone(),
        cache: directories.cache,
    }
}

pub(super) fn hunk(state: HunkState) -> HunkRecord {
    HunkRecord {
        id: HunkId::new("hunk"),
        path: "file.txt".to_owned(),
        state,
        round: 1,
        ask: false,
        comment: None,
        reason: None,
    }
}

fn spec(name: &str) -> RunSpec {
    RunSpec {
        pipeline: PipelineId::new(format!("pipeline-{name}-1")),
        task: Task {
            id: TaskId::new(name),
            explicit_id: false,
            title: format!("Do {name}"),
            description: String::new(),
            priority: Priority::Medium,
            tests: Vec::new(),
            constraints: Vec::new(),
            target_files: Vec::new(),
            origin: None,
            diagnostics: Vec::new(),
        },
        options: RunOptions::default(),
        steps: vec![StepSpec {
            id: StepId::new("developer"),
            agent: AgentId::new("developer"),
            role: StepRole::Change,
            needs: Vec::new(),
            time_limit_ms: 3_600_000,
            attempts_max: None,
            when: None,
            part: None,
        }],
        plan_gate: GatePolicy::Skip,
        patch_gate: GatePolicy::Ask,
        rounds_max: 2,
        attempts_max: 1,
        time_limit_ms: None,
        retry_initial_ms: 0,
        retry_max_ms: 0,
        buffers: None,
        request: None,
        config: BlobId::new("configuration"),
        demo: false,
    }
}

#[expect(clippy::disallowed_methods, reason = "the user of a test runs git themselves")]
fn git_init(folder: &Path) {
    let done = std::process::Command::new("git")
        .args(["init", "--quiet"])
        .arg(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status()
        .expect("git runs");
    assert!(done.success());
}
