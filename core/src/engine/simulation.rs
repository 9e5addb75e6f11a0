//! A seeded world around the real engine, the real machine and the real statements of the store: simulated are
//! the clock, the disk, the locks, the limits, the provider, the agents and the editor.
//!
//! Processes die at every place where they reach outside (before and after each read, write, hold, settlement,
//! send, agent, snapshot, patch), answers get lost or come twice, clocks jump, processes sleep, and two of them
//! take the same run for theirs. After each schedule the books are compared with what really happened
//! ([`ledgers`]). A failure prints its seed, and the seed alone lives through the same again:
//!
//! ```text
//! CLODE_SIMULATION_SEED=1234 cargo test --workspace --lib -- simulation::whatever_happens --nocapture
//! CLODE_SIMULATION_SCHEDULES=100000 cargo test --profile simulation … (what tests/run does)
//! ```

mod house;
mod ledgers;
mod money;
mod person;
mod ports;
mod process;
mod random;
mod scenes;
mod schedule;
mod team;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::locked;
use house::House;
use schedule::{Summary, Trail, Violation, live};
use world::Defect;

/// Schedules of a plain `cargo test`.
const SCHEDULES: u64 = 400;
/// Schedules within which every built-in defect must be found.
const DEFECT_SCHEDULES: u64 = 1_500;
/// Failures after which the rest is not tried.
const FAILURES_MAX: usize = 5;
/// Last lines of a trail that a failure shows, unless only this seed was asked for.
const TRAIL_LINES_MAX: usize = 120;

#[expect(
    clippy::disallowed_methods,
    reason = "a developer chooses seed and number of schedules by the environment of the test"
)]
fn asked_for(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
    )
}

fn describe(house: &House, violation: &Violation, defect: Option<Defect>) -> String {
    let trail = match live(house, violation.seed, defect, Trail::Kept) {
        Err(again) => again.trail,
        Ok(_) => {
            vec!["(lived through again it did not happen: the schedule is not deterministic)".to_owned()]
        }
    };
    let shown = if asked_for("CLODE_SIMULATION_SEED").is_some() {
        0
    } else {
        trail.len().saturating_sub(TRAIL_LINES_MAX)
    };
    format!(
        "{}\nseed {}: {}\nagain: CLODE_SIMULATION_SEED={} (see docs/simulation.md)",
        trail.get(shown..).unwrap_or_default().join("\n"),
        violation.seed,
        violation.what,
        violation.seed
    )
}

/// Lives through the schedules of these seeds on all cores.
fn live_through(first: u64, count: u64) -> Result<Summary, String> {
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let one_core = || -> Result<Summary, String> {
        let house = House::build().map_err(|error| error.to_string())?;
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + count || locked(&failures).len() >= FAILURES_MAX {
                return Ok(sum);
            }
            match live(&house, seed, None, Trail::NotKept) {
                Ok((summary, _)) => add(&mut sum, summary),
                Err(violation) => locked(&failures).push(describe(&house, &violation, None)),
            }
        }
    };
    let sum = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(one_core)).collect();
        let mut sum = Summary::default();
        for worker in workers {
            add(
                &mut sum,
                worker.join().map_err(|_| "a schedule panicked".to_owned())??,
            );
        }
        Ok::<_, String>(sum)
    })?;
    let failures = std::mem::take(&mut *locked(&failures));
    if failures.is_empty() {
        Ok(sum)
    } else {
        Err(failures.join("\n\n"))
    }
}

fn add(sum: &mut Summary, more: Summary) {
    for (ending, count) in more.endings {
        *sum.endings.entry(ending).or_default() += count;
    }
    sum.deaths += more.deaths;
    sum.sends += more.sends;
}

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_every_run_ends() {
    let (first, count) = match asked_for("CLODE_SIMULATION_SEED") {
        Some(seed) => (seed, 1),
        None => (1, asked_for("CLODE_SIMULATION_SCHEDULES").unwrap_or(SCHEDULES)),
    };
    let begun = Instant::now();
    let sum = live_through(first, count).unwrap_or_else(|failure| panic!("{failure}"));
    eprintln!(
        "{count} schedules in {:.1} s: {} deaths, {} paid calls, runs {:?}",
        begun.elapsed().as_secs_f64(),
        sum.deaths,
        sum.sends,
        sum.endings
    );
    let endings: BTreeMap<String, u64> = sum.endings;
    assert!(
        count < SCHEDULES || endings.len() == 3,
        "the schedules are too much alike: {endings:?}"
    );
}

#[test]
fn a_run_that_was_paused_in_the_queue_goes_on_when_it_is_resumed() {
    let house = House::build().expect("a house");
    let (summary, _) = scenes::paused_in_the_queue(&house).expect("it ends");
    assert_eq!(summary.endings.get("completed"), Some(&3), "{summary:?}");
}

#[test]
fn a_control_that_comes_while_its_run_ends_is_taken_in() {
    let house = House::build().expect("a house");
    let (_, trail) = scenes::wanted_again_while_it_ends(&house).expect("it ends");
    let begun = trail.iter().filter(|line| line.contains("taskMaster/")).count();
    assert_eq!(begun, 2, "{trail:#?}");
}

#[test]
fn a_run_that_came_back_from_a_backup_is_paused_by_whoever_takes_it_up() {
    let house = House::build().expect("a house");
    let (summary, _) = scenes::came_back_while_open(&house).expect("it ends");
    assert_eq!(summary.endings.get("completed"), Some(&1), "{summary:?}");
}

#[test]
fn a_run_that_was_left_on_a_full_disk_is_taken_up_once_there_is_space() {
    let house = House::build().expect("a house");
    let (summary, _) = scenes::left_on_a_full_disk(&house).expect("it ends");
    assert_eq!(summary.endings.get("completed"), Some(&1), "{summary:?}");
}

#[test]
fn a_seed_lives_through_the_same_again() {
    let house = House::build().expect("a house");
    for seed in 1..=20 {
        let first = live(&house, seed, None, Trail::Kept).map(|(_, trail)| trail);
        let again = live(&house, seed, None, Trail::Kept).map(|(_, trail)| trail);
        assert_eq!(
            first.expect("nothing is violated"),
            again.expect("nothing is violated"),
            "seed {seed}"
        );
    }
}

#[test]
fn every_built_in_defect_is_found() {
    let house = House::build().expect("a house");
    for defect in Defect::ALL {
        let found =
            (1..=DEFECT_SCHEDULES).find_map(|seed| live(&house, seed, Some(defect), Trail::NotKept).err());
        let Some(violation) = found else {
            panic!("{defect:?} was not found within {DEFECT_SCHEDULES} schedules");
        };
        eprintln!(
            "{defect:?} is found by seed {}: {}",
            violation.seed, violation.what
        );
    }
}
