//! Schedules that nobody drew: scenes that chance plays too rarely.

use std::sync::Arc;

use super::house::House;
use super::schedule::{LARGE_SCHEDULE, SMALL_SCHEDULE, Schedule, Size, Summary, TASKS_MAX, Violation, judge};
use super::world::World;
use crate::engine::actor::Handle;
use crate::engine::{Signal, locked};

/// A world in which nothing goes wrong by chance, and its first process.
fn stage(house: &House, size: Size) -> (Arc<World>, Schedule<'_>) {
    let world = Arc::new(World::new(0, None, true));
    world.calm_down();
    let mut schedule = Schedule::new(&world, house, size);
    schedule.start_process();
    (world, schedule)
}

/// Three runs where two may work: the one that waits is paused, and resumed when all is calm.
pub(super) fn paused_in_the_queue(house: &House) -> Result<(Summary, Vec<String>), Violation> {
    let (world, mut schedule) = stage(house, LARGE_SCHEDULE);
    for number in 0..TASKS_MAX {
        schedule.begin_task(number);
        schedule.processes[0].work(30);
    }
    let queued = schedule.rows().into_iter().find(|row| row.status == "queued");
    match queued {
        Some(row) => {
            let by = schedule.person();
            schedule.wish(&row.id, &by, Signal::Pause);
        }
        None => world.violate("no run is queued"),
    }
    schedule.processes[0].work(30);
    schedule.calm_down();
    judge(&world, 0, schedule.end())
}

/// A run ends, and before its actor is gone somebody wants it again.
pub(super) fn wanted_again_while_it_ends(house: &House) -> Result<(Summary, Vec<String>), Violation> {
    let (world, mut schedule) = stage(house, SMALL_SCHEDULE);
    schedule.begin_task(0);
    schedule.calm_down();
    for row in schedule.rows() {
        let shared = Arc::clone(&schedule.processes[0].engine.shared);
        locked(&shared.actors).insert(row.id.clone(), Handle::deaf());
        let by = schedule.person();
        let retry = Signal::Retry {
            from: row.machine().ok().map(|machine| machine.steps[0].spec.id.clone()),
            pipeline: None,
        };
        schedule.wish(&row.id, &by, retry);
        schedule.processes[0].work_on();
        locked(&shared.actors).remove(&row.id);
    }
    schedule.move_time(2);
    schedule.calm_down();
    judge(&world, 0, schedule.end())
}

/// A run comes back from a backup after its process died, where another one is open already: that one pauses it
/// before anything else.
pub(super) fn came_back_while_open(house: &House) -> Result<(Summary, Vec<String>), Violation> {
    let (world, mut schedule) = stage(house, SMALL_SCHEDULE);
    schedule.begin_task(0);
    schedule.processes[0].work(4);
    schedule.start_process();
    schedule.processes.remove(0).kill();
    let run = match schedule.rows().first() {
        Some(row) if !row.finished => row.id.clone(),
        _ => {
            world.violate("no run is under way");
            return judge(&world, 0, schedule.end());
        }
    };
    if let Err(error) = house.memory.came_back(&run) {
        world.violate(error.message);
    }
    schedule.processes[0].look_around();
    schedule.processes[0].work_on();
    let status = schedule.row(&run).map(|row| row.status);
    world.check(status.as_deref() == Some("paused"), || {
        format!("the run that came back is {status:?}")
    });
    schedule.calm_down();
    judge(&world, 0, schedule.end())
}

/// The disk is full for so long that a process leaves its run, and cannot even store that: once there is space
/// another one takes the run up.
pub(super) fn left_on_a_full_disk(house: &House) -> Result<(Summary, Vec<String>), Violation> {
    let (world, mut schedule) = stage(house, SMALL_SCHEDULE);
    schedule.begin_task(0);
    schedule.processes[0].work(4);
    world.disk_fills_up_or_empties();
    for _ in 0..10 {
        schedule.processes[0].work_on();
        schedule.move_time(2_000);
    }
    for row in schedule.rows() {
        let is_left = !schedule.processes[0].engine.drives(&row.id);
        world.check(is_left && row.owner.is_some(), || {
            format!("the run is not left although nothing can be written: {row:?}")
        });
    }
    world.disk_fills_up_or_empties();
    schedule.start_process();
    for _ in 0..2 {
        for process in &mut schedule.processes {
            process.look_around();
            process.work_on();
        }
    }
    for row in schedule.rows() {
        world.check(
            schedule.processes[1].engine.drives(&row.id) || row.finished,
            || format!("nobody took up what was left: {row:?}"),
        );
    }
    schedule.calm_down();
    judge(&world, 0, schedule.end())
}
