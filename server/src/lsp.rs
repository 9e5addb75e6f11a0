//! The protocol edge: frames and their order, and every message that goes out to the editor.
//!
//! `serve` reads, orders and answers; what it calls into is a `LanguageServer`. Everything that
//! leaves goes through one [`pump::Outbox`], so that "progress ended" is on the wire before the
//! answer of the same command. Requests to the editor start in [`client::Client`] only.

pub(crate) mod action;
pub(crate) mod answer;
pub(crate) mod backend;
pub(crate) mod capabilities;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod diagnostic;
pub(crate) mod document;
pub(crate) mod edit;
pub(crate) mod encoding;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod hover;
#[cfg(test)]
pub(crate) mod lab;
pub(crate) mod lens;
pub(crate) mod notices;
pub(crate) mod parent;
pub(crate) mod preview;
pub(crate) mod progress;
pub(crate) mod pump;
pub(crate) mod review;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod sync;

use std::sync::Arc;

use clode_core::config::Environment;
use clode_core::redact::Redactor;

/// Serves the editor on stdin and stdout; answers the exit code.
pub(crate) async fn run(environment: Arc<Environment>, redactor: Arc<Redactor>) -> i32 {
    serve::log_panics();
    let (client, drain) = client::connect();
    let session = session::Session::new(client.clone(), environment, redactor);
    let service = backend::service(session.clone());
    serve::serve(
        std::io::stdin(),
        std::io::stdout(),
        (client, drain),
        service,
        async || session.close().await,
    )
    .await
}
