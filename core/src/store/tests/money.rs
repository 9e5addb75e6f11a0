//! The ledger: reserve, settle, refuse, report.

use futures::future::join_all;

use super::support::{DAY, NOW, Place, create, finish, hold, new_run, nobody_lives, settlement};
use crate::money::Money;
use crate::store::{
    BudgetScope, Cap, Confirmation, CostBy, DayScope, Grant, Hold, Limits, Settlement, Usage,
};

const DOLLAR: Money = Money::from_dollars(1);

#[tokio::test]
async fn of_a_hundred_reservations_at_once_on_a_cap_of_ten_ten_are_granted() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();

    let grants =
        join_all((0..100).map(|number| ledger.reserve(hold(&format!("call-{number}"), 1, 10)))).await;

    let granted = grants
        .iter()
        .filter(|grant| matches!(grant, Ok(Grant::Granted)))
        .count();
    assert_eq!(granted, 10);
    for grant in grants
        .into_iter()
        .map(Result::unwrap)
        .filter(|grant| *grant != Grant::Granted)
    {
        let Grant::Refused(refusal) = grant else {
            panic!("neither")
        };
        assert_eq!(refusal.scope, BudgetScope::UserDay);
        let (limit, spent, reserved) = (Money::from_dollars(10), Money::ZERO, Money::from_dollars(10));
        assert_eq!(
            (refusal.limit, refusal.spent, refusal.reserved, refusal.needed),
            (limit, spent, reserved, DOLLAR)
        );
    }
}

#[tokio::test]
async fn settling_gives_back_what_was_not_used_and_counts_once() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    ledger.reserve(hold("call", 10, 10)).await.unwrap();

    for cost in [3, 9] {
        ledger
            .settle(&"call".into(), settlement(Money::from_dollars(cost)))
            .await
            .unwrap();
    }

    let totals = ledger.run_totals(&"run".into()).await.unwrap();
    assert_eq!(
        (totals.cost, totals.reserved, totals.unconfirmed),
        (Money::from_dollars(3), Money::ZERO, Money::ZERO)
    );
    assert_eq!(
        (
            totals.calls,
            totals.usage.input_tokens,
            totals.usage.cache_write_tokens
        ),
        (1, 100, 4)
    );
    assert_eq!(ledger.reserve(hold("next", 7, 10)).await.unwrap(), Grant::Granted);
    assert!(matches!(
        ledger.reserve(hold("over", 1, 10)).await.unwrap(),
        Grant::Refused(_)
    ));
}

#[tokio::test]
async fn an_intent_is_granted_again_only_while_it_is_the_same_open_hold() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    let wish = hold("call", 6, 10);

    for _ in 0..3 {
        assert_eq!(ledger.reserve(wish.clone()).await.unwrap(), Grant::Granted);
    }
    assert_eq!(
        ledger.run_totals(&"run".into()).await.unwrap().reserved,
        Money::from_dollars(6),
        "held once"
    );
    let other = ledger
        .reserve(Hold {
            amount: DOLLAR,
            ..wish.clone()
        })
        .await
        .unwrap_err();
    assert_eq!(other.code, "intentInUse");
    ledger.settle(&"call".into(), settlement(DOLLAR)).await.unwrap();
    assert_eq!(ledger.reserve(wish).await.unwrap_err().code, "intentSettled");
    let unknown = ledger
        .settle(&"never".into(), settlement(DOLLAR))
        .await
        .unwrap_err();
    assert_eq!(unknown.code, "unknownIntent");
}

#[tokio::test]
async fn what_costs_nothing_needs_no_budget_and_is_recorded() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    ledger.reserve(hold("all", 10, 10)).await.unwrap();

    assert_eq!(ledger.reserve(hold("free", 0, 10)).await.unwrap(), Grant::Granted);
    assert!(matches!(
        ledger.reserve(hold("paid", 1, 10)).await.unwrap(),
        Grant::Refused(_)
    ));

    assert_eq!(ledger.run_totals(&"run".into()).await.unwrap().calls, 2);
}

#[tokio::test]
async fn a_refused_intent_may_come_again_with_less() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    assert!(matches!(
        ledger.reserve(hold("call", 11, 10)).await.unwrap(),
        Grant::Refused(_)
    ));
    assert_eq!(ledger.reserve(hold("call", 9, 10)).await.unwrap(), Grant::Granted);
}

#[tokio::test]
async fn every_cap_holds_and_a_refusal_holds_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    let caps = |run, repository, user, provider| {
        let scopes = [
            (BudgetScope::Run, run),
            (BudgetScope::RepositoryDay, repository),
            (BudgetScope::UserDay, user),
            (BudgetScope::ProviderDay("anthropic".to_owned()), provider),
        ];
        scopes
            .map(|(scope, dollars)| Cap {
                scope,
                limit: Money::from_dollars(dollars),
            })
            .to_vec()
    };
    ledger.reserve(hold("first", 4, 100)).await.unwrap();

    let refusals = [
        (caps(4, 9, 9, 9), BudgetScope::Run),
        (caps(9, 4, 9, 9), BudgetScope::RepositoryDay),
        (caps(9, 9, 4, 9), BudgetScope::UserDay),
        (caps(9, 9, 9, 4), BudgetScope::ProviderDay("anthropic".to_owned())),
        (caps(9, 4, 4, 4), BudgetScope::RepositoryDay),
    ];
    for (number, (caps, expected)) in refusals.into_iter().enumerate() {
        let grant = ledger
            .reserve(Hold {
                caps,
                ..hold(&format!("refused-{number}"), 1, 0)
            })
            .await
            .unwrap();
        assert!(
            matches!(&grant, Grant::Refused(refusal) if refusal.scope == expected),
            "{grant:?}"
        );
    }

    let totals = ledger.day_totals(DAY, &DayScope::User).await.unwrap();
    assert_eq!((totals.reserved, totals.calls), (Money::from_dollars(4), 1));
    let elsewhere = Hold {
        run: "other-run".into(),
        repository: "elsewhere".into(),
        provider: "openai".to_owned(),
        caps: caps(4, 4, 9, 9),
        ..hold("elsewhere", 4, 0)
    };
    assert_eq!(
        ledger.reserve(elsewhere).await.unwrap(),
        Grant::Granted,
        "scopes are apart"
    );
}

#[tokio::test]
async fn a_reservation_belongs_to_its_day_and_a_clock_that_goes_back_reopens_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    ledger.reserve(hold("before-midnight", 10, 10)).await.unwrap();

    let on = |day: &str, intent: &str| Hold {
        day: day.to_owned(),
        ..hold(intent, 10, 10)
    };
    assert_eq!(
        ledger.reserve(on("2026-11-25", "after-midnight")).await.unwrap(),
        Grant::Granted
    );
    ledger
        .settle(&"before-midnight".into(), settlement(Money::from_dollars(10)))
        .await
        .unwrap();
    assert!(matches!(
        ledger.reserve(on("2026-11-23", "clock-went-back")).await.unwrap(),
        Grant::Refused(_)
    ));

    let new_day = ledger.day_totals("2026-11-25", &DayScope::User).await.unwrap();
    assert_eq!(
        (new_day.cost, new_day.reserved),
        (Money::ZERO, Money::from_dollars(10))
    );
    let by_day = ledger.costs(CostBy::Day, None, None).await.unwrap();
    let days: Vec<_> = by_day
        .iter()
        .map(|row| (row.key.as_str(), row.totals.cost))
        .collect();
    assert_eq!(
        days,
        [(DAY, Money::from_dollars(10)), ("2026-11-25", Money::ZERO)]
    );
}

#[tokio::test]
async fn costs_are_told_by_step_agent_and_model_and_stay_when_the_run_is_deleted() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    let run = create(&store, new_run("run")).await;
    let calls = [
        ("1", "developer", "large"),
        ("2", "developer", "small"),
        ("3", "developer", "large"),
        ("4", "qa", "small"),
    ];
    for (intent, step, model) in calls {
        let wish = Hold {
            step: step.into(),
            agent: step.into(),
            model: model.to_owned(),
            ..hold(intent, 5, 100)
        };
        ledger.reserve(wish).await.unwrap();
    }
    for intent in ["1", "2", "3"] {
        ledger.settle(&intent.into(), settlement(DOLLAR)).await.unwrap();
    }
    finish(&store, &run, "").await;
    store.delete_run(&run).await.unwrap();

    let steps = ledger.step_totals(&run).await.unwrap();
    let shown: Vec<_> = steps
        .iter()
        .map(|sum| {
            (
                sum.step.as_str(),
                sum.model.as_str(),
                sum.totals.cost,
                sum.totals.reserved,
                sum.totals.calls,
            )
        })
        .collect();
    let (zero, two, five) = (Money::ZERO, Money::from_dollars(2), Money::from_dollars(5));
    assert_eq!(
        shown,
        [
            ("developer", "large", two, zero, 2),
            ("developer", "small", DOLLAR, zero, 1),
            ("qa", "small", zero, five, 1)
        ]
    );
    let by_model = ledger.costs(CostBy::Model, Some(DAY), Some(DAY)).await.unwrap();
    let by_model: Vec<_> = by_model
        .iter()
        .map(|row| (row.key.as_str(), row.totals.cost))
        .collect();
    assert_eq!(by_model, [("large", two), ("small", DOLLAR)]);
    assert_eq!(
        ledger
            .costs(CostBy::Agent, Some("2026-11-25"), None)
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        ledger.run_totals(&run).await.unwrap().cost,
        Money::from_dollars(3)
    );
}

#[tokio::test]
async fn an_unconfirmed_settlement_and_an_overrun_are_counted_as_they_are() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    ledger.reserve(hold("call", 2, 10)).await.unwrap();
    let outcome = Settlement {
        confirmed: Confirmation::Unconfirmed,
        ..settlement(Money::from_dollars(3))
    };
    ledger.settle(&"call".into(), outcome).await.unwrap();

    let totals = ledger
        .day_totals(DAY, &DayScope::Provider("anthropic".to_owned()))
        .await
        .unwrap();

    assert_eq!(
        (totals.cost, totals.unconfirmed),
        (Money::from_dollars(3), Money::from_dollars(3))
    );
    assert!(matches!(
        ledger.reserve(hold("next", 8, 10)).await.unwrap(),
        Grant::Refused(_)
    ));
}

#[tokio::test]
async fn a_late_settlement_after_the_owner_was_given_up_changes_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    ledger.reserve(hold("call", 2, 10)).await.unwrap();
    let forfeited = ledger.reconcile(nobody_lives, NOW).await.unwrap();
    assert_eq!(forfeited.len(), 1);

    ledger
        .settle(&"call".into(), settlement(Money::ZERO))
        .await
        .unwrap();

    let totals = ledger.run_totals(&"run".into()).await.unwrap();
    assert_eq!(
        (totals.cost, totals.unconfirmed),
        (Money::from_dollars(2), Money::from_dollars(2))
    );
}

#[tokio::test]
async fn absurd_amounts_neither_wrap_nor_open_a_budget() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    let endless = |intent: &str, amount| Hold {
        amount,
        caps: Vec::new(),
        ..hold(intent, 0, 0)
    };

    assert_eq!(
        ledger.reserve(endless("all", Money::MAX)).await.unwrap(),
        Grant::Granted
    );
    assert_eq!(
        ledger.reserve(endless("more", DOLLAR)).await.unwrap_err().code,
        "ledgerOverflow"
    );
    assert!(matches!(
        ledger.reserve(hold("capped", 1, 1)).await.unwrap(),
        Grant::Refused(_)
    ));
    let negative = ledger
        .reserve(endless("negative", Money::from_pico(-1)))
        .await
        .unwrap_err();
    assert_eq!(negative.code, "internal");
    let usage = Usage {
        input_tokens: u64::MAX,
        ..Usage::default()
    };
    ledger
        .settle(
            &"all".into(),
            Settlement {
                usage,
                ..settlement(Money::MAX)
            },
        )
        .await
        .unwrap();
    let totals = ledger.run_totals(&"run".into()).await.unwrap();
    assert_eq!((totals.cost, totals.reserved), (Money::MAX, Money::ZERO));
}
