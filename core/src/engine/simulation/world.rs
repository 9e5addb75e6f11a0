//! The world of one schedule: chance, time, who lives, and what really happened as somebody saw it who sees all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::random::Random;
use crate::clock::{Clock, Timestamp};
use crate::id::{HunkId, IntentId, OwnerId, PipelineId, StepId};
use crate::money::Money;
use crate::pipeline::Machine;
use crate::store::Liveness;
use crate::store::simulated::{Access, Fate};

/// When every schedule begins.
const BEGINNING: i64 = 1_795_500_000_000;

/// A fault that is built in on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// The store lets an owner write whose run was taken over.
    ForgottenFence,
    /// The disk says that a write is safe, and forgets it.
    ForgetfulDisk,
    /// Requests are sent although nothing could be held for them.
    SendWithoutHold,
    /// What a call cost is not written down.
    UnsettledCall,
    /// A model is asked twice for one hold.
    SentTwice,
    /// An agent begins a second time by itself.
    AgentTwice,
    /// A gate is answered that nobody was asked about.
    AnswerOfNobody,
    /// What other processes write is not noticed.
    DeafProcess,
}

impl Defect {
    pub(super) const ALL: [Self; 8] = [
        Self::ForgottenFence,
        Self::ForgetfulDisk,
        Self::SendWithoutHold,
        Self::UnsettledCall,
        Self::SentTwice,
        Self::AgentTwice,
        Self::AnswerOfNobody,
        Self::DeafProcess,
    ];
}

/// How often what goes wrong, in a thousand; every schedule has a weather of its own.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    deaths: u64,
    refusals: u64,
    lost_answers: u64,
    broken_disks: u64,
    limits: u64,
    provider: u64,
    slow_disk: u64,
}

impl Weather {
    fn draw(random: &mut Random) -> Self {
        let mut often = |most: u64| {
            if random.happens(500) {
                random.below(most)
            } else {
                0
            }
        };
        Self {
            deaths: often(12),
            refusals: often(25),
            lost_answers: often(25),
            broken_disks: often(3),
            limits: often(80),
            provider: often(500),
            slow_disk: often(500),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    state: Mutex<State>,
    wall: AtomicI64,
    pub(super) defect: Option<Defect>,
}

#[derive(Debug)]
struct State {
    random: Random,
    weather: Weather,
    is_calm: bool,
    /// Nothing can be written.
    disk_is_full: bool,
    alive: BTreeSet<OwnerId>,
    trail: Option<Vec<String>>,
    violation: Option<String>,
    facts: Facts,
}

/// What really happened.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Attempts that an agent began.
    pub(super) begun: BTreeSet<(PipelineId, StepId, u32)>,
    /// Holds that were granted and that nothing was sent for yet, newest last.
    granted: Vec<IntentId>,
    /// What the provider has on its bill.
    pub(super) bills: BTreeMap<IntentId, Money>,
    /// What each checkpoint said, oldest first, and whether it was acknowledged.
    checkpoints: BTreeMap<(PipelineId, StepId), Vec<Kept>>,
    /// Runs that were asked for, with their first state.
    pub(super) first_states: BTreeMap<PipelineId, Machine>,
    /// Controls that a person sent.
    pub(super) sent: BTreeSet<String>,
    /// Those of them whose name goes into the journal.
    pub(super) named: BTreeSet<String>,
    /// Controls that were acknowledged.
    pub(super) acknowledged: Vec<(PipelineId, String)>,
    /// What listeners were told.
    pub(super) told: BTreeMap<(PipelineId, u64), String>,
    /// Hunks in the user's text.
    pub(super) applied: BTreeSet<(PipelineId, HunkId)>,
}

#[derive(Debug)]
struct Kept {
    round: String,
    transcript: String,
    is_acknowledged: bool,
}

impl World {
    pub(super) fn new(seed: u64, defect: Option<Defect>, keeps_trail: bool) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather::draw(&mut random);
        Self {
            state: Mutex::new(State {
                random,
                weather,
                is_calm: false,
                disk_is_full: false,
                alive: BTreeSet::new(),
                trail: keeps_trail.then(Vec::new),
                violation: None,
                facts: Facts::default(),
            }),
            wall: AtomicI64::new(BEGINNING),
            defect,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn below(&self, limit: u64) -> u64 {
        self.state().random.below(limit)
    }

    pub(super) fn pick<'a, T>(&self, items: &'a [T]) -> Option<&'a T> {
        self.state().random.pick(items)
    }

    /// Whether something happens that happens so often in a thousand.
    pub(super) fn happens(&self, per_mille: u64) -> bool {
        self.state().random.happens(per_mille)
    }

    /// As [`World::happens`], for what goes wrong: never once the world is calm.
    fn goes_wrong(&self, often: impl FnOnce(&Weather) -> u64) -> bool {
        let mut state = self.state();
        let per_mille = often(&state.weather);
        !state.is_calm && state.random.happens(per_mille)
    }

    pub(super) fn is_calm(&self) -> bool {
        self.state().is_calm
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm_down(&self) {
        let mut state = self.state();
        state.is_calm = true;
        state.disk_is_full = false;
    }

    /// The disk fills up, or has space again.
    pub(super) fn disk_fills_up_or_empties(&self) {
        let is_full = {
            let mut state = self.state();
            state.disk_is_full = !state.disk_is_full;
            state.disk_is_full
        };
        self.note(|| {
            if is_full {
                "the disk is full"
            } else {
                "the disk has space"
            }
            .to_owned()
        });
    }

    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let now = self.now();
        let mut state = self.state();
        if let Some(trail) = &mut state.trail {
            trail.push(format!("{:>9} {}", now.0 - BEGINNING, line()));
        }
    }

    pub(super) fn trail(&self) -> Vec<String> {
        self.state().trail.clone().unwrap_or_default()
    }

    /// What must never happen has happened; the first one counts.
    pub(super) fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("VIOLATION: {what}"));
        self.state().violation.get_or_insert(what);
    }

    pub(super) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what());
        }
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    pub(super) fn facts<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.state().facts)
    }

    /// Moves the wall clock, forward or back.
    pub(super) fn move_clock_ms(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
    }

    pub(super) fn set_alive(&self, owner: &OwnerId, is_alive: bool) {
        let mut state = self.state();
        if is_alive {
            state.alive.insert(owner.clone());
        } else {
            state.alive.remove(owner);
        }
    }

    pub(super) fn dies(&self) -> bool {
        self.goes_wrong(|weather| weather.deaths)
    }

    pub(super) fn limits_fail(&self) -> bool {
        self.goes_wrong(|weather| weather.limits)
    }

    pub(super) fn provider_fails(&self) -> bool {
        self.goes_wrong(|weather| weather.provider)
    }

    /// Whether others get on while a request to it is under way.
    pub(super) fn disk_is_slow(&self) -> bool {
        self.goes_wrong(|weather| weather.slow_disk)
    }

    pub(super) fn fate(&self, access: Access) -> Fate {
        let mut state = self.state();
        let Weather {
            deaths,
            refusals,
            lost_answers,
            broken_disks,
            ..
        } = state.weather;
        if state.disk_is_full && access == Access::Write {
            return Fate::Refused;
        }
        if state.is_calm {
            return Fate::Done;
        }
        let (refused, lost) = match access {
            Access::Write => (refusals, lost_answers),
            Access::Read => (refusals / 4, 0),
        };
        let fates = [
            (Fate::DiesBefore, deaths / 2),
            (Fate::DiesAfter, deaths),
            (Fate::Refused, refused),
            (Fate::Unanswered, lost),
            (Fate::Broken, broken_disks / 2),
        ];
        let mut drawn = state.random.below(1_000);
        for (fate, often) in fates {
            if drawn < often {
                return fate;
            }
            drawn -= often;
        }
        if access == Access::Write && self.defect == Some(Defect::ForgetfulDisk) && state.random.happens(30) {
            return Fate::Forgotten;
        }
        Fate::Done
    }
}

/// What happens, as the world keeps it.
impl World {
    pub(super) fn begun(&self, run: &PipelineId, step: &StepId, attempt: u32) {
        let is_new = self.facts(|facts| facts.begun.insert((run.clone(), step.clone(), attempt)));
        self.check(is_new, || {
            format!("attempt {attempt} of step `{step}` of `{run}` began twice")
        });
    }

    pub(super) fn granted(&self, intent: &IntentId) {
        self.facts(|facts| {
            if !facts.granted.contains(intent) {
                facts.granted.push(intent.clone());
            }
        });
    }

    /// A request of this attempt reaches the provider: for which hold?
    pub(super) fn arrives(&self, attempt: &str) -> Option<IntentId> {
        let found = self.facts(|facts| {
            let position = facts
                .granted
                .iter()
                .rposition(|intent| intent.as_str().starts_with(attempt))?;
            Some(facts.granted.remove(position))
        });
        self.check(found.is_some(), || {
            format!("a request of `{attempt}` was sent that nothing was held for")
        });
        found
    }

    pub(super) fn bill(&self, intent: &IntentId, amount: Money) {
        let before = self.facts(|facts| facts.bills.insert(intent.clone(), amount));
        self.check(before.is_none(), || format!("`{intent}` was charged twice"));
    }

    pub(super) fn checkpoint(&self, run: &PipelineId, step: &StepId, round: &str, transcript: &str) {
        let kept = Kept {
            round: round.to_owned(),
            transcript: transcript.to_owned(),
            is_acknowledged: false,
        };
        self.facts(|facts| {
            facts
                .checkpoints
                .entry((run.clone(), step.clone()))
                .or_default()
                .push(kept);
        });
    }

    pub(super) fn checkpoint_acknowledged(&self, run: &PipelineId, step: &StepId, transcript: &str) {
        self.facts(|facts| {
            let all = facts.checkpoints.entry((run.clone(), step.clone())).or_default();
            for kept in all.iter_mut().filter(|kept| kept.transcript == transcript) {
                kept.is_acknowledged = true;
            }
        });
    }

    /// Which of a step's checkpoints was acknowledged last. Who asks for it may be overtaken by a new owner.
    pub(super) fn newest_checkpoint(&self, run: &PipelineId, step: &StepId) -> Option<usize> {
        self.facts(|facts| {
            let all = facts.checkpoints.get(&(run.clone(), step.clone()))?;
            all.iter().rposition(|kept| kept.is_acknowledged)
        })
    }

    /// A step was given this to go on from, when `newest` was the one that was acknowledged last.
    pub(super) fn resumes(
        &self,
        run: &PipelineId,
        step: &StepId,
        round: &str,
        newest: Option<usize>,
        transcript: Option<&str>,
    ) {
        let is_right = self.facts(|facts| {
            let all = facts.checkpoints.entry((run.clone(), step.clone())).or_default();
            let from = newest.unwrap_or(0);
            match transcript {
                Some(found) => all
                    .iter()
                    .skip(from)
                    .any(|kept| kept.round == round && kept.transcript == found),
                None => newest.is_none_or(|_| all.iter().skip(from).any(|kept| kept.round != round)),
            }
        });
        self.check(is_right, || {
            format!("step `{step}` of `{run}` goes on from {transcript:?}, which is not what was acknowledged last")
        });
    }

    pub(super) fn told(&self, run: &PipelineId, seq: u64, body: &str) {
        let first = self.facts(|facts| {
            let known = facts.told.entry((run.clone(), seq));
            known.or_insert_with(|| body.to_owned()).clone()
        });
        self.check(first == body, || {
            format!("event {seq} of `{run}` was told as {first} and as {body}")
        });
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }
}

impl Liveness for World {
    fn is_alive(&self, owner: &OwnerId) -> bool {
        self.state().alive.contains(owner)
    }
}
