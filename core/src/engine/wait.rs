//! Waiting for a run: without polling where it is driven here, with a look now and then where not.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::{Engine, Notice};
use crate::error::{Error, Result};
use crate::id::PipelineId;

/// How often the store is looked at although no notice came.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The end of the run.
    Ended,
    /// The end, or that a person has to do something.
    EndedOrWaiting,
}

/// Why the waiting is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for came.
    Reached,
    /// Time is up.
    TimedOut,
}

impl Engine {
    /// Waits for a run. Dropping the future ends the waiting only.
    pub async fn wait(&self, run: &PipelineId, until: Until, limit: Option<Duration>) -> Result<Waited> {
        match limit {
            None => self.wait_for(run, until).await.map(|()| Waited::Reached),
            Some(limit) => match tokio::time::timeout(limit, self.wait_for(run, until)).await {
                Ok(reached) => reached.map(|()| Waited::Reached),
                Err(_) => Ok(Waited::TimedOut),
            },
        }
    }

    async fn wait_for(&self, run: &PipelineId, until: Until) -> Result<()> {
        let mut notices = self.notices();
        loop {
            let row = self.row(run).await?;
            let waits = matches!(row.status.as_str(), "awaitingApproval" | "paused");
            if row.finished || (until == Until::EndedOrWaiting && waits) {
                return Ok(());
            }
            if let Some(error) = self.halted(run) {
                return Err(error);
            }
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(Error::cancelled()),
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = changed(&mut notices, run) => {}
            }
        }
    }
}

/// Returns when something was told about the run, or when too much was told to know.
async fn changed(notices: &mut tokio::sync::broadcast::Receiver<Notice>, run: &PipelineId) {
    loop {
        match notices.recv().await {
            Ok(Notice::Changed(changed)) if changed == *run => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
    }
}
