//! The machine's new state and all that belongs to it, durable in one commit.

use std::time::Duration;

use super::Notice;
use super::actor::{Actor, live_of};
use super::signal::Outcome;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::StepKey;
use crate::pipeline::{Effect, Event, RunEvent, Status};
use crate::store::{AuditRecord, Finished, SignalId, Transition};

/// Wait before a transition that could not be stored is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Tries to store a transition before the run is left where it is durable.
const STORE_ATTEMPTS_MAX: u32 = 5;

/// What a person's decisions leave behind beside the state.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    /// Controls that were taken in, with what came of each.
    pub(super) consumed: Vec<(SignalId, String)>,
    /// Who decided what.
    pub(super) audit: Option<AuditRecord>,
    /// Results that nobody may use again.
    pub(super) rejected: Vec<StepKey>,
}

impl Actor {
    /// The transition: the machine's new state and all that belongs to it in one commit.
    pub(super) async fn store(&mut self, event: Event, signal: Option<SignalId>) -> Result<Vec<Effect>> {
        let mut next = self.machine.clone();
        let journal = self.encode(&event)?;
        let audit = self.audit_record(&event);
        let rejected = super::cache::rejected(&self.machine, &event);
        let at = self.now();
        let transitioned = next.next(at, event)?;
        let (published, effects): (Vec<Effect>, Vec<Effect>) = transitioned
            .effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Publish { .. }));
        let published = published.into_iter().filter_map(|effect| {
            if let Effect::Publish { event } = effect {
                Some(event)
            } else {
                None
            }
        });
        let consumed = match signal {
            Some(id) => vec![(id, self.encode(&Outcome::Accepted)?)],
            None => Vec::new(),
        };
        let state = self.encode(&next)?;
        let account = Account {
            consumed,
            audit,
            rejected,
        };
        self.commit(at, state, next.status(), journal, published.collect(), account)
            .await?;
        self.machine = next;
        self.ended = self.machine.ending.is_some();
        self.live.send_replace(live_of(&self.machine));
        self.hold_place();
        Ok(effects)
    }

    /// Writes until it is written; only a stale fence or the end of the process give up.
    pub(super) async fn commit(
        &mut self,
        at: Timestamp,
        state: String,
        status: Status,
        journal: String,
        events: Vec<RunEvent>,
        account: Account,
    ) -> Result<()> {
        let finished = match status {
            Status::Completed => Finished::Yes {
                reuse: self
                    .machine
                    .base_tree
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            },
            Status::Failed | Status::Cancelled => Finished::Yes { reuse: String::new() },
            _ => Finished::No,
        };
        let bodies: Vec<String> = events
            .iter()
            .map(|event| self.encode(event))
            .collect::<Result<_>>()?;
        let mut attempt = 1;
        loop {
            let transition = Transition {
                run: self.run.clone(),
                fence: self.fence,
                state: state.clone(),
                status: status.as_str().to_owned(),
                finished: finished.clone(),
                journal: journal.clone(),
                events: bodies.clone(),
                consumed: account.consumed.clone(),
                audit: account.audit.clone(),
                rejected: account.rejected.clone(),
                blobs: Vec::new(),
                at,
            };
            // A try whose answer got lost may have been carried out: the journal tells.
            let known = (attempt > 1).then_some(self.written);
            match self.shared.services.store.commit_after(transition, known).await {
                Ok(committed) => {
                    self.written = committed.entry;
                    for (seq, event) in committed.seqs.into_iter().zip(events) {
                        let _ = self.shared.notices.send(Notice::Event {
                            run: self.run.clone(),
                            seq,
                            event,
                        });
                    }
                    let _ = self.shared.notices.send(Notice::Changed(self.run.clone()));
                    return Ok(());
                }
                Err(error) if error.code == "fenced" || self.shared.stop.is_cancelled() => return Err(error),
                Err(error) if attempt >= STORE_ATTEMPTS_MAX => return Err(error),
                Err(error) => {
                    attempt += 1;
                    tracing::error!(%error, code = %error.code, "the state cannot be stored; trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }
}
