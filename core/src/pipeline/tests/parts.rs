//! A plan in parts: several Developers, one result.

use super::*;
use crate::plan::PlanPart;

fn part(step: &str, needs: &[&str]) -> PlanPart {
    PlanPart {
        step: StepId::new(step),
        title: format!("Do {step}"),
        needs: needs.iter().map(|need| StepId::new(*need)).collect(),
    }
}

fn plan_of(parts: &[PlanPart]) -> StepOutput {
    StepOutput {
        parts: parts.to_vec(),
        ..document("plan")
    }
}

/// A run whose plan, approved, has these parts.
fn divided(parts: &[PlanPart]) -> Run {
    let mut run = Run::new(RunOptions::default());
    run.finish("task-master", document("brief"));
    run.finish("architect", plan_of(parts));
    run.answer(GateKind::Plan, yes()).expect("approved");
    run
}

fn two() -> Run {
    divided(&[part("a", &[]), part("b", &[])])
}

impl Run {
    /// The merge that is asked for: whose result, onto which files.
    fn merge(&self) -> Option<(&str, &str)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::MergeResults { step, onto, .. } => Some((step.as_str(), onto.as_str())),
            _ => None,
        })
    }

    fn merged(&mut self, step: &str, onto: &str, outcome: MergeOutcome) {
        let attempt = self.machine.step(&StepId::new(step)).expect("step").attempts;
        self.event(Event::ResultsMerged {
            step: StepId::new(step),
            attempt,
            onto: CommitId::new(onto),
            outcome,
        });
    }

    fn status_of(&self, step: &str) -> StepStatus {
        self.machine.step(&StepId::new(step)).expect("step").status
    }

    fn orders(&self) -> Vec<&StepOrder> {
        let orders = self.effects.iter().filter_map(|effect| match effect {
            Effect::RunStep { order } => Some(&**order),
            _ => None,
        });
        orders.collect()
    }
}

fn into(files: &str) -> MergeOutcome {
    MergeOutcome::Merged {
        files: CommitId::new(files),
    }
}

fn collided() -> MergeOutcome {
    MergeOutcome::Collided {
        paths: vec!["a.rs".to_owned()],
    }
}

#[test]
fn independent_parts_begin_at_once_from_the_same_files_and_qa_sees_both_results() {
    let mut run = two();
    assert_eq!(run.ordered(), ["developer.a", "developer.b"]);
    for order in run.orders() {
        assert_eq!(
            (order.files.as_str(), order.agent.as_str()),
            ("base", "developer")
        );
    }
    assert_eq!(run.orders()[1].part, Some(StepId::new("b")));
    let whole = run.machine.step(&StepId::new("developer")).expect("step").clone();
    assert_eq!(run.machine.shown_status(&whole), StepStatus::Running);

    run.finish("developer.b", files("with b"));
    assert_eq!(run.merge(), None, "nothing else was changed: it is the result");
    assert_eq!(run.status_of("developer.b"), StepStatus::Finished);
    run.finish("developer.a", files("with a"));
    assert_eq!(run.merge(), Some(("developer.a", "with b")));
    assert!(run.ordered().is_empty());
    assert_eq!(run.machine.status(), Status::Running);
    run.merged("developer.a", "with b", into("with both"));

    assert_eq!(run.status_of("developer"), StepStatus::Finished);
    assert_eq!(
        (run.order().step.as_str(), run.order().files.as_str()),
        ("qa", "with both")
    );
}

#[test]
fn a_part_begins_with_the_results_of_those_that_it_needs() {
    let mut run = divided(&[part("a", &[]), part("b", &["a"]), part("c", &[])]);
    assert_eq!(run.ordered(), ["developer.a", "developer.c"]);
    run.finish("developer.c", files("with c"));
    run.finish("developer.a", files("with a"));
    assert!(run.ordered().is_empty(), "what it needs is not merged yet");
    run.merged("developer.a", "with c", into("with a and c"));
    assert_eq!(
        (run.order().step.as_str(), run.order().files.as_str()),
        ("developer.b", "with a and c")
    );
}

#[test]
fn a_result_that_collides_is_done_again_alone_on_top_of_the_others() {
    let mut run = divided(&[part("a", &[]), part("b", &[]), part("c", &[])]);
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.merged("developer.b", "with a", collided());
    assert!(run.ordered().is_empty(), "somebody else is still at work");
    run.finish("developer.c", files("with c"));
    run.merged("developer.c", "with a", into("with a and c"));

    let again = run.order();
    assert_eq!(
        (again.step.as_str(), again.files.as_str(), again.attempt),
        ("developer.b", "with a and c", 2)
    );
    assert_eq!(again.collided_in, ["a.rs"]);
    run.finish("developer.b", files("with all"));
    assert_eq!(run.merge(), None, "alone it cannot collide");
    assert_eq!(run.order().files.as_str(), "with all");
}

#[test]
fn only_some_work_at_the_same_time_and_the_others_follow() {
    let parts: Vec<PlanPart> = (0..6).map(|number| part(&format!("s{number}"), &[])).collect();
    let mut run = divided(&parts);
    assert_eq!(run.ordered().len(), 4);
    run.finish("developer.s0", files("with s0"));
    assert_eq!(run.ordered(), ["developer.s4"]);
}

#[test]
fn findings_of_qa_go_to_one_developer() {
    let mut run = two();
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.merged("developer.b", "with a", into("with both"));
    run.finish("qa", verdict(Verdict::Failed));
    let order = run.order();
    assert_eq!(
        (order.step.as_str(), order.files.as_str(), order.round),
        ("developer", "with both", 2)
    );
    assert_eq!(order.part, None);
    run.finish("developer", files("repaired"));
    assert_eq!(run.ordered(), ["qa"]);
}

#[test]
fn after_a_crash_parts_under_way_begin_anew_and_a_merge_is_asked_for_again() {
    let mut run = divided(&[part("a", &[]), part("b", &[]), part("c", &[])]);
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.event(Event::Recovered);
    assert_eq!(run.merge(), Some(("developer.b", "with a")));
    let order = run.order();
    assert_eq!(
        (order.step.as_str(), order.attempt, order.files.as_str()),
        ("developer.c", 2, "base"),
        "it goes on from the files that its checkpoint belongs to"
    );
}

#[test]
fn a_pause_lets_parts_end_and_merges_nothing_until_it_is_over() {
    let mut run = two();
    run.event(Event::Paused);
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    assert_eq!((run.merge(), run.machine.status()), (None, Status::Paused));
    run.event(Event::Resumed);
    assert_eq!(run.merge(), Some(("developer.b", "with a")));
}

#[test]
fn cancelling_aborts_every_part_and_a_retry_repeats_only_what_was_not_done() {
    let mut run = divided(&[part("a", &[]), part("b", &[]), part("c", &[])]);
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.event(Event::Cancelled { by: person() });
    let aborted = |run: &Run| -> Vec<String> {
        let aborted = run.effects.iter().filter_map(|effect| match effect {
            Effect::AbortStep { step } => Some(step.to_string()),
            _ => None,
        });
        aborted.collect()
    };
    assert_eq!(aborted(&run), ["developer.c"]);
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    assert_eq!(run.ordered(), ["developer.c"]);
    assert_eq!(run.merge(), Some(("developer.b", "with a")));
}

#[test]
fn a_part_that_fails_for_good_ends_the_run_and_a_retry_repeats_it_alone() {
    let mut run = two();
    run.finish("developer.a", files("with a"));
    run.fail(
        "developer.b",
        StepFailure::permanent(Error::new(Kind::Provider, "refused", "refused")),
    );
    assert_eq!(run.machine.status(), Status::Failed);
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    assert_eq!(run.ordered(), ["developer.b"]);
}

fn done_in_parts() -> Run {
    let mut run = two();
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.merged("developer.b", "with a", into("with both"));
    run.finish("qa", verdict(Verdict::Passed));
    run.event(Event::PatchPrepared {
        prepared: Box::new(PreparedPatch {
            result: CommitId::new("with both"),
            ..prepared(&["h1"])
        }),
    });
    run.event(Event::Cancelled { by: person() });
    run
}

fn retry_from(run: &mut Run, step: &str) {
    run.event(Event::Retried {
        from: Some(StepId::new(step)),
        steps: None,
    });
}

#[test]
fn a_retry_from_the_developer_divides_the_work_anew_under_new_attempts() {
    let mut run = done_in_parts();
    retry_from(&mut run, "developer");
    assert_eq!(run.ordered(), ["developer.a", "developer.b"]);
    assert!(
        run.orders().iter().all(|order| order.attempt == 2),
        "intents are made of attempts: none is used twice"
    );
}

#[test]
fn a_retry_from_a_part_repeats_that_part_and_what_follows_from_it() {
    let mut run = done_in_parts();
    retry_from(&mut run, "developer.b");
    assert_eq!(run.ordered(), ["developer.b"]);
    run.finish("developer.b", files("with another b"));
    assert_eq!(run.order().step.as_str(), "qa");
    assert_eq!(run.order().files.as_str(), "with another b");
}

#[test]
fn another_plan_has_other_parts_and_attempts_go_on_counting() {
    let mut run = done_in_parts();
    retry_from(&mut run, "architect");
    assert!(run.machine.step(&StepId::new("developer.a")).is_none());
    run.finish("architect", plan_of(&[part("b", &[]), part("new", &[])]));
    run.answer(GateKind::Plan, yes()).expect("approved");
    let orders: Vec<(&str, u32)> = run
        .orders()
        .iter()
        .map(|order| (order.step.as_str(), order.attempt))
        .collect();
    assert_eq!(orders, [("developer.b", 2), ("developer.new", 1)]);
}

#[test]
fn a_person_who_edits_the_plan_decides_about_its_parts() {
    let mut run = Run::new(RunOptions::default());
    run.finish("task-master", document("brief"));
    run.finish("architect", plan_of(&[part("a", &[]), part("b", &[])]));
    run.event(Event::Answered {
        approval: None,
        gate: None,
        answer: yes(),
        plan_document: Some(BlobId::new("in one piece")),
        plan_parts: vec![],
        by: person(),
    });
    assert_eq!(run.ordered(), ["developer"]);
}

#[test]
fn a_run_of_version_1_is_never_divided() {
    let mut run = Run::new(RunOptions::default());
    run.machine.version = 1;
    run.finish("task-master", document("brief"));
    run.finish("architect", plan_of(&[part("a", &[]), part("b", &[])]));
    run.answer(GateKind::Plan, yes()).expect("approved");
    assert_eq!(run.ordered(), ["developer"]);
}

#[test]
fn news_of_a_merge_that_nobody_waits_for_changes_nothing() {
    let mut run = two();
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    retry_while_merging(&mut run);
    let before = run.machine.clone();
    run.event(Event::ResultsMerged {
        step: StepId::new("developer.b"),
        attempt: 1,
        onto: CommitId::new("with a"),
        outcome: into("stale"),
    });
    assert_eq!(run.machine, before);
}

/// The part is begun again while its first result is being merged.
fn retry_while_merging(run: &mut Run) {
    run.event(Event::Paused);
    retry_from(run, "developer.b");
    assert_eq!(run.ordered(), ["developer.b"]);
}

#[test]
fn a_merge_that_cannot_be_made_ends_the_run_and_loses_no_result() {
    let mut run = two();
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.event(Event::MergeFailed {
        step: StepId::new("developer.b"),
        attempt: 1,
        error: Error::new(Kind::Git, "gitTimedOut", "too slow"),
    });
    assert_eq!(run.machine.status(), Status::Failed);
    run.event(Event::Retried {
        from: None,
        steps: None,
    });
    assert_eq!(run.merge(), Some(("developer.b", "with a")));
    assert!(run.ordered().is_empty());
}

#[test]
fn a_merge_that_finds_the_disk_full_waits_and_is_made_when_there_is_room() {
    let mut run = two();
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.event(Event::MergeFailed {
        step: StepId::new("developer.b"),
        attempt: 1,
        error: Error::new(Kind::Io, "diskFull", "only 3 KiB are free"),
    });
    assert_eq!(run.machine.status(), Status::Paused);
    run.event(Event::Resumed);
    assert_eq!(run.merge(), Some(("developer.b", "with a")));
    assert!(run.ordered().is_empty());
}

#[test]
fn who_names_a_divided_step_gets_every_part_of_it_made_anew_even_after_a_collision() {
    let mut run = done_in_parts();
    retry_from(&mut run, "developer");
    assert!(run.orders().iter().all(|order| order.fresh));
    run.finish("developer.a", files("with a"));
    run.finish("developer.b", files("with b"));
    run.merged("developer.b", "with a", collided());
    assert!(run.order().step.as_str() == "developer.b" && run.order().fresh);

    let mut run = done_in_parts();
    retry_from(&mut run, "architect");
    run.finish("architect", plan_of(&[part("a", &[]), part("b", &[])]));
    run.answer(GateKind::Plan, yes()).expect("approved");
    assert!(
        run.orders().iter().all(|order| !order.fresh),
        "only the Architect was named"
    );
}
