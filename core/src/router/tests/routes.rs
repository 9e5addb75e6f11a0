use super::*;

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

#[tokio::test]
async fn the_demonstration_needs_no_key_no_money_and_no_network() {
    let settings = RouterSettings {
        default_route: vec![Candidate {
            provider: "demo".to_owned(),
            model: "demo".to_owned(),
            reason: "no provider was found".to_owned(),
        }],
        user_day: Some(Money::ZERO),
        ..RouterSettings::default()
    };
    let (limits, clock) = (Arc::new(MemoryLimits::new()), Arc::new(crate::clock::SystemClock));
    let router = Router::build(
        settings,
        vec![provider::demo::settings()],
        &Http::new().expect("client"),
        limits,
        clock,
    )
    .expect("router");
    let mut request = request();
    request.system = vec![crate::provider::SystemBlock {
        text: "clode-agent: architect".to_owned(),
        cache: true,
    }];
    let answer = router
        .call(
            &scope(1, Some(Money::ZERO)),
            request,
            &Deaf,
            &CancellationToken::new(),
        )
        .await
        .expect("answers");
    assert!(answer.response.text().starts_with("# Plan: "));
    assert_eq!((answer.cost, answer.price), (Money::ZERO, PriceBasis::Known));
    let reports = router
        .check(None, &"o".into(), &"r".into(), &CancellationToken::new())
        .await;
    assert!(reports[0].ok, "{reports:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_with_a_route_of_its_own_takes_that_one() {
    let (one, two) = (Scripted::new(&[]), Scripted::new(&[]));
    let routes = BTreeMap::from([(AgentId::new("developer"), route(&["two"]))]);
    let stage = stage(
        RouterSettings {
            routes,
            ..RouterSettings::default()
        },
        &[("one", &one), ("two", &two)],
    );
    assert_eq!(stage.call(1, None).await.expect("answers").provider, "two");
}
