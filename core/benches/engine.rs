//! What the engine costs when no model has to think: agents answer at once, everything else is real (the
//! machine, the actors, the store on this disk). Beside it, the least that as many durable writes cost here.
//!
//! `cargo bench -p clode-core --bench engine`; see docs/benchmarks.md.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

#[path = "rig/instant.rs"]
mod instant;
#[path = "rig/measure.rs"]
mod measure;
#[path = "rig/timed.rs"]
mod timed;

use std::path::Path;
use std::time::{Duration, Instant};

use clode_core::engine::{Engine, Signal};
use clode_core::id::PipelineId;
use instant::{Gates, World, bare, insert, status};
use measure::{Effort, Table};
use timed::timed;

const STEP: &str = "a durable step";
const STEP_WRITES: &str = "bare inserts, as many as its transitions";
const MANY: &str = "200 pipelines at once";
const MANY_WRITES: &str = "bare inserts in a row, as many as their transitions";
const RESUME: &str = "open, with 1,000 stored runs, until all are driven";
const RESUME_READ: &str = "bare open, and reading as many states";
const OWN: &str = "control by the owner";
const OTHER: &str = "control by another process";

/// Pipelines at once.
const AT_ONCE: usize = 200;
/// Runs that a crash left.
const STORED: usize = 1_000;
/// Longest time until a control of another process has taken effect.
const CONTROL_LIMIT: Duration = Duration::from_millis(200);

fn main() {
    let effort = Effort::from_arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Box::pin(run(effort)));
}

async fn run(effort: Effort) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    measure::print_machine(&root);
    Box::pin(steps(effort, &root.join("steps"))).await;
    Box::pin(at_once(effort, &root.join("at-once"))).await;
    Box::pin(control(effort, &root.join("control"))).await;
    Box::pin(stored(effort, &root.join("stored"))).await;
}

/// One run after the other, from its start to its end.
async fn steps(effort: Effort, root: &Path) {
    let world = World::new(root);
    let engine = world.open().await;
    let database = bare(&root.join("bare.db"));
    let mut table = Table::new("One step of a run");
    for _ in 0..effort.pick(30, 1) {
        let (time, run) = timed(Box::pin(async {
            let run = world.start(&engine, Gates::Skipped).await;
            until(&engine, &run, "completed").await;
            run
        }))
        .await;
        let row = engine.row(&run).await.unwrap();
        let steps = u32::try_from(row.machine().unwrap().steps.len()).unwrap();
        table.lap(STEP, &[STEP_WRITES], time / steps);
        let writes = engine
            .services()
            .store
            .journal(&run, 0, 1_000)
            .await
            .unwrap()
            .len();
        table.lap(
            STEP_WRITES,
            &[],
            insert(&database, writes, row.state.len()) / steps,
        );
    }
    engine.shutdown().await;
    table.print();
}

async fn at_once(effort: Effort, root: &Path) {
    let world = World::new(root);
    let engine = world.open().await;
    let database = bare(&root.join("bare.db"));
    let mut table = Table::new("Many pipelines");
    for _ in 0..effort.pick(5, 1) {
        let count = effort.pick(AT_ONCE, 4);
        let begun = Instant::now();
        let starts = (0..count).map(|_| world.start(&engine, Gates::Skipped));
        let runs = futures::future::join_all(starts).await;
        for run in &runs {
            until(&engine, run, "completed").await;
        }
        table.lap(MANY, &[MANY_WRITES], begun.elapsed());
        let (mut writes, mut bytes) = (0, 0);
        for run in &runs {
            writes += engine
                .services()
                .store
                .journal(run, 0, 1_000)
                .await
                .unwrap()
                .len();
            bytes = engine.row(run).await.unwrap().state.len();
        }
        table.lap(MANY_WRITES, &[], insert(&database, writes, bytes));
    }
    engine.shutdown().await;
    table.print();
}

/// From a wish until it is durable in the run, through the process that owns it and through another one.
async fn control(effort: Effort, root: &Path) {
    let world = World::new(root);
    let (owner, other) = (world.open().await, world.open().await);
    let run = world.start(&owner, Gates::Asked).await;
    until(&owner, &run, "awaitingApproval").await;
    let mut table = Table::new("Controls");
    let mut longest = Duration::ZERO;
    for _ in 0..effort.pick(50, 2) {
        for (name, peers, engine) in [(OWN, &[][..], &owner), (OTHER, &[OWN][..], &other)] {
            for signal in [Signal::Pause, Signal::Resume] {
                let (time, taken) = timed(engine.signal(&run, signal)).await;
                taken.unwrap();
                table.lap(name, peers, time);
                longest = longest.max(time);
            }
        }
    }
    owner.shutdown().await;
    other.shutdown().await;
    table.print();
    println!("longest: {longest:?} (promised: {CONTROL_LIMIT:?})");
}

/// A process is gone and left many runs, each at a gate; another one takes all of them up.
async fn stored(effort: Effort, root: &Path) {
    let world = World::new(root);
    let count = effort.pick(STORED, 10);
    let engine = world.open().await;
    let mut runs = Vec::new();
    let before = status("VmRSS");
    for _ in 0..count {
        runs.push(world.start(&engine, Gates::Asked).await);
    }
    for run in &runs {
        until(&engine, run, "awaitingApproval").await;
    }
    let states = engine.row(&runs[0]).await.unwrap().state.len();
    let each = (status("VmRSS").saturating_sub(before)) * 1024 / count;
    // What is left behind is the same as after a kill: the lock is gone, the rows are there.
    engine.shutdown().await;
    drop(engine);

    let database = bare(&root.join("bare.db"));
    insert(&database, count, states);
    drop(database);
    let mut table = Table::new("Resuming");
    for _ in 0..effort.pick(5, 1) {
        let begun = Instant::now();
        let engine = world.open().await;
        let orphans = engine.orphans(&world.repository(&engine).await.id).await.unwrap();
        assert_eq!(orphans.len(), count);
        for row in &orphans {
            engine.adopt(&row.id).await.unwrap();
        }
        assert!(orphans.iter().all(|row| engine.drives(&row.id)));
        table.lap(RESUME, &[RESUME_READ], begun.elapsed());
        engine.shutdown().await;
        table.lap(RESUME_READ, &[], instant::read(&root.join("bare.db"), count));
    }
    table.print();
    println!("\nmemory of a waiting run: {each} bytes (its state has {states})");
}

async fn until(engine: &Engine, run: &PipelineId, wanted: &str) {
    let mut notices = engine.notices();
    while engine.row(run).await.unwrap().status != wanted {
        let _ = tokio::time::timeout(Duration::from_millis(50), notices.recv()).await;
    }
}
