//! What a step pays for: model calls through the router, and work that is not routed by us.

use std::sync::atomic::Ordering;

use super::StepContext;
use crate::engine::actor::Message;
use crate::engine::locked;
use crate::error::Result;
use crate::id::IntentId;
use crate::money::Money;
use crate::pipeline::{BudgetAsk, GateRequest, RunEvent, StepFailure};
use crate::provider::{FailureClass, Request, Response, Usage};
use crate::router::{
    BudgetRefusal, BudgetScope, CallScope, Confirmation, DailyLimits, Grant, RouteFailure, Settlement,
};

/// A model's answer and who gave it.
#[derive(Debug, Clone)]
pub struct ModelAnswer {
    /// What it said.
    pub response: Response,
    /// Whose.
    pub provider: String,
    /// Which.
    pub model: String,
    /// What the call cost, tries that failed included.
    pub cost: Money,
}

impl StepContext {
    /// One model call: waits while paused, reserves its worst case, settles what it cost, and asks a
    /// person where a limit of money is reached. `request.model` is filled in by the router.
    pub async fn call(&self, request: Request) -> Result<ModelAnswer, StepFailure> {
        let mut cost = Money::ZERO;
        loop {
            self.pause_point().await?;
            let scope = self.scope();
            let observer = Observer {
                context: self,
                told: std::sync::Mutex::new(Vec::new()),
            };
            let answered = self
                .router
                .call(&scope, request.clone(), &observer, &self.cancel)
                .await;
            let told = observer
                .told
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            cost = told.iter().map(Told::cost).fold(cost, Money::plus);
            self.tell_calls(told).await;
            match answered {
                Ok(answer) => {
                    return Ok(ModelAnswer {
                        response: answer.response,
                        provider: answer.provider,
                        model: answer.model,
                        cost,
                    });
                }
                Err(RouteFailure::Budget(refusal)) => self.ask_for_money(&refusal).await?,
                Err(RouteFailure::Cancelled) => return Err(StepFailure::cancelled()),
                Err(RouteFailure::Failed(error, FailureClass::Truncated)) => {
                    return Err(StepFailure::outcome_unknown(error));
                }
                Err(RouteFailure::Failed(error, class)) if may_pass(class) => {
                    return Err(StepFailure::transient(error));
                }
                Err(RouteFailure::Failed(error, _)) => return Err(StepFailure::permanent(error)),
            }
        }
    }

    fn scope(&self) -> CallScope {
        let live = *self.live.borrow();
        let zone = self.config.time_zone();
        let today = self.shared.services.clock.now().day(&zone);
        let waived = live
            .daily_limits_waived_at
            .is_some_and(|at| at.day(&zone) == today);
        CallScope {
            run: self.run.clone(),
            step: self.order.step.clone(),
            agent: self.order.agent.clone(),
            attempt: self.order.attempt,
            ordinal: self.ordinal.fetch_add(1, Ordering::SeqCst),
            max_cost: live.max_cost,
            daily_limits: if waived {
                DailyLimits::Waived
            } else {
                DailyLimits::Hold
            },
            owner: self.shared.owner.clone(),
            repository: self.repository.id.clone(),
        }
    }

    async fn tell_calls(&self, told: Vec<Told>) {
        let mut events = Vec::new();
        for item in told {
            events.push(match item {
                Told::Decision(decision) => RunEvent::RouteDecision {
                    step_id: self.order.step.clone(),
                    decision,
                },
                Told::Usage {
                    provider,
                    model,
                    usage,
                    cost,
                } => self.usage_event(provider, model, usage, cost).await,
            });
        }
        if !events.is_empty() {
            let _ = self.inbox.send(Message::Tell(events)).await;
        }
    }

    async fn usage_event(&self, provider: String, model: String, usage: Usage, cost: Money) -> RunEvent {
        let total = self
            .shared
            .services
            .store
            .ledger()
            .run_totals(&self.run)
            .await
            .map(|totals| totals.cost)
            .unwrap_or_default();
        RunEvent::Usage {
            step_id: self.order.step.clone(),
            provider,
            model,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            cost_usd: cost.usd(),
            total_cost_usd: total.usd(),
        }
    }

    /// Opens the budget gate and waits; returns when a person raised the limit.
    pub async fn ask_for_money(&self, refusal: &BudgetRefusal) -> Result<(), StepFailure> {
        let ask = BudgetAsk {
            scope: scope_name(&refusal.scope),
            limit: refusal.limit,
            spent: refusal.spent.plus(refusal.reserved),
            needed: refusal.needed,
        };
        let answer = self.ask(GateRequest::Budget(ask)).await?;
        if answer.approved {
            Ok(())
        } else {
            Err(StepFailure::cancelled())
        }
    }

    /// Reserves money for work that is not routed by us, such as one session of an agent program.
    /// Asks a person where a limit is reached. The hold must be settled with [`StepContext::settle`].
    pub async fn reserve(&self, provider: &str, model: &str, amount: Money) -> Result<IntentId, StepFailure> {
        loop {
            self.pause_point().await?;
            let scope = self.scope();
            let intent = scope.intent(1);
            match self
                .router
                .reserve(&scope, &intent, provider, model, amount)
                .await?
            {
                Grant::Granted => return Ok(intent),
                Grant::Refused(refusal) => self.ask_for_money(&refusal).await?,
            }
        }
    }

    /// Settles a hold of [`StepContext::reserve`] and tells what it cost.
    pub async fn settle(
        &self,
        intent: &IntentId,
        provider: &str,
        model: &str,
        usage: Usage,
        cost: Money,
        confirmed: Confirmation,
    ) -> Result<()> {
        let at = self.shared.services.clock.now();
        self.router
            .settle(
                intent,
                Settlement {
                    cost,
                    usage,
                    confirmed,
                    at,
                },
            )
            .await?;
        let event = self
            .usage_event(provider.to_owned(), model.to_owned(), usage, cost)
            .await;
        self.tell(event).await;
        Ok(())
    }

    /// What this run may still spend, as its own limit says; none without a limit.
    pub async fn remaining(&self) -> Result<Option<Money>> {
        let totals = self.shared.services.store.ledger().run_totals(&self.run).await?;
        let limit = self.live.borrow().max_cost;
        Ok(limit.map(|limit| limit.minus(totals.cost.plus(totals.reserved))))
    }
}

fn may_pass(class: FailureClass) -> bool {
    matches!(class, FailureClass::Throttled { .. } | FailureClass::Transient)
}

/// As on the wire: `run`, `repositoryDay`, `userDay`, `providerDay:<id>`.
fn scope_name(scope: &BudgetScope) -> String {
    match scope {
        BudgetScope::Run => "run".to_owned(),
        BudgetScope::RepositoryDay => "repositoryDay".to_owned(),
        BudgetScope::UserDay => "userDay".to_owned(),
        BudgetScope::ProviderDay(id) => format!("providerDay:{id}"),
    }
}

enum Told {
    Decision(serde_json::Value),
    Usage {
        provider: String,
        model: String,
        usage: Usage,
        cost: Money,
    },
}

impl Told {
    fn cost(&self) -> Money {
        match self {
            Self::Usage { cost, .. } => *cost,
            Self::Decision(_) => Money::ZERO,
        }
    }
}

struct Observer<'a> {
    context: &'a StepContext,
    told: std::sync::Mutex<Vec<Told>>,
}

impl crate::router::CallObserver for Observer<'_> {
    fn route_decision(&self, decision: &crate::router::RouteDecision) {
        let shared = &self.context.shared;
        if let Some(chosen) = &decision.chosen {
            locked(&shared.activity)
                .entry(self.context.run.clone())
                .or_default()
                .model = Some(chosen.model.clone());
        }
        locked(&self.told).push(Told::Decision(serde_json::json!(decision)));
    }

    fn usage(&self, charge: &crate::router::Charge) {
        locked(&self.told).push(Told::Usage {
            provider: charge.provider.clone(),
            model: charge.model.clone(),
            usage: charge.usage,
            cost: charge.cost,
        });
    }

    fn delta(&self, _delta: &crate::provider::Delta) {}
}
