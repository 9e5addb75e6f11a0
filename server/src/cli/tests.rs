use super::*;

fn mode_of(options: &[&str], stdin_is_terminal: bool) -> Result<Mode, u8> {
    let arguments: Vec<OsString> = std::iter::once("clode-ls")
        .chain(options.iter().copied())
        .map(OsString::from)
        .collect();
    mode(&arguments, stdin_is_terminal)
}

fn is_server(options: &[&str], stdin_is_terminal: bool) -> bool {
    matches!(mode_of(options, stdin_is_terminal), Ok(Mode::Server))
}

#[test]
fn an_editor_gets_the_server_whatever_flags_it_adds() {
    for options in [
        &["--stdio"][..],
        &["--stdio", "--clientProcessId=4711"],
        &["--clientProcessId=4711", "--stdio"],
        &["--stdio", "--clientProcessId", "4711"],
        &["--clientProcessId", "4711", "--stdio"],
        &["--stdio", "--log-level=debug", "--whatever"],
    ] {
        assert!(
            is_server(options, false) && is_server(options, true),
            "{options:?}"
        );
    }
    assert!(is_server(&[], false));
    assert!(is_server(&["--clientProcessId=4711"], false));
    assert!(is_server(&["--clientProcessId", "4711"], false));
}

#[test]
fn a_person_gets_help_and_commands() {
    assert_eq!(mode_of(&[], true).map(|_| ()), Err(0));
    assert_eq!(mode_of(&["--version"], false).map(|_| ()), Err(0));
    assert_eq!(mode_of(&["--help"], false).map(|_| ()), Err(0));
    assert!(matches!(mode_of(&["status"], false), Ok(Mode::Command(_))));
    assert!(matches!(mode_of(&["pipelines"], false), Ok(Mode::Command(_))));
}

#[test]
fn wrong_usage_ends_with_two() {
    for options in [
        &["nonsense"][..],
        &["run"],
        &["run", "x", "--max-cost", "nan"],
        &["run", "x", "--at", "nowhere"],
        &["run", "x", "--apply", "--no-apply"],
        &["run", "x", "--priority", "urgent"],
        &["agent", "developer"],
        &["pipelines", "approve"],
        &["trust", "--yes"],
        &["config"],
        &["--whatever"],
    ] {
        assert_eq!(mode_of(options, true).map(|_| ()), Err(2), "{options:?}");
    }
}

#[test]
fn a_subcommand_is_never_taken_for_an_editor() {
    assert!(!is_server(&["run", "--stdio", "x"], false));
}

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn help_reads_well() {
    let mut command = Arguments::command();
    insta::assert_snapshot!("help", command.render_help().to_string());
    command.build();
    for name in ["run", "demo", "pipelines"] {
        let sub = command.find_subcommand_mut(name).map(clap::Command::render_help);
        insta::assert_snapshot!(
            format!("help_{name}"),
            sub.map(|help| help.to_string()).unwrap_or_default()
        );
    }
}

/// A run that was just started.
pub(super) fn machine() -> clode_core::pipeline::Machine {
    use clode_core::id::{BlobId, PipelineId, TaskId};
    use clode_core::pipeline::{GatePolicy, Machine, RunSpec, StepRole, StepSpec};
    use clode_core::task::{Priority, RunOptions, Task};
    let step = |id: &str, role| StepSpec::new(id, id, role, Vec::new(), 1000);
    Machine::new(RunSpec {
        pipeline: PipelineId::new("pipeline-1-a"),
        task: Task {
            id: TaskId::new("1"),
            explicit_id: false,
            title: "Add two numbers".to_owned(),
            description: String::new(),
            priority: Priority::Medium,
            tests: Vec::new(),
            constraints: Vec::new(),
            target_files: Vec::new(),
            origin: None,
            diagnostics: Vec::new(),
        },
        options: RunOptions {
            max_cost: Some(clode_core::money::Money::from_dollars(5)),
            ..RunOptions::default()
        },
        steps: vec![
            step("architect", StepRole::Plan),
            step("developer", StepRole::Change),
        ],
        plan_gate: GatePolicy::Ask,
        patch_gate: GatePolicy::Ask,
        rounds_max: 2,
        attempts_max: 3,
        retry_initial_ms: 1,
        retry_max_ms: 1,
        time_limit_ms: None,
        buffers: None,
        request: None,
        config: BlobId::new("c"),
        demo: false,
    })
}

/// An open gate of this kind.
pub(super) fn gate(kind: clode_core::pipeline::GateKind) -> clode_core::pipeline::Gate {
    let run = clode_core::id::PipelineId::new("pipeline-1-a");
    clode_core::pipeline::Gate::open(kind, &run, 1, "content", clode_core::clock::Timestamp(0))
}

mod exits {
    use clode_core::clock::Timestamp;
    use clode_core::pipeline::{Answer, Answerer, Ending, GateKind, Resolution};
    use clode_core::{Error, Kind};

    use super::{gate, machine};
    use crate::cli::Exit;

    #[test]
    fn errors_end_with_the_code_of_who_has_to_act() {
        let code = |kind| Exit::from(&Error::new(kind, "code", "message")).code();
        assert_eq!([Kind::Usage, Kind::Config].map(code), [2, 2]);
        assert_eq!(
            [
                Kind::State,
                Kind::Provider,
                Kind::Git,
                Kind::Io,
                Kind::Internal,
                Kind::Conflict
            ]
            .map(code),
            [1; 6]
        );
        assert_eq!(code(Kind::Budget), 4);
        assert_eq!(code(Kind::Cancelled), 130);
        assert_eq!(
            Exit::from(&Error::new(Kind::Git, "notARepository", "x")).code(),
            2
        );
    }

    #[test]
    fn runs_end_with_the_code_of_how_they_stand() {
        let ended = |ending, error: Option<Error>| {
            let mut machine = machine();
            (machine.ending, machine.error) = (Some(ending), error);
            Exit::of(&machine)
        };
        assert_eq!(ended(Ending::Completed, None), Exit::Done);
        assert_eq!(ended(Ending::Failed, Some(Error::internal("x"))), Exit::Failed);
        assert_eq!(
            ended(Ending::Failed, Some(Error::new(Kind::Budget, "budget", "x"))),
            Exit::Budget
        );
        assert_eq!(ended(Ending::Cancelled, None), Exit::Failed);
        let mut paused = machine();
        paused.paused = true;
        assert_eq!(Exit::of(&paused), Exit::Waiting);
    }

    #[test]
    fn a_budget_wins_over_whatever_else_is_waited_for() {
        let mut machine = machine();
        machine.gates = vec![gate(GateKind::Plan)];
        assert_eq!(Exit::of(&machine), Exit::Waiting);
        machine.gates.push(gate(GateKind::Budget));
        assert_eq!(Exit::of(&machine), Exit::Budget);
    }

    #[test]
    fn a_run_that_was_ended_at_its_budget_was_stopped_by_it() {
        let mut machine = machine();
        let by = Answerer {
            surface: "commandLine".to_owned(),
            detail: String::new(),
        };
        let mut refused = gate(GateKind::Budget);
        refused.resolution = Some(Resolution {
            answer: Answer::default(),
            by,
            at: Timestamp(0),
        });
        (machine.gates, machine.ending) = (vec![refused], Some(Ending::Cancelled));
        assert_eq!(Exit::of(&machine), Exit::Budget);
    }
}
