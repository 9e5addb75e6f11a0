//! `clode.run`: starts a task, or finds the pipeline that already carries it out.

pub(super) mod place;
mod words;

use clode_core::engine::{StartRequest, Until};
use clode_core::id::TaskId;
use clode_core::store::RunFilter;
use clode_core::task::{Priority, Task};
use clode_core::workspace::{Repository, check_path};
use clode_core::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::options::{EventToken, RunFields, TestField, name};
use super::{Invocation, arguments, pipeline};
use crate::lsp::session::Session;
use place::ContextFields;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    task: TaskFields,
    #[serde(rename = "options")]
    how: RunFields,
    context: ContextFields,
    workspace_folder: Option<String>,
    event_token: Option<EventToken>,
    wait: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TaskFields {
    id: Option<String>,
    title: Option<String>,
    description: Option<String>,
    priority: Option<Priority>,
    tests: Vec<TestField>,
    constraints: Vec<String>,
    target_files: Vec<String>,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    // What the person sees is what was there when the request came, before anything is waited for.
    let documents = session.documents().snapshot();
    async move {
        let options: Options = arguments::read(invocation.options)?;
        let run_options = options.how.into_options()?;
        let id = name("task.id", options.task.id)?;
        let place = place::read(session, &options.context).await?;
        let title = title(options.task.title, &place)?;
        let folder = session.folder_for(options.workspace_folder.as_deref(), place.uri.as_ref())?;
        session.settled().await;
        let repository = session.repository(&folder).await?;
        let task = Task {
            explicit_id: id.is_some(),
            id: TaskId::new(id.unwrap_or_default()),
            title,
            description: options.task.description.unwrap_or_default(),
            priority: options.task.priority.unwrap_or_default(),
            tests: options.task.tests.into_iter().map(Into::into).collect(),
            constraints: options.task.constraints,
            target_files: target_files(
                "task.targetFiles",
                session,
                &repository,
                options.task.target_files,
            )?,
            origin: place.origin(session, &repository),
            diagnostics: place.diagnostic_lines(session, &repository),
        };
        let buffers = session.buffers_of(&documents, &repository);
        let request = StartRequest {
            repository,
            task,
            options: run_options,
            buffers,
            single: None,
        };
        let engine = session.engine().await?;
        let (repository, id) = (request.repository.id.clone(), request.task.id.clone());
        let started = match engine.start(request).await {
            Ok(started) => started,
            Err(error) => {
                if error.code == "taskIdInUse" {
                    let filter = RunFilter {
                        repository: Some(repository),
                        task_id: Some(id),
                        ..RunFilter::default()
                    };
                    let rows = engine.services().store.runs(filter).await.unwrap_or_default();
                    rows.first().inspect(|row| invocation.subject.is(&row.id));
                }
                return Err(error);
            }
        };
        invocation.subject.is(&started.pipeline);
        if let Some(token) = options.event_token {
            session.desk().subscribe(&started.pipeline, token.0, 0).await;
        }
        if !options.wait {
            return Ok(json!({
                "pipelineId": started.pipeline, "status": started.status, "reused": started.reused,
            }));
        }
        let progress = session
            .desk()
            .under(&started.pipeline, invocation.work_done_token)
            .await;
        engine
            .wait(&started.pipeline, Until::EndedOrWaiting, None)
            .await?;
        progress.end().await;
        let mut detail = pipeline::detail(session, &started.pipeline).await?;
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("reused".to_owned(), started.reused.into());
        }
        Ok(detail)
    }
    .boxed()
}

/// What was said, else what the place says.
fn title(said: Option<String>, place: &place::Place) -> Result<String> {
    said.filter(|title| !title.trim().is_empty()).or_else(|| place.title()).ok_or_else(|| {
        Error::usage("invalidParams", "task.title: missing, and the context names nothing to do")
            .hint("say in one line what is to be done, or give a place with a comment, a selection or a diagnostic")
    })
}

/// Files relative to the top level, given as addresses, absolute paths, or paths in the opened folder.
pub(super) fn target_files(
    field: &str,
    session: &Session,
    repository: &Repository,
    files: Vec<String>,
) -> Result<Vec<String>> {
    let read = |(index, file): (usize, String)| {
        let wrong = |why: &str| Error::usage("invalidParams", format!("{field}[{index}]: `{file}` {why}"));
        let absolute = match Url::parse(&file) {
            Ok(uri) if uri.scheme() == "file" => uri.to_file_path().ok(),
            _ => Some(std::path::PathBuf::from(&file)).filter(|path| path.is_absolute()),
        };
        let relative = if let Some(path) = absolute {
            session
                .relative_path(repository, &path)
                .ok_or_else(|| wrong("is outside of the repository"))?
        } else {
            let file = file.replace('\\', "/");
            let file = file.strip_prefix("./").unwrap_or(&file);
            let folder = repository.folder_path.as_str();
            if folder.is_empty() {
                file.to_owned()
            } else {
                format!("{folder}/{file}")
            }
        };
        check_path(&relative).map_err(|error| wrong(&error.message))?;
        Ok(relative)
    };
    files.into_iter().enumerate().map(read).collect()
}
