//! Runs that an earlier version of the program stored, finished by this one under the rules of theirs.
//!
//! The states under `version_1` were written by the program of that version: a run of the demonstration
//! that waited at its plan gate, the same run at its patch gate, and the configuration that it froze.

use super::*;

const PLAN_GATE: &str = include_str!("version_1/plan-gate.json");
const PATCH_GATE: &str = include_str!("version_1/patch-gate.json");
const CONFIG: &str = include_str!("version_1/config.json");

fn stored(state: &str) -> Run {
    let machine: Machine = serde_json::from_str(state).expect("the state of an earlier version can be read");
    assert_eq!(machine.version, 1);
    let mut run = Run {
        machine,
        now: Timestamp(1_900_000_000_000),
        effects: vec![],
    };
    run.event(Event::Recovered);
    run
}

/// What is still to be done from the open patch gate on.
fn accept_the_patch(run: &mut Run) {
    assert_eq!(run.machine.status(), Status::AwaitingApproval);
    let pending: Vec<String> = run.machine.hunks.iter().map(|hunk| hunk.id.to_string()).collect();
    for hunk in &pending {
        run.decide(hunk, HunkState::Applied);
    }
    assert_eq!(run.ordered(), ["kbBuilder"]);
    run.finish("kbBuilder", StepOutput::default());
    assert_eq!(run.machine.status(), Status::Completed);
    assert_eq!(run.machine.version, 1, "it stays what it began as");
}

#[test]
fn a_run_of_version_1_with_its_plan_gate_open_is_finished() {
    let mut run = stored(PLAN_GATE);
    assert!(run.ordered().is_empty());
    run.answer(GateKind::Plan, yes()).expect("approved");
    assert_eq!(run.ordered(), ["developer"]);
    run.finish("developer", files("result"));
    run.finish("qa", verdict(Verdict::Failed));
    assert_eq!((run.order().step.as_str(), run.order().round), ("developer", 2));
    run.finish("developer", files("result2"));
    run.finish("qa", verdict(Verdict::Passed));
    run.event(Event::PatchPrepared {
        prepared: Box::new(PreparedPatch {
            result: CommitId::new("result2"),
            ..prepared(&["h1"])
        }),
    });
    accept_the_patch(&mut run);
}

#[test]
fn a_run_of_version_1_with_its_patch_gate_open_is_finished() {
    let mut run = stored(PATCH_GATE);
    assert_eq!(
        run.machine.open_gates().map(|gate| gate.kind).collect::<Vec<_>>(),
        [GateKind::Patch]
    );
    accept_the_patch(&mut run);
}

#[test]
fn the_configuration_that_a_run_of_version_1_froze_can_be_read() {
    let config: crate::config::Config = serde_json::from_str(CONFIG).expect("readable");
    assert_eq!(config.pipelines["default"].steps.len(), 5);
}

#[test]
fn a_run_of_a_newer_program_is_not_ours_to_drive() {
    assert!(is_known_version(1) && is_known_version(MACHINE_VERSION));
    assert!(!is_known_version(MACHINE_VERSION + 1) && !is_known_version(0));
}
