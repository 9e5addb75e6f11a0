//! `run`: one task on the repository of the current directory.

use clap::{Args, ValueEnum};
use clode_core::engine::{Buffers, Signal, StartRequest};
use clode_core::id::{AgentId, TaskId};
use clode_core::money::Money;
use clode_core::task::{ApplyMode, CacheMode, CommandOrigin, Priority, RunOptions, Task, TestCommand};
use clode_core::{Error, Result};

use super::Exit;
use super::desk::{Caller, Desk};
use super::drive::{self, Drive, Since};
use super::gate::Approvals;
use super::place::{self, Place};
use super::render;

const DEMO_STANDS_IN: &str = "\
No provider is configured: the built-in demo stands in. It is no model and changes little.
hint: set ANTHROPIC_API_KEY or OPENAI_API_KEY; `clode-ls providers check` shows what is found";

/// Let the team carry out one task on the repository here
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the command line"
)]
pub(crate) struct Run {
    /// What is to be done, in one line
    title: String,
    /// Anything more
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Your own id of the task: the same one is not done twice
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Start anew even if this id was done or is under way
    #[arg(long)]
    force: bool,
    /// Whose results of earlier steps may be used: of every task here, or of none
    #[arg(long, value_name = "MODE", value_enum)]
    cache: Option<Cache>,
    /// How soon, beside other tasks
    #[arg(long, value_name = "P", value_enum, default_value = "medium")]
    priority: Soon,
    /// Which pipeline: default, plan, tests, or one of the configuration
    #[arg(long, value_name = "NAME", default_value = "default")]
    pipeline: String,
    /// The place that it is about
    #[arg(long, value_name = "FILE:LINE[-LINE]", value_parser = place::place)]
    at: Option<Place>,
    /// A command that proves the work; may be repeated
    #[arg(long = "test", value_name = "CMD")]
    tests: Vec<String>,
    /// What the work must respect; may be repeated
    #[arg(long = "constraint", value_name = "TEXT")]
    constraints: Vec<String>,
    /// Exactly these agents
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    agents: Option<Vec<String>>,
    /// Most that it may cost, in US dollars
    #[arg(long, value_name = "USD", value_parser = place::money)]
    max_cost: Option<Money>,
    /// Approve plan and patch beforehand (never money, permissions or questions)
    #[arg(long)]
    yes: bool,
    /// Apply what is clean at once
    #[arg(long, conflicts_with = "no_apply")]
    apply: bool,
    /// Apply nothing
    #[arg(long)]
    no_apply: bool,
    /// Lines of JSON on stdout: events, and a last line `{"type":"result",…}`
    #[arg(long)]
    pub(crate) json: bool,
}

/// How soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Soon {
    Low,
    Medium,
    High,
}

/// Whose results of earlier steps may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cache {
    Use,
    Bypass,
}

impl From<Cache> for CacheMode {
    fn from(cache: Cache) -> Self {
        match cache {
            Cache::Use => Self::Use,
            Cache::Bypass => Self::Bypass,
        }
    }
}

impl Run {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let desk = caller.open_here().await?;
        desk.tell_problems(&caller.output);
        let approvals = if self.yes { Approvals::Yes } else { Approvals::Ask };
        let request = self.request(caller, &desk)?;
        let shows_all = request.options.apply == ApplyMode::None || request.options.pipeline == "plan";
        carry_out(
            caller,
            &desk,
            request,
            approvals,
            if shows_all {
                Show::PlanAndPatch
            } else {
                Show::Summary
            },
        )
        .await
    }

    fn request(self, caller: &Caller, desk: &Desk) -> Result<StartRequest> {
        if self.id.as_deref().is_some_and(|id| id.trim().is_empty()) {
            return Err(Error::usage("invalidParams", "--id: must not be empty"));
        }
        let origin = self
            .at
            .as_ref()
            .map(|place| place.origin(&caller.folder, &desk.repository))
            .transpose()?;
        let apply = match (self.apply, self.no_apply, self.yes) {
            (_, true, _) => ApplyMode::None,
            (true, ..) | (.., true) => ApplyMode::Direct,
            _ => ApplyMode::Review,
        };
        let task = Task {
            id: TaskId::new(self.id.clone().unwrap_or_default()),
            explicit_id: self.id.is_some(),
            title: self.title,
            description: self.description.unwrap_or_default(),
            priority: match self.priority {
                Soon::Low => Priority::Low,
                Soon::Medium => Priority::Medium,
                Soon::High => Priority::High,
            },
            tests: self.tests.into_iter().map(typed).collect(),
            constraints: self.constraints,
            target_files: origin.iter().map(|origin| origin.path.clone()).collect(),
            origin,
            diagnostics: Vec::new(),
        };
        let options = RunOptions {
            max_cost: self.max_cost,
            skip_approvals: self.yes,
            agents: self
                .agents
                .map(|agents| agents.iter().map(|agent| AgentId::new(agent.trim())).collect()),
            pipeline: self.pipeline,
            apply,
            cache: self.cache.map(CacheMode::from),
            force: self.force,
        };
        Ok(StartRequest {
            repository: desk.repository.clone(),
            task,
            options,
            buffers: Buffers::default(),
            single: None,
        })
    }
}

/// A test command as a person typed it.
pub(super) fn typed(command: String) -> TestCommand {
    TestCommand {
        command,
        success_regex: None,
        timeout_ms: None,
        origin: CommandOrigin::Person,
    }
}

/// What is printed at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// How it went.
    Summary,
    /// The plan and the patch as well: nobody saw them yet.
    PlanAndPatch,
}

/// Starts a run, or finds the earlier one that is meant, and goes along with it.
pub(super) async fn carry_out(
    caller: &Caller,
    desk: &Desk,
    request: StartRequest,
    approvals: Approvals,
    show: Show,
) -> Result<Exit> {
    let engine = desk.engine();
    super::disk::Disk::take_over(engine);
    let started = engine.start(request).await?;
    let run = &started.pipeline;
    if desk.configured.loaded.config.demo_only {
        caller.output.note(DEMO_STANDS_IN);
    }
    if started.reused {
        caller.output.note(&format!(
            "This task has the pipeline {run} already ({}).",
            started.status
        ));
        if !engine.row(run).await?.finished && !engine.is_driven(run).await? {
            engine.signal(run, Signal::Resume).await?;
        }
    }
    // A person has seen the story of an earlier run; a script gets all of it.
    let since = if started.reused && !caller.output.is_json() {
        Since::Now
    } else {
        Since::Beginning
    };
    let drive = Drive::new(caller, engine, run, approvals, since).await?;
    let settled = drive.follow_through().await?;
    if show == Show::PlanAndPatch && settled == drive::Settled::Ended && !caller.output.is_json() {
        let detail = engine.detail(run).await?;
        let colour = caller.output.colour();
        match (&detail.patch, &detail.plan) {
            (Some(patch), _) if !patch.is_empty() => caller.output.patch(patch),
            (_, Some(plan)) => caller.output.print(&render::markdown(plan, colour)),
            _ => {}
        }
    }
    drive::conclude(caller, engine, run, settled).await
}
