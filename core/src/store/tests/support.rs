//! Values and places that the scenarios share.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::clock::Timestamp;
use crate::id::{IntentId, OwnerId, PipelineId, TaskId};
use crate::money::Money;
use crate::store::{
    BudgetScope, Cap, Confirmation, Created, Finished, Hold, NewRun, Settlement, Store, Transition, Usage,
};

pub(super) const DAY: &str = "2026-11-24";
pub(super) const NOW: Timestamp = Timestamp(1_795_500_000_000);
/// Longest wait for something that another process does.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A state directory that goes away with the test.
pub(super) struct Place {
    _folder: TempDir,
    pub(super) state: PathBuf,
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        Self {
            _folder: folder,
            state,
        }
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(&self.state).await.unwrap()
    }
}

/// The database without the store in between.
pub(super) fn raw(state: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(state.join("clode.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

pub(super) fn new_run(id: &str) -> NewRun {
    NewRun {
        id: PipelineId::new(id),
        repository: "repository".into(),
        top_level: "/home/person/project".to_owned(),
        folder: "/home/person/project/app".to_owned(),
        task_id: TaskId::new(format!("task-of-{id}")),
        explicit: false,
        force: false,
        identity_hash: "identity".to_owned(),
        title: "Add a test".to_owned(),
        owner: "owner".into(),
        status: "running".to_owned(),
        state: r#"{"step":0}"#.to_owned(),
        blobs: Vec::new(),
        events: Vec::new(),
        created_at: NOW,
    }
}

/// A run of a task that the caller named.
pub(super) fn named_run(id: &str, task: &str, identity: &str) -> NewRun {
    NewRun {
        task_id: task.into(),
        explicit: true,
        identity_hash: identity.to_owned(),
        ..new_run(id)
    }
}

pub(super) async fn create(store: &Store, run: NewRun) -> PipelineId {
    let id = run.id.clone();
    match store.create_run(run).await.unwrap() {
        Created::New { .. } => id,
        Created::Existing(row) => panic!("{id} should be new, but there is {}", row.id),
    }
}

pub(super) fn transition(run: &PipelineId, fence: i64, state: &str) -> Transition {
    Transition {
        run: run.clone(),
        fence,
        state: state.to_owned(),
        status: "running".to_owned(),
        finished: Finished::No,
        journal: r#"{"event":"stepFinished"}"#.to_owned(),
        events: vec![r#"{"type":"stepFinished"}"#.to_owned()],
        consumed: Vec::new(),
        audit: None,
        rejected: Vec::new(),
        blobs: Vec::new(),
        at: NOW.plus_ms(1),
    }
}

pub(super) async fn finish(store: &Store, run: &PipelineId, reuse: &str) {
    let finished = Finished::Yes {
        reuse: reuse.to_owned(),
    };
    store
        .commit(Transition {
            finished,
            status: "completed".to_owned(),
            ..transition(run, 1, "{}")
        })
        .await
        .unwrap();
}

/// A hold of whole dollars under a cap for the user's day.
pub(super) fn hold(intent: &str, dollars: i64, cap: i64) -> Hold {
    Hold {
        intent: IntentId::new(intent),
        run: "run".into(),
        step: "developer".into(),
        agent: "developer".into(),
        provider: "anthropic".to_owned(),
        model: "claude-sonnet-5".to_owned(),
        repository: "repository".into(),
        owner: "owner".into(),
        amount: Money::from_dollars(dollars),
        caps: vec![Cap {
            scope: BudgetScope::UserDay,
            limit: Money::from_dollars(cap),
        }],
        day: DAY.to_owned(),
        at: NOW,
    }
}

pub(super) fn settlement(cost: Money) -> Settlement {
    let usage = Usage {
        input_tokens: 100,
        output_tokens: 20,
        cache_read_tokens: 3,
        cache_write_tokens: 4,
    };
    Settlement {
        cost,
        usage,
        confirmed: Confirmation::Confirmed,
        at: NOW.plus_ms(5),
    }
}

pub(super) fn nobody_lives(_: &OwnerId) -> bool {
    false
}

/// Waits until another process has brought something about.
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < WAIT_MAX, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}
