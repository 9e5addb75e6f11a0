//! `clode.executeAgent`: one agent directly; a pipeline of one step that applies nothing.

use clode_core::engine::{PipelineDetail, StartRequest, Until};
use clode_core::id::{AgentId, TaskId};
use clode_core::pipeline::TestRun;
use clode_core::task::{RunOptions, Task};
use clode_core::{Error, Result, agent};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::options::{EventToken, RunFields, TestField};
use super::run::place::{self, ContextFields};
use super::run::target_files;
use super::{Invocation, arguments, pipeline};
use crate::lsp::edit;
use crate::lsp::session::Session;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    agent: String,
    #[serde(default)]
    request: Map<String, Value>,
    #[serde(default, rename = "options")]
    how: RunFields,
    #[serde(default)]
    context: ContextFields,
    workspace_folder: Option<String>,
    event_token: Option<EventToken>,
    wait: Option<bool>,
}

/// What every agent's request may hold; the rest goes to the agent as it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    objective: String,
    #[expect(
        dead_code,
        reason = "read so that a wrong type is refused; the agent reads it again"
    )]
    plan_step_id: Option<String>,
    #[expect(dead_code, reason = "as above")]
    repo_summary: Option<String>,
    #[expect(dead_code, reason = "as above")]
    plan: Option<String>,
    #[expect(dead_code, reason = "as above")]
    patch: Option<String>,
    #[serde(default)]
    target_files: Vec<String>,
    #[serde(default)]
    constraints: Vec<String>,
    #[serde(default)]
    tests: Vec<TestField>,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    let documents = session.documents().snapshot();
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let run_options: RunOptions = options.how.into_options()?;
        let known = agent::find(&options.agent).ok_or_else(|| unknown_agent(&options.agent))?;
        let request = request(&options.request)?;
        let place = place::read(session, &options.context).await?;
        let folder = session.folder_for(options.workspace_folder.as_deref(), place.uri.as_ref())?;
        session.settled().await;
        let repository = session.repository(&folder).await?;
        let first_line = request
            .objective
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        let target_files = target_files("request.targetFiles", session, &repository, request.target_files)?;
        let mut body = options.request;
        body.insert("targetFiles".to_owned(), json!(target_files));
        let task = Task {
            id: TaskId::new(""),
            explicit_id: false,
            title: format!("{}: {}", known.title(), first_line.trim()),
            description: request.objective.trim().to_owned(),
            priority: clode_core::task::Priority::default(),
            tests: request.tests.into_iter().map(Into::into).collect(),
            constraints: request.constraints,
            target_files,
            origin: place.origin(session, &repository),
            diagnostics: place.diagnostic_lines(session, &repository),
        };
        let buffers = session.buffers_of(&documents, &repository);
        let single = Some((AgentId::new(known.id()), Value::Object(body)));
        let engine = session.engine().await?;
        let started = engine
            .start(StartRequest {
                repository,
                task,
                options: run_options,
                buffers,
                single,
            })
            .await?;
        let run = started.pipeline;
        invocation.subject.is(&run);
        if let Some(token) = options.event_token {
            session.desk().subscribe(&run, token.0, 0).await;
        }
        if options.wait.unwrap_or(true) {
            let progress = session.desk().under(&run, invocation.work_done_token).await;
            engine.wait(&run, Until::EndedOrWaiting, None).await?;
            progress.end().await;
        }
        let detail = engine.detail(&run).await?;
        let machine = engine.row(&run).await?.machine()?;
        let document = machine
            .steps
            .iter()
            .rev()
            .find_map(|step| step.output.as_ref()?.document.clone());
        let output = engine.text(document.as_ref()).await?;
        let files = edit::files(session, &run).await?;
        answer(&detail, output, &files)
    }
    .boxed()
}

fn unknown_agent(id: &str) -> Error {
    let known: Vec<&str> = agent::AGENTS.iter().map(|agent| agent.id()).collect();
    Error::usage(
        "unknownAgent",
        format!("agent: there is no agent `{id}`; there are: {}", known.join(", ")),
    )
}

fn request(body: &Map<String, Value>) -> Result<Request> {
    #[derive(Deserialize)]
    struct Named {
        request: Request,
    }
    let Named { request } = arguments::read(json!({ "request": body }))?;
    if request.objective.trim().is_empty() {
        return Err(Error::usage(
            "invalidParams",
            "request.objective: must not be empty",
        ));
    }
    Ok(request)
}

fn answer(detail: &PipelineDetail, output: Option<String>, files: &[Value]) -> Result<Value> {
    let runs = &detail.test_runs;
    let telling: Option<&TestRun> = runs.iter().find(|run| !run.passed).or_else(|| runs.last());
    let summary = detail
        .steps
        .last()
        .map(|step| step.summary.clone())
        .filter(|text| !text.is_empty());
    Ok(json!({
        "pipelineId": detail.summary.pipeline_id,
        "status": detail.summary.status,
        "statusReason": detail.summary.status_reason,
        "error": detail.summary.error,
        "pendingApproval": detail.summary.pending_approval,
        "patch": detail.patch,
        "files": files,
        "testRuns": pipeline::json(runs)?,
        "testRun": telling,
        "output": output.or(summary).unwrap_or_default(),
        "metrics": detail.summary.metrics,
    }))
}
