//! `completions`: what a shell needs to complete our arguments.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::desk::Caller;
use super::{Arguments, Exit};

/// Print completions for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, caller: &Caller) -> Exit {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "clode-ls", &mut text);
        caller.output.print(&String::from_utf8_lossy(&text));
        Exit::Done
    }
}
