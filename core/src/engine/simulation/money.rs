//! The limits and the provider of a simulated process: both may fail by themselves, and answers get lost.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::ports::Ports;
use super::world::Defect;
use crate::error::{Error, Result};
use crate::id::IntentId;
use crate::money::Money;
use crate::provider::{
    CallFailure, Content, Delta, Events, FailureClass, ModelSettings, Price, Provider, ProviderKind,
    ProviderSettings, Request, Response, Sent, Stop, Usage,
};
use crate::router::{
    BreakerSettings, Candidate, Grant, Hold, Limits, RetrySettings, Router, RouterSettings, Settlement,
};
use crate::store::Ledger;

/// The only provider and its only model.
const PROVIDER: &str = "simulated";
const MODEL: &str = "model";
/// What an answer uses.
const USED: Usage = Usage {
    input_tokens: 20,
    output_tokens: 100,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
};
/// What a token costs.
const TOKEN: Money = Money::from_pico(1_000_000);

/// A router of the real kind between the simulated two.
pub(super) fn router(ports: &Ports, ledger: Ledger) -> Arc<Router> {
    let mut settings = ProviderSettings::new(PROVIDER, ProviderKind::OpenAiCompatible);
    settings.models.insert(
        MODEL.to_owned(),
        ModelSettings {
            price: Some(price()),
            context_window: None,
            max_output: None,
        },
    );
    let route = Candidate {
        provider: PROVIDER.to_owned(),
        model: MODEL.to_owned(),
        reason: "the only one".to_owned(),
    };
    let router = RouterSettings {
        default_route: vec![route],
        retry: RetrySettings {
            max_attempts: 3,
            jitter: false,
            ..RetrySettings::default()
        },
        breaker: BreakerSettings {
            failures: 1_000,
            failure_percent: 101,
            ..BreakerSettings::default()
        },
        ..RouterSettings::default()
    };
    let provider: Arc<dyn Provider> = Arc::new(Model { ports: ports.clone() });
    let limits = Arc::new(Purse {
        ports: ports.clone(),
        ledger,
    });
    let clock = Arc::clone(&ports.world);
    Arc::new(Router::new(router, vec![(settings, provider)], limits, clock))
}

fn price() -> Price {
    Price {
        input: TOKEN,
        output: TOKEN,
        cache_read: TOKEN,
        cache_write: TOKEN,
        long_prompt: None,
    }
}

/// A request that says which attempt of which step it is of.
pub(super) fn request(attempt: &str) -> Request {
    Request {
        messages: vec![crate::provider::Message::user(attempt)],
        max_tokens: 200,
        ..Request::probe(MODEL)
    }
}

/// The real ledger behind a line that may fail by itself.
#[derive(Debug)]
struct Purse {
    ports: Ports,
    ledger: Ledger,
}

fn unreachable() -> Error {
    Error::state("limitsUnreachable", "the simulated limits do not answer")
}

impl Limits for Purse {
    fn reserve(&self, hold: Hold) -> BoxFuture<'_, Result<Grant>> {
        Box::pin(async move {
            let ports = &self.ports;
            ports.boundary("before a hold").await;
            let intent = hold.intent.clone();
            if ports.has(Defect::SendWithoutHold) && ports.world.happens(100) {
                return Ok(Grant::Granted);
            }
            if ports.world.limits_fail() {
                return Err(unreachable());
            }
            let grant = self.ledger.reserve(hold).await?;
            ports.boundary("between hold and send").await;
            if ports.world.limits_fail() {
                return Err(unreachable());
            }
            if grant == Grant::Granted {
                ports.world.granted(&intent);
            }
            Ok(grant)
        })
    }

    fn settle<'a>(&'a self, intent: &'a IntentId, outcome: Settlement) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let ports = &self.ports;
            ports.boundary("before a settlement").await;
            if ports.world.limits_fail() {
                return Err(unreachable());
            }
            if ports.has(Defect::UnsettledCall) && ports.world.happens(100) {
                return Ok(());
            }
            self.ledger.settle(intent, outcome).await?;
            ports.boundary("after a settlement").await;
            // An answer that is repeated makes a second settlement of the same send.
            if ports.world.limits_fail() {
                self.ledger.settle(intent, outcome).await?;
            }
            Ok(())
        })
    }
}

/// A model that answers, fails, is silent, or says something that gets lost.
#[derive(Debug)]
struct Model {
    ports: Ports,
}

impl Provider for Model {
    fn kind(&self) -> &'static str {
        PROVIDER
    }

    fn call<'a>(
        &'a self,
        request: &'a Request,
        events: Events<'a>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, std::result::Result<Response, CallFailure>> {
        Box::pin(async move {
            let world = &self.ports.world;
            self.ports.boundary("before a request").await;
            let attempt = text_of(request);
            let Some(intent) = world.arrives(&attempt) else {
                return Err(CallFailure::new(FailureClass::Invalid, Sent::Nothing, "not held"));
            };
            world.note(|| format!("process {} sends {intent}", self.ports.process));
            if world.provider_fails() {
                return Err(self.failure(&intent, events, cancel).await);
            }
            let wait = Duration::from_millis(world.below(3_000));
            if cancel
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_none()
            {
                return Err(CallFailure::cancelled(Sent::Unknown));
            }
            self.ports.while_alive().await;
            world.bill(&intent, price().cost(USED));
            if self.ports.has(Defect::SentTwice) && world.happens(50) {
                world.bill(&intent, price().cost(USED));
            }
            self.ports.boundary("an answer is on its way").await;
            Ok(Response {
                content: vec![Content::Text("words".to_owned())],
                stop: Stop::EndTurn,
                usage: USED,
                model: MODEL.to_owned(),
                request_id: None,
            })
        })
    }
}

impl Model {
    async fn failure(
        &self,
        intent: &IntentId,
        events: Events<'_>,
        cancel: &CancellationToken,
    ) -> CallFailure {
        let world = &self.ports.world;
        match world.below(5) {
            0 => CallFailure::new(FailureClass::Transient, Sent::Nothing, "no line"),
            1 => CallFailure::new(
                FailureClass::Throttled { retry_after: None },
                Sent::Refused,
                "too many requests",
            ),
            2 => {
                world.bill(intent, price().cost(USED));
                CallFailure::new(FailureClass::Transient, Sent::Unknown, "the answer got lost")
            }
            3 => {
                events(Delta::Text("half of an answer".to_owned()));
                CallFailure::new(FailureClass::Truncated, Sent::Started, "the line broke")
            }
            _ => {
                let silence = tokio::time::sleep(Duration::from_secs(90));
                match cancel.run_until_cancelled(silence).await {
                    Some(()) => CallFailure::new(FailureClass::Transient, Sent::Unknown, "no answer"),
                    None => CallFailure::cancelled(Sent::Unknown),
                }
            }
        }
    }
}

fn text_of(request: &Request) -> String {
    let texts = request
        .messages
        .iter()
        .flat_map(|message| &message.content)
        .filter_map(|content| match content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
    texts.collect()
}
