//! Asks each provider the cheapest real question, and says what to do where it does not answer.

use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::estimate::{Ratio, Size};
use super::limits::{Confirmation, Grant, Hold, Settlement};
use super::pricing::price_of;
use super::{Registered, Shared};
use crate::error::Error;
use crate::id::{IntentId, OwnerId, RepositoryId, random_hex};
use crate::money::Money;
use crate::provider::{CallFailure, Check, FailureClass, Request, Sent, Usage};

/// Longest time that a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(25);
/// What a check is booked under.
const CHECK: &str = "check";

/// How a provider answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// The provider.
    pub id: String,
    /// Whether it answered.
    pub ok: bool,
    /// The stable code of what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How long it took.
    pub latency_ms: u64,
}

impl CheckReport {
    fn failed(id: &str, error: &Error, latency_ms: u64) -> Self {
        let hint = error.first_hint().map(str::to_owned);
        Self {
            id: id.to_owned(),
            ok: false,
            code: Some(error.code.clone().into_owned()),
            message: error.message.clone(),
            hint,
            latency_ms,
        }
    }
}

pub(super) async fn run(
    shared: &Shared,
    only: Option<&str>,
    owner: &OwnerId,
    repository: &RepositoryId,
    cancel: &CancellationToken,
) -> Vec<CheckReport> {
    let wanted = shared
        .providers
        .values()
        .filter(|registered| only.is_none_or(|only| only == registered.settings.id));
    join_all(wanted.map(|registered| check(shared, registered, owner, repository, cancel))).await
}

async fn check(
    shared: &Shared,
    registered: &Registered,
    owner: &OwnerId,
    repository: &RepositoryId,
    cancel: &CancellationToken,
) -> CheckReport {
    let id = registered.settings.id.as_str();
    if let Some(reason) = registered.missing_key() {
        let hint = reason.trim_start_matches("no key: ").to_owned();
        let (code, message) = (Some("noKey".to_owned()), format!("provider `{id}` has no key"));
        return CheckReport {
            id: id.to_owned(),
            ok: false,
            code,
            message,
            hint: Some(hint),
            latency_ms: 0,
        };
    }
    let Some(model) = cheapest_model(shared, registered) else {
        let error = Error::state("noModel", format!("no model of provider `{id}` is known"))
            .hint("name one under `models`");
        return CheckReport::failed(id, &error, 0);
    };
    let hold = match hold_for(shared, registered, &model, owner, repository) {
        Ok(hold) => hold,
        Err(error) => return CheckReport::failed(id, &error, 0),
    };
    match shared.limits.reserve(hold.clone()).await {
        Ok(Grant::Granted) => {}
        Ok(Grant::Refused(refusal)) => {
            let message = format!(
                "the budget has no room for a check: {} left of {}",
                refusal.available(),
                refusal.limit
            );
            return CheckReport::failed(id, &Error::new(crate::error::Kind::Budget, "budget", message), 0);
        }
        Err(error) => return CheckReport::failed(id, &error, 0),
    }
    let begun = shared.clock.now();
    let answer = tokio::time::timeout(CHECK_TIMEOUT, registered.provider.check(&model, cancel)).await;
    let latency_ms = shared.clock.now().since_ms(begun);
    let answer = answer.unwrap_or_else(|_| {
        let message = format!("provider `{id}` did not answer within {CHECK_TIMEOUT:?}");
        Err(CallFailure::new(FailureClass::Transient, Sent::Unknown, message).with_code("providerTimeout"))
    });
    settle(shared, registered, &model, &hold, &answer).await;
    match answer {
        Ok(check) => {
            shared.with_health(id, |health| health.recover(&model));
            let message = format!(
                "`{}` answered",
                if check.model.is_empty() {
                    &model
                } else {
                    &check.model
                }
            );
            CheckReport {
                id: id.to_owned(),
                ok: true,
                code: None,
                message,
                hint: None,
                latency_ms,
            }
        }
        Err(failure) => {
            if let (FailureClass::Auth | FailureClass::Billing, Some(hint)) =
                (failure.class, failure.error.first_hint())
            {
                shared.with_health(id, |health| health.block(hint, shared.clock.now()));
            }
            CheckReport::failed(id, &failure.error, latency_ms)
        }
    }
}

async fn settle(
    shared: &Shared,
    registered: &Registered,
    model: &str,
    hold: &Hold,
    answer: &Result<Check, CallFailure>,
) {
    let price = price_of(&registered.settings.models, model)
        .map(|(price, _)| price)
        .unwrap_or_default();
    let (usage, cost, confirmed) = match answer {
        Ok(check) => (check.usage, price.cost(check.usage), Confirmation::Confirmed),
        Err(failure) => match failure.sent {
            Sent::Nothing | Sent::Refused => (Usage::default(), Money::ZERO, Confirmation::Confirmed),
            Sent::Unknown | Sent::Started => (failure.usage_seen, hold.amount, Confirmation::Unconfirmed),
        },
    };
    let outcome = Settlement {
        cost,
        usage,
        confirmed,
        at: shared.clock.now(),
    };
    if let Err(error) = shared.limits.settle(&hold.intent, outcome).await {
        tracing::error!(intent = %hold.intent, %error, "the cost of a check could not be settled");
    }
}

fn hold_for(
    shared: &Shared,
    registered: &Registered,
    model: &str,
    owner: &OwnerId,
    repository: &RepositoryId,
) -> Result<Hold, Error> {
    let id = registered.settings.id.as_str();
    let probe = Request::probe(model);
    let price = price_of(&registered.settings.models, model)
        .map(|(price, _)| price)
        .unwrap_or_default();
    let input = Ratio::of_model(model).tokens(Size::of(&probe));
    let amount = price.upper_bound(input, u64::from(probe.max_tokens));
    let now = shared.clock.now();
    Ok(Hold {
        intent: IntentId::new(format!("{CHECK}/{id}/{}", random_hex(8)?)),
        run: CHECK.into(),
        step: CHECK.into(),
        agent: CHECK.into(),
        provider: id.to_owned(),
        model: model.to_owned(),
        repository: repository.clone(),
        owner: owner.clone(),
        amount,
        caps: shared.caps(id, None, super::DailyLimits::Hold),
        day: now.day(&shared.settings.zone),
        at: now,
    })
}

/// The cheapest model that a route uses, else the cheapest that is known.
fn cheapest_model(shared: &Shared, registered: &Registered) -> Option<String> {
    let id = &registered.settings.id;
    let models = &registered.settings.models;
    let price =
        |model: &str| price_of(models, model).map_or(Money::MAX, |(price, _)| price.output.plus(price.input));
    let routes = shared
        .settings
        .routes
        .values()
        .flatten()
        .chain(&shared.settings.default_route);
    let in_use = routes
        .filter(|candidate| candidate.provider == *id)
        .map(|candidate| &candidate.model)
        .min_by_key(|model| price(model));
    in_use
        .or_else(|| models.keys().min_by_key(|model| price(model)))
        .cloned()
}
