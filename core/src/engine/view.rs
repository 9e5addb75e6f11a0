//! Runs as the outside sees them: the wire forms of the contract, built from the store alone.

use serde::Serialize;
use url::Url;

use super::{Engine, takeover};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{BlobId, PipelineId, RepositoryId};
use crate::pipeline::{
    Finding, Gate, KnowledgeEntry, Machine, Status, StepRecord, StepStatus, TestRun, is_known_version,
};
use crate::store::{RunFilter, RunRow, StepTotals, Totals};
use crate::workspace::Patch;

/// `{id, title}` of a task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskView {
    /// Its id.
    pub id: String,
    /// As shown.
    pub title: String,
}

/// What a run has used so far.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsView {
    /// USD, settled.
    pub total_cost: f64,
    /// USD, reserved for calls in flight.
    pub reserved_cost: f64,
    /// USD, charged for calls whose outcome is unknown; part of `totalCost`.
    pub unconfirmed_cost: f64,
    /// Uncached.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
    /// Read from a cache.
    pub cache_read_tokens: u64,
    /// Put into a cache.
    pub cache_write_tokens: u64,
    /// Calls that were settled.
    pub llm_calls: u64,
    /// Milliseconds since it was created, until it ended.
    pub duration_ms: u64,
}

/// `{code, message, hint}` of what went wrong.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorView {
    /// Stable.
    pub code: String,
    /// What.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl From<&Error> for ErrorView {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code.to_string(),
            message: error.message.clone(),
            hint: error.first_hint().map(str::to_owned),
        }
    }
}

/// A run in lists and notices.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSummary {
    /// The run.
    pub pipeline_id: PipelineId,
    /// Its task.
    pub task: TaskView,
    /// How it stands.
    pub status: Status,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// The step that is under way or comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Percent.
    pub progress: u8,
    /// What it used.
    pub metrics: MetricsView,
    /// Limit of this run (USD), if it has one.
    pub max_cost: Option<f64>,
    /// The oldest open gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_approval: Option<serde_json::Value>,
    /// All open gates, oldest first.
    pub pending_approvals: Vec<serde_json::Value>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
    /// The opened folder (URI).
    pub workspace_folder: String,
    /// The top level (URI).
    pub repository: String,
    /// Where the task began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<serde_json::Value>,
    /// Whether the demo provider stood in for a model.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub demo: bool,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A step of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its id.
    pub id: String,
    /// Who.
    pub agent: String,
    /// What it is about, where several do the same step's work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How it stands.
    pub status: StepStatus,
    /// How often it began.
    pub attempts: u32,
    /// Who answered.
    pub provider: Option<String>,
    /// Which model.
    pub model: Option<String>,
    /// USD.
    pub cost: f64,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub ended_at: Option<String>,
    /// Whether its result is an earlier one.
    pub cached: bool,
    /// USD that this saved: what the earlier one cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_cost: Option<f64>,
    /// One or two sentences.
    pub summary: String,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
}

/// A run with everything; `files` are added where the current text is known.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineDetail {
    /// The summary's fields.
    #[serde(flatten)]
    pub summary: PipelineSummary,
    /// Its steps.
    pub steps: Vec<StepView>,
    /// The plan (Markdown).
    pub plan: Option<String>,
    /// The patch (git unified diff against `base`).
    pub patch: Option<String>,
    /// The snapshot.
    pub base: Option<String>,
    /// Test commands that ran, oldest first.
    pub test_runs: Vec<TestRun>,
    /// What QA found.
    pub findings: Vec<Finding>,
    /// Lessons.
    pub knowledge: Vec<KnowledgeEntry>,
    /// Files with their hunks; filled in by the edge that knows the current text.
    pub files: Vec<serde_json::Value>,
}

/// A path as a `file:` URI.
pub fn file_uri(path: &std::path::Path) -> String {
    Url::from_file_path(path).map_or_else(|()| path.to_string_lossy().into_owned(), |url| url.to_string())
}

impl RunRow {
    /// The machine behind the row.
    pub fn machine(&self) -> Result<Machine> {
        serde_json::from_str(&self.state).map_err(|error| {
            Error::new(
                crate::Kind::Io,
                "storeCorrupt",
                format!("the state of `{}` cannot be read: {error}", self.id),
            )
        })
    }

    /// The version of the machine behind the row, read without knowing its form.
    pub fn machine_version(&self) -> Result<u32> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u32,
        }
        serde_json::from_str::<Versioned>(&self.state)
            .map(|state| state.version)
            .map_err(|error| {
                Error::new(
                    crate::Kind::Io,
                    "storeCorrupt",
                    format!("the state of `{}` cannot be read: {error}", self.id),
                )
            })
    }
}

impl Engine {
    /// The stored row of a run.
    pub async fn row(&self, run: &PipelineId) -> Result<RunRow> {
        self.shared
            .services
            .store
            .run(run)
            .await?
            .ok_or_else(|| takeover::unknown(run))
    }

    /// Runs, newest first.
    pub async fn list(
        &self,
        repository: Option<RepositoryId>,
        status: Option<Status>,
        limit: usize,
    ) -> Result<Vec<PipelineSummary>> {
        let filter = RunFilter {
            repository,
            limit,
            unfinished_only: status.is_some_and(|status| !status.is_ended()),
            ..RunFilter::default()
        };
        let mut summaries = Vec::new();
        for row in self.shared.services.store.runs(filter).await? {
            if status.is_none_or(|status| status.as_str() == row.status) {
                summaries.push(self.summary_of(&row).await?);
            }
        }
        Ok(summaries)
    }

    /// Runs of a repository that have not ended, newest first.
    pub async fn unfinished(&self, repository: Option<RepositoryId>) -> Result<Vec<RunRow>> {
        let filter = RunFilter {
            repository,
            unfinished_only: true,
            ..RunFilter::default()
        };
        self.shared.services.store.runs(filter).await
    }

    /// One run in short.
    pub async fn summary(&self, run: &PipelineId) -> Result<PipelineSummary> {
        let row = self.row(run).await?;
        self.summary_of(&row).await
    }

    /// A stored run in short.
    pub async fn summary_of(&self, row: &RunRow) -> Result<PipelineSummary> {
        let totals = self.shared.services.store.ledger().run_totals(&row.id).await?;
        if !is_known_version(row.machine_version()?) {
            return Ok(of_a_newer_program(row, &totals, self.shared.services.clock.now()));
        }
        let mut summary = summary(row, &row.machine()?, &totals, self.shared.services.clock.now());
        if let Some(error) = self.halted(&row.id) {
            summary.status_reason = Some(format!("not driven right now: {error}"));
            summary.error = Some(ErrorView::from(&error));
        }
        Ok(summary)
    }

    /// One run with everything.
    pub async fn detail(&self, run: &PipelineId) -> Result<PipelineDetail> {
        let row = self.row(run).await?;
        if !is_known_version(row.machine_version()?) {
            return Ok(PipelineDetail {
                summary: self.summary_of(&row).await?,
                steps: Vec::new(),
                plan: None,
                patch: None,
                base: None,
                test_runs: Vec::new(),
                findings: Vec::new(),
                knowledge: Vec::new(),
                files: Vec::new(),
            });
        }
        let machine = row.machine()?;
        let by_step = self.shared.services.store.ledger().step_totals(run).await?;
        let patch = self.patch(&machine).await?.map(|patch| patch.to_unified());
        let outputs = || machine.steps.iter().filter_map(|step| step.output.as_ref());
        Ok(PipelineDetail {
            summary: self.summary_of(&row).await?,
            steps: machine
                .steps
                .iter()
                .map(|step| step_view(&machine, step, &by_step))
                .collect(),
            plan: self.text(machine.plan.as_ref()).await?,
            patch,
            base: machine.base.as_ref().map(ToString::to_string),
            test_runs: machine
                .earlier_test_runs
                .iter()
                .cloned()
                .chain(outputs().flat_map(|output| output.test_runs.clone()))
                .collect(),
            findings: outputs().flat_map(|output| output.findings.clone()).collect(),
            knowledge: outputs().flat_map(|output| output.knowledge.clone()).collect(),
            files: Vec::new(),
        })
    }

    /// The patch of a run, if it has one.
    pub async fn patch(&self, machine: &Machine) -> Result<Option<Patch>> {
        let Some(id) = &machine.patch else { return Ok(None) };
        let stored = self.shared.services.store.blob(id).await?;
        serde_json::from_slice(&stored)
            .map(Some)
            .map_err(|error| Error::internal(format!("a stored patch cannot be read: {error}")))
    }

    /// Stored text, if there is any.
    pub async fn text(&self, id: Option<&BlobId>) -> Result<Option<String>> {
        let Some(id) = id else { return Ok(None) };
        Ok(Some(
            String::from_utf8_lossy(&self.shared.services.store.blob(id).await?).into_owned(),
        ))
    }
}

fn summary(row: &RunRow, machine: &Machine, totals: &Totals, now: Timestamp) -> PipelineSummary {
    let gates: Vec<serde_json::Value> = machine.open_gates().map(Gate::wire).collect();
    let origin = machine.spec.task.origin.as_ref().map(|origin| {
        let path = std::path::Path::new(&row.top_level).join(&origin.path);
        let position = |line: u32| serde_json::json!({"line": line, "character": 0});
        serde_json::json!({"uri": file_uri(&path), "range": {"start": position(origin.start_line), "end": position(origin.end_line)}})
    });
    PipelineSummary {
        pipeline_id: row.id.clone(),
        task: TaskView {
            id: machine.spec.task.id.to_string(),
            title: machine.spec.shown_title(),
        },
        status: machine.status(),
        status_reason: machine.status_reason.clone(),
        step: machine
            .current_step()
            .filter(|_| machine.ending.is_none())
            .map(|step| step.spec.id.to_string()),
        progress: machine.progress(),
        metrics: metrics(row, totals, now),
        max_cost: machine.limit().map(crate::money::Money::usd),
        pending_approval: gates.first().cloned(),
        pending_approvals: gates,
        error: machine.error.as_ref().map(ErrorView::from),
        workspace_folder: file_uri(std::path::Path::new(&row.folder)),
        repository: file_uri(std::path::Path::new(&row.top_level)),
        origin,
        demo: machine.spec.demo,
        created_at: row.created_at.rfc3339(),
        updated_at: row.updated_at.rfc3339(),
    }
}

fn metrics(row: &RunRow, totals: &Totals, now: Timestamp) -> MetricsView {
    let until = if row.finished { row.updated_at } else { now };
    MetricsView {
        total_cost: totals.cost.usd(),
        reserved_cost: totals.reserved.usd(),
        unconfirmed_cost: totals.unconfirmed.usd(),
        input_tokens: totals.usage.input_tokens,
        output_tokens: totals.usage.output_tokens,
        cache_read_tokens: totals.usage.cache_read_tokens,
        cache_write_tokens: totals.usage.cache_write_tokens,
        llm_calls: totals.calls,
        duration_ms: until.since_ms(row.created_at),
    }
}

/// A run whose state only a newer program can read: what its row says.
fn of_a_newer_program(row: &RunRow, totals: &Totals, now: Timestamp) -> PipelineSummary {
    let status = serde_json::Value::from(row.status.as_str());
    PipelineSummary {
        pipeline_id: row.id.clone(),
        task: TaskView {
            id: row.task_id.to_string(),
            title: row.title.clone(),
        },
        status: serde_json::from_value(status).unwrap_or(Status::Paused),
        status_reason: Some(
            "a newer version of clode-ls started it; this one shows it and leaves it alone".to_owned(),
        ),
        step: None,
        progress: 0,
        metrics: metrics(row, totals, now),
        max_cost: None,
        pending_approval: None,
        pending_approvals: Vec::new(),
        error: None,
        workspace_folder: file_uri(std::path::Path::new(&row.folder)),
        repository: file_uri(std::path::Path::new(&row.top_level)),
        origin: None,
        demo: false,
        created_at: row.created_at.rfc3339(),
        updated_at: row.updated_at.rfc3339(),
    }
}

fn step_view(machine: &Machine, step: &StepRecord, totals: &[StepTotals]) -> StepView {
    let cost = totals
        .iter()
        .filter(|row| row.step == step.spec.id)
        .map(|row| row.totals.cost)
        .sum::<crate::money::Money>();
    let paid = totals.iter().rev().find(|row| row.step == step.spec.id);
    let output = step.output.as_ref();
    let saved = output.and_then(|output| output.saved);
    StepView {
        id: step.spec.id.to_string(),
        agent: step.spec.agent.to_string(),
        title: step.spec.part.as_ref().map(|part| part.title.clone()),
        status: machine.shown_status(step),
        attempts: step.attempts,
        provider: output
            .and_then(|output| output.provider.clone())
            .or_else(|| paid.map(|row| row.provider.clone())),
        model: output
            .and_then(|output| output.model.clone())
            .or_else(|| paid.map(|row| row.model.clone())),
        cost: cost.usd(),
        started_at: step.started_at.map(Timestamp::rfc3339),
        ended_at: step.ended_at.map(Timestamp::rfc3339),
        cached: saved.is_some(),
        saved_cost: saved.map(crate::money::Money::usd),
        summary: output.map(|output| output.summary.clone()).unwrap_or_default(),
        error: step.error.as_ref().map(ErrorView::from),
    }
}
