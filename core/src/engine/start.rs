//! Starts a run: decides what it freezes, whether an earlier one is meant, and makes it durable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Engine, actor, locked, pipelines, takeover};
use crate::config::{Config, Layer};
use crate::error::{Error, Kind, Result};
use crate::finish::to_its_end;
use crate::id::{AgentId, BlobId, PipelineId, TaskId, random_hex};
use crate::pipeline::{GatePolicy, HunkState, Machine, RunSpec, StepRole, StepSpec};
use crate::store::{Created, NewRun, RunFilter, RunRow, blob_id};
use crate::task::{ApplyMode, RunOptions, Task};
use crate::workspace::{Buffer, Repository};

/// Failed verdicts that go back to the Developer.
const ROUNDS_MAX: u32 = 2;
/// Attempts of a step whose failure is transient.
const ATTEMPTS_MAX: u32 = 3;
/// First wait before another attempt of a step.
const RETRY_INITIAL_MS: i64 = 1_000;
/// Longest wait before another attempt of a step.
const RETRY_MAX_MS: i64 = 60_000;
/// Characters of a task's id that its run's name keeps.
const TASK_ID_CHARS_MAX: usize = 48;

/// The unsaved text that a run starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buffers {
    /// As the person sees it: what the result is merged onto.
    pub shown: Vec<Buffer>,
    /// Those of them that agents get to see differently: without the lines that were written to us.
    #[serde(default)]
    pub for_agents: Vec<Buffer>,
}

/// What is to be started.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// On what.
    pub repository: Arc<Repository>,
    /// What is wanted; an empty id is replaced by one of ours.
    pub task: Task,
    /// How.
    pub options: RunOptions,
    /// Unsaved text.
    pub buffers: Buffers,
    /// Only this agent, with its request (JSON).
    pub single: Option<(AgentId, serde_json::Value)>,
}

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub pipeline: PipelineId,
    /// Its status now.
    pub status: String,
    /// Whether it is an earlier one.
    pub reused: bool,
}

impl Engine {
    /// Makes a run durable and begins to drive it.
    pub async fn start(&self, request: StartRequest) -> Result<Started> {
        self.shared.services.store.writable()?;
        self.shared.services.store.room()?;
        let loaded = self.services().configurations.fresh(&request.repository).await?;
        let config = loaded.loaded.config.clone();
        let mut request = request;
        let declared_by = loaded
            .loaded
            .origins
            .get("limits.perExecutionUSD")
            .copied()
            .unwrap_or(Layer::Default);
        tidy(&mut request, &config, declared_by)?;
        let steps = match &request.single {
            Some((agent, _)) => pipelines::single(agent)?,
            None => pipelines::steps(
                &config,
                &request.options.pipeline,
                request.options.agents.as_deref(),
            )?,
        };
        let identity = identity(&request)?;
        if let Some(earlier) = self.earlier(&request, &identity).await? {
            return Ok(Started {
                pipeline: earlier.id,
                status: earlier.status,
                reused: true,
            });
        }
        let (machine, blobs) = freeze(&request, &config, steps)?;
        let state = encode(&machine)?;
        let new = NewRun {
            id: machine.spec.pipeline.clone(),
            repository: request.repository.id.clone(),
            top_level: request.repository.top_level.to_string_lossy().into_owned(),
            folder: request.repository.folder.to_string_lossy().into_owned(),
            task_id: machine.spec.task.id.clone(),
            explicit: machine.spec.task.explicit_id,
            force: request.options.force,
            identity_hash: identity,
            title: machine.spec.shown_title(),
            owner: self.shared.owner.clone(),
            status: machine.status().as_str().to_owned(),
            state,
            blobs,
            events: Vec::new(),
            created_at: self.shared.services.clock.now(),
        };
        self.launch(new, &request.repository).await
    }

    /// Makes the run durable, unless it is there already, and begins to drive it.
    pub(super) async fn launch(&self, new: NewRun, repository: &Arc<Repository>) -> Result<Started> {
        let (engine, repository) = (self.clone(), Arc::clone(repository));
        to_its_end(async move {
            let id = new.id.clone();
            let launched = engine.launch_once(new, &repository).await;
            if launched.is_err() {
                locked(&engine.shared.doubtful).insert(id);
            }
            launched
        })
        .await
    }

    async fn launch_once(&self, new: NewRun, repository: &Arc<Repository>) -> Result<Started> {
        let (id, status) = (new.id.clone(), new.status.clone());
        let _turn = self.shared.takeovers.lock().await;
        match self.shared.services.store.create_run(new).await? {
            Created::Existing(row) => Ok(Started {
                pipeline: row.id,
                status: row.status,
                reused: true,
            }),
            Created::New { row, .. } => {
                tracing::info!(run = %id, "started");
                actor::start(
                    &self.shared,
                    *row,
                    Arc::clone(repository),
                    None,
                    takeover::Part::Drive,
                )
                .await?;
                Ok(Started {
                    pipeline: id,
                    status,
                    reused: false,
                })
            }
        }
    }

    /// A run of the same explicit task that is alive, or done on the very same files and not taken back.
    async fn earlier(&self, request: &StartRequest, identity: &str) -> Result<Option<RunRow>> {
        if !request.task.explicit_id || request.options.force {
            return Ok(None);
        }
        let filter = RunFilter {
            repository: Some(request.repository.id.clone()),
            task_id: Some(request.task.id.clone()),
            ..RunFilter::default()
        };
        let rows = self.shared.services.store.runs(filter).await?;
        let counts = |row: &&RunRow| !row.finished || row.status == "completed";
        let Some(row) = rows.into_iter().find(|row| counts(&row)) else {
            return Ok(None);
        };
        if row.identity_hash != identity {
            return Err(Error::state(
                "taskIdInUse",
                format!(
                    "task id `{}` belongs to `{}`, which has another content",
                    row.task_id, row.id
                ),
            )
            .hint("use another id, or `force` to start anew"));
        }
        if !row.finished {
            return Ok(Some(row));
        }
        let was_reverted = |machine: Machine| {
            let mut hunks = machine.hunks.iter();
            hunks.any(|hunk| hunk.state == HunkState::Reverted)
        };
        if row.reuse.is_empty() || row.machine().is_ok_and(was_reverted) {
            return Ok(None);
        }
        let snapshot = self
            .shared
            .services
            .workspaces
            .snapshot(&request.repository, &request.buffers.shown)
            .await?;
        Ok((snapshot.tree.as_str() == row.reuse).then_some(row))
    }
}

/// Fills in what the configuration decides and refuses what cannot be meant.
fn tidy(request: &mut StartRequest, config: &Config, declared_by: Layer) -> Result<()> {
    let title: String = request
        .task
        .title
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if title.is_empty() {
        return Err(Error::usage("invalidParams", "task.title: must not be empty")
            .hint("say in one line what is to be done"));
    }
    request.task.title = shorten(&title, crate::task::TITLE_CHARS_MAX);
    if request.task.id.as_str().is_empty() {
        request.task.id = TaskId::new(random_hex(4)?);
        request.task.explicit_id = false;
    }
    let ceiling = config.limits.per_execution;
    request.options.max_cost = match (request.options.max_cost, ceiling) {
        (Some(asked), Some(limit)) if declared_by != Layer::Default => Some(asked.min(limit)),
        (Some(asked), _) => Some(asked),
        (None, limit) => limit,
    };
    if request.single.is_some() {
        request.options.apply = ApplyMode::None;
    }
    if request.task.tests.is_empty() {
        request.task.tests.clone_from(&config.tests);
    }
    Ok(())
}

fn shorten(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars()
        .take(chars_max.saturating_sub(1))
        .chain(['…'])
        .collect()
}

fn identity(request: &StartRequest) -> Result<String> {
    let text = encode(&(
        &request.task,
        &request.options,
        &request.single.as_ref().map(|(agent, request)| (agent, request)),
    ))?;
    Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
}

pub(super) fn freeze(
    request: &StartRequest,
    config: &Config,
    steps: Vec<StepSpec>,
) -> Result<(Machine, Vec<Vec<u8>>)> {
    let mut blobs = Vec::new();
    let config_blob = keep(&mut blobs, config.canonical());
    let buffers = if request.buffers.shown.is_empty() {
        None
    } else {
        Some(keep(&mut blobs, encode(&request.buffers)?))
    };
    let single = match &request.single {
        Some((_, body)) => Some(keep(&mut blobs, encode(body)?)),
        None => None,
    };
    let declared = config
        .pipelines
        .get(&request.options.pipeline)
        .filter(|_| request.single.is_none());
    let policy = |asks: bool, role: StepRole| {
        let asks = asks || declared.is_some_and(|declared| pipelines::asks_after(declared, role));
        if asks && !request.options.skip_approvals && request.single.is_none() {
            GatePolicy::Ask
        } else {
            GatePolicy::Skip
        }
    };
    let spec = RunSpec {
        pipeline: PipelineId::new(format!(
            "pipeline-{}-{}",
            name_part(request.task.id.as_str()),
            random_hex(4)?
        )),
        task: request.task.clone(),
        options: request.options.clone(),
        steps,
        plan_gate: policy(config.approvals.plan, StepRole::Plan),
        patch_gate: policy(config.approvals.patch, StepRole::Change),
        rounds_max: ROUNDS_MAX,
        attempts_max: ATTEMPTS_MAX,
        retry_initial_ms: RETRY_INITIAL_MS,
        retry_max_ms: RETRY_MAX_MS,
        time_limit_ms: declared
            .and_then(|declared| declared.timeout_ms)
            .map(pipelines::limit_ms),
        buffers,
        request: single,
        config: config_blob,
        demo: config.demo_only,
    };
    Ok((Machine::new(spec), blobs))
}

fn keep(blobs: &mut Vec<Vec<u8>>, text: String) -> BlobId {
    let id = blob_id(text.as_bytes());
    blobs.push(text.into_bytes());
    id
}

fn encode(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(
            Kind::Internal,
            "internal",
            format!("a run cannot be written: {error}"),
        )
    })
}

/// A task's id as a part of a run's name: letters, digits and a few marks, and not too long.
fn name_part(id: &str) -> String {
    let part: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(TASK_ID_CHARS_MAX)
        .collect();
    if part.is_empty() { "task".to_owned() } else { part }
}
