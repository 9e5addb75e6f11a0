//! Controls: durable, deduplicated messages to the owner of a run, wherever it lives.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Engine, Services, locked, takeover};
use crate::error::{Error, Result};
use crate::finish::to_its_end;
use crate::id::{ApprovalId, PipelineId, StepId, random_hex};
use crate::pipeline::{Answer, Answerer, GateKind, HunkOutcome};

/// How long the caller waits for the owner to take a control in.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait for the outcome; doubles up to [`OUTCOME_POLL_MAX`].
const OUTCOME_POLL: Duration = Duration::from_millis(2);
/// Longest wait before the outcome is looked for again.
const OUTCOME_POLL_MAX: Duration = Duration::from_millis(50);

/// What a person wants of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Signal {
    /// An answer to a gate.
    Answer {
        /// Which gate.
        approval: Option<ApprovalId>,
        /// Or by kind.
        gate: Option<GateKind>,
        /// What was said.
        answer: Answer,
        /// By whom.
        by: Answerer,
    },
    /// A draft of the plan (Markdown).
    Draft {
        /// The text.
        plan: String,
    },
    /// What became of hunks.
    Decide {
        /// Which became what.
        outcomes: Vec<HunkOutcome>,
        /// A person's words.
        comment: Option<String>,
        /// By whom.
        by: Answerer,
    },
    /// Stop after the model call in flight.
    Pause,
    /// Go on.
    Resume,
    /// End.
    Cancel {
        /// By whom.
        by: Answerer,
    },
    /// Do it again.
    Retry {
        /// From this step on.
        from: Option<StepId>,
        /// With another pipeline.
        pipeline: Option<String>,
    },
}

/// Whether a control was taken in, as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    Accepted,
    Rejected(Error),
}

/// What to do with a run that nobody drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// Drive it here.
    Adopt,
    /// Take the control in and start nothing; whoever drives it next goes on from there.
    Leave,
}

impl Engine {
    /// Sends a control and waits until the owner has taken it in. A run without a living owner is
    /// adopted first.
    pub async fn signal(&self, run: &PipelineId, signal: Signal) -> Result<()> {
        self.signal_with(run, signal, Orphan::Adopt).await
    }

    /// As [`Engine::signal`], with a choice for runs that nobody drives.
    pub async fn signal_with(&self, run: &PipelineId, signal: Signal, orphan: Orphan) -> Result<()> {
        let shared = &self.shared;
        let known = shared.services.store.fence(run).await?;
        known.ok_or_else(|| takeover::unknown(run))?;
        let payload = serde_json::to_string(&signal)
            .map_err(|error| Error::internal(format!("a control cannot be written: {error}")))?;
        let dedup = random_hex(12)?;
        let part = match orphan {
            Orphan::Adopt => takeover::Part::Drive,
            Orphan::Leave => takeover::Part::Record,
        };
        let (sender, to) = (Arc::clone(shared), run.clone());
        let id = to_its_end(async move {
            let Services { store, clock, .. } = &sender.services;
            let id = store.send_signal(&to, &dedup, payload, clock.now()).await?;
            takeover::ensure(&sender, &to, part).await?;
            Ok::<_, Error>(id)
        })
        .await?;
        let mut looks = 0_u32;
        let deadline = tokio::time::Instant::now() + OUTCOME_TIMEOUT;
        let mut wait = OUTCOME_POLL;
        loop {
            if let Some(handle) = locked(&shared.actors).get(run) {
                handle.wake();
            }
            if let Some(text) = shared.services.store.signal_outcome(id).await? {
                return match serde_json::from_str(&text) {
                    Ok(Outcome::Accepted) => Ok(()),
                    Ok(Outcome::Rejected(error)) => Err(error),
                    Err(error) => Err(Error::internal(format!("an outcome cannot be read: {error}"))),
                };
            }
            looks += 1;
            if looks > 1 && looks.is_power_of_two() {
                // Who ended, or died, while this was stored has not seen it.
                takeover::ensure(shared, run, part).await?;
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::state(
                    "ownerSilent",
                    format!("the process that drives `{run}` does not answer"),
                )
                .hint("the request is stored and will be taken in; look again with `clode.pipeline.get`"));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(OUTCOME_POLL_MAX);
        }
    }

    /// Whether a living process drives this run.
    pub async fn is_driven(&self, run: &PipelineId) -> Result<bool> {
        let row = self.row(run).await?;
        Ok(row
            .owner
            .is_some_and(|owner| self.shared.services.store.is_alive(&owner)))
    }
}
