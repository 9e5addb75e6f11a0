//! Several processes on one file, and processes that die.

use super::children::{self, CROWD, SPENDER_CAP, SPENDER_TRIES};
use super::support::{DAY, NOW, Place, hold, new_run, wait_until};
use crate::money::Money;
use crate::store::{DayScope, Limits};

#[tokio::test]
async fn two_processes_and_two_threads_that_fight_for_a_budget_get_exactly_the_budget() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let names = ["first", "second"];
    let mut processes = names.map(|name| children::start("spender", name, &place.state, ""));
    for name in names {
        wait_until("the children", || {
            !children::reports(&place.state, name).is_empty()
        });
    }

    children::give_the_start(&place.state);
    let handles = [(one, "third"), (other, "fourth")].map(|(store, name)| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut granted = 0;
                for number in 0..SPENDER_TRIES {
                    let wish = hold(&format!("{name}/{number}"), 1, SPENDER_CAP);
                    if store.ledger().reserve(wish).await.unwrap() == crate::store::Grant::Granted {
                        granted += 1;
                    }
                }
                granted
            })
        })
    });
    let here: usize = handles.map(|handle| handle.join().unwrap()).iter().sum();
    processes.iter_mut().for_each(children::Kin::must_succeed);

    let there: usize = names
        .map(|name| children::reports(&place.state, name).len() - 1)
        .iter()
        .sum();
    assert_eq!(here + there, usize::try_from(SPENDER_CAP).unwrap());
    let totals = place
        .open()
        .await
        .ledger()
        .day_totals(DAY, &DayScope::User)
        .await
        .unwrap();
    assert_eq!(
        totals.cost.plus(totals.reserved),
        Money::from_dollars(SPENDER_CAP)
    );
}

#[tokio::test]
async fn processes_that_open_a_new_store_at_the_same_moment_all_use_it() {
    let place = Place::new();
    let names = ["a", "b", "c", "d"];
    let mut processes = names.map(|name| children::start("opener", name, &place.state, ""));
    for name in names {
        wait_until("the children", || {
            !children::reports(&place.state, name).is_empty()
        });
    }

    children::give_the_start(&place.state);
    processes.iter_mut().for_each(children::Kin::must_succeed);

    let store = place.open().await;
    for name in names {
        assert!(store.run(&name.into()).await.unwrap().is_some(), "{name}");
    }
    let new = names
        .iter()
        .filter(|name| children::reports(&place.state, name).contains(&"new".to_owned()))
        .count();
    assert_eq!(new, 1, "the named task was started once");
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_by_a_kill() {
    let place = Place::new();
    for round in 0..5 {
        let name = format!("round-{round}");
        let mut child = children::start("committer", &name, &place.state, "");
        let enough = 3 + 7 * round;
        wait_until("some commits", || {
            children::reports(&place.state, &name).len() >= enough
        });
        child.kill();
        let acknowledged = children::reports(&place.state, &name).len();

        let store = place.open().await;
        let run = name.as_str().into();
        let events = store.events(&run, 0, 10_000).await.unwrap();
        let journal = store.journal(&run, 0, 10_000).await.unwrap();
        let row = store.run(&run).await.unwrap().unwrap();

        assert!(
            events.len() >= acknowledged,
            "{} of {acknowledged} were kept",
            events.len()
        );
        assert!(
            events.len() <= acknowledged + 1,
            "at most the one in flight was not acknowledged"
        );
        assert_eq!(journal.len(), events.len());
        assert!(
            row.state.starts_with(&format!("{{\"number\":{},", events.len())),
            "state and events are of one commit"
        );
        store.close().await;
    }
}

#[tokio::test]
async fn nothing_that_was_acknowledged_side_by_side_is_lost_by_a_kill() {
    let place = Place::new();
    for round in 0..3 {
        let name = format!("crowd-{round}");
        let mut child = children::start("crowd", &name, &place.state, "");
        wait_until("some commits", || {
            children::reports(&place.state, &name).len() >= 2 + 5 * round
        });
        child.kill();
        let acknowledged = children::reports(&place.state, &name).len();

        let store = place.open().await;
        for number in 0..CROWD {
            let run = format!("{name}-{number}").as_str().into();
            let kept = store.events(&run, 0, 10_000).await.unwrap().len();
            assert!(
                (acknowledged..=acknowledged + 1).contains(&kept),
                "{kept} of {acknowledged}"
            );
            assert_eq!(store.journal(&run, 0, 10_000).await.unwrap().len(), kept);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn the_money_of_a_killed_process_is_spent_and_unconfirmed_and_a_living_one_keeps_its_own() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    let mut dying = children::start("holder", "dying", &place.state, "");
    let _living = children::start("holder", "living", &place.state, "");
    for name in ["dying", "living"] {
        wait_until("the holds", || !children::reports(&place.state, name).is_empty());
    }
    assert_eq!(
        ledger
            .reconcile(|owner| store.is_alive(owner), NOW)
            .await
            .unwrap(),
        []
    );

    dying.kill();
    let forfeited = ledger
        .reconcile(|owner| store.is_alive(owner), NOW)
        .await
        .unwrap();

    assert_eq!(forfeited.len(), 3);
    let totals = ledger.day_totals(DAY, &DayScope::User).await.unwrap();
    assert_eq!(
        (totals.cost, totals.unconfirmed),
        (Money::from_dollars(6), Money::from_dollars(6))
    );
    assert_eq!(totals.reserved, Money::from_dollars(6), "the living one's");
    assert_eq!(
        ledger
            .reconcile(|owner| store.is_alive(owner), NOW)
            .await
            .unwrap(),
        [],
        "once"
    );
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written_and_nothing_paid_begins() {
    let place = Place::new();
    let store = place.open().await;
    store.create_run(new_run("run")).await.unwrap();
    store.close().await;

    // Files may not grow beyond 1 MiB (512-byte blocks), which SQLite sees as a failed write.
    let mut child = children::start("limited", "limited", &place.state, "trap '' XFSZ; ulimit -f 2048");
    child.must_succeed();

    let reports = children::reports(&place.state, "limited");
    let written = reports.iter().filter(|line| *line == "written").count();
    assert!(written > 0, "{reports:?}");
    assert_eq!(
        reports[written..],
        ["storeIo", "storeFailed", "storeFailed", "50002"],
        "reading goes on"
    );
    let store = place.open().await;
    assert_eq!(
        store.events(&"run".into(), 0, 1000).await.unwrap().len(),
        written,
        "what was acknowledged is there"
    );
}
