//! The loop between the editor and the service: order, limits, panics, and how it all ends.
//!
//! Rules for whoever writes a handler:
//! * Notifications are awaited one after the other, in order of arrival. A notification handler never awaits the
//!   editor, it posts and returns.
//! * A request is polled once on the loop and spawned if it is not ready. What a handler does before its first await
//!   therefore happens in order of arrival, and must be short: no computing, no disk, no lock that others hold
//!   for long.
//! * A handler may be dropped at any await (`$/cancelRequest`); work that must go on hangs elsewhere.
//! * `initialize` reads [`Client::opening`]; its typed parameters are empty on purpose, because the typed form
//!   rejects what real editors send.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tower_lsp::{LanguageServer, LspService};

use super::client::Client;
use super::frame::{EndOfInput, Frame};
use super::parent;
use super::pump::Drain;

mod dispatch;
mod faults;
mod streams;

pub(crate) use faults::log_panics;

use dispatch::{Dispatcher, Flow};
use streams::Inbound;

/// How long children may take to end, and how long the editor may take to read what was still to be said.
const STOP_GRACE_MS: u64 = 500;

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// `exit`; properly after `shutdown` or not.
    Exit {
        after_shutdown: bool,
    },
    Input(EndOfInput),
    InputFailed,
    OutputFailed,
    ParentDied,
    /// The editor sends but does not read.
    Stalled,
}

impl Ending {
    fn exit_code(self) -> i32 {
        match self {
            Self::Exit { after_shutdown: true } => 0,
            _ => 1,
        }
    }
}

/// Serves one editor until it leaves, and says with which code the process has to exit. `client` and `drain` come from
/// [`super::client::connect`]; `stop` cancels all work and waits for what has to be put away.
///
/// Reading happens on a thread that cannot be interrupted: the caller has to exit the process.
pub(crate) async fn serve<S: LanguageServer>(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    (client, drain): (Client, Drain),
    service: LspService<S>,
    stop: impl AsyncFnOnce(),
) -> i32 {
    let (end, mut ends) = mpsc::channel(4);
    let mut inbox = streams::read(input);
    let written = streams::write(output, drain, end.clone());
    let mut dispatcher = Dispatcher::new(service, client.clone(), move |process_id| {
        let end = end.clone();
        parent::watch(process_id, move || {
            let _ = end.blocking_send(Ending::ParentDied);
        });
    });

    let ending = loop {
        let inbound = tokio::select! {
            biased;
            Some(ending) = ends.recv() => break ending,
            inbound = inbox.recv() => inbound.unwrap_or(Inbound::Failed),
        };
        let frame = match inbound {
            Inbound::Frame(Frame::End(reason)) => break Ending::Input(reason),
            Inbound::Failed => break Ending::InputFailed,
            Inbound::Frame(frame) => frame,
        };
        let flow = tokio::select! {
            biased;
            flow = dispatcher.take(frame) => flow,
            Some(ending) = ends.recv() => break ending,
        };
        match flow {
            Flow::Continue => {}
            Flow::Exit { after_shutdown } => break Ending::Exit { after_shutdown },
            Flow::Stalled => break Ending::Stalled,
        }
    };

    match ending {
        Ending::Exit { after_shutdown: true } => tracing::info!("the editor asked to exit"),
        Ending::Input(EndOfInput::Lost) => tracing::error!("no message header follows: the stream is lost"),
        other => tracing::warn!(reason = ?other, "the editor left without shutdown and exit"),
    }
    let grace = Duration::from_millis(STOP_GRACE_MS);
    if tokio::time::timeout(grace, stop()).await.is_err() {
        tracing::warn!("stopping takes too long");
    }
    dispatcher.abandon(grace).await;
    client.close();
    if tokio::time::timeout(grace, written).await.is_err() {
        tracing::warn!("the editor does not read what is left to say");
    }
    ending.exit_code()
}

/// The parameters of `initialize` that the typed form accepts from everybody.
fn typed_initialize_params() -> Value {
    serde_json::json!({ "processId": null, "rootUri": null, "capabilities": {} })
}

#[cfg(test)]
mod tests;
