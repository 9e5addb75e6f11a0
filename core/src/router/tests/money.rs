use super::*;

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
