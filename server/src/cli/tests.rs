use super::*;

fn mode_of(options: &[&str], stdin_is_terminal: bool) -> Result<Mode, u8> {
    let arguments: Vec<OsString> = std::iter::once("clode-ls").chain(options.iter().copied()).map(OsString::from).collect();
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
        assert!(is_server(options, false) && is_server(options, true), "{options:?}");
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
        insta::assert_snapshot!(format!("help_{name}"), sub.map(|help| help.to_string()).unwrap_or_default());
    }
}

mod exits {
    use clode_core::{Error, Kind};

    use crate::cli::Exit;

    #[test]
    fn errors_end_with_the_code_of_who_has_to_act() {
        let code = |kind| Exit::from(&Error::new(kind, "code", "message")).code();
        assert_eq!([Kind::Usage, Kind::Config].map(code), [2, 2]);
        assert_eq!([Kind::State, Kind::Provider, Kind::Git, Kind::Io, Kind::Internal, Kind::Conflict].map(code), [1; 6]);
        assert_eq!(code(Kind::Budget), 4);
        assert_eq!(code(Kind::Cancelled), 130);
        assert_eq!(Exit::from(&Error::new(Kind::Git, "notARepository", "x")).code(), 2);
    }
}
