//! The command line: a file for each command, one place for exit codes, one for output.
//!
//! Results go to stdout; what is said to a person beside them goes to stderr, and so does everything
//! for people once `--json` is on.

mod agent;
mod apply;
mod completions;
mod config;
mod demo;
mod desk;
mod disk;
mod doctor;
mod drive;
mod editor;
mod exit;
mod gate;
mod interrupt;
mod man;
mod output;
mod pipelines;
mod place;
mod progress;
mod providers;
mod render;
mod report;
mod run;
mod status;
mod terminal;
mod trust;

use std::ffi::OsString;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use clode_core::Result;
use clode_core::config::Environment;
use clode_core::redact::Redactor;

pub(crate) use exit::Exit;

use desk::Caller;
use interrupt::Interrupt;
use output::Output;

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 waiting for approval or paused,
4 stopped by a budget, 130 interrupted.

Begin with `clode-ls demo`: it needs no key and sends nothing anywhere.";

/// A language server that gives editors a team of coding agents, and the same team on the command line.
#[derive(Debug, Parser)]
#[command(name = "clode-ls", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    /// Speak LSP on stdin and stdout, as editors do
    #[arg(long)]
    stdio: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What may be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Run(run::Run),
    Agent(agent::Agent),
    Status(status::Status),
    Pipelines(pipelines::Pipelines),
    Providers(providers::Providers),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Trust(trust::Trust),
    Completions(completions::Completions),
    Man(man::Man),
}

/// What this process is to be.
#[derive(Debug)]
pub(crate) enum Mode {
    /// The language server.
    Server,
    /// One command.
    Command(Box<Command>),
}

impl Mode {
    /// What is logged unless the person says otherwise.
    pub(crate) const fn log_filter(&self) -> &'static str {
        match self {
            Self::Server => "info",
            Self::Command(_) => "warn",
        }
    }
}

/// Reads the arguments. What is answered at once (help, version, wrong usage) comes back as an exit code,
/// before anything is opened.
pub(crate) fn mode(arguments: &[OsString], stdin_is_terminal: bool) -> Result<Mode, u8> {
    let options: Vec<&str> = arguments
        .iter()
        .skip(1)
        .filter_map(|argument| argument.to_str())
        .collect();
    if serves(&options, stdin_is_terminal) {
        return Ok(Mode::Server);
    }
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments {
            command: Some(command),
            ..
        }) => Ok(Mode::Command(Box::new(command))),
        Ok(_) => {
            // A closed pipe is no error of ours.
            let _ = Arguments::command().print_help();
            Err(Exit::Done.code())
        }
        Err(error) => {
            let _ = error.print();
            Err(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .code())
        }
    }
}

/// Whether an editor calls: `--stdio` among the options, with whatever else clients add; or nothing but
/// what clients add, and no person at the other end.
fn serves(options: &[&str], stdin_is_terminal: bool) -> bool {
    let Some(first) = options.first() else {
        return !stdin_is_terminal;
    };
    let asks = |option: &&str| matches!(*option, "--version" | "-V" | "--help" | "-h");
    if !first.starts_with('-') || options.iter().any(asks) {
        return false;
    }
    let by_a_client =
        |option: &&str| option.starts_with("--clientProcessId") || option.parse::<u32>().is_ok();
    options.contains(&"--stdio") || (!stdin_is_terminal && options.iter().all(by_a_client))
}

/// Carries a command out.
pub(crate) async fn run(
    command: Box<Command>,
    environment: Arc<Environment>,
    redactor: Arc<Redactor>,
) -> Exit {
    let interrupt = Interrupt::listen();
    let output = Output::new(&environment, command.wants_json());
    let result = match Caller::here(environment, redactor, output.clone(), interrupt) {
        Ok(caller) => Box::pin(carry_out(*command, &caller)).await,
        Err(error) => Err(error),
    };
    let exit = result.unwrap_or_else(|error| {
        output.error(&error);
        Exit::from(&error)
    });
    output.end(exit)
}

async fn carry_out(command: Command, caller: &Caller) -> Result<Exit> {
    match command {
        Command::Demo(demo) => demo.run(caller).await,
        Command::Run(run) => run.run(caller).await,
        Command::Agent(agent) => agent.run(caller).await,
        Command::Pipelines(pipelines) => pipelines.run(caller).await,
        Command::Status(status) => caller.unless_interrupted(status.run(caller)).await,
        Command::Providers(providers) => caller.unless_interrupted(providers.run(caller)).await,
        Command::Doctor(doctor) => caller.unless_interrupted(doctor.run(caller)).await,
        Command::Config(config) => caller.unless_interrupted(config.run(caller)).await,
        Command::Trust(trust) => caller.unless_interrupted(trust.run(caller)).await,
        Command::Completions(completions) => Ok(completions.run(caller)),
        Command::Man(_) => man::Man::run(caller),
    }
}

impl Command {
    fn wants_json(&self) -> bool {
        match self {
            Self::Demo(demo) => demo.json,
            Self::Run(run) => run.json,
            Self::Agent(agent) => agent.json,
            Self::Status(status) => status.json,
            Self::Pipelines(pipelines) => pipelines.json,
            Self::Providers(providers) => providers.json,
            Self::Doctor(doctor) => doctor.json,
            Self::Config(config) => config.json,
            Self::Trust(trust) => trust.json,
            Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
