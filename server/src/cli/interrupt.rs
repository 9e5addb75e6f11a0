//! Ctrl-C: the first one parks the work where it is durable, the second one ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;

/// Fires when a person wants us to stop. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    token: CancellationToken,
}

impl Interrupt {
    /// Listens for the signals that mean it.
    pub(super) fn listen() -> Self {
        let token = CancellationToken::new();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        for mut signals in kinds.into_iter().filter_map(|kind| signal(kind).ok()) {
            let token = token.clone();
            tokio::spawn(async move { obey(&mut signals, &token).await });
        }
        Self { token }
    }

    /// Waits for it.
    pub(super) async fn happened(&self) {
        self.token.cancelled().await;
    }
}

async fn obey(signals: &mut Signal, token: &CancellationToken) {
    while signals.recv().await.is_some() {
        if token.is_cancelled() {
            end_at_once();
        }
        token.cancel();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the person asked twice: nothing is waited for, what is stored is stored"
)]
fn end_at_once() -> ! {
    std::process::exit(Exit::Interrupted.into())
}
