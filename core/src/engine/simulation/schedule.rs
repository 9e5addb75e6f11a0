//! One schedule: chance decides who works, who dies, who answers and how time goes; then everything calms down
//! and the runs must come to their ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::house::{House, SHAPES};
use super::ledgers;
use super::ports::Ports;
use super::process::Process;
use super::world::{Defect, World};
use crate::id::PipelineId;
use crate::store::{RunFilter, RunRow, Store};

/// How many schedules in a thousand are large.
const LARGE: u64 = 50;
/// Rounds in which everybody does what is expected until all runs must have ended.
const CALM_ROUNDS_MAX: u32 = 200;
/// Servers that are open at once.
const PROCESSES_MAX: usize = 3;
/// Tasks that a person starts.
pub(super) const TASKS_MAX: u64 = 3;

/// What a schedule came to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) endings: BTreeMap<String, u64>,
    pub(super) deaths: u64,
    pub(super) sends: u64,
}

/// Something that must never happen did.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) seed: u64,
    pub(super) what: String,
    pub(super) trail: Vec<String>,
}

/// How much a schedule holds. Most faults need little to happen, so most schedules are small; a large one costs
/// more than twice as much and finds what needs several runs and steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Runs that are started at its beginning, at most.
    runs: u64,
    /// Shapes of runs that are drawn from, the smallest first.
    shapes: usize,
    /// Things that happen before it calms down, at least and more.
    events: (u64, u64),
}

pub(super) const SMALL_SCHEDULE: Size = Size {
    runs: 1,
    shapes: 1,
    events: (4, 20),
};
pub(super) const LARGE_SCHEDULE: Size = Size {
    runs: 2,
    shapes: SHAPES.len(),
    events: (10, 50),
};

impl Size {
    fn draw(world: &World) -> Self {
        if world.happens(LARGE) {
            LARGE_SCHEDULE
        } else {
            SMALL_SCHEDULE
        }
    }
}

/// Whether what happens is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trail {
    Kept,
    NotKept,
}

/// Lives through the schedule of a seed.
pub(super) fn live(
    house: &House,
    seed: u64,
    defect: Option<Defect>,
    trail: Trail,
) -> Result<(Summary, Vec<String>), Violation> {
    let world = Arc::new(World::new(seed, defect, trail == Trail::Kept));
    crate::store::simulated::forget_fences(defect == Some(Defect::ForgottenFence));
    let mut schedule = Schedule::new(&world, house, Size::draw(&world));
    schedule.live();
    judge(&world, seed, schedule.end())
}

/// What a schedule came to, unless something happened that must not.
pub(super) fn judge(world: &World, seed: u64, summary: Summary) -> Result<(Summary, Vec<String>), Violation> {
    match world.violation() {
        None => Ok((summary, world.trail())),
        Some(what) => Err(Violation {
            seed,
            what,
            trail: world.trail(),
        }),
    }
}

pub(super) struct Schedule<'a> {
    pub(super) world: Arc<World>,
    house: &'a House,
    size: Size,
    /// Sees the database without being a process.
    pub(super) outside: Store,
    pub(super) processes: Vec<Process>,
    started: u32,
    pub(super) wishes: u64,
    deaths: u64,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(world: &Arc<World>, house: &'a House, size: Size) -> Self {
        if let Err(error) = house.memory.wipe() {
            world.violate(error.message);
        }
        let calm = Arc::new(World::new(0, None, false));
        calm.calm_down();
        Self {
            outside: Store::simulated(
                &house.memory,
                Arc::new(Ports::new(calm, 0)),
                Arc::clone(world) as _,
            ),
            world: Arc::clone(world),
            house,
            size,
            processes: Vec::new(),
            started: 0,
            wishes: 0,
            deaths: 0,
        }
    }

    fn live(&mut self) {
        self.start_process();
        for number in 0..=self.world.below(self.size.runs) {
            self.begin_task(number);
        }
        let (least, more) = self.size.events;
        let events = least + self.world.below(more);
        for _ in 0..events {
            self.something_happens();
            self.bury_the_dead();
            if self.world.violation().is_some() {
                return;
            }
        }
        self.calm_down();
    }

    fn something_happens(&mut self) {
        match self.world.below(1_000) {
            0..420 => self.somebody_works(),
            420..640 => self.time_goes_on(),
            640..800 => self.a_person_acts(),
            800..900 => self.somebody_looks_around(),
            900..915 => self.begin_task(self.world.below(TASKS_MAX)),
            915..935 => self.start_process(),
            935..955 => self.somebody_is_killed(),
            955..965 => self.somebody_closes(),
            965..980 => self.somebody_falls_asleep_or_wakes_up(),
            980..990 => self.a_lock_is_lost(),
            _ => {
                let jump = i64::try_from(self.world.below(7_200_000)).unwrap_or(0) - 3_600_000;
                self.world.note(|| format!("the clock jumps by {jump} ms"));
                self.world.move_clock_ms(jump);
            }
        }
    }

    pub(super) fn some_process(&mut self) -> Option<usize> {
        let awake: Vec<usize> = (0..self.processes.len())
            .filter(|index| !self.processes[*index].is_suspended)
            .collect();
        self.world.pick(&awake).copied()
    }

    fn somebody_works(&mut self) {
        if let Some(index) = self.some_process() {
            let passes = 1 + u32::try_from(self.world.below(25)).unwrap_or(0);
            self.processes[index].work(passes);
        }
    }

    fn time_goes_on(&mut self) {
        let ms = match self.world.below(10) {
            0..6 => self.world.below(2_000),
            6..9 => self.world.below(30_000),
            _ => self.world.below(4_000_000),
        };
        self.move_time(ms);
    }

    pub(super) fn move_time(&mut self, ms: u64) {
        self.world.move_clock_ms(i64::try_from(ms).unwrap_or(0));
        for process in self.processes.iter_mut().filter(|process| !process.is_suspended) {
            process.move_time(Duration::from_millis(ms));
            process.work(2);
        }
    }

    fn somebody_looks_around(&mut self) {
        if let Some(index) = self.some_process() {
            self.processes[index].look_around();
        }
    }

    pub(super) fn begin_task(&mut self, number: u64) {
        if let Some(index) = self.some_process() {
            let shapes = self.size.shapes;
            self.processes[index].begin(self.house, number, shapes);
        }
    }

    pub(super) fn start_process(&mut self) {
        if self.processes.len() < PROCESSES_MAX {
            self.started += 1;
            self.processes
                .extend(Process::start(&self.world, self.house, self.started));
        }
    }

    fn somebody_is_killed(&mut self) {
        if let Some(index) = self.some_process() {
            self.deaths += 1;
            self.processes.remove(index).kill();
        }
        self.somebody_is_there();
    }

    fn somebody_closes(&mut self) {
        if let Some(index) = self.some_process() {
            self.processes.remove(index).close();
        }
        self.somebody_is_there();
    }

    fn somebody_falls_asleep_or_wakes_up(&mut self) {
        let all: Vec<usize> = (0..self.processes.len()).collect();
        if let Some(index) = self.world.pick(&all).copied() {
            let process = &mut self.processes[index];
            process.is_suspended = !process.is_suspended;
            let word = if process.is_suspended {
                "falls asleep"
            } else {
                "wakes up"
            };
            self.world
                .note(|| format!("process {} {word}", process.ports.process));
        }
    }

    /// Others take it for dead while it lives, as where somebody removed the locks.
    fn a_lock_is_lost(&mut self) {
        let all: Vec<usize> = (0..self.processes.len()).collect();
        if let Some(index) = self.world.pick(&all).copied() {
            let process = &self.processes[index];
            self.world
                .note(|| format!("the lock of process {} is lost", process.ports.process));
            self.world.set_alive(&process.owner, false);
        }
    }

    fn bury_the_dead(&mut self) {
        for index in (0..self.processes.len()).rev() {
            if self.processes[index].ports.is_dead() {
                self.deaths += 1;
                self.processes.remove(index).kill();
            }
        }
        self.somebody_is_there();
    }

    fn somebody_is_there(&mut self) {
        if self.processes.iter().all(|process| process.is_suspended) {
            for process in &mut self.processes {
                process.is_suspended = false;
            }
        }
        let mut tries = 0;
        while self.processes.is_empty() && tries < 20 {
            self.start_process();
            tries += 1;
        }
    }

    pub(super) fn rows(&self) -> Vec<RunRow> {
        self.find(RunFilter::default())
    }

    fn find(&self, filter: RunFilter) -> Vec<RunRow> {
        let rows = self.outside.runs(filter).now_or_never();
        match rows {
            Some(Ok(rows)) => rows,
            other => {
                self.world.violate(format!("runs cannot be read: {other:?}"));
                Vec::new()
            }
        }
    }

    fn unfinished(&self) -> Vec<RunRow> {
        self.find(RunFilter {
            unfinished_only: true,
            ..RunFilter::default()
        })
    }

    /// A run that was asked for, if it came to be.
    pub(super) fn row(&self, run: &PipelineId) -> Option<RunRow> {
        match self.outside.run(run).now_or_never() {
            Some(Ok(row)) => row,
            other => {
                self.world.violate(format!("a run cannot be read: {other:?}"));
                None
            }
        }
    }

    /// Nothing goes wrong any more, everybody does what is expected: the runs must end.
    pub(super) fn calm_down(&mut self) {
        self.world.calm_down();
        self.world.note(|| "all is calm".to_owned());
        for round in 0..CALM_ROUNDS_MAX {
            self.bury_the_dead();
            for index in (0..self.processes.len()).rev() {
                self.processes[index].is_suspended = false;
                if self.processes[index].is_broken() {
                    self.processes.remove(index).kill();
                }
            }
            self.somebody_is_there();
            self.everybody_looks_around();
            let mut waiting = self.unfinished();
            if waiting.is_empty() {
                self.settle_down();
                // A late wish may have made an ended run go on.
                waiting = self.unfinished();
            }
            if waiting.is_empty() || self.world.violation().is_some() {
                return;
            }
            for row in waiting {
                self.help(&row);
            }
            for process in &mut self.processes {
                process.work_on();
            }
            if round % 8 == 7 {
                // So long nobody is blind.
                self.everybody_looks_around();
                self.move_time(400_000);
            } else {
                self.move_time(3_000);
            }
        }
        let left: Vec<String> = self
            .unfinished()
            .into_iter()
            .map(|row| format!("`{}` of {:?}, {}: {}", row.id, row.owner, row.status, row.state))
            .collect();
        self.world.violate(format!(
            "runs neither end nor can be led to their end: {}",
            left.join("\n")
        ));
    }

    /// What is still under way comes to its end.
    fn settle_down(&mut self) {
        for _ in 0..2 {
            self.everybody_looks_around();
            self.move_time(30_000);
        }
    }

    fn everybody_looks_around(&mut self) {
        for process in &mut self.processes {
            process.look_around();
            process.work_on();
        }
    }

    pub(super) fn end(mut self) -> Summary {
        if self.world.violation().is_none() {
            ledgers::check_idle(&self.world, self.house, &self.processes);
        }
        for process in self.processes.drain(..) {
            process.kill();
        }
        self.started += 1;
        if self.world.violation().is_none()
            && let Some(last) = Process::start(&self.world, self.house, self.started)
        {
            ledgers::check(&self.world, self.house, &self.outside);
            last.kill();
        }
        let mut summary = Summary {
            deaths: self.deaths,
            sends: self.world.facts(|facts| facts.bills.len() as u64),
            ..Summary::default()
        };
        for row in self.rows() {
            *summary.endings.entry(row.status).or_default() += 1;
        }
        summary
    }
}
