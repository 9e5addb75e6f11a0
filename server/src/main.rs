//! The one binary: shim, language server, command line.

mod app;
mod lsp;
mod review;

use std::sync::Arc;

use clode_core::config::Environment;
use clode_core::redact::{RedactingWriter, Redactor};

fn main() -> std::process::ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == clode_core::process::SHIM_ARGUMENT) {
        return clode_core::process::shim_main();
    }
    clode_core::process::harden_self();
    let environment = Arc::new(Environment::from_process());
    let redactor = Arc::new(Redactor::new());
    let log = Arc::clone(&redactor);
    tracing_subscriber::fmt().with_writer(move || RedactingWriter::new((*log).clone(), std::io::stderr())).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return std::process::ExitCode::FAILURE;
        }
    };
    exit(runtime.block_on(lsp::run(environment, redactor)))
}

#[expect(clippy::disallowed_methods, reason = "a thread is still blocked in a read of stdin")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
