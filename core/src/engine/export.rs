//! A run, or one step of it, as one JSON document to keep or to pass on: redacted, without paths of this
//! machine, and with a checksum, so that it can be told later whether it still says what it said.
//!
//! It holds what the agents did. The files that they started from are not in it, beyond what a patch shows.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::{CommitId, PipelineId, StepId};
use crate::pipeline::{Machine, StepRecord};
use crate::redact::Redactor;
use crate::store::RunRow;
use crate::workspace::{Patch, Repository};

/// What such a document calls itself.
const FORMAT: &str = "clode-snapshot";
/// Version of its form.
const VERSION: u64 = 1;
/// How its checksum is made.
const ALGORITHM: &str = "blake3";
/// Fields that name places of this machine, or that other fields say better.
const LEFT_OUT: [&str; 5] = ["workspaceFolder", "repository", "origin", "task", "files"];
/// Fields about all steps, which one step's document does not need.
const OF_THE_WHOLE: [&str; 4] = ["patch", "testRuns", "findings", "knowledge"];

/// What a step changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepChanges {
    /// The step.
    pub step: StepId,
    /// The files as it left them, in our own repository.
    pub commit: CommitId,
    /// Files that it changed.
    pub files: usize,
    /// Lines that came in.
    pub insertions: u64,
    /// Lines that went.
    pub deletions: u64,
}

/// What a document is about that was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The run.
    pub pipeline_id: String,
    /// The step, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Its checksum.
    pub checksum: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: String,
    version: u64,
    algorithm: String,
    checksum: String,
    body: Value,
}

impl Engine {
    /// The document about a run, or about one step of it.
    pub async fn export(&self, run: &PipelineId, step: Option<&StepId>) -> Result<String> {
        let row = self.row(run).await?;
        let machine = row.machine()?;
        let step = step.map(|id| step_of(&machine, id)).transpose()?;
        let mut pipeline = self.described(run, &machine).await?;
        self.add_changes(&mut pipeline, &row, &machine).await?;
        let mut body = Map::new();
        body.insert("program".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        if let Some(step) = step {
            for name in OF_THE_WHOLE {
                pipeline.remove(name);
            }
            body.insert("step".to_owned(), self.one_step(&row, &machine, step).await?);
        }
        body.insert("pipeline".to_owned(), Value::Object(pipeline));
        let body = redacted(&self.services().redactor, Value::Object(body));
        let document = Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            algorithm: ALGORITHM.to_owned(),
            checksum: checksum(&body)?,
            body: sorted(body),
        };
        let mut text = serde_json::to_string_pretty(&document).map_err(|error| unwritable(&error))?;
        text.push('\n');
        Ok(text)
    }

    /// What each step changed that left files behind, in the order of the steps.
    pub async fn changes_by_step(&self, run: &PipelineId) -> Result<Vec<StepChanges>> {
        let row = self.row(run).await?;
        self.changes_of(&row, &row.machine()?).await
    }

    async fn described(&self, run: &PipelineId, machine: &Machine) -> Result<Map<String, Value>> {
        let detail = serde_json::to_value(self.detail(run).await?).map_err(|error| unwritable(&error))?;
        let Value::Object(mut pipeline) = detail else {
            return Err(Error::internal("a pipeline is no object"));
        };
        for name in LEFT_OUT {
            pipeline.remove(name);
        }
        let task = &machine.spec.task;
        pipeline.insert(
            "task".to_owned(),
            json!({"id": task.id, "title": machine.spec.shown_title(), "description": task.description, "constraints": task.constraints}),
        );
        let hunks: Vec<Value> = machine
            .hunks
            .iter()
            .map(|hunk| json!({"id": hunk.id, "path": hunk.path, "state": hunk.state, "round": hunk.round}))
            .collect();
        pipeline.insert("hunks".to_owned(), Value::Array(hunks));
        Ok(pipeline)
    }

    async fn add_changes(
        &self,
        pipeline: &mut Map<String, Value>,
        row: &RunRow,
        machine: &Machine,
    ) -> Result<()> {
        let changes = self.changes_of(row, machine).await?;
        let steps = pipeline.get_mut("steps").and_then(Value::as_array_mut);
        for step in steps.into_iter().flatten().filter_map(Value::as_object_mut) {
            let is_it = |of: &&StepChanges| step.get("id").is_some_and(|id| id == of.step.as_str());
            if let Some(of) = changes.iter().find(is_it) {
                let counts =
                    json!({"files": of.files, "insertions": of.insertions, "deletions": of.deletions});
                step.insert("commit".to_owned(), json!(of.commit));
                step.insert("changes".to_owned(), counts);
            }
        }
        Ok(())
    }

    async fn one_step(&self, row: &RunRow, machine: &Machine, step: &StepRecord) -> Result<Value> {
        let output = step.output.as_ref();
        let document = self
            .text(output.and_then(|output| output.document.as_ref()))
            .await?;
        let patch = match between(machine, step) {
            Some((before, after)) => {
                let repository = self.repository_of(row).await?;
                let patch = self
                    .services()
                    .workspaces
                    .patch(&repository, before, after)
                    .await?;
                patch.to_unified()
            }
            None => String::new(),
        };
        Ok(json!({
            "id": step.spec.id,
            "agent": step.spec.agent,
            "summary": output.map(|output| output.summary.clone()),
            "document": document,
            "patch": patch,
            "testRuns": output.map(|output| output.test_runs.clone()).unwrap_or_default(),
            "findings": output.map(|output| output.findings.clone()).unwrap_or_default(),
        }))
    }

    async fn changes_of(&self, row: &RunRow, machine: &Machine) -> Result<Vec<StepChanges>> {
        let steps: Vec<(&StepRecord, (&CommitId, &CommitId))> = machine
            .steps
            .iter()
            .filter_map(|step| Some((step, between(machine, step)?)))
            .collect();
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let repository = self.repository_of(row).await?;
        let mut changes = Vec::new();
        for (step, (before, after)) in steps {
            let patch = self
                .services()
                .workspaces
                .patch(&repository, before, after)
                .await?;
            changes.push(counted(step, after, &patch));
        }
        Ok(changes)
    }

    async fn repository_of(&self, row: &RunRow) -> Result<std::sync::Arc<Repository>> {
        let repository = self.repository(std::path::Path::new(&row.folder)).await?;
        if repository.id == row.repository {
            return Ok(repository);
        }
        Err(Error::new(
            Kind::Git,
            "repositoryMoved",
            format!("another repository is at {} now", row.folder),
        )
        .hint("put the repository of this pipeline back in its place"))
    }
}

/// Whether a document still says what it said when it was written.
pub fn verify(text: &str) -> Result<Verified> {
    let document: Document = serde_json::from_str(text).map_err(|error| {
        Error::usage("notASnapshot", format!("this is no exported pipeline: {error}"))
            .hint("`clode-ls pipelines show ID --export FILE` writes one")
    })?;
    let is_known = document.format == FORMAT && document.algorithm == ALGORITHM;
    if !is_known || document.version > VERSION {
        return Err(Error::usage(
            "unknownFormat",
            format!(
                "{} version {} with {} is not known here",
                document.format, document.version, document.algorithm
            ),
        )
        .hint("a newer version of clode-ls may have written it"));
    }
    let found = checksum(&document.body)?;
    if found != document.checksum {
        return Err(Error::state(
            "checksumMismatch",
            format!(
                "it was changed since it was written: its checksum is {found}, and it says {}",
                document.checksum
            ),
        ));
    }
    let text = |pointer: &str| {
        let found = document.body.pointer(pointer).and_then(Value::as_str);
        found.map(str::to_owned)
    };
    Ok(Verified {
        pipeline_id: text("/pipeline/pipelineId").unwrap_or_default(),
        step: text("/step/id"),
        checksum: found,
    })
}

fn step_of<'a>(machine: &'a Machine, id: &StepId) -> Result<&'a StepRecord> {
    machine.step(id).ok_or_else(|| {
        let known: Vec<&str> = machine.steps.iter().map(|step| step.spec.id.as_str()).collect();
        Error::usage(
            "unknownStep",
            format!("there is no step `{id}`; there are: {}", known.join(", ")),
        )
    })
}

/// From where to where a step led, if it left files behind: from where it is known to have begun, else from what the
/// last step before it left.
fn between<'a>(machine: &'a Machine, step: &'a StepRecord) -> Option<(&'a CommitId, &'a CommitId)> {
    let files = |step: &'a StepRecord| step.output.as_ref().and_then(|output| output.files.as_ref());
    let after = files(step)?;
    let earlier = machine
        .steps
        .iter()
        .take_while(|other| other.spec.id != step.spec.id);
    let begin = machine.agents_base.as_ref().or(machine.base.as_ref());
    let before = || earlier.filter_map(files).last().or(begin);
    Some((step.began_from.as_ref().or_else(before)?, after))
}

fn counted(step: &StepRecord, commit: &CommitId, patch: &Patch) -> StepChanges {
    StepChanges {
        step: step.spec.id.clone(),
        commit: commit.clone(),
        files: patch.files.len(),
        insertions: patch.files.iter().map(|file| u64::from(file.insertions)).sum(),
        deletions: patch.files.iter().map(|file| u64::from(file.deletions)).sum(),
    }
}

/// Over the body with its keys in order and without spaces.
fn checksum(body: &Value) -> Result<String> {
    let bytes = serde_json::to_vec(&sorted(body.clone())).map_err(|error| unwritable(&error))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

fn unwritable(error: &serde_json::Error) -> Error {
    Error::internal(format!("a pipeline cannot be written: {error}"))
}

/// The same with the keys of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(String, Value)> = object.into_iter().collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            entries
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// The same without secrets in any text.
fn redacted(redactor: &Redactor, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.redact(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(|item| redacted(redactor, item)).collect(),
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| (key, redacted(redactor, value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}
