//! Scenarios of the machine: given a run, when something happens, then these effects and this state.

mod declared;
mod parts;
mod total;
mod versions;

use super::*;
use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::id::{BlobId, CommitId, HunkId, PipelineId, StepId, TaskId, TreeId};
use crate::money::Money;
use crate::task::{ApplyMode, Priority, RunOptions, Task};

struct Run {
    machine: Machine,
    now: Timestamp,
    effects: Vec<Effect>,
}

pub(super) fn spec(options: RunOptions) -> RunSpec {
    let step = |id: &str, agent: &str, role, needs: &[&str]| {
        let needs = needs.iter().map(|id| StepId::new(*id)).collect();
        StepSpec::new(id, agent, role, needs, 60_000)
    };
    let skip = if options.skip_approvals {
        GatePolicy::Skip
    } else {
        GatePolicy::Ask
    };
    RunSpec {
        pipeline: PipelineId::new("pipeline-t-1"),
        task: Task {
            id: TaskId::new("t"),
            explicit_id: true,
            title: "Do it".to_owned(),
            description: String::new(),
            priority: Priority::Medium,
            tests: vec![],
            constraints: vec![],
            target_files: vec![],
            origin: None,
            diagnostics: vec![],
        },
        options,
        steps: vec![
            step("task-master", "taskMaster", StepRole::Brief, &[]),
            step("architect", "architect", StepRole::Plan, &["task-master"]),
            step("developer", "developer", StepRole::Change, &["architect"]),
            step("qa", "qa", StepRole::Verify, &["developer"]),
            step("kb-builder", "kbBuilder", StepRole::Learn, &["qa"]),
        ],
        plan_gate: skip,
        patch_gate: skip,
        rounds_max: 2,
        attempts_max: 3,
        retry_initial_ms: 100,
        retry_max_ms: 1000,
        time_limit_ms: None,
        buffers: None,
        request: None,
        config: BlobId::new("config"),
        demo: false,
    }
}

impl Run {
    fn new(options: RunOptions) -> Self {
        let mut run = Self {
            machine: Machine::new(spec(options)),
            now: Timestamp(1_000),
            effects: vec![],
        };
        run.event(Event::Admitted);
        run.event(Event::SnapshotTaken {
            commit: CommitId::new("base"),
            tree: TreeId::new("tree"),
            for_agents: None,
            withheld: vec![],
        });
        run
    }

    fn event(&mut self, event: Event) {
        self.try_event(event).expect("accepted");
    }

    fn try_event(&mut self, event: Event) -> crate::Result<()> {
        self.now = self.now.plus_ms(1);
        self.effects = self.machine.next(self.now, event)?.effects;
        Ok(())
    }

    fn order(&self) -> &StepOrder {
        let orders: Vec<&StepOrder> = self
            .effects
            .iter()
            .filter_map(|effect| {
                if let Effect::RunStep { order } = effect {
                    Some(&**order)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(orders.len(), 1, "{:?}", self.effects);
        orders[0]
    }

    fn ordered(&self) -> Vec<&str> {
        self.effects
            .iter()
            .filter_map(|effect| {
                if let Effect::RunStep { order } = effect {
                    Some(order.step.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    fn finish(&mut self, step: &str, output: StepOutput) {
        let attempt = self.machine.step(&StepId::new(step)).expect("step").attempts;
        self.event(Event::StepFinished {
            step: StepId::new(step),
            attempt,
            output: Box::new(output),
        });
    }

    fn fail(&mut self, step: &str, failure: StepFailure) {
        let attempt = self.machine.step(&StepId::new(step)).expect("step").attempts;
        self.event(Event::StepFailed {
            step: StepId::new(step),
            attempt,
            failure,
        });
    }

    fn answer(&mut self, kind: GateKind, answer: Answer) -> crate::Result<()> {
        let approval = self
            .machine
            .open_gates()
            .find(|gate| gate.kind == kind)
            .map(|gate| gate.id.clone());
        self.try_event(Event::Answered {
            approval,
            gate: Some(kind),
            answer,
            plan_document: None,
            plan_parts: vec![],
            by: person(),
        })
    }

    fn to_developer(options: RunOptions) -> Self {
        let mut run = Self::new(options);
        run.finish("task-master", document("brief"));
        run.finish("architect", document("plan"));
        if run.machine.status() == Status::AwaitingApproval {
            run.answer(GateKind::Plan, yes()).expect("plan approved");
        }
        run
    }

    fn to_patch(options: RunOptions) -> Self {
        let mut run = Self::to_developer(options);
        run.finish("developer", files("result"));
        run.finish("qa", verdict(Verdict::Passed));
        run.event(Event::PatchPrepared {
            prepared: Box::new(prepared(&["h1", "h2"])),
        });
        run
    }

    fn decide(&mut self, hunk: &str, state: HunkState) {
        let outcomes = vec![HunkOutcome {
            id: HunkId::new(hunk),
            state,
            reason: None,
        }];
        self.event(Event::HunksDecided {
            outcomes,
            comment: None,
            by: person(),
        });
    }
}

pub(super) fn person() -> Answerer {
    Answerer {
        surface: "editor".to_owned(),
        detail: String::new(),
    }
}

fn yes() -> Answer {
    Answer {
        approved: true,
        ..Answer::default()
    }
}

fn no(comment: Option<&str>) -> Answer {
    Answer {
        approved: false,
        comment: comment.map(str::to_owned),
        ..Answer::default()
    }
}

fn document(name: &str) -> StepOutput {
    StepOutput {
        summary: name.to_owned(),
        document: Some(BlobId::new(name)),
        ..StepOutput::default()
    }
}

fn files(commit: &str) -> StepOutput {
    StepOutput {
        files: Some(CommitId::new(commit)),
        ..StepOutput::default()
    }
}

fn verdict(verdict: Verdict) -> StepOutput {
    StepOutput {
        verdict: Some(verdict),
        document: Some(BlobId::new("report")),
        ..StepOutput::default()
    }
}

pub(super) fn prepared(hunks: &[&str]) -> PreparedPatch {
    let record = |id: &&str| HunkRecord {
        id: HunkId::new(*id),
        path: "a.rs".to_owned(),
        state: HunkState::Pending,
        round: 0,
        ask: false,
        comment: None,
        reason: None,
    };
    PreparedPatch {
        patch: BlobId::new("patch"),
        result: CommitId::new("result"),
        hunks: hunks.iter().map(record).collect(),
    }
}

fn transient() -> StepFailure {
    StepFailure::transient(Error::new(Kind::Provider, "overloaded", "overloaded"))
}

#[test]
fn a_run_goes_through_its_steps_waits_at_both_gates_and_completes() {
    let mut run = Run::new(RunOptions::default());
    assert_eq!(run.order().step.as_str(), "task-master");
    run.finish("task-master", document("brief"));
    assert_eq!(run.order().brief, Some(BlobId::new("brief")));
    run.finish("architect", document("plan"));
    assert_eq!(run.machine.status(), Status::AwaitingApproval);
    assert!(run.ordered().is_empty());
    run.answer(GateKind::Plan, yes()).expect("approved");
    assert_eq!(run.order().plan, Some(BlobId::new("plan")));
    run.finish("developer", files("result"));
    assert_eq!(run.order().files, CommitId::new("result"));
    run.finish("qa", verdict(Verdict::Passed));
    assert!(run.effects.contains(&Effect::PreparePatch {
        base: CommitId::new("base"),
        result: CommitId::new("result")
    }));
    run.event(Event::PatchPrepared {
        prepared: Box::new(prepared(&["h1", "h2"])),
    });
    assert_eq!(run.machine.status(), Status::AwaitingApproval);
    run.decide("h1", HunkState::Applied);
    assert_eq!(run.machine.status(), Status::AwaitingApproval);
    run.decide("h2", HunkState::Rejected);
    assert_eq!(run.ordered(), ["kb-builder"]);
    run.finish("kb-builder", StepOutput::default());
    assert_eq!(run.machine.status(), Status::Completed);
    assert_eq!(run.machine.progress(), 100);
}

#[test]
fn skipped_approvals_answer_plan_and_patch_and_say_so() {
    let options = RunOptions {
        skip_approvals: true,
        apply: ApplyMode::Direct,
        ..RunOptions::default()
    };
    let run = Run::to_patch(options);
    assert!(run.effects.contains(&Effect::ApplyPatch));
    assert_eq!(
        run.machine.gates[0]
            .resolution
            .as_ref()
            .map(|r| r.by.surface.as_str()),
        Some("policy")
    );
}

#[test]
fn what_cannot_be_applied_directly_goes_to_a_person() {
    let mut run = Run::to_patch(RunOptions {
        skip_approvals: true,
        apply: ApplyMode::Direct,
        ..RunOptions::default()
    });
    let outcome = |id: &str, state| HunkOutcome {
        id: HunkId::new(id),
        state,
        reason: None,
    };
    run.event(Event::ApplyFinished {
        outcomes: vec![
            outcome("h1", HunkState::Applied),
            outcome("h2", HunkState::Conflict),
        ],
    });
    assert_eq!(
        run.machine.open_gates().map(|gate| gate.kind).collect::<Vec<_>>(),
        [GateKind::Patch]
    );
    run.decide("h2", HunkState::Rejected);
    assert_eq!(run.ordered(), ["kb-builder"]);
}

#[test]
fn the_step_that_a_retry_names_is_fresh_until_it_has_finished_and_no_other_is() {
    let mut run = Run::to_patch(RunOptions::default());
    run.event(Event::Cancelled { by: person() });
    run.event(Event::Retried {
        from: Some(StepId::new("architect")),
        steps: None,
    });
    assert!(run.order().fresh);
    run.fail("architect", transient());
    run.now = run.now.plus_ms(10_000);
    run.event(Event::TimeReached);
    assert!(run.order().fresh, "another attempt is the same question");
    run.event(Event::Recovered);
    assert!(run.order().fresh, "a crash forgets nothing");
    run.finish("architect", document("plan"));
    run.answer(GateKind::Plan, yes()).expect("approved");
    assert!(!run.order().fresh, "the Developer was not named");
}

#[test]
fn a_step_for_which_an_earlier_result_stands_is_told_as_cached() {
    let mut run = Run::new(RunOptions::default());
    run.finish(
        "task-master",
        StepOutput {
            saved: Some(Money::from_dollars(1)),
            ..document("brief")
        },
    );
    let told = run.effects.iter().find_map(|effect| match effect {
        Effect::Publish {
            event: RunEvent::StepFinished { cached, .. },
        } => Some(*cached),
        _ => None,
    });
    assert_eq!(told, Some(true));
    run.finish("architect", document("plan"));
    let told = serde_json::to_value(&run.effects[0]).expect("JSON");
    assert_eq!(told["event"].get("cached"), None, "{told}");
}

#[test]
fn a_refused_plan_with_a_comment_is_planned_again_and_without_one_ends_the_run() {
    let mut run = Run::new(RunOptions::default());
    run.finish("task-master", document("brief"));
    run.finish("architect", document("plan"));
    let first = run.machine.open_gates().next().expect("gate").id.clone();
    run.answer(GateKind::Plan, no(Some("smaller, please")))
        .expect("accepted");
    assert_eq!(run.order().comment.as_deref(), Some("smaller, please"));
    run.finish("architect", document("plan"));
    assert_ne!(
        run.machine.open_gates().next().expect("gate").id,
        first,
        "the same text again is another question"
    );
    run.answer(GateKind::Plan, no(None)).expect("accepted");
    assert_eq!(run.machine.status(), Status::Cancelled);
}

#[test]
fn an_answer_to_a_closed_gate_changes_nothing() {
    let mut run = Run::new(RunOptions::default());
    run.finish("task-master", document("brief"));
    run.finish("architect", document("plan"));
    let id = run.machine.open_gates().next().map(|gate| gate.id.clone());
    run.answer(GateKind::Plan, yes()).expect("approved");
    let before = run.machine.clone();
    let late = Event::Answered {
        approval: id,
        gate: None,
        answer: no(None),
        plan_document: None,
        plan_parts: vec![],
        by: person(),
    };
    assert_eq!(run.try_event(late).expect_err("closed").code, "approvalClosed");
    assert_eq!(run.machine, before);
}

#[test]
fn failed_tests_go_back_to_the_developer_at_most_twice() {
    let mut run = Run::to_developer(RunOptions::default());
    for round in 2..=3 {
        run.finish("developer", files("result"));
        run.finish("qa", verdict(Verdict::Failed));
        assert_eq!(
            (run.order().step.as_str(), run.order().round),
            ("developer", round)
        );
        assert_eq!(run.order().findings, Some(BlobId::new("report")));
    }
    run.finish("developer", files("result"));
    run.finish("qa", verdict(Verdict::Failed));
    assert_eq!(run.machine.status(), Status::Failed);
    assert_eq!(
        run.machine.error.as_ref().map(|e| e.code.as_ref()),
        Some("qaFailed")
    );
}

#[test]
fn a_transient_failure_is_tried_again_after_its_wait_and_gives_up_after_the_attempts_allowed() {
    let mut run = Run::to_developer(RunOptions::default());
    for _ in 0..2 {
        run.fail("developer", transient());
        assert!(run.ordered().is_empty());
        run.now = run.now.plus_ms(2_000);
        run.event(Event::TimeReached);
        assert_eq!(run.ordered(), ["developer"]);
    }
    run.fail("developer", transient());
    assert_eq!(run.machine.status(), Status::Failed);
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    assert_eq!(
        run.order().attempt,
        4,
        "attempt numbers never repeat: intents are made of them"
    );
}

#[test]
fn a_wait_whose_timer_went_off_while_paused_is_timed_again_when_the_clock_was_set_back() {
    let mut run = Run::to_developer(RunOptions::default());
    run.event(Event::Paused);
    run.fail("developer", transient());
    let due = run.now.plus_ms(2_000);
    run.now = due;
    run.event(Event::TimeReached);
    assert!(run.ordered().is_empty(), "it is paused");

    run.now = due.plus_ms(-60_000);
    run.event(Event::Resumed);

    let timer = run.effects.iter().find_map(|effect| match effect {
        Effect::SetTimer { at } => Some(*at),
        _ => None,
    });
    assert!(timer.is_some_and(|at| at > run.now && at <= due), "{timer:?}");
    run.now = due;
    run.event(Event::TimeReached);
    assert_eq!(run.ordered(), ["developer"]);
}

#[test]
fn after_a_crash_the_step_under_way_begins_anew_and_finished_ones_do_not() {
    let mut run = Run::to_developer(RunOptions::default());
    run.event(Event::Recovered);
    assert_eq!((run.order().step.as_str(), run.order().attempt), ("developer", 2));
}

#[test]
fn after_a_crash_an_open_gate_is_still_open_and_can_be_answered() {
    let mut run = Run::new(RunOptions::default());
    run.finish("task-master", document("brief"));
    run.finish("architect", document("plan"));
    run.event(Event::Recovered);
    assert!(run.ordered().is_empty());
    assert_eq!(run.machine.status(), Status::AwaitingApproval);
    run.answer(GateKind::Plan, yes()).expect("approved");
    assert_eq!(run.ordered(), ["developer"]);
}

fn budget(limit: i64) -> GateRequest {
    GateRequest::Budget(BudgetAsk {
        scope: "run".to_owned(),
        limit: Money::from_dollars(limit),
        spent: Money::ZERO,
        needed: Money::from_dollars(1),
    })
}

#[test]
fn a_reached_budget_waits_for_a_higher_limit_and_no_ends_the_run_with_its_results() {
    let mut run = Run::to_developer(RunOptions::default());
    run.event(Event::Asked {
        step: StepId::new("developer"),
        request: budget(5),
    });
    assert_eq!(run.machine.status(), Status::AwaitingApproval);
    let anonymous = Event::Answered {
        approval: None,
        gate: None,
        answer: yes(),
        plan_document: None,
        plan_parts: vec![],
        by: person(),
    };
    assert_eq!(
        run.try_event(anonymous).expect_err("needs its id").code,
        "approvalIdNeeded"
    );
    assert_eq!(
        run.answer(GateKind::Budget, yes())
            .expect_err("needs a limit")
            .code,
        "maxCostNeeded"
    );
    let raise = |dollars| Answer {
        max_cost: Some(Money::from_dollars(dollars)),
        ..yes()
    };
    assert_eq!(
        run.answer(GateKind::Budget, raise(5))
            .expect_err("not higher")
            .code,
        "maxCostTooLow"
    );
    run.answer(GateKind::Budget, raise(8)).expect("accepted");
    assert_eq!(run.machine.limit(), Some(Money::from_dollars(8)));
    assert!(
        matches!(
            run.effects.as_slice(),
            [
                Effect::Publish { .. },
                Effect::SetTimer { .. },
                Effect::DeliverAnswer { .. }
            ]
        ),
        "{:?}",
        run.effects
    );
    run.event(Event::Asked {
        step: StepId::new("developer"),
        request: budget(8),
    });
    run.answer(GateKind::Budget, no(None)).expect("accepted");
    assert_eq!(run.machine.status(), Status::Cancelled);
}

#[test]
fn an_answer_given_while_the_step_was_dead_reaches_its_next_attempt() {
    let mut run = Run::to_developer(RunOptions::default());
    let ask = || Event::Asked {
        step: StepId::new("developer"),
        request: GateRequest::Permission(PermissionAsk {
            tool: "Bash".to_owned(),
            command: Some("make".to_owned()),
            paths: vec![],
        }),
    };
    run.event(ask());
    run.event(Event::Recovered);
    assert!(run.ordered().is_empty(), "it waits for the answer first");
    run.answer(
        GateKind::Permission,
        Answer {
            choice: Some("once".to_owned()),
            ..yes()
        },
    )
    .expect("accepted");
    assert_eq!(run.ordered(), ["developer"]);
    run.event(ask());
    assert!(matches!(run.effects.as_slice(), [Effect::DeliverAnswer { answer, .. }] if answer.approved));
    run.event(ask());
    assert_eq!(run.machine.status(), Status::AwaitingApproval, "once is once");
}

#[test]
fn nothing_begins_while_paused_and_the_step_under_way_may_end() {
    let mut run = Run::to_developer(RunOptions::default());
    run.event(Event::Paused);
    run.finish("developer", files("result"));
    assert!(run.ordered().is_empty());
    assert_eq!(run.machine.status(), Status::Paused);
    run.event(Event::Resumed);
    assert_eq!(run.ordered(), ["qa"]);
}

#[test]
fn cancelling_aborts_the_step_and_keeps_what_there_is() {
    let mut run = Run::to_developer(RunOptions::default());
    run.event(Event::Cancelled { by: person() });
    assert!(run.effects.contains(&Effect::AbortStep {
        step: StepId::new("developer")
    }));
    assert_eq!(run.machine.plan, Some(BlobId::new("plan")));
    assert_eq!(run.try_event(Event::Paused).expect_err("ended").kind, Kind::State);
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    assert_eq!(run.ordered(), ["developer"]);
}

#[test]
fn a_refused_patch_with_a_comment_begins_another_round_that_keeps_what_was_decided() {
    let mut run = Run::to_patch(RunOptions::default());
    run.decide("h1", HunkState::Applied);
    run.answer(GateKind::Patch, no(Some("rename it")))
        .expect("accepted");
    assert_eq!(
        (run.order().comment.as_deref(), run.order().files.as_str()),
        (Some("rename it"), "result")
    );
    run.finish("developer", files("result2"));
    run.finish("qa", verdict(Verdict::Passed));
    run.event(Event::PatchPrepared {
        prepared: Box::new(prepared(&["h1", "h3"])),
    });
    let states: Vec<_> = run
        .machine
        .hunks
        .iter()
        .map(|hunk| (hunk.id.as_str(), hunk.state))
        .collect();
    assert_eq!(
        states,
        [
            ("h1", HunkState::Applied),
            ("h3", HunkState::Pending),
            ("h2", HunkState::Superseded)
        ]
    );
}

#[test]
fn a_step_that_takes_too_long_is_ended() {
    let mut run = Run::to_developer(RunOptions::default());
    run.now = run.now.plus_ms(60_001);
    run.event(Event::TimeReached);
    assert!(run.effects.contains(&Effect::AbortStep {
        step: StepId::new("developer")
    }));
}

#[test]
fn late_words_of_an_earlier_attempt_are_ignored() {
    let mut run = Run::to_developer(RunOptions::default());
    run.event(Event::Recovered);
    let before = run.machine.clone();
    run.event(Event::StepFinished {
        step: StepId::new("developer"),
        attempt: 1,
        output: Box::new(files("stale")),
    });
    assert_eq!(run.machine, before);
}

#[test]
fn a_plan_that_is_carried_out_later_begins_its_progress_anew() {
    let mut run = Run::to_patch(RunOptions::default());
    run.decide("h1", HunkState::Applied);
    run.decide("h2", HunkState::Applied);
    run.finish("kb-builder", StepOutput::default());
    assert_eq!(run.machine.progress(), 100);
    run.event(Event::Retried {
        from: Some(StepId::new("developer")),
        steps: None,
    });
    assert!(run.machine.progress() < 100, "{}", run.machine.progress());
}

#[test]
fn the_state_survives_its_stored_form() {
    let run = Run::to_patch(RunOptions::default());
    let text = serde_json::to_string(&run.machine).expect("written");
    assert_eq!(serde_json::from_str::<Machine>(&text).expect("read"), run.machine);
}

#[test]
fn a_run_that_was_cancelled_during_its_snapshot_takes_another_when_it_is_retried() {
    let mut machine = Machine::new(spec(RunOptions::default()));
    machine.next(Timestamp(1), Event::Admitted).expect("admitted");
    machine
        .next(Timestamp(2), Event::Cancelled { by: person() })
        .expect("cancelled");
    let again = Event::Retried {
        from: None,
        steps: None,
    };
    let effects = machine.next(Timestamp(3), again).expect("retried").effects;
    let snapshots = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::TakeSnapshot { .. }));
    assert_eq!(snapshots.count(), 1);
}
