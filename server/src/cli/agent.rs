//! `agent`: one agent directly. Its patch is printed, nothing is applied.

use std::io::Read;

use clap::Args;
use clode_core::engine::{Buffers, StartRequest};
use clode_core::id::{AgentId, PipelineId, StepId, TaskId};
use clode_core::money::Money;
use clode_core::task::{ApplyMode, Priority, RunOptions, Task, TestCommand};
use clode_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::desk::{Caller, Desk};
use super::drive::{self, Drive, Settled, Since};
use super::gate::Approvals;
use super::{Exit, place, render};

/// Largest request (bytes).
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// Let one agent work; its patch is printed, nothing is applied
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// taskMaster, architect, developer, qa, kbBuilder, or one of your own
    name: String,
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE|-")]
    request: String,
    /// Most that it may cost, in US dollars
    #[arg(long, value_name = "USD", value_parser = place::money)]
    max_cost: Option<Money>,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// What of a request the task needs; the agent gets all of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    objective: String,
    #[serde(default)]
    target_files: Option<Vec<String>>,
    #[serde(default)]
    constraints: Option<Vec<String>>,
    #[serde(default)]
    tests: Option<Vec<TestCommand>>,
}

impl Agent {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let text = read(caller, &self.request)?;
        let request = self.parse(&text)?;
        let desk = caller.open_here().await?;
        desk.tell_problems(&caller.output);
        let started = desk.engine().start(self.start_request(&desk, request)?).await?;
        let run = &started.pipeline;
        let drive = Drive::new(caller, desk.engine(), run, Approvals::Ask, Since::Beginning).await?;
        let settled = drive.quiet().follow_through().await?;
        self.show(caller, &desk, run, settled).await
    }

    fn parse(&self, text: &str) -> Result<Value> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::usage("invalidParams", format!("--request {}: {error}", self.request)).hint(
                r#"write JSON such as {"objective": "what is to be done", "targetFiles": ["src/a.rs"]}"#,
            )
        };
        serde_json::from_str(text).map_err(|error| wrong(&error))
    }

    fn start_request(&self, desk: &Desk, request: Value) -> Result<StartRequest> {
        let asked: Asked = serde_json::from_value(request.clone())
            .map_err(|error| Error::usage("invalidParams", format!("--request {}: {error}", self.request)))?;
        let task = Task {
            id: TaskId::new(""),
            explicit_id: false,
            title: asked.objective,
            description: String::new(),
            priority: Priority::Medium,
            tests: asked.tests.unwrap_or_default(),
            constraints: asked.constraints.unwrap_or_default(),
            target_files: asked.target_files.unwrap_or_default(),
            origin: None,
            diagnostics: Vec::new(),
        };
        let options = RunOptions {
            max_cost: self.max_cost,
            apply: ApplyMode::None,
            ..RunOptions::default()
        };
        let single = Some((AgentId::new(self.name.as_str()), request));
        Ok(StartRequest {
            repository: desk.repository.clone(),
            task,
            options,
            buffers: Buffers::default(),
            single,
        })
    }

    async fn show(&self, caller: &Caller, desk: &Desk, run: &PipelineId, settled: Settled) -> Result<Exit> {
        let engine = desk.engine();
        let machine = engine.row(run).await?.machine()?;
        let exit = if settled == Settled::Interrupted {
            Exit::Interrupted
        } else {
            Exit::of(&machine)
        };
        if settled != Settled::Ended {
            caller.output.note(&drive::how_to_go_on(run, &machine));
        }
        let detail = drive::detail(engine, run).await?;
        let step = machine
            .steps
            .first()
            .map_or_else(|| StepId::new(""), |step| step.spec.id.clone());
        let output = machine
            .step(&step)
            .and_then(|step| step.output.clone())
            .unwrap_or_default();
        let text = engine
            .text(output.document.as_ref())
            .await?
            .unwrap_or(output.summary);
        if self.json {
            let first_failed = detail.test_runs.iter().find(|run| !run.passed);
            let summary = &detail.summary;
            caller.output.document(&json!({
                "pipelineId": run, "status": summary.status, "patch": detail.patch, "files": detail.files,
                "testRuns": detail.test_runs, "testRun": first_failed.or(detail.test_runs.last()), "output": text,
                "metrics": summary.metrics, "error": summary.error, "pendingApproval": summary.pending_approval,
            }));
            return Ok(exit);
        }
        match detail.patch.as_deref().filter(|patch| !patch.is_empty()) {
            Some(patch) => caller.output.patch(patch),
            None => caller
                .output
                .print(&render::markdown(&text, caller.output.colour())),
        }
        caller
            .output
            .note(&render::summary(&detail, caller.output.note_colour()));
        Ok(exit)
    }
}

fn read(caller: &Caller, source: &str) -> Result<String> {
    let mut text = String::new();
    let read = if source == "-" {
        std::io::stdin()
            .lock()
            .take(REQUEST_BYTES_MAX)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(caller.folder.join(source))
            .and_then(|file| file.take(REQUEST_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| {
        Error::usage(
            "invalidParams",
            format!("--request {source}: cannot be read: {error}"),
        )
    })?;
    Ok(text)
}
