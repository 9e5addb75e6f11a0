//! What a declared pipeline says about its steps: conditions, attempts, time limits; and classes of failure.

use super::*;

/// A run whose steps and time are declared like this.
fn declared(change: impl FnOnce(&mut RunSpec)) -> Run {
    let mut spec = spec(RunOptions::default());
    change(&mut spec);
    let mut run = Run {
        machine: Machine::new(spec),
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

fn step<'a>(spec: &'a mut RunSpec, id: &str) -> &'a mut StepSpec {
    let found = spec.steps.iter_mut().find(|step| step.id.as_str() == id);
    found.expect("declared")
}

fn when(text: &str) -> Condition {
    text.parse().expect("a condition")
}

#[test]
fn a_step_whose_condition_does_not_hold_is_left_out_and_what_needs_it_goes_on() {
    let mut run = declared(|spec| {
        step(spec, "architect").when = Some(when("priority high"));
        step(spec, "qa").when = Some(when("tests"));
    });
    run.finish("task-master", document("brief"));
    assert_eq!(run.ordered(), ["developer"]);
    run.finish("developer", files("result"));
    let status = |run: &Run, id: &str| run.machine.step(&StepId::new(id)).map(|step| step.status);
    assert_eq!(status(&run, "architect"), Some(StepStatus::Skipped));
    assert_eq!(status(&run, "qa"), Some(StepStatus::Skipped));
    let patch = |effect: &Effect| matches!(effect, Effect::PreparePatch { .. });
    assert!(run.effects.iter().any(patch));
}

#[test]
fn a_condition_is_asked_when_the_turn_of_the_step_comes() {
    let mut run = declared(|spec| step(spec, "qa").when = Some(when("changed")));
    run.finish("task-master", document("brief"));
    run.finish("architect", document("plan"));
    run.answer(GateKind::Plan, yes()).expect("approved");
    run.finish("developer", files("result"));
    assert_eq!(run.ordered(), ["qa"]);
}

#[test]
fn findings_go_back_to_whoever_changed_files_last_before() {
    let mut run = declared(|spec| {
        let polish = StepSpec::new(
            "polish",
            "developer",
            StepRole::Change,
            vec![StepId::new("developer")],
            60_000,
        );
        spec.steps.insert(3, polish);
        step(spec, "qa").needs = vec![StepId::new("polish")];
    });
    run.finish("task-master", document("brief"));
    run.finish("architect", document("plan"));
    run.answer(GateKind::Plan, yes()).expect("approved");
    run.finish("developer", files("result"));
    run.finish("polish", files("polished"));
    run.finish("qa", verdict(Verdict::Failed));
    assert_eq!(run.ordered(), ["polish"]);
}

#[test]
fn a_step_has_the_attempts_that_are_declared() {
    let mut run = declared(|spec| step(spec, "task-master").attempts_max = Some(1));
    run.fail("task-master", transient());
    assert_eq!(run.machine.status(), Status::Failed);
}

#[test]
fn a_pipeline_that_works_longer_than_declared_is_ended_and_waiting_for_people_does_not_count() {
    let mut run = declared(|spec| spec.time_limit_ms = Some(10_000));
    run.finish("task-master", document("brief"));
    run.finish("architect", document("plan"));
    run.now = run.now.plus_ms(3_600_000);
    run.event(Event::TimeReached);
    run.answer(GateKind::Plan, yes()).expect("approved");
    let wake = run.effects.iter().find_map(|effect| match effect {
        Effect::SetTimer { at } if at.since_ms(run.now) < 60_000 => Some(*at),
        _ => None,
    });
    run.now = wake.expect("it is watched");
    run.event(Event::TimeReached);
    let code = run.machine.error.as_ref().map(|error| error.code.to_string());
    assert_eq!(code.as_deref(), Some("pipelineTimedOut"));
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    assert_eq!(run.ordered(), ["developer"], "with all its time again");
    assert_eq!(run.machine.status(), Status::Running);
}

#[test]
fn the_time_in_which_a_step_waits_for_an_answer_does_not_count() {
    let mut run = Run::to_developer(RunOptions::default());
    run.event(Event::Asked {
        step: StepId::new("developer"),
        request: GateRequest::Question {
            text: "which?".to_owned(),
        },
    });
    run.now = run.now.plus_ms(3_600_000);
    let answer = Answer {
        comment: Some("this".to_owned()),
        ..yes()
    };
    run.answer(GateKind::Question, answer).expect("answered");
    run.event(Event::TimeReached);
    let running = |run: &Run| {
        run.machine
            .step(&StepId::new("developer"))
            .map(|step| step.status)
    };
    assert_eq!(running(&run), Some(StepStatus::Running));
    run.now = run.now.plus_ms(60_000);
    run.event(Event::TimeReached);
    assert_eq!(running(&run), Some(StepStatus::Backoff));
}

fn failure(class: StepFailureClass) -> StepFailure {
    StepFailure {
        class,
        error: Error::new(Kind::Provider, "wrong", "wrong"),
    }
}

#[test]
fn each_class_of_failure_leads_where_it_should() {
    let after = |class| {
        let mut run = Run::to_developer(RunOptions::default());
        run.fail("developer", failure(class));
        (
            run.machine.status(),
            run.machine
                .step(&StepId::new("developer"))
                .map(|step| step.status),
        )
    };
    let again = (Status::Running, Some(StepStatus::Backoff));
    assert_eq!(after(StepFailureClass::Transient), again);
    assert_eq!(after(StepFailureClass::OutcomeUnknown), again);
    let given_up = (Status::Failed, Some(StepStatus::Failed));
    assert_eq!(after(StepFailureClass::Permanent), given_up);
    let waits = (Status::Paused, Some(StepStatus::Pending));
    assert_eq!(after(StepFailureClass::NeedsPerson), waits);
}

#[test]
fn what_a_person_has_mended_goes_on_where_it_was_when_the_run_is_resumed() {
    let mut run = Run::to_developer(RunOptions::default());
    for attempt in 2..=5 {
        let full = Error::new(Kind::Io, "diskFull", "the disk is full");
        run.fail("developer", StepFailure::from(full));
        assert!(run.ordered().is_empty());
        assert_eq!(run.machine.status_reason.as_deref(), Some("the disk is full"));
        run.event(Event::Resumed);
        assert_eq!(
            (run.order().step.as_str(), run.order().attempt),
            ("developer", attempt)
        );
    }
}

#[test]
fn a_cancelled_snapshot_or_patch_is_made_anew_by_a_retry() {
    let mut run = Run {
        machine: Machine::new(spec(RunOptions::default())),
        now: Timestamp(1_000),
        effects: vec![],
    };
    run.event(Event::Admitted);
    run.event(Event::Cancelled { by: person() });
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    assert!(run.effects.contains(&Effect::TakeSnapshot { buffers: None }));

    let mut run = Run::to_developer(RunOptions::default());
    run.finish("developer", files("result"));
    run.finish("qa", verdict(Verdict::Passed));
    run.event(Event::Cancelled { by: person() });
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    let patch = |effect: &Effect| matches!(effect, Effect::PreparePatch { .. });
    assert!(run.effects.iter().any(patch), "{:?}", run.effects);
}
