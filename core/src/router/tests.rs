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

#[tokio::test(start_paused = true)]
async fn the_first_candidate_answers_and_costs_what_it_used() {
    let (one, two) = (Scripted::new(&[]), Scripted::new(&[]));
    let stage = stage(RouterSettings::default(), &[("one", &one), ("two", &two)]);
    let answer = stage
        .call(1, Some(Money::from_dollars(1)))
        .await
        .expect("answers");
    assert_eq!(
        (answer.provider.as_str(), answer.model.as_str(), answer.price),
        ("one", "model-of-one", PriceBasis::Known)
    );
    assert_eq!(
        answer.cost,
        Money::from_pico(1_000 * 3_000_000 + 200 * 15_000_000)
    );
    assert_eq!((stage.limits.spent(), two.calls()), (answer.cost, 0));
    let decision = stage.recorder.decisions.lock().expect("lock")[0].clone();
    assert_eq!(decision.attempt, 1);
    assert_eq!(
        decision
            .candidates
            .iter()
            .map(|judged| judged.verdict)
            .collect::<Vec<_>>(),
        [Verdict::Chosen, Verdict::Standby]
    );
    let entry = &stage.limits.entries()[0];
    assert_eq!(entry.hold.intent.as_str(), "pipeline-1/developer/1/1/1");
    assert_eq!(entry.hold.day, "2026-11-24");
    // 3500 bytes are 1000 tokens, and 8 for the frame.
    assert_eq!(
        entry.hold.amount,
        Money::from_pico(1_008 * 3_750_000 + 4_000 * 15_000_000),
        "the worst case: all input written to the cache"
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_provider_fails_over_at_once_and_rests_as_long_as_it_asked() {
    let (one, two) = (Scripted::new(&[throttled(Some(30_000))]), Scripted::new(&[]));
    let stage = stage(RouterSettings::default(), &[("one", &one), ("two", &two)]);
    let begun = tokio::time::Instant::now();
    for ordinal in 1..=2 {
        assert_eq!(stage.call(ordinal, None).await.expect("answers").provider, "two");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(stage.recorder.chosen(), ["one", "two", "two"]);
    assert_eq!(stage.recorder.reason(2, 0), "throttled for 30000 ms");
    assert_eq!(stage.router.status()[0].health, Health::Throttled);
    assert_eq!(
        stage.router.status()[0].circuit,
        Circuit::Closed,
        "throttling is no sickness"
    );
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(stage.call(3, None).await.expect("answers").provider, "one");
}

#[tokio::test(start_paused = true)]
async fn a_lone_throttled_provider_is_waited_for_at_least_as_long_as_it_asked() {
    for (asked, least_ms) in [(Some(2_000), 2_000), (None, 5_000)] {
        let one = Scripted::new(&[throttled(asked)]);
        let stage = stage(RouterSettings::default(), &[("one", &one)]);
        let begun = tokio::time::Instant::now();
        stage.call(1, None).await.expect("answers");
        let waited = begun.elapsed().as_millis();
        assert!((least_ms..least_ms + 500).contains(&waited), "{waited}");
    }
    let one = Scripted::new(&[throttled(Some(3_600_000))]);
    let stage = stage(RouterSettings::default(), &[("one", &one)]);
    let begun = tokio::time::Instant::now();
    let failure = stage.call(1, None).await.expect_err("too long to wait");
    let RouteFailure::Failed(error, FailureClass::Throttled { .. }) = failure else {
        panic!("{failure:?}")
    };
    assert!(error.hints[0].contains("ready in 3600000 ms"), "{error:?}");
    assert_eq!(begun.elapsed(), Duration::ZERO, "it is not even tried");
}

#[tokio::test(start_paused = true)]
async fn a_lone_provider_that_fails_is_tried_again_and_the_attempts_are_one_budget() {
    let one = Scripted::new(&[transient(), transient()]);
    let stage_one = stage(RouterSettings::default(), &[("one", &one)]);
    stage_one.call(1, None).await.expect("answers the third time");
    assert_eq!(one.calls(), 3);

    let failing = [transient(), transient(), transient(), transient(), transient()];
    let (one, two) = (Scripted::new(&failing), Scripted::new(&failing));
    let stage_two = stage(RouterSettings::default(), &[("one", &one), ("two", &two)]);
    let failure = stage_two.call(1, None).await.expect_err("all fail");
    assert!(
        matches!(failure, RouteFailure::Failed(_, FailureClass::Transient)),
        "{failure:?}"
    );
    assert_eq!(
        one.calls() + two.calls(),
        4,
        "retries and fallbacks share the attempts"
    );
    assert!(one.calls() >= 1 && two.calls() >= 1);
    let intents: Vec<String> = stage_two
        .limits
        .entries()
        .iter()
        .map(|entry| entry.hold.intent.to_string())
        .collect();
    assert_eq!(
        intents,
        (1..=4)
            .map(|send| format!("pipeline-1/developer/1/1/{send}"))
            .collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn equal_inputs_give_equal_records() {
    let record = || async {
        let (one, two) = (
            Scripted::new(&[transient(), transient()]),
            Scripted::new(&[transient()]),
        );
        let stage = stage(RouterSettings::default(), &[("one", &one), ("two", &two)]);
        let begun = tokio::time::Instant::now();
        stage.call(1, None).await.expect("answers");
        let decisions =
            serde_json::to_string(&*stage.recorder.decisions.lock().expect("lock")).expect("JSON");
        (decisions, begun.elapsed())
    };
    assert_eq!(record().await, record().await);
}

#[tokio::test(start_paused = true)]
async fn each_class_of_failure_has_its_action() {
    let fail = |class| Step::Fail(class, Sent::Refused, Usage::default());
    for (class, second_is_asked) in [
        (FailureClass::Auth, true),
        (FailureClass::Billing, true),
        (FailureClass::NotFound, true),
        (FailureClass::Truncated, true),
        (FailureClass::ContextOverflow, false),
        (FailureClass::ContentPolicy, false),
        (FailureClass::Invalid, false),
        (FailureClass::Cancelled, false),
    ] {
        let (one, two) = (Scripted::new(&[fail(class)]), Scripted::new(&[]));
        let stage = stage(RouterSettings::default(), &[("one", &one), ("two", &two)]);
        let result = stage.call(1, None).await;
        assert_eq!(
            (one.calls(), two.calls() == 1, result.is_ok()),
            (1, second_is_asked, second_is_asked),
            "{class:?}"
        );
        if class == FailureClass::Cancelled {
            assert_eq!(result, Err(RouteFailure::Cancelled));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_key_keeps_calls_away_from_all_models_of_the_provider_until_a_check_succeeds() {
    let one = Scripted::new(&[Step::Fail(FailureClass::Auth, Sent::Refused, Usage::default())]);
    let stage = stage(RouterSettings::default(), &[("one", &one)]);
    for ordinal in 1..=3 {
        stage.call(ordinal, None).await.expect_err("blocked");
    }
    assert_eq!(one.calls(), 1);
    assert_eq!(stage.router.status()[0].health, Health::Blocked);
    let reports = stage
        .router
        .check(
            None,
            &"owner".into(),
            &"repository".into(),
            &CancellationToken::new(),
        )
        .await;
    assert!(reports[0].ok, "{reports:?}");
    stage.call(4, None).await.expect("answers again");
}

#[tokio::test(start_paused = true)]
async fn an_overflow_goes_only_to_a_larger_window_and_a_window_that_is_too_small_is_not_asked() {
    let overflow = Step::Fail(FailureClass::ContextOverflow, Sent::Refused, Usage::default());
    let (one, same, large) = (Scripted::new(&[overflow]), Scripted::new(&[]), Scripted::new(&[]));
    let mut providers: Vec<(ProviderSettings, Arc<dyn Provider>)> = Vec::new();
    for (id, window, scripted) in [
        ("one", 200_000, &one),
        ("same", 200_000, &same),
        ("large", 1_000_000, &large),
    ] {
        let mut settings = provider_settings(id);
        settings
            .models
            .values_mut()
            .for_each(|model| model.context_window = Some(window));
        providers.push((settings, Arc::clone(scripted) as Arc<dyn Provider>));
    }
    let small = Scripted::new(&[]);
    let mut settings = provider_settings("a-small");
    settings
        .models
        .values_mut()
        .for_each(|model| model.context_window = Some(1_500));
    providers.insert(0, (settings, Arc::clone(&small) as Arc<dyn Provider>));
    let stage = stage_with(RouterSettings::default(), providers);
    assert_eq!(stage.call(1, None).await.expect("answers").provider, "large");
    assert_eq!((small.calls(), one.calls(), same.calls()), (0, 1, 0));
    assert!(stage.recorder.reason(0, 0).starts_with("context too small"));
}

#[tokio::test(start_paused = true)]
async fn a_sick_route_is_left_alone_and_probed_by_exactly_one_call() {
    let one = Scripted::new(&[transient(), transient(), transient(), transient(), transient()]);
    let two = Scripted::new(&[]);
    let settings = RouterSettings {
        retry: RetrySettings {
            initial_ms: 1,
            max_ms: 1,
            ..RetrySettings::default()
        },
        ..RouterSettings::default()
    };
    let stage = stage(settings, &[("one", &one), ("two", &two)]);
    for ordinal in 1..=15 {
        assert_eq!(stage.call(ordinal, None).await.expect("answers").provider, "two");
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    assert_eq!(one.calls(), 5, "the threshold, and not one more");
    assert_eq!(stage.router.status()[0].circuit, Circuit::Open);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(stage.router.status()[0].circuit, Circuit::HalfOpen);
    assert_eq!(stage.call(16, None).await.expect("answers").provider, "one");
    assert_eq!(stage.router.status()[0].circuit, Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_send_costs_depends_on_how_far_it_came() {
    let seen = Usage {
        input_tokens: 500,
        output_tokens: 100,
        ..Usage::default()
    };
    let worst = Money::from_pico(1_008 * 3_750_000 + 4_000 * 15_000_000);
    // "half" is two tokens.
    let half = 2;
    let cases = [
        (
            Sent::Nothing,
            Usage::default(),
            Money::ZERO,
            Confirmation::Confirmed,
        ),
        (
            Sent::Refused,
            Usage::default(),
            Money::ZERO,
            Confirmation::Confirmed,
        ),
        (Sent::Unknown, Usage::default(), worst, Confirmation::Unconfirmed),
        (
            Sent::Started,
            seen,
            Money::from_pico(500 * 3_000_000 + 100 * 15_000_000),
            Confirmation::Unconfirmed,
        ),
        (
            Sent::Started,
            Usage::default(),
            Money::from_pico(1_008 * 3_750_000 + half * 15_000_000),
            Confirmation::Unconfirmed,
        ),
    ];
    for (sent, usage, cost, confirmed) in cases {
        let (one, two) = (
            Scripted::new(&[Step::Fail(FailureClass::Truncated, sent, usage)]),
            Scripted::new(&[]),
        );
        let stage = stage(RouterSettings::default(), &[("one", &one), ("two", &two)]);
        stage.call(1, None).await.expect("the second answers");
        let first = stage.limits.entries()[0].settled.expect("settled");
        assert_eq!(
            (first.cost, first.confirmed),
            (cost, confirmed),
            "{sent:?} {usage:?}"
        );
        let charged = stage
            .recorder
            .charges
            .lock()
            .expect("lock")
            .iter()
            .map(|charge| charge.cost)
            .sum::<Money>();
        assert_eq!(charged, stage.limits.spent(), "the observer hears of every cost");
        let restarted = stage
            .recorder
            .deltas
            .lock()
            .expect("lock")
            .contains(&Delta::Restarted);
        assert_eq!(
            restarted,
            sent == Sent::Started,
            "a new attempt is announced when words were passed on"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_usage_is_charged_as_estimated() {
    let one = Scripted::new(&[Step::Answer(Usage::default())]);
    let stage = stage(RouterSettings::default(), &[("one", &one)]);
    let answer = stage.call(1, None).await.expect("answers");
    assert_eq!(answer.cost, Money::from_pico(1_008 * 3_750_000 + 2 * 15_000_000));
    assert_eq!(
        stage.limits.entries()[0].settled.map(|settled| settled.confirmed),
        Some(Confirmation::Unconfirmed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_tight_budget_shortens_the_answer_down_to_the_floor_and_then_refuses() {
    let input = 1_008 * 3_750_000;
    for (affordable, expected) in [
        (4_000, Some(4_000)),
        (2_000, Some(2_000)),
        (1_024, Some(1_024)),
        (1_023, None),
    ] {
        let one = Scripted::new(&[]);
        let stage = stage(RouterSettings::default(), &[("one", &one)]);
        let budget = Money::from_pico(input + affordable * 15_000_000);
        match (stage.call(1, Some(budget)).await, expected) {
            (Ok(_), Some(expected)) => assert_eq!(one.last_max_tokens(), expected),
            (Err(RouteFailure::Budget(refusal)), None) => {
                assert_eq!(
                    (refusal.scope, refusal.limit, one.calls()),
                    (BudgetScope::Run, budget, 0)
                );
            }
            other => panic!("{affordable}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_without_a_known_price_is_refused_under_a_budget_and_flagged_without_one() {
    let mut settings = provider_settings("one");
    settings.models.clear();
    let stage = stage_with(
        RouterSettings::default(),
        vec![(settings, Scripted::new(&[]) as Arc<dyn Provider>)],
    );
    let failure = stage
        .call(1, Some(Money::from_dollars(5)))
        .await
        .expect_err("refused");
    let RouteFailure::Failed(error, _) = failure else {
        panic!("{failure:?}")
    };
    assert!(
        error.code == "noRoute" && error.message.contains("no known price"),
        "{error:?}"
    );
    assert_eq!(
        stage.call(2, None).await.expect("answers").price,
        PriceBasis::Assumed
    );

    let mut settings = provider_settings("one");
    settings.models = std::collections::BTreeMap::from([(
        "another".to_owned(),
        ModelSettings {
            price: Some(PRICE),
            ..ModelSettings::default()
        },
    )]);
    let stage = stage_with(
        RouterSettings::default(),
        vec![(settings, Scripted::new(&[]) as Arc<dyn Provider>)],
    );
    let answer = stage
        .call(1, Some(Money::from_dollars(5)))
        .await
        .expect("answers");
    assert_eq!(
        (answer.price, answer.cost),
        (PriceBasis::Assumed, PRICE.cost(USED))
    );
    assert!(stage.recorder.reason(0, 0).contains("dearest"));
}

#[tokio::test(start_paused = true)]
async fn a_free_provider_works_when_all_money_is_spent() {
    let mut settings = provider_settings("one");
    settings
        .models
        .values_mut()
        .for_each(|model| model.price = Some(Price::default()));
    let router_settings = RouterSettings {
        user_day: Some(Money::ZERO),
        ..RouterSettings::default()
    };
    let stage = stage_with(
        router_settings,
        vec![(settings, Scripted::new(&[]) as Arc<dyn Provider>)],
    );
    assert_eq!(
        stage.call(1, Some(Money::ZERO)).await.expect("answers").cost,
        Money::ZERO
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_for_ten_calls_admits_exactly_ten_of_a_hundred_at_once() {
    let one = Scripted::new(&[]);
    one.gate.forget_permits(10_000);
    let stage = stage(RouterSettings::default(), &[("one", &one)]);
    let amount = 1_008 * 3_750_000 + 4_000 * 15_000_000;
    let budget = Some(Money::from_pico(10 * amount));
    let scopes: Vec<CallScope> = (1..=100).map(|ordinal| scope(ordinal, budget)).collect();
    let cancel = CancellationToken::new();
    let calls = scopes
        .iter()
        .map(|scope| stage.router.call(scope, request(), &stage.recorder, &cancel));
    let open = async {
        // All hundred have decided when the clock, which moves only when all wait, comes here.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(one.calls(), 10);
        assert_eq!(stage.limits.reserved(), Money::from_pico(10 * amount));
        one.gate.add_permits(10_000);
    };
    let (results, ()) = tokio::join!(join_all(calls), open);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 10);
    assert_eq!(
        results
            .iter()
            .filter(|result| matches!(result, Err(RouteFailure::Budget(_))))
            .count(),
        90
    );
    assert_eq!((stage.limits.reserved(), one.calls()), (Money::ZERO, 10));
}

#[tokio::test(start_paused = true)]
async fn requests_and_tokens_a_minute_admit_their_allowance_and_the_rest_waits() {
    for limits in [
        ProviderLimits {
            rpm: Some(10),
            ..ProviderLimits::default()
        },
        ProviderLimits {
            tpm: Some(10 * 5_008),
            ..ProviderLimits::default()
        },
        ProviderLimits {
            concurrency: Some(10),
            ..ProviderLimits::default()
        },
    ] {
        let one = Scripted::new(&[]);
        one.gate.forget_permits(10_000);
        let settings = RouterSettings {
            limits: BTreeMap::from([("one".to_owned(), limits)]),
            ..RouterSettings::default()
        };
        let stage = stage(settings, &[("one", &one)]);
        let scopes: Vec<CallScope> = (1..=20).map(|ordinal| scope(ordinal, None)).collect();
        let cancel = CancellationToken::new();
        let calls = scopes
            .iter()
            .map(|scope| stage.router.call(scope, request(), &stage.recorder, &cancel));
        let open = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(one.calls(), 10, "{limits:?}");
            one.gate.add_permits(10_000);
        };
        let begun = tokio::time::Instant::now();
        let (results, ()) = tokio::join!(join_all(calls), open);
        assert!(results.iter().all(Result::is_ok), "{limits:?}: {results:?}");
        if limits.rpm.is_some() {
            assert!(
                begun.elapsed() >= Duration::from_millis(59_900),
                "ten more at ten a minute: {:?}",
                begun.elapsed()
            );
        }
        assert_eq!(one.calls(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_and_a_dropped_call_leave_nothing_held_and_are_charged_what_was_seen() {
    let one = Scripted::new(&[Step::Hang(300), Step::Hang(300), Step::Hang(0)]);
    let stage = stage(RouterSettings::default(), &[("one", &one)]);
    let seen = Money::from_pico(1_008 * 3_750_000 + 100 * 15_000_000);
    let cancel = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        cancel.cancel();
    };
    let first = scope(1, None);
    let (result, ()) = tokio::join!(
        stage.router.call(&first, request(), &stage.recorder, &cancel),
        stop
    );
    assert_eq!(
        (result, stage.limits.spent()),
        (Err(RouteFailure::Cancelled), seen)
    );

    for (ordinal, expected) in [
        (2, seen),
        (3, Money::from_pico(1_008 * 3_750_000 + 4_000 * 15_000_000)),
    ] {
        let before = stage.limits.spent();
        let (scope, token) = (scope(ordinal, None), CancellationToken::new());
        let call = stage.router.call(&scope, request(), &stage.recorder, &token);
        tokio::time::timeout(Duration::from_millis(10), call)
            .await
            .expect_err("dropped");
        tokio::task::yield_now().await;
        assert_eq!(stage.limits.spent().minus(before), expected, "call {ordinal}");
        assert_eq!(stage.limits.reserved(), Money::ZERO);
    }
    stage
        .call(4, None)
        .await
        .expect("the slot and the route are free again");
}

#[tokio::test(start_paused = true)]
async fn without_a_key_or_a_route_the_error_says_what_is_missing() {
    let mut settings = ProviderSettings::new("anthropic", ProviderKind::Anthropic);
    settings.api_key_env = Some("ANTHROPIC_API_KEY".to_owned());
    let stage = stage_with(
        RouterSettings::default(),
        vec![(settings, Scripted::new(&[]) as Arc<dyn Provider>)],
    );
    let failure = stage.call(1, None).await.expect_err("no key");
    assert!(
        format!("{failure:?}").contains("no key: set ANTHROPIC_API_KEY"),
        "{failure:?}"
    );
    let reports = stage
        .router
        .check(
            Some("anthropic"),
            &"o".into(),
            &"r".into(),
            &CancellationToken::new(),
        )
        .await;
    assert_eq!(
        (reports[0].code.as_deref(), reports[0].hint.as_deref()),
        (Some("noKey"), Some("set ANTHROPIC_API_KEY"))
    );
    let empty = stage_with(RouterSettings::default(), Vec::new());
    let RouteFailure::Failed(error, _) = empty.call(1, None).await.expect_err("no route") else {
        panic!("no route")
    };
    assert!(error.message.contains("no route is configured"));
}

// From here on over real HTTP.

fn answer() -> Reply {
    Reply::Stream(testing::events(&[
        json!({"type": "message_start", "message": {"model": "model-of-anthropic", "usage": {"input_tokens": 1_000, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "fine"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 200}}),
        json!({"type": "message_stop"}),
    ]))
}

fn over_http(server: &Server) -> Stage {
    let mut settings = testing::settings(ProviderKind::Anthropic, &server.url);
    settings.deadlines.headers = Duration::from_millis(300);
    settings.models = provider_settings("anthropic").models;
    let provider = provider::build(&settings, &Http::new().expect("client")).expect("provider");
    let retry = RetrySettings {
        initial_ms: 5,
        max_ms: 20,
        ..RetrySettings::default()
    };
    stage_with(
        RouterSettings {
            retry,
            ..RouterSettings::default()
        },
        vec![(settings, provider)],
    )
}

#[tokio::test]
async fn faults_of_a_real_server_are_overcome_and_paid_for_exactly() {
    let half = testing::events(&[
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 1_000, "output_tokens": 1}}}),
    ]);
    let busy = json!({"error": {"type": "rate_limit_error", "message": "slow down"}}).to_string();
    let worst_case = |entry: &limits::Entry| entry.hold.amount;
    for (fault, cost_of_fault) in [
        (Reply::Status(500, vec![], String::new()), Some(Money::ZERO)),
        (
            Reply::Status(429, vec![("retry-after-ms", "40".to_owned())], busy),
            Some(Money::ZERO),
        ),
        (
            Reply::Cut(half),
            Some(Money::from_pico(1_000 * 3_000_000 + 15_000_000)),
        ),
        (Reply::Stream(vec!["data: {nonsense\n\n".to_owned()]), None),
        (Reply::Never, None),
    ] {
        let server = Server::start(judge_messages, vec![fault.clone(), answer()]).await;
        let stage = over_http(&server);
        let answer = stage
            .call(1, Some(Money::from_dollars(5)))
            .await
            .unwrap_or_else(|failure| panic!("{fault:?}: {failure:?}"));
        assert_eq!(answer.response.text(), "fine");
        assert_eq!(server.requests().len(), 2, "{fault:?}");
        let first = stage.limits.entries()[0].clone();
        let cost = first.settled.expect("settled").cost;
        match (&fault, cost_of_fault) {
            (_, Some(expected)) => assert_eq!(cost, expected, "{fault:?}"),
            (Reply::Never, None) => assert_eq!(cost, worst_case(&first), "unknown: all that was held"),
            _ => assert!(
                cost >= Money::from_pico(1_000 * 3_750_000),
                "at least the input: {fault:?}"
            ),
        }
        assert_eq!(stage.limits.spent(), cost.plus(answer.cost));
    }
}

#[tokio::test]
async fn a_check_tells_a_rejected_key_plainly_and_spends_next_to_nothing() {
    let rejected =
        json!({"error": {"type": "authentication_error", "message": "invalid x-api-key"}}).to_string();
    let server = Server::start(
        judge_messages,
        vec![Reply::Status(401, vec![], rejected), answer()],
    )
    .await;
    let stage = over_http(&server);
    let (owner, repository, cancel) = ("owner".into(), "repository".into(), CancellationToken::new());
    let reports = stage.router.check(None, &owner, &repository, &cancel).await;
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (reports[0].ok, reports[0].code.as_deref()),
        (false, Some("keyRejected"))
    );
    assert_eq!(
        reports[0].hint.as_deref(),
        Some("key rejected: check ANTHROPIC_API_KEY")
    );
    assert!(
        !serde_json::to_string(&reports)
            .expect("JSON")
            .contains(testing::KEY)
    );
    assert_eq!(stage.router.status()[0].health, Health::Blocked);
    assert!(
        stage
            .router
            .check(Some("anthropic"), &owner, &repository, &cancel)
            .await[0]
            .ok
    );
    assert_eq!(
        (stage.router.status()[0].health, stage.limits.reserved()),
        (Health::Ok, Money::ZERO)
    );
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request["max_tokens"] == 16)
    );
}

#[test]
fn calls_can_run_on_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let _entered = runtime.enter();
    let stage = stage(RouterSettings::default(), &[]);
    let (scope, cancel) = (scope(1, None), CancellationToken::new());
    is_send(&stage.router.call(&scope, request(), &stage.recorder, &cancel));
    let (owner, repository) = ("o".into(), "r".into());
    is_send(&stage.router.check(None, &owner, &repository, &cancel));
}

#[derive(Debug)]
struct Unused;

impl Provider for Unused {
    fn kind(&self) -> &'static str {
        "unused"
    }

    fn call<'a>(
        &'a self,
        _: &'a Request,
        _: Events<'a>,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Response, CallFailure>> {
        Box::pin(async { Err(CallFailure::cancelled(Sent::Nothing)) })
    }

    fn check<'a>(
        &'a self,
        model: &'a str,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Check, CallFailure>> {
        Box::pin(async move {
            Ok(Check {
                model: model.to_owned(),
                usage: Usage::default(),
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_limits_use_and_models_of_each_provider() {
    let limits = ProviderLimits {
        rpm: Some(60),
        tpm: Some(100_000),
        ..ProviderLimits::default()
    };
    let settings = RouterSettings {
        limits: BTreeMap::from([("one".to_owned(), limits)]),
        ..RouterSettings::default()
    };
    let one = Scripted::new(&[]);
    let stage = stage_with(
        settings,
        vec![
            (provider_settings("one"), one as Arc<dyn Provider>),
            (provider_settings("zero"), Arc::new(Unused)),
        ],
    );
    stage.call(1, None).await.expect("answers");
    let status = serde_json::to_value(stage.router.status()).expect("JSON");
    let expected = json!([
        {"id": "one", "kind": "openai-compatible", "health": "ok", "circuit": "closed", "rpm": {"limit": 60, "used": 1},
         "tpm": {"limit": 100_000, "used": 1_200}, "models": ["model-of-one"]},
        {"id": "zero", "kind": "openai-compatible", "health": "ok", "circuit": "closed", "rpm": {"limit": null, "used": 0},
         "tpm": {"limit": null, "used": 0}, "models": ["model-of-zero"]},
    ]);
    assert_eq!(status, expected);
}
