//! The one binary: shim, language server, command line.

mod app;
mod cli;
mod logging;
mod lsp;
mod review;
mod status;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::Arc;

use clode_core::config::Environment;

fn main() -> std::process::ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments
        .get(1)
        .is_some_and(|first| first == clode_core::process::SHIM_ARGUMENT)
    {
        return clode_core::process::shim_main();
    }
    clode_core::process::harden_self();
    let mode = match cli::mode(&arguments, std::io::stdin().is_terminal()) {
        Ok(mode) => mode,
        Err(code) => return std::process::ExitCode::from(code),
    };
    let environment = Arc::new(Environment::from_process());
    let redactor = logging::start(&environment, mode.log_filter());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return std::process::ExitCode::FAILURE;
        }
    };
    exit(match mode {
        cli::Mode::Server => runtime.block_on(lsp::run(environment, redactor)),
        cli::Mode::Command(command) => runtime.block_on(cli::run(command, environment, redactor)).into(),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread may still be blocked in a read of stdin"
)]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
