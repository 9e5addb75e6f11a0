//! Every state accepts every event: it leads somewhere or is rejected with a code, and never tears anything.

use serde_json::Value;

use super::*;
use crate::plan::PlanPart;

/// Runs of each version, from undisturbed and from disturbed states.
const SEEDS: u64 = 60;
/// Events that one run meets.
const EVENTS: usize = 40;
/// Names of steps, known and unknown.
const STEPS: [&str; 9] = [
    "task-master",
    "architect",
    "developer",
    "developer.a",
    "developer.b",
    "developer.c",
    "qa",
    "kb-builder",
    "nobody",
];

/// Choices, one after the other, out of a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(2_685_821_657_736_338_717) >> 33).unwrap_or(0) % limit
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn step(&mut self) -> StepId {
        StepId::new(self.one(&STEPS))
    }

    fn commit(&mut self) -> CommitId {
        CommitId::new(self.one(&["base", "one", "two", "both"]))
    }

    fn attempt(&mut self) -> u32 {
        self.one(&[0, 1, 1, 1, 2, 2, 3])
    }

    fn parts(&mut self) -> Vec<PlanPart> {
        let part = |step: &str, needs: &[&str]| PlanPart {
            step: StepId::new(step),
            title: step.to_owned(),
            needs: needs.iter().map(|need| StepId::new(*need)).collect(),
        };
        self.one(&[
            vec![],
            vec![part("a", &[]), part("b", &[])],
            vec![part("a", &[]), part("b", &["a"]), part("c", &["nobody"])],
            vec![part("a", &["a"]), part("a", &[])],
        ])
    }

    fn failure(&mut self) -> StepFailure {
        let class = self.one(&[
            StepFailureClass::Transient,
            StepFailureClass::Permanent,
            StepFailureClass::OutcomeUnknown,
            StepFailureClass::NeedsPerson,
            StepFailureClass::Cancelled,
        ]);
        StepFailure {
            class,
            error: self.error(),
        }
    }

    fn error(&mut self) -> Error {
        let kind = self.one(&[Kind::Provider, Kind::Git, Kind::Io]);
        Error::new(kind, "wrong", "something is wrong")
    }

    fn output(&mut self) -> StepOutput {
        StepOutput {
            document: self.one(&[None, Some(BlobId::new("document"))]),
            files: self.one(&[None, Some(CommitId::new("one")), Some(CommitId::new("base"))]),
            verdict: self.one(&[None, Some(Verdict::Passed), Some(Verdict::Failed)]),
            parts: self.parts(),
            ..StepOutput::default()
        }
    }

    fn request(&mut self) -> GateRequest {
        let question = GateRequest::Question {
            text: "which?".to_owned(),
        };
        let permission = GateRequest::Permission(PermissionAsk {
            tool: "Bash".to_owned(),
            command: None,
            paths: vec![],
        });
        self.one(&[question, permission, budget(1)])
    }

    fn answer(&mut self) -> Answer {
        Answer {
            approved: self.one(&[true, true, false]),
            comment: self.one(&[None, Some("words".to_owned()), Some(" ".to_owned())]),
            choice: self.one(&[None, Some("today".to_owned()), Some("task".to_owned())]),
            max_cost: self.one(&[None, Some(Money::ZERO), Some(Money::from_dollars(9))]),
            ..Answer::default()
        }
    }

    fn outcomes(&mut self) -> Vec<HunkOutcome> {
        let outcome = |id: &str, state| HunkOutcome {
            id: HunkId::new(id),
            state,
            reason: None,
        };
        let state = self.one(&[HunkState::Applied, HunkState::Rejected, HunkState::Conflict]);
        self.one(&[
            vec![],
            vec![outcome("h1", state)],
            vec![outcome("unknown", state)],
        ])
    }

    fn steps(&mut self) -> Option<Vec<StepSpec>> {
        let mut short = spec(RunOptions::default()).steps;
        short.truncate(2);
        self.one(&[None, None, Some(vec![]), Some(short)])
    }

    fn event(&mut self, machine: &Machine) -> Event {
        let (step, attempt) = (self.step(), self.attempt());
        match self.below(22) {
            0 => Event::Admitted,
            1 => Event::Recovered,
            2 => Event::SnapshotTaken {
                commit: CommitId::new("base"),
                tree: TreeId::new("tree"),
                for_agents: self.one(&[None, Some(CommitId::new("one"))]),
                withheld: vec![],
            },
            3 => Event::SnapshotFailed { error: self.error() },
            4..8 => Event::StepFinished {
                step,
                attempt,
                output: Box::new(self.output()),
            },
            8 => Event::StepFailed {
                step,
                attempt,
                failure: self.failure(),
            },
            9 => Event::Asked {
                step,
                request: self.request(),
            },
            10..12 => Event::Answered {
                approval: machine
                    .open_gates()
                    .next()
                    .map(|gate| gate.id.clone())
                    .filter(|_| self.below(4) > 0),
                gate: self.one(&[None, None, Some(GateKind::Patch), Some(GateKind::Budget)]),
                answer: self.answer(),
                plan_document: self.one(&[None, Some(BlobId::new("edited"))]),
                plan_parts: self.parts(),
                by: person(),
            },
            12 => Event::PlanDrafted {
                draft: BlobId::new("draft"),
            },
            13 => Event::ResultsMerged {
                step,
                attempt,
                onto: self.commit(),
                outcome: self.one(&[
                    MergeOutcome::Merged {
                        files: CommitId::new("both"),
                    },
                    MergeOutcome::Collided { paths: vec![] },
                ]),
            },
            14 => Event::MergeFailed {
                step,
                attempt,
                error: self.error(),
            },
            15 => Event::PatchPrepared {
                prepared: Box::new(prepared(self.one(&[&["h1", "h2"][..], &[]]))),
            },
            16 => Event::PatchFailed { error: self.error() },
            17 => Event::HunksDecided {
                outcomes: self.outcomes(),
                comment: None,
                by: person(),
            },
            18 => Event::ApplyFinished {
                outcomes: self.outcomes(),
            },
            19 => self.one(&[Event::Paused, Event::Resumed, Event::Resumed]),
            20 => Event::Retried {
                from: self.one(&[None, Some(step)]),
                steps: self.steps(),
            },
            _ => self.one(&[
                Event::TimeReached,
                Event::TimeReached,
                Event::Cancelled { by: person() },
            ]),
        }
    }

    /// Something in the stored state is another than it can be.
    fn disturb(&mut self, machine: &Machine) -> Machine {
        let mut stored = serde_json::to_value(machine).expect("written");
        let statuses = [
            "pending",
            "running",
            "backoff",
            "merging",
            "finished",
            "failed",
            "skipped",
            "cancelled",
        ];
        let (step, status) = (self.below(machine.steps.len().max(1)), self.one(&statuses));
        let division = self.one(&["open", "divided", "joined"]);
        let stage = self.one(&["none", "preparing", "ready", "applying", "review", "settled"]);
        let has_steps = !machine.steps.is_empty();
        match self.below(6) {
            0 if has_steps => stored["steps"][step]["status"] = Value::from(status),
            1 if has_steps => stored["steps"][step]["division"] = Value::from(division),
            2 => stored["patchStage"] = Value::from(stage),
            3 => stored["snapshot"] = Value::from(self.one(&["todo", "running", "done"])),
            4 => stored["base"] = Value::Null,
            _ => stored["gates"] = Value::from(Vec::<Value>::new()),
        }
        serde_json::from_value(stored).unwrap_or_else(|_| machine.clone())
    }
}

fn check_one(machine: &mut Machine, at: Timestamp, event: &Event) {
    let before = machine.clone();
    match machine.next(at, event.clone()) {
        Ok(Transitioned { effects }) => {
            let ended = before.ending.is_some() && machine.ending.is_some();
            let only_told = effects
                .iter()
                .all(|effect| matches!(effect, Effect::Publish { .. } | Effect::Ended));
            assert!(
                !ended || only_told,
                "{event:?} makes an ended run ask for {effects:?}"
            );
        }
        Err(error) => {
            assert!(!error.code.is_empty());
            assert_eq!(*machine, before, "{event:?} was rejected and changed something");
        }
    }
    let stored = serde_json::to_string(machine).expect("it can be stored");
    assert_eq!(
        serde_json::from_str::<Machine>(&stored).expect("and read"),
        *machine
    );
}

#[test]
fn every_state_accepts_every_event() {
    // The last one is a run that had ended, with a step that its stored state called running.
    let seeds = (1..=SEEDS).chain([11_471_385_437_663_562_580]);
    for seed in seeds {
        for version in 1..=MACHINE_VERSION {
            for disturbed in [false, true] {
                live_through(seed, version, disturbed);
            }
        }
    }
}

fn live_through(seed: u64, version: u32, disturbed: bool) {
    let mut chance = Chance(seed);
    let mut spec = spec(RunOptions {
        skip_approvals: chance.below(3) == 0,
        ..RunOptions::default()
    });
    spec.time_limit_ms = chance.one(&[None, Some(5_000)]);
    let mut machine = Machine::new(spec);
    machine.version = version;
    let mut now = 1_000_i64;
    for _ in 0..EVENTS {
        if disturbed && chance.below(5) == 0 {
            machine = chance.disturb(&machine);
        }
        // A clock may jump, back as well.
        now = now.saturating_add(chance.one(&[1, 50, 2_000, 90_000, -60_000, i64::MAX / 2]));
        let event = chance.event(&machine);
        check_one(&mut machine, Timestamp(now), &event);
    }
}
