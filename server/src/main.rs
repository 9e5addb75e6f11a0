//! The one binary: a language server on stdin and stdout.

mod lsp;

use lsp::backend::Backend;
use lsp::{client, serve};
use tower_lsp::LspService;

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    serve::log_panics();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return std::process::ExitCode::FAILURE;
        }
    };
    let (client, drain) = client::connect();
    let backend = Backend::new(client.clone());
    let (service, _) = LspService::build_with_lifecycle_methods(|_| backend).finish();
    let code = runtime.block_on(serve::serve(
        std::io::stdin(),
        std::io::stdout(),
        (client, drain),
        service,
        async || {},
    ));
    exit(code)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread is still blocked in a read of stdin"
)]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
