//! What "durable before acted on" costs: one transition of a run, beside the least that any durable
//! write costs here, a bare insert of as many bytes into a SQLite table.
//!
//! `cargo bench -p clode-core --bench store`; see docs/benchmarks.md.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

#[path = "rig/measure.rs"]
mod measure;
#[path = "rig/timed.rs"]
mod timed;

use std::path::Path;
use std::time::{Duration, Instant};

use clode_core::clock::Timestamp;
use clode_core::id::PipelineId;
use clode_core::store::{Created, FIRST_FENCE, Finished, NewRun, Store, Transition};

use measure::{Effort, Table};
use timed::timed;

const COMMIT: &str = "commit of a transition";
const COMMITS: &str = "16 commits at once";
const INSERT: &str = "bare insert";
const INSERTS: &str = "16 bare inserts in a row";

/// Bytes of the state of a run of middling size.
const STATE_BYTES: usize = 8 * 1024;
/// Bytes of what happened, and of what clients are told.
const SMALL_BYTES: usize = 300;
/// Runs that write at the same time.
const RUNS: usize = 16;
const NOW: Timestamp = Timestamp(1_795_500_000_000);

fn main() {
    let effort = Effort::from_arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(effort));
}

async fn run(effort: Effort) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    measure::print_machine(&root);
    let store = Store::open(&root.join("state")).await.unwrap();
    let bare = bare(&root.join("bare.db"));
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(create(&store, number).await);
    }

    let mut one = Table::new("One durable write");
    let mut many = Table::new("16 durable writes");
    let rounds = effort.pick(200, 2);
    for round in 0..rounds {
        let (time, committed) = timed(store.commit(transition(&runs[0], round))).await;
        one.lap(COMMIT, &[INSERT], time);
        committed.unwrap();
        one.lap(INSERT, &[], insert(&bare, 1));

        let all = runs.iter().map(|run| store.commit(transition(run, round)));
        let (time, committed) = timed(futures::future::join_all(all)).await;
        many.lap(COMMITS, &[INSERTS], time);
        assert!(committed.iter().all(Result::is_ok));
        many.lap(INSERTS, &[], insert(&bare, RUNS));
    }
    store.close().await;
    assert_durable(&root.join("state"), &runs, rounds).await;
    one.print();
    many.print();
}

/// A new process would find every write.
async fn assert_durable(state: &Path, runs: &[PipelineId], rounds: usize) {
    let store = Store::open(state).await.unwrap();
    for (number, run) in runs.iter().enumerate() {
        let expected = if number == 0 { 2 * rounds } else { rounds };
        let entries = store.journal(run, 0, 2 * rounds + 1).await.unwrap();
        assert_eq!(entries.len(), expected, "transitions of {run}");
        let row = store.run(run).await.unwrap().unwrap();
        assert_eq!(row.state, state_text(rounds - 1));
    }
}

/// SQLite with the same promise and nothing else.
fn bare(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection
        .execute(
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",
            [],
        )
        .unwrap();
    connection
}

fn insert(connection: &rusqlite::Connection, rows: usize) -> Duration {
    let body = "x".repeat(STATE_BYTES + 2 * SMALL_BYTES);
    let mut statement = connection
        .prepare_cached("INSERT INTO rows (body) VALUES (?1)")
        .unwrap();
    let begun = Instant::now();
    for _ in 0..rows {
        statement.execute([&body]).unwrap();
    }
    begun.elapsed()
}

async fn create(store: &Store, number: usize) -> PipelineId {
    let id = PipelineId::new(format!("pipeline-bench-{number}"));
    let run = NewRun {
        id: id.clone(),
        repository: "repository".into(),
        top_level: "/project".to_owned(),
        folder: "/project".to_owned(),
        task_id: format!("bench-{number}").as_str().into(),
        explicit: false,
        force: false,
        identity_hash: "identity".to_owned(),
        title: "Measure".to_owned(),
        owner: "owner".into(),
        status: "running".to_owned(),
        state: "{}".to_owned(),
        blobs: Vec::new(),
        events: Vec::new(),
        created_at: NOW,
    };
    match store.create_run(run).await.unwrap() {
        Created::New { .. } => id,
        Created::Existing(row) => panic!("{id} should be new, but there is {}", row.id),
    }
}

fn state_text(round: usize) -> String {
    format!(r#"{{"round":{round},"state":"{}"}}"#, "s".repeat(STATE_BYTES))
}

fn transition(run: &PipelineId, round: usize) -> Transition {
    Transition {
        run: run.clone(),
        fence: FIRST_FENCE,
        state: state_text(round),
        status: "running".to_owned(),
        finished: Finished::No,
        journal: format!(r#"{{"event":"{}"}}"#, "j".repeat(SMALL_BYTES)),
        events: vec![format!(r#"{{"type":"{}"}}"#, "e".repeat(SMALL_BYTES))],
        consumed: Vec::new(),
        audit: None,
        rejected: Vec::new(),
        blobs: Vec::new(),
        at: NOW,
    }
}
