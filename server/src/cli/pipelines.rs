//! `pipelines`: the same operations as in an editor. A pipeline that no live process drives is driven
//! here, in the foreground, until its end or next gate.

mod control;
mod export;
mod look;

use clap::{Args, Subcommand};
use clode_core::Result;
use clode_core::engine::PipelineSummary;
use clode_core::id::{ApprovalId, HunkId, PipelineId, StepId};
use clode_core::money::Money;
use clode_core::redact::neutralise;
use clode_core::workspace::{Patch, Verdict};

use super::desk::Caller;
use super::{Exit, place};
use crate::app::Providers;

/// List pipelines, look at one, and answer, pause, resume, retry, cancel, apply or revert it
#[derive(Debug, Args)]
pub(crate) struct Pipelines {
    /// One JSON document on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    operation: Option<Operation>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Operation {
    /// List the pipelines of this repository, newest first
    List(List),
    /// Show one with everything, or write it into a file that can be checked later
    Show(Show),
    /// Go on with one that is paused or was interrupted
    Resume(Driven),
    /// Stop after the model call in flight
    Pause(One),
    /// End one; its results are kept
    Cancel(One),
    /// Do again what failed, or all from one step on
    Retry(Retry),
    /// Say yes at a gate; a patch is applied to the files on disk
    Approve(Approve),
    /// Say no at a gate
    Reject(Reject),
    /// Apply hunks that are pending to the files on disk
    Apply(Chosen),
    /// Take what was applied out of the files on disk again
    Revert(Chosen),
    /// Print the patch as git does
    Patch(One),
    /// Forget one that has ended
    Delete(One),
}

#[derive(Debug, Args)]
struct List {
    /// Only those with this status
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Of all repositories
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct One {
    /// The pipeline
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
struct Show {
    /// The pipeline
    #[arg(value_name = "ID", required_unless_present = "verify")]
    id: Option<String>,
    /// Write it into a new file (-: stdout), without secrets and with a checksum
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    export: Option<std::path::PathBuf>,
    /// Of what is written, only this step
    #[arg(long, value_name = "STEP", requires = "export")]
    step: Option<String>,
    /// See whether such a file still says what it said when it was written
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    verify: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
struct Driven {
    /// The pipeline
    #[arg(value_name = "ID")]
    id: String,
    /// Record it only; whoever drives the pipeline next takes it in
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
struct Retry {
    #[command(flatten)]
    driven: Driven,
    /// From this step on
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// Go on with another pipeline, such as `default` after `plan`
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
}

#[derive(Debug, Args)]
struct Approve {
    #[command(flatten)]
    driven: Driven,
    /// Which gate; needed where several are open, and for money and permissions
    #[arg(long, value_name = "ID")]
    approval: Option<String>,
    /// Your words; at a question they are the answer
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// New limit of this run, in US dollars
    #[arg(long, value_name = "USD", value_parser = place::money)]
    max_cost: Option<Money>,
    /// once or task (permission), today (budget)
    #[arg(long, value_name = "CHOICE")]
    choice: Option<String>,
    /// The plan as you edited it: a Markdown file
    #[arg(long, value_name = "FILE")]
    plan: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
struct Reject {
    #[command(flatten)]
    driven: Driven,
    /// Which gate; needed where several are open, and for money and permissions
    #[arg(long, value_name = "ID")]
    approval: Option<String>,
    /// What should be different: it is planned or changed once more
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(Debug, Args)]
struct Chosen {
    /// The pipeline
    #[arg(value_name = "ID")]
    id: String,
    /// Only this file (path below the top level); may be repeated
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<String>,
    /// Only this hunk; may be repeated
    #[arg(long = "hunk", value_name = "ID")]
    hunks: Vec<String>,
}

impl Pipelines {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        match self.operation.unwrap_or(Operation::List(self.list)) {
            Operation::List(list) => caller.unless_interrupted(list.run(caller)).await,
            Operation::Show(show) => caller.unless_interrupted(show.run(caller)).await,
            Operation::Patch(one) => {
                caller
                    .unless_interrupted(Box::pin(look::patch(caller, &one.pipeline())))
                    .await
            }
            operation => {
                let app = caller.open(Providers::Configured).await?;
                let control = control::Control { caller, app: &app };
                control.carry_out(operation).await
            }
        }
    }
}

impl Show {
    async fn run(self, caller: &Caller) -> Result<Exit> {
        if let Some(file) = &self.verify {
            return export::check(caller, file);
        }
        let run = PipelineId::new(self.id.as_deref().unwrap_or_default());
        let Some(file) = &self.export else {
            return Box::pin(look::show(caller, &run)).await;
        };
        let step = step(self.step.as_ref());
        Box::pin(export::write(caller, &run, step.as_ref(), file)).await
    }
}

impl One {
    fn pipeline(&self) -> PipelineId {
        PipelineId::new(self.id.as_str())
    }
}

impl Driven {
    fn pipeline(&self) -> PipelineId {
        PipelineId::new(self.id.as_str())
    }
}

fn approval(id: Option<&String>) -> Option<ApprovalId> {
    id.map(|id| ApprovalId::new(id.as_str()))
}

fn hunks(ids: &[String]) -> Vec<HunkId> {
    ids.iter().map(|id| HunkId::new(id.as_str())).collect()
}

fn step(id: Option<&String>) -> Option<StepId> {
    id.map(|id| StepId::new(id.as_str()))
}

/// A line of a list.
pub(super) fn row(summary: &PipelineSummary) -> Vec<String> {
    vec![
        summary.pipeline_id.to_string(),
        summary.status.as_str().to_owned(),
        format!("{}%", summary.progress),
        format!("${:.4}", summary.metrics.total_cost),
        neutralise(&summary.task.title).into_owned(),
    ]
}

/// A patch as git takes it, with a line before each file that needs a person's decision (`git apply`
/// passes over it).
pub(super) fn marked(patch: &Patch) -> String {
    let file = |file: &clode_core::workspace::FileChange| match &file.verdict {
        Verdict::Ask { reason } => format!(
            "# needs your decision: {} ({reason})\n{}",
            file.path.replace(['\n', '\r'], " "),
            file.to_unified()
        ),
        Verdict::Allow => file.to_unified(),
    };
    patch.files.iter().map(file).collect()
}
