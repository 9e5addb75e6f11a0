//! A seeded world around the machine: agents that finish, fail and ask, alone or several at once, people that
//! answer and change their minds, and a process that dies at every possible place. A failure names its seed; `replay` runs it alone.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{person, prepared, spec};
use super::*;
use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::id::{BlobId, CommitId, HunkId, StepId, TreeId};
use crate::money::Money;
use crate::plan::PlanPart;
use crate::task::{ApplyMode, RunOptions};

/// Worlds that one test run tries.
const SCHEDULES: u64 = 1_000;
/// Things that happen in one world before it is led to its end.
const EVENTS_MAX: usize = 60;
/// Things that may happen until a world that is led to its end has reached it.
const DRAIN_EVENTS_MAX: usize = 400;

#[derive(Debug, Clone, PartialEq)]
enum Work {
    Snapshot,
    Step {
        step: StepId,
        attempt: u32,
        role: StepRole,
        files: CommitId,
    },
    Merge {
        step: StepId,
        attempt: u32,
        onto: CommitId,
        result: CommitId,
    },
    Patch,
    Apply,
}

struct World {
    seed: u64,
    random: u64,
    now: Timestamp,
    stored: String,
    machine: Machine,
    under_way: Vec<Work>,
    /// Whose work is in which files.
    contents: BTreeMap<CommitId, BTreeSet<StepId>>,
    begun: BTreeSet<(StepId, u32)>,
    progress: u8,
    trail: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            random: seed.wrapping_mul(2_685_821_657_736_338_717) | 1,
            now: Timestamp(1),
            stored: String::new(),
            machine: Machine::new(spec(RunOptions::default())),
            under_way: Vec::new(),
            contents: BTreeMap::new(),
            begun: BTreeSet::new(),
            progress: 0,
            trail: Vec::new(),
        };
        let options = RunOptions {
            skip_approvals: world.chance(20),
            apply: [ApplyMode::Review, ApplyMode::Direct, ApplyMode::None][world.below(3)],
            ..RunOptions::default()
        };
        world.machine = Machine::new(spec(options));
        world.store();
        world.happen(Event::Admitted);
        world
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let number = self.random.wrapping_mul(2_685_821_657_736_338_717) >> 33;
        usize::try_from(number).unwrap_or(0) % limit
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn store(&mut self) {
        self.stored = serde_json::to_string(&self.machine).expect("the state can be written");
    }

    fn check(&self, holds: bool, what: &str) {
        assert!(holds, "seed {}: {what}\n{}", self.seed, self.trail.join("\n"));
    }

    /// One transition as the engine does it: stored first, effects after; the process may die in between.
    #[expect(clippy::needless_pass_by_value, reason = "an event is told once")]
    fn happen(&mut self, event: Event) {
        self.now = self.now.plus_ms(1 + i64::try_from(self.below(50)).unwrap_or(0));
        self.trail.push(format!("{event:?}"));
        let before = self.machine.clone();
        let Ok(Transitioned { effects }) = self.machine.next(self.now, event.clone()) else {
            self.check(self.machine == before, "a rejected event changed the state");
            return;
        };
        self.store();
        self.check_transition(&before, &event, &effects);
        if self.chance(6) {
            self.die();
            return;
        }
        for effect in effects {
            self.perform(effect);
        }
    }

    fn check_transition(&mut self, before: &Machine, event: &Event, effects: &[Effect]) {
        let taken_up_again = before.ending.is_some() && self.machine.ending.is_none();
        let fell = self.machine.progress() < self.progress && !taken_up_again;
        self.check(!fell, "progress fell");
        self.progress = self.machine.progress();
        self.check_parts(before);
        let stayed_ended = before.ending.is_some() && self.machine.ending.is_some();
        let only_told = effects
            .iter()
            .all(|effect| matches!(effect, Effect::Publish { .. } | Effect::Ended));
        self.check(!stayed_ended || only_told, "an ended run asked for something");
        let begins_again = matches!(
            event,
            Event::StepFinished { .. } | Event::Answered { .. } | Event::Retried { .. }
        );
        for effect in effects {
            let Effect::RunStep { order } = effect else {
                continue;
            };
            let was = before.step(&order.step).map(|step| step.status);
            self.check(
                was != Some(StepStatus::Finished) || begins_again,
                "a finished step ran again",
            );
            let step = self.machine.step(&order.step).expect("the step exists");
            let ready = step
                .spec
                .needs
                .iter()
                .all(|need| self.machine.step(need).is_none_or(StepRecord::is_settled));
            self.check(ready, "a step ran before what it needs");
            let fresh = self.begun.insert((order.step.clone(), order.attempt));
            self.check(
                fresh,
                "an attempt number was used twice: its intents would be taken for paid",
            );
        }
    }

    /// Nobody's work is lost when several results become one, and nobody who has to work alone has company.
    fn check_parts(&self, before: &Machine) {
        for step in &self.machine.steps {
            let was = before.step(&step.spec.id).map(|step| step.division);
            if step.division != Division::Joined || was == Some(Division::Joined) {
                continue;
            }
            let files = self
                .machine
                .result
                .clone()
                .unwrap_or_else(|| CommitId::new("base"));
            let done = self.contents_of(&files);
            let all = self.machine.parts_of(&step.spec.id);
            let lost: Vec<&StepId> = all
                .map(|part| &part.spec.id)
                .filter(|part| !done.contains(part))
                .collect();
            self.check(lost.is_empty(), &format!("the work of {lost:?} is lost"));
        }
        let working = || {
            let parts = self.machine.steps.iter().filter(|step| step.spec.part.is_some());
            parts.filter(|step| step.status == StepStatus::Running)
        };
        self.check(working().count() <= 4, "too many parts work at once");
        let alone = working().any(|part| !part.collided_in.is_empty());
        self.check(
            !alone || working().count() == 1,
            "a part that collided works beside others",
        );
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::TakeSnapshot { .. } => self.under_way.push(Work::Snapshot),
            Effect::RunStep { order } => {
                let role = self.machine.step(&order.step).expect("step").spec.role;
                let files = order.files.clone();
                self.under_way
                    .retain(|work| !matches!(work, Work::Step { step, .. } if *step == order.step));
                self.under_way.push(Work::Step {
                    step: order.step,
                    attempt: order.attempt,
                    role,
                    files,
                });
            }
            Effect::MergeResults {
                step,
                attempt,
                onto,
                result,
                ..
            } => self.under_way.push(Work::Merge {
                step,
                attempt,
                onto,
                result,
            }),
            Effect::AbortStep { step } => self
                .under_way
                .retain(|work| !matches!(work, Work::Step { step: live, .. } if *live == step)),
            Effect::PreparePatch { .. } => self.under_way.push(Work::Patch),
            Effect::ApplyPatch => self.under_way.push(Work::Apply),
            Effect::DeliverAnswer { approval, .. } => {
                let asked = self
                    .machine
                    .gates
                    .iter()
                    .any(|gate| gate.id == approval && !gate.is_open());
                self.check(asked, "an answer that nobody gave was delivered");
            }
            Effect::SetTimer { .. } | Effect::Publish { .. } | Effect::Ended => {}
        }
    }

    /// Everything that is not stored is gone; a new process takes over.
    fn die(&mut self) {
        self.trail.push("kill -9".to_owned());
        self.under_way.clear();
        self.machine = serde_json::from_str(&self.stored).expect("the state can be read");
        self.happen(Event::Recovered);
    }

    fn finish_some_work(&mut self, luck: usize) {
        if self.under_way.is_empty() {
            return;
        }
        let index = self.below(self.under_way.len());
        let work = self.under_way.remove(index);
        let event = match work {
            Work::Snapshot => Event::SnapshotTaken {
                commit: CommitId::new("base"),
                tree: TreeId::new("tree"),
                for_agents: None,
                withheld: vec![],
            },
            Work::Patch => {
                let result = self.machine.result.clone().expect("a patch leads to something");
                let hunks: &[&str] = [&["a", "b"][..], &["b", "c"], &["d"], &[]][self.below(4)];
                Event::PatchPrepared {
                    prepared: Box::new(PreparedPatch {
                        result,
                        ..prepared(hunks)
                    }),
                }
            }
            Work::Apply => {
                let outcomes = self
                    .machine
                    .hunks
                    .clone()
                    .into_iter()
                    .filter(|hunk| !hunk.is_decided())
                    .map(|hunk| HunkOutcome {
                        id: hunk.id,
                        state: if self.chance(luck) {
                            HunkState::Applied
                        } else {
                            HunkState::Conflict
                        },
                        reason: None,
                    });
                let outcomes = outcomes.collect();
                Event::ApplyFinished { outcomes }
            }
            Work::Merge {
                step,
                attempt,
                onto,
                result,
            } => self.end_merge(step, attempt, onto, &result, luck),
            Work::Step {
                step,
                attempt,
                role,
                files,
            } => self.end_step(step, attempt, role, &files, luck),
        };
        self.happen(event);
    }

    fn contents_of(&self, files: &CommitId) -> BTreeSet<StepId> {
        self.contents.get(files).cloned().unwrap_or_default()
    }

    fn end_merge(
        &mut self,
        step: StepId,
        attempt: u32,
        onto: CommitId,
        result: &CommitId,
        luck: usize,
    ) -> Event {
        if !self.chance(luck.max(30)) {
            let error = Error::new(Kind::Git, "gitTimedOut", "too slow");
            return Event::MergeFailed { step, attempt, error };
        }
        let outcome = if self.chance(luck) {
            let files = CommitId::new(format!("{onto}+{step}-{attempt}"));
            let mut both = self.contents_of(&onto);
            both.extend(self.contents_of(result));
            self.contents.insert(files.clone(), both);
            MergeOutcome::Merged { files }
        } else {
            MergeOutcome::Collided {
                paths: vec!["a.rs".to_owned()],
            }
        };
        Event::ResultsMerged {
            step,
            attempt,
            onto,
            outcome,
        }
    }

    /// Up to five parts, each of which may need earlier ones.
    fn parts(&mut self) -> Vec<PlanPart> {
        if self.chance(40) {
            return Vec::new();
        }
        let count = 2 + self.below(4);
        let part = |world: &mut Self, number: usize| PlanPart {
            step: StepId::new(format!("p{number}")),
            title: format!("Part {number}"),
            needs: (0..number)
                .filter(|_| world.chance(25))
                .map(|earlier| StepId::new(format!("p{earlier}")))
                .collect(),
        };
        (0..count).map(|number| part(self, number)).collect()
    }

    fn end_step(
        &mut self,
        step: StepId,
        attempt: u32,
        role: StepRole,
        files: &CommitId,
        luck: usize,
    ) -> Event {
        if !self.chance(luck) {
            let error = Error::new(Kind::Provider, "overloaded", "overloaded");
            let failure = match self.below(10) {
                0..6 => StepFailure::transient(error),
                6..8 => StepFailure::outcome_unknown(error),
                8 => StepFailure::needs_person(error),
                _ => StepFailure::permanent(error),
            };
            return Event::StepFailed {
                step,
                attempt,
                failure,
            };
        }
        let verdict = (role == StepRole::Verify).then(|| {
            if self.chance(luck) {
                Verdict::Passed
            } else {
                Verdict::Failed
            }
        });
        let lesson = KnowledgeEntry {
            id: "k".to_owned(),
            claim: "c".to_owned(),
            scope: "repository".to_owned(),
            evidence: String::new(),
        };
        let result = CommitId::new(format!("{files}>{step}-{attempt}"));
        let mut done = self.contents_of(files);
        done.insert(step.clone());
        self.contents.insert(result.clone(), done);
        let output = StepOutput {
            document: Some(BlobId::new(format!("{step}-{attempt}"))),
            files: (role == StepRole::Change).then_some(result),
            parts: if role == StepRole::Plan {
                self.parts()
            } else {
                vec![]
            },
            knowledge: if role == StepRole::Learn {
                vec![lesson]
            } else {
                vec![]
            },
            verdict,
            ..StepOutput::default()
        };
        Event::StepFinished {
            step,
            attempt,
            output: Box::new(output),
        }
    }

    fn answer_some_gate(&mut self, yes_percent: usize) {
        let open: Vec<Gate> = self.machine.open_gates().cloned().collect();
        if open.is_empty() {
            return;
        }
        let gate = open[self.below(open.len())].clone();
        let approved = self.chance(yes_percent);
        let answer = Answer {
            approved,
            comment: (gate.kind == GateKind::Question || (!approved && self.chance(50)))
                .then(|| "words".to_owned()),
            choice: match gate.kind {
                GateKind::Permission => Some(["once", "task"][self.below(2)].to_owned()),
                GateKind::Budget => Some("today".to_owned()),
                _ => None,
            },
            ..Answer::default()
        };
        self.happen(Event::Answered {
            approval: Some(gate.id),
            gate: None,
            answer,
            plan_document: None,
            plan_parts: vec![],
            by: person(),
        });
    }

    fn ask(&mut self) {
        let asking = self.under_way.iter().find_map(|work| {
            if let Work::Step { step, .. } = work {
                Some(step.clone())
            } else {
                None
            }
        });
        let Some(step) = asking else { return };
        let request = match self.below(3) {
            0 => GateRequest::Question {
                text: "what?".to_owned(),
            },
            1 => GateRequest::Permission(PermissionAsk {
                tool: "Bash".to_owned(),
                command: Some("make".to_owned()),
                paths: vec![],
            }),
            _ => GateRequest::Budget(BudgetAsk {
                scope: "userDay".to_owned(),
                limit: Money::from_dollars(1),
                spent: Money::ZERO,
                needed: Money::from_dollars(1),
            }),
        };
        self.happen(Event::Asked { step, request });
    }

    fn decide_some_hunk(&mut self) {
        let ids: Vec<HunkId> = self.machine.hunks.iter().map(|hunk| hunk.id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.below(ids.len())].clone();
        let state = [
            HunkState::Applied,
            HunkState::Rejected,
            HunkState::Conflict,
            HunkState::Unconfirmed,
        ][self.below(4)];
        self.happen(Event::HunksDecided {
            outcomes: vec![HunkOutcome {
                id,
                state,
                reason: None,
            }],
            comment: None,
            by: person(),
        });
    }

    fn something_happens(&mut self) {
        match self.below(100) {
            0..50 => self.finish_some_work(75),
            50..65 => self.answer_some_gate(75),
            65..72 => self.ask(),
            72..80 => self.decide_some_hunk(),
            80..86 => self.die(),
            86..91 => {
                self.now = self.now.plus_ms(70_000);
                self.happen(Event::TimeReached);
            }
            91..94 => self.happen(Event::Paused),
            94..97 => self.happen(Event::Resumed),
            97..98 => self.happen(Event::Cancelled { by: person() }),
            _ => {
                let known: Vec<StepId> = self
                    .machine
                    .steps
                    .iter()
                    .map(|step| step.spec.id.clone())
                    .collect();
                let from = if self.chance(50) {
                    Some(known[self.below(known.len())].clone())
                } else {
                    None
                };
                self.happen(Event::Retried { from, steps: None });
            }
        }
    }

    /// Everybody does what is expected of them: the run must come to its end.
    fn lead_to_the_end(&mut self) {
        for _ in 0..DRAIN_EVENTS_MAX {
            if self.machine.ending.is_some() {
                return;
            }
            self.happen(Event::Resumed);
            self.finish_some_work(100);
            self.answer_some_gate(100);
            self.now = self.now.plus_ms(2_000);
            self.happen(Event::TimeReached);
            let pending = self
                .machine
                .hunks
                .iter()
                .find(|hunk| !hunk.is_decided())
                .map(|hunk| hunk.id.clone());
            if let Some(id) = pending.filter(|_| self.machine.patch_stage == PatchStage::Review) {
                let outcomes = vec![HunkOutcome {
                    id,
                    state: HunkState::Applied,
                    reason: None,
                }];
                self.happen(Event::HunksDecided {
                    outcomes,
                    comment: None,
                    by: person(),
                });
            }
        }
        self.check(false, "the run neither ended nor could be led to its end");
    }
}

fn live_through(seed: u64) -> Option<Ending> {
    let mut world = World::new(seed);
    for _ in 0..EVENTS_MAX {
        world.something_happens();
    }
    world.lead_to_the_end();
    world.machine.ending
}

#[test]
fn whatever_happens_nothing_runs_twice_and_every_run_ends() {
    let mut endings: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 1..=SCHEDULES {
        *endings.entry(format!("{:?}", live_through(seed))).or_default() += 1;
    }
    let seen: Vec<&String> = endings.keys().collect();
    assert_eq!(seen.len(), 3, "the worlds are too much alike: {endings:?}");
}
