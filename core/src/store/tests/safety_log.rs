//! What is promised about money and approvals is outside of the database before it is acknowledged.

use std::path::PathBuf;

use super::support::{NOW, Place, create, hold, new_run, nobody_lives, settlement, transition};
use crate::money::Money;
use crate::store::safety_log::{self, Logged, Promise};
use crate::store::{AuditRecord, Grant, Limits};

fn logged(place: &Place) -> Logged {
    safety_log::read(&place.state).unwrap()
}

fn log(place: &Place, number: i64) -> PathBuf {
    place.state.join("log").join(format!("{number}.log"))
}

fn approval(id: &str) -> AuditRecord {
    AuditRecord {
        at: NOW,
        run: Some("run".into()),
        actor: "editor".to_owned(),
        action: "approval".to_owned(),
        detail: format!("{{\"approvalId\":\"{id}\"}}"),
    }
}

#[tokio::test]
async fn money_and_approvals_are_logged_when_they_are_acknowledged_and_nothing_else_is() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    store.commit(transition(&run, 1, "{}")).await.unwrap();
    store.put_blob(b"content".to_vec()).await.unwrap();
    assert!(!place.state.join("log").exists(), "nothing was promised yet");

    let ledger = store.ledger();
    let (hold, outcome) = (hold("call", 2, 3), settlement(Money::from_dollars(1)));
    ledger.reserve(hold.clone()).await.unwrap();
    ledger.settle(&"call".into(), outcome).await.unwrap();
    store.audit(approval("plan")).await.unwrap();

    let Logged { promises, unreadable } = logged(&place);
    let expected = [
        Promise::Reserved {
            hold: Box::new(hold.clone()),
        },
        Promise::Settled {
            intent: "call".into(),
            settlement: outcome,
        },
        Promise::Audited {
            record: approval("plan"),
        },
    ];
    assert_eq!((promises.as_slice(), unreadable), (expected.as_slice(), 0));

    // What changes nothing is not promised again, and what is refused is not promised at all.
    ledger.settle(&"call".into(), outcome).await.unwrap();
    assert_eq!(ledger.reserve(hold).await.unwrap_err().code, "intentSettled");
    let refused = ledger.reserve(super::support::hold("dear", 9, 3)).await.unwrap();
    assert!(matches!(refused, Grant::Refused(_)));
    assert_eq!(logged(&place).promises.len(), 3);
}

#[tokio::test]
async fn what_a_dead_owner_left_is_promised_as_spent() {
    let place = Place::new();
    let store = place.open().await;
    store.ledger().reserve(hold("call", 2, 3)).await.unwrap();

    store.ledger().reconcile(nobody_lives, NOW).await.unwrap();

    let last = logged(&place).promises.pop();
    assert!(
        matches!(&last, Some(Promise::Settled { settlement, .. }) if settlement.cost == Money::from_dollars(2)),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_backup_begins_a_new_log_and_the_old_one_goes_only_when_the_copy_stands() {
    let place = Place::new();
    let (store, other) = (place.open().await, place.open().await);
    store.ledger().reserve(hold("first", 1, 100)).await.unwrap();
    store.back_up().await.unwrap();
    assert!(!log(&place, 1).exists());

    other.ledger().reserve(hold("second", 1, 100)).await.unwrap();
    assert!(log(&place, 2).exists(), "the other process follows");
    assert_eq!(logged(&place).promises.len(), 1);

    // A copy that cannot be made: there is a file where its folder should be.
    std::fs::remove_dir_all(place.state.join("backup")).unwrap();
    std::fs::write(place.state.join("backup"), "").unwrap();
    store.back_up().await.unwrap_err();
    store.ledger().reserve(hold("third", 1, 100)).await.unwrap();

    assert!(log(&place, 2).exists() && log(&place, 3).exists());
    assert_eq!(logged(&place).promises.len(), 2);
}

#[tokio::test]
async fn a_torn_line_and_a_flipped_bit_cost_only_themselves() {
    let place = Place::new();
    let store = place.open().await;
    let ledger = store.ledger();
    ledger.reserve(hold("first", 1, 100)).await.unwrap();
    // A process that died while it wrote.
    let mut torn = std::fs::read(log(&place, 1)).unwrap();
    torn.extend_from_slice(b"\n0123456789abcdef {\"type\":\"reser");
    std::fs::write(log(&place, 1), &torn).unwrap();

    ledger.reserve(hold("second", 1, 100)).await.unwrap();

    assert_eq!((logged(&place).promises.len(), logged(&place).unreadable), (2, 1));
    let mut flipped = std::fs::read(log(&place, 1)).unwrap();
    flipped[60] ^= 1;
    std::fs::write(log(&place, 1), &flipped).unwrap();
    assert_eq!((logged(&place).promises.len(), logged(&place).unreadable), (1, 2));
}

#[tokio::test]
async fn what_cannot_be_logged_is_not_granted() {
    let place = Place::new();
    let store = place.open().await;
    std::fs::write(place.state.join("log"), "a file where the folder should be").unwrap();

    let refused = store.ledger().reserve(hold("call", 1, 100)).await.unwrap_err();

    assert!(refused.message.contains("log"), "{refused}");
    std::fs::remove_file(place.state.join("log")).unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(
        store.ledger().run_totals(&"run".into()).await.unwrap().calls,
        0,
        "the transaction was undone"
    );
}
