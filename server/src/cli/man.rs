//! `man`: the manual page.

use clap::{Args, CommandFactory};
use clode_core::{Error, Result};

use super::desk::Caller;
use super::{Arguments, Exit};

/// Print the manual page (roff)
#[derive(Debug, Args)]
pub(crate) struct Man {}

impl Man {
    pub(super) fn run(caller: &Caller) -> Result<Exit> {
        let failed = |error: &std::io::Error| Error::io("the manual page", error);
        let mut text = Vec::new();
        let mut command = Arguments::command();
        command.build();
        clap_mangen::Man::new(command.clone())
            .render(&mut text)
            .map_err(|error| failed(&error))?;
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let page = clap_mangen::Man::new(sub.clone());
            page.render_name_section(&mut text)
                .map_err(|error| failed(&error))?;
            page.render_synopsis_section(&mut text)
                .map_err(|error| failed(&error))?;
            page.render_options_section(&mut text)
                .map_err(|error| failed(&error))?;
        }
        caller.output.print(&String::from_utf8_lossy(&text));
        Ok(Exit::Done)
    }
}
