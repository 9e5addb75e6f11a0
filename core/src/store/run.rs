//! A run as the store sees it: who owns it, whether it ended, and a state that only the caller reads.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{OwnerId, PipelineId, RepositoryId, StepKey, TaskId};

use super::audit::AuditRecord;
use super::signal::SignalId;

/// The fence of a run that was just created; each adoption adds one.
pub const FIRST_FENCE: i64 = 1;

/// A run to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Its name.
    pub id: PipelineId,
    /// The repository that it works on.
    pub repository: RepositoryId,
    /// Top level of that repository, absolute.
    pub top_level: String,
    /// The opened folder, absolute.
    pub folder: String,
    /// The task that it carries out.
    pub task_id: TaskId,
    /// Whether the caller named the task: only then is an existing run looked for.
    pub explicit: bool,
    /// Start anew even where such a run exists.
    pub force: bool,
    /// Hash of the task and the options.
    pub identity_hash: String,
    /// One line for lists.
    pub title: String,
    /// Who drives it.
    pub owner: OwnerId,
    /// First status.
    pub status: String,
    /// First state, JSON.
    pub state: String,
    /// Contents that the state refers to.
    pub blobs: Vec<Vec<u8>>,
    /// First events for clients, JSON each.
    pub events: Vec<String>,
    /// Now.
    pub created_at: Timestamp,
}

/// Answer to the wish for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was created; its owner writes with the fence that it has here, whoever took it over since.
    New {
        /// The run as it was created.
        row: Box<RunRow>,
        /// Numbers of the first events.
        seqs: Vec<u64>,
    },
    /// A run of the same task with the same content is alive.
    Existing(Box<RunRow>),
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// Its name.
    pub id: PipelineId,
    /// The repository that it works on.
    pub repository: RepositoryId,
    /// Top level of that repository, absolute.
    pub top_level: String,
    /// The opened folder, absolute.
    pub folder: String,
    /// The task that it carries out.
    pub task_id: TaskId,
    /// Whether the caller named the task.
    pub explicit: bool,
    /// Whether it was started although such a run might exist.
    pub force: bool,
    /// Hash of the task and the options.
    pub identity_hash: String,
    /// One line for lists.
    pub title: String,
    /// Who drives it; nobody after a release.
    pub owner: Option<OwnerId>,
    /// Number that each write of the owner carries.
    pub fence: i64,
    /// Status as the machine names it.
    pub status: String,
    /// Whether it ended.
    pub finished: bool,
    /// For an ended run: under which condition its result may be used again; empty: never.
    pub reuse: String,
    /// The machine's state, JSON.
    pub state: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the state last changed.
    pub updated_at: Timestamp,
}

/// What there is to know about a run that has not ended without reading its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// Its name.
    pub id: PipelineId,
    /// Who drives it; nobody after a release.
    pub owner: Option<OwnerId>,
    /// Status as the machine names it.
    pub status: String,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this repository only.
    pub repository: Option<RepositoryId>,
    /// Only those that have not ended.
    pub unfinished_only: bool,
    /// Of this task only.
    pub task_id: Option<TaskId>,
    /// At most so many; 0 means [`RUNS_MAX`], which is also the most.
    pub limit: usize,
    /// Only these.
    pub ids: Option<Vec<PipelineId>>,
}

/// Most runs in one answer.
pub const RUNS_MAX: usize = 10_000;

/// Whether a run ends with a transition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Finished {
    /// It goes on (also: it was ended and is taken up again).
    #[default]
    No,
    /// It ended.
    Yes {
        /// Under which condition its result may be used again (such as its snapshot's tree);
        /// empty: never.
        reuse: String,
    },
}

/// One step of a run's machine, stored whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The run.
    pub run: PipelineId,
    /// The fence under which the writer owns it.
    pub fence: i64,
    /// New state, JSON.
    pub state: String,
    /// New status.
    pub status: String,
    /// Whether the run ends with this.
    pub finished: Finished,
    /// What was fed to the machine, JSON.
    pub journal: String,
    /// Events for clients, JSON each.
    pub events: Vec<String>,
    /// Signals that were consumed, with what came of each, JSON.
    pub consumed: Vec<(SignalId, String)>,
    /// What the audit keeps of it, where a person decided.
    pub audit: Option<AuditRecord>,
    /// Results of the run's repository that this rejects: the step cache has them no longer.
    pub rejected: Vec<StepKey>,
    /// Contents that the new state refers to.
    pub blobs: Vec<Vec<u8>>,
    /// Now.
    pub at: Timestamp,
}

/// Answer to a transition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Numbers of the published events, in their order.
    pub seqs: Vec<u64>,
    /// Its entry in the journal.
    pub entry: i64,
}

/// What was fed to a run's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Grows from entry to entry.
    pub ordinal: i64,
    /// The fence under which it was written.
    pub fence: i64,
    /// When.
    pub at: Timestamp,
    /// The event, JSON.
    pub body: String,
}
