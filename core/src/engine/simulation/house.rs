//! What all schedules of a thread share: the parts of an engine that a schedule does not change, and a run as a
//! person would start it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ports::Ports;
use super::world::World;
use crate::clock::ManualClock;
use crate::config::{self, Config, Environment, FoundAgents, Sources};
use crate::engine::start::freeze;
use crate::engine::{Buffers, Configurations, Services, StartRequest, pipelines};
use crate::error::{Error, Kind, Result};
use crate::id::{AgentId, BlobId, OwnerId, PipelineId, RepositoryId, TaskId};
use crate::money::Money;
use crate::pipeline::{GatePolicy, Machine};
use crate::process::Spawner;
use crate::redact::Redactor;
use crate::store::simulated::Memory;
use crate::store::{NewRun, Store};
use crate::task::{ApplyMode, Priority, RunOptions, Task};
use crate::workspace::{Places, Repository, UserHome, Workspaces};

/// Which agents take part beside the Task Master: runs are of all sizes.
pub(super) const SHAPES: [&[&str]; 4] = [
    &["developer"],
    &["architect", "developer"],
    &["architect", "developer", "qa"],
    &["architect", "developer", "qa", "kbBuilder"],
];

/// See the module.
#[derive(Debug)]
pub(super) struct House {
    pub(super) memory: Memory,
    pub(super) repository: Arc<Repository>,
    pub(super) config: Arc<Config>,
    /// What it is called where runs freeze it.
    pub(super) frozen: BlobId,
    services: Services,
    /// Runs of all sizes, as they begin.
    machines: Vec<Machine>,
    _place: tempfile::TempDir,
}

impl House {
    /// Builds it; starts git once, to see that it is there.
    pub(super) fn build() -> Result<Self> {
        let place = tempfile::tempdir().map_err(|error| Error::io("a folder for the simulation", &error))?;
        let memory = Memory::new()?;
        let idle = Arc::new(World::new(0, None, false));
        let store = Store::simulated(
            &memory,
            Arc::new(Ports::new(Arc::clone(&idle), 0)),
            Arc::clone(&idle) as _,
        );
        let environment = Arc::new(Environment::from_pairs([(
            "PATH",
            "/usr/local/bin:/usr/bin:/bin",
        )]));
        let config = config::load(&environment, &FoundAgents::default(), &Sources::default()).config;
        let config = Config {
            zone: "UTC".to_owned(),
            ..config
        };
        let services = services(place.path(), store, environment)?;
        let repository = Arc::new(repository(place.path()));
        let request = StartRequest {
            repository: Arc::clone(&repository),
            task: task(),
            options: RunOptions::default(),
            buffers: Buffers::default(),
            single: None,
        };
        let mut machines = Vec::new();
        for agents in SHAPES {
            let agents: Vec<AgentId> = agents.iter().copied().map(AgentId::new).collect();
            let steps = pipelines::steps(&config, "default", Some(&agents))?;
            let (machine, _) = freeze(&request, &config, steps)?;
            machines.push(machine);
        }
        Ok(Self {
            memory,
            repository,
            frozen: BlobId::new(config.hash()),
            config: Arc::new(config),
            services,
            machines,
            _place: place,
        })
    }

    /// The services of one process.
    pub(super) fn services(&self, store: Store, world: &Arc<World>) -> Services {
        Services {
            store,
            clock: Arc::clone(world) as _,
            ..self.services.clone()
        }
    }

    /// A run as somebody starts it, number by number, of one of the first shapes; the same number is the same task.
    pub(super) fn run(&self, world: &World, number: u64, shapes: usize, owner: &OwnerId) -> Result<NewRun> {
        let Some(mut machine) = world
            .pick(self.machines.get(..shapes).unwrap_or_default())
            .cloned()
        else {
            return Err(Error::internal("there is no shape of a run"));
        };
        let spec = Arc::make_mut(&mut machine.spec);
        let earlier = world.facts(|facts| facts.first_states.len());
        spec.pipeline = PipelineId::new(format!("pipeline-{number}-{earlier}"));
        spec.task.id = TaskId::new(format!("task-{number}"));
        spec.task.priority = *world
            .pick(&[Priority::Low, Priority::Medium, Priority::High])
            .unwrap_or(&Priority::Medium);
        spec.options.apply = *world
            .pick(&[ApplyMode::Review, ApplyMode::Direct, ApplyMode::None])
            .unwrap_or(&ApplyMode::Review);
        if world.happens(200) {
            spec.options.skip_approvals = true;
            spec.plan_gate = GatePolicy::Skip;
            spec.patch_gate = GatePolicy::Skip;
        }
        spec.options.max_cost = world
            .happens(400)
            .then(|| Money::from_pico(100_000_000 * i64::try_from(world.below(20)).unwrap_or(0)));
        let state = serde_json::to_string(&machine)
            .map_err(|error| Error::new(Kind::Internal, "internal", error.to_string()))?;
        world.facts(|facts| {
            facts
                .first_states
                .insert(machine.spec.pipeline.clone(), machine.clone())
        });
        Ok(NewRun {
            id: machine.spec.pipeline.clone(),
            repository: self.repository.id.clone(),
            top_level: self.repository.top_level.to_string_lossy().into_owned(),
            folder: self.repository.folder.to_string_lossy().into_owned(),
            task_id: machine.spec.task.id.clone(),
            explicit: true,
            force: false,
            identity_hash: format!("identity-{number}"),
            title: machine.spec.shown_title(),
            owner: owner.clone(),
            status: machine.status().as_str().to_owned(),
            state,
            // All processes have the configuration: nobody reads it from the store.
            blobs: Vec::new(),
            events: Vec::new(),
            created_at: crate::clock::Clock::now(world),
        })
    }
}

fn services(place: &Path, store: Store, environment: Arc<Environment>) -> Result<Services> {
    let spawner = Spawner::new(place.join("no-shim"));
    let places = Places {
        state: place.join("state"),
        cache: place.join("cache"),
        user: UserHome::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("a runtime", &error))?;
    let opening = Workspaces::open(places, spawner.clone(), environment.search_path());
    let workspaces = Arc::new(runtime.block_on(opening)?);
    let configurations = Configurations::new(Arc::clone(&environment), place.join("config"), store.clone());
    Ok(Services {
        store,
        workspaces,
        spawner,
        environment,
        clock: Arc::new(ManualClock::default()),
        redactor: Arc::new(Redactor::new()),
        configurations: Arc::new(configurations),
        state: place.join("state"),
        cache: place.join("cache"),
    })
}

fn repository(place: &Path) -> Repository {
    let top: PathBuf = place.join("project");
    Repository {
        id: RepositoryId::new("repository"),
        top_level: top.clone(),
        git_dir: top.join(".git"),
        common_dir: top.join(".git"),
        folder: top,
        folder_path: String::new(),
        object_format: "sha1".to_owned(),
    }
}

fn task() -> Task {
    Task {
        id: TaskId::new("task"),
        explicit_id: true,
        title: "Do it".to_owned(),
        description: String::new(),
        priority: Priority::Medium,
        tests: Vec::new(),
        constraints: Vec::new(),
        target_files: Vec::new(),
        origin: None,
        diagnostics: Vec::new(),
    }
}
