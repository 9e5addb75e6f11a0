//! What a person wants of a run: stored signals, taken in one by one, each with its outcome and its audit.

use super::actor::Actor;
use super::signal::{Outcome, Signal};
use super::transition::Account;
use crate::error::{Error, Kind, Result};
use crate::pipeline::{Answer, Effect, Event, GateKind};
use crate::plan::Plan;
use crate::store::{AuditRecord, SignalId};

/// Wait before controls that could not be read are looked for again.
const READ_RETRY_MS: i64 = 1_000;

impl Actor {
    /// Takes in what waits. Somebody who took this process for dead may drive the run now: then nothing is begun here
    /// any more.
    pub(super) async fn take_signals(&mut self) -> Result<()> {
        let pending = match self
            .shared
            .services
            .store
            .pending_signals(&self.run, self.fence)
            .await
        {
            Err(error) if error.code == "storeBusy" => {
                tracing::warn!(%error, "controls cannot be read now");
                self.timers.insert(self.now().plus_ms(READ_RETRY_MS));
                return Ok(());
            }
            pending => pending?,
        };
        for row in pending {
            let outcome = self.take_signal(row.id, &row.payload).await;
            match outcome {
                Ok(effects) => {
                    for effect in effects {
                        self.perform(effect);
                    }
                }
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => {
                    let outcome = self.encode(&Outcome::Rejected(error))?;
                    let state = self.encode(&self.machine)?;
                    self.commit(
                        self.now(),
                        state,
                        self.machine.status(),
                        "rejected".to_owned(),
                        Vec::new(),
                        Account {
                            consumed: vec![(row.id, outcome)],
                            ..Account::default()
                        },
                    )
                    .await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn take_signal(&mut self, id: SignalId, payload: &str) -> Result<Vec<Effect>> {
        let signal: Signal = serde_json::from_str(payload)
            .map_err(|error| Error::internal(format!("a control cannot be read: {error}")))?;
        let event = self.event_of(signal).await?;
        self.store(event, Some(id)).await
    }

    /// What the audit keeps of a person's decision: who, from where, about exactly what.
    pub(super) fn audit_record(&self, event: &Event) -> Option<AuditRecord> {
        let (by, action, detail) = match event {
            Event::Answered {
                approval,
                gate,
                answer,
                by,
                ..
            } => {
                let id = self.machine.find_gate(approval.clone(), *gate).ok()?;
                (
                    by,
                    "approval",
                    serde_json::json!({"approvalId": id, "answer": answer, "from": by.detail}),
                )
            }
            Event::HunksDecided { outcomes, by, .. } => (
                by,
                "hunks",
                serde_json::json!({"outcomes": outcomes, "from": by.detail}),
            ),
            Event::Cancelled { by } => (by, "cancel", serde_json::json!({"from": by.detail})),
            _ => return None,
        };
        Some(AuditRecord {
            at: self.now(),
            run: Some(self.run.clone()),
            actor: by.surface.clone(),
            action: action.to_owned(),
            detail: detail.to_string(),
        })
    }

    pub(super) async fn event_of(&self, signal: Signal) -> Result<Event> {
        Ok(match signal {
            Signal::Answer {
                approval,
                gate,
                answer,
                by,
            } => {
                let store = &self.shared.services.store;
                let of_plan = self
                    .machine
                    .find_gate(approval.clone(), gate)
                    .is_ok_and(|id| self.machine.gate_kind(&id) == Some(GateKind::Plan));
                let draft = self.machine.plan_draft.as_ref().filter(|_| of_plan);
                let (plan_document, plan_parts) = match (&answer.plan, draft) {
                    (Some(plan), _) if answer.approved => {
                        let parts = read_plan(plan)?.parts();
                        (Some(store.put_blob(plan.clone().into_bytes()).await?), parts)
                    }
                    (None, Some(draft)) if answer.approved => {
                        let draft = String::from_utf8_lossy(&store.blob(draft).await?).into_owned();
                        (None, read_plan(&draft)?.parts())
                    }
                    _ => (None, Vec::new()),
                };
                Event::Answered {
                    approval,
                    gate,
                    answer: Answer { plan: None, ..answer },
                    plan_document,
                    plan_parts,
                    by,
                }
            }
            Signal::Draft { plan } => Event::PlanDrafted {
                draft: self.shared.services.store.put_blob(plan.into_bytes()).await?,
            },
            Signal::Decide {
                outcomes,
                comment,
                by,
            } => Event::HunksDecided {
                outcomes,
                comment,
                by,
            },
            Signal::Pause => Event::Paused,
            Signal::Resume => Event::Resumed,
            Signal::Cancel { by } => Event::Cancelled { by },
            Signal::Retry { from, pipeline } => {
                self.router().forgive();
                let steps = match pipeline {
                    Some(name) => Some(super::pipelines::steps(&self.config, &name, None)?),
                    None => None,
                };
                Event::Retried { from, steps }
            }
        })
    }
}

fn read_plan(text: &str) -> Result<Plan> {
    Plan::parse(text, &|agent| crate::agent::find(agent).is_some())
}

/// Whether the run cannot be driven on, whatever the control was. A store that did not answer may have taken
/// the control in all the same: that is no rejection.
fn is_fatal(error: &Error) -> bool {
    error.code == "fenced" || error.code.starts_with("store") || error.kind == Kind::Io
}
