mod http;
mod money;
mod routes;

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::Timestamp;
use crate::provider::testing::{self, Reply, Server, judge_messages};
use crate::provider::{
    CallFailure, Check, Content, Events, Message, ModelSettings, Price, ProviderKind, Sent, Stop,
};

/// The clock of the runtime, which tests can stop and which moves on when all else waits.
#[derive(Debug)]
struct RuntimeClock(tokio::time::Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_500_000_000 + i64::try_from(self.0.elapsed().as_millis()).expect("short"))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Answer(Usage),
    Fail(FailureClass, Sent, Usage),
    /// Streams these bytes, then waits until cancelled or dropped.
    Hang(usize),
}

const USED: Usage = Usage {
    input_tokens: 1_000,
    output_tokens: 200,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
};

#[derive(Debug)]
struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    requests: Mutex<Vec<Request>>,
    gate: Semaphore,
}

impl Scripted {
    fn new(steps: &[Step]) -> Arc<Self> {
        Arc::new(Self {
            steps: Mutex::new(steps.iter().cloned().collect()),
            requests: Mutex::default(),
            gate: Semaphore::new(10_000),
        })
    }

    fn calls(&self) -> usize {
        self.requests.lock().expect("lock").len()
    }

    fn last_max_tokens(&self) -> u32 {
        self.requests
            .lock()
            .expect("lock")
            .last()
            .expect("a request")
            .max_tokens
    }
}

impl Provider for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn call<'a>(
        &'a self,
        request: &'a Request,
        events: Events<'a>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Response, CallFailure>> {
        Box::pin(async move {
            self.requests.lock().expect("lock").push(request.clone());
            let _open = self.gate.acquire().await.expect("never closed");
            let step = self
                .steps
                .lock()
                .expect("lock")
                .pop_front()
                .unwrap_or(Step::Answer(USED));
            match step {
                Step::Answer(usage) => {
                    events(Delta::Text("words".to_owned()));
                    let content = vec![Content::Text("words".to_owned())];
                    Ok(Response {
                        content,
                        stop: Stop::EndTurn,
                        usage,
                        model: request.model.clone(),
                        request_id: None,
                    })
                }
                Step::Fail(class, sent, usage) => {
                    if sent == Sent::Started {
                        events(Delta::Text("half".to_owned()));
                    }
                    Err(CallFailure::new(class, sent, "scripted").with_usage(usage))
                }
                Step::Hang(bytes) => {
                    if bytes > 0 {
                        events(Delta::Text("x".repeat(bytes)));
                    }
                    cancel.cancelled().await;
                    let sent = if bytes > 0 { Sent::Started } else { Sent::Unknown };
                    Err(CallFailure::cancelled(sent))
                }
            }
        })
    }
}

#[derive(Debug, Default)]
struct Recorder {
    decisions: Mutex<Vec<RouteDecision>>,
    charges: Mutex<Vec<Charge>>,
    deltas: Mutex<Vec<Delta>>,
}

impl CallObserver for Recorder {
    fn route_decision(&self, decision: &RouteDecision) {
        self.decisions.lock().expect("lock").push(decision.clone());
    }
    fn usage(&self, charge: &Charge) {
        self.charges.lock().expect("lock").push(charge.clone());
    }
    fn delta(&self, delta: &Delta) {
        self.deltas.lock().expect("lock").push(delta.clone());
    }
}

impl Recorder {
    fn chosen(&self) -> Vec<String> {
        let decisions = self.decisions.lock().expect("lock");
        decisions
            .iter()
            .map(|decision| {
                decision
                    .chosen
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |route| route.provider.clone())
            })
            .collect()
    }

    fn reason(&self, decision: usize, candidate: usize) -> String {
        self.decisions.lock().expect("lock")[decision].candidates[candidate]
            .reason
            .clone()
    }
}

/// Three dollars a million in, fifteen out, as a mid-sized model costs.
const PRICE: Price = Price {
    input: Money::from_pico(3_000_000),
    output: Money::from_pico(15_000_000),
    cache_read: Money::from_pico(300_000),
    cache_write: Money::from_pico(3_750_000),
    long_prompt: None,
};

fn provider_settings(id: &str) -> ProviderSettings {
    let mut settings = ProviderSettings::new(id, ProviderKind::OpenAiCompatible);
    let model = ModelSettings {
        price: Some(PRICE),
        context_window: Some(200_000),
        max_output: Some(32_000),
    };
    settings.models.insert(format!("model-of-{id}"), model);
    settings
}

struct Stage {
    router: Router,
    limits: Arc<MemoryLimits>,
    recorder: Recorder,
}

fn route(ids: &[&str]) -> Vec<Candidate> {
    ids.iter()
        .map(|id| Candidate {
            provider: (*id).to_owned(),
            model: format!("model-of-{id}"),
            reason: format!("configured {id}"),
        })
        .collect()
}

fn stage_with(settings: RouterSettings, providers: Vec<(ProviderSettings, Arc<dyn Provider>)>) -> Stage {
    let limits = Arc::new(MemoryLimits::new());
    let clock = Arc::new(RuntimeClock(tokio::time::Instant::now()));
    let ids: Vec<String> = providers
        .iter()
        .map(|(provider, _)| provider.id.clone())
        .collect();
    let default_route = route(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let settings = RouterSettings {
        default_route,
        ..settings
    };
    let router = Router::new(settings, providers, Arc::clone(&limits) as Arc<dyn Limits>, clock);
    Stage {
        router,
        limits,
        recorder: Recorder::default(),
    }
}

fn stage(settings: RouterSettings, providers: &[(&str, &Arc<Scripted>)]) -> Stage {
    let providers = providers
        .iter()
        .map(|(id, scripted)| (provider_settings(id), Arc::clone(*scripted) as Arc<dyn Provider>));
    stage_with(settings, providers.collect())
}

fn scope(ordinal: u32, max_cost: Option<Money>) -> CallScope {
    CallScope {
        run: "pipeline-1".into(),
        step: "developer".into(),
        agent: "developer".into(),
        attempt: 1,
        ordinal,
        max_cost,
        daily_limits: crate::router::DailyLimits::Hold,
        owner: "owner".into(),
        repository: "repository".into(),
    }
}

fn request() -> Request {
    Request {
        messages: vec![Message::user("x".repeat(3_500))],
        max_tokens: 4_000,
        ..Request::default()
    }
}

impl Stage {
    async fn call(&self, ordinal: u32, max_cost: Option<Money>) -> Result<Answer, RouteFailure> {
        let result = self
            .router
            .call(
                &scope(ordinal, max_cost),
                request(),
                &self.recorder,
                &CancellationToken::new(),
            )
            .await;
        assert_eq!(
            self.limits.reserved(),
            Money::ZERO,
            "nothing is held when nothing is in flight"
        );
        result
    }
}

fn throttled(ms: Option<u64>) -> Step {
    Step::Fail(
        FailureClass::Throttled {
            retry_after: ms.map(Duration::from_millis),
        },
        Sent::Refused,
        Usage::default(),
    )
}

fn transient() -> Step {
    Step::Fail(FailureClass::Transient, Sent::Refused, Usage::default())
}
