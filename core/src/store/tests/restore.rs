//! Damaged databases: set aside, replaced by backup and log, and closed to whoever has them open.

use std::path::Path;

use super::support::{DAY, NOW, Place, create, finish, hold, new_run, raw, settlement, transition};
use crate::money::Money;
use crate::store::guard::Life;
use crate::store::{AuditRecord, DayScope, Grant, Limits, RunFilter, Store};

const DOLLAR: Money = Money::from_dollars(1);

/// Damages all pages but the first, also where somebody has the file open.
/// Damages every page but the first.
fn damage(state: &Path) -> Vec<u8> {
    let path = state.join("clode.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = 4096..bytes.len().max(8192);
    bytes.resize(middle.end, 0);
    bytes[middle].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    bytes
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

async fn spend(store: &Store, intent: &str) {
    let grant = store.ledger().reserve(hold(intent, 2, 1000)).await.unwrap();
    assert_eq!(grant, Grant::Granted);
    store
        .ledger()
        .settle(&intent.into(), settlement(DOLLAR))
        .await
        .unwrap();
}

/// A store with one open and one ended run, of which a backup knows the first half.
async fn with_history(place: &Place) -> Store {
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    let ended = create(&store, new_run("ended")).await;
    finish(&store, &ended, "tree").await;
    store.commit(transition(&run, 1, "\"before\"")).await.unwrap();
    spend(&store, "before").await;
    store.ledger().reserve(hold("under way", 2, 1000)).await.unwrap();
    store.audit(approval("plan")).await.unwrap();
    store.back_up().await.unwrap();
    store.commit(transition(&run, 1, "\"after\"")).await.unwrap();
    store
        .ledger()
        .settle(&"under way".into(), settlement(DOLLAR))
        .await
        .unwrap();
    spend(&store, "after").await;
    store.ledger().reserve(hold("open", 4, 1000)).await.unwrap();
    store.audit(approval("patch")).await.unwrap();
    store
}

#[tokio::test]
async fn backup_and_log_bring_back_what_was_acknowledged_and_unfinished_runs_wait() {
    let place = Place::new();
    with_history(&place).await.close().await;
    let damaged = damage(&place.state);

    let store = place.open().await;

    let totals = store.ledger().day_totals(DAY, &DayScope::User).await.unwrap();
    assert_eq!(
        (totals.cost, totals.reserved),
        (Money::from_dollars(3), Money::from_dollars(4))
    );
    assert_eq!(totals.calls, 4);
    let details: Vec<String> = store
        .audit_records(None, None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.record.detail)
        .collect();
    assert_eq!(details, [approval("plan").detail, approval("patch").detail]);
    let row = store.run(&"run".into()).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.owner), ("\"before\"", None));
    let waiting = store.restored_runs().await.unwrap();
    assert_eq!(waiting.len(), 1, "the ended one does not wait");
    assert_eq!(
        (waiting[0].0.as_str(), waiting[0].1.code.as_ref()),
        ("run", "storeRestored")
    );
    store.forget_restored(&waiting[0].0).await.unwrap();
    assert_eq!(store.restored_runs().await.unwrap(), []);

    let kept = place.state.join("damaged/1/clode.db");
    assert_eq!(std::fs::read(kept).unwrap(), damaged, "nothing is deleted");
    assert!(
        place.state.join("damaged/1/2.log").exists(),
        "the log is kept beside it"
    );
    let told = store.restoration().unwrap();
    for part in ["damaged/1", "last backup", "4 later entries", "1 pipelines"] {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
}

#[tokio::test]
async fn whoever_has_the_damaged_files_open_writes_nothing_any_more_and_every_old_fence_is_stale() {
    let place = Place::new();
    let old = with_history(&place).await;
    let adopted = old.adopt(&"run".into(), 1, &"old".into()).await.unwrap();
    let adopted = adopted.unwrap().fence;
    let checkpoint = raw(&place.state).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    });
    assert_eq!(checkpoint.unwrap(), (0, 0, 0), "the log went into the file");
    damage(&place.state);

    let new = place.open().await;

    for error in [
        old.commit(transition(&"run".into(), adopted, "{}"))
            .await
            .unwrap_err(),
        old.ledger().reserve(hold("late", 1, 100)).await.unwrap_err(),
        old.writable().unwrap_err(),
    ] {
        assert_eq!(error.code, "storeReplaced", "{error}");
    }
    let stale = new
        .commit(transition(&"run".into(), adopted, "{}"))
        .await
        .unwrap_err();
    assert_eq!(stale.code, "fenced");
    let fence = new.run(&"run".into()).await.unwrap().unwrap().fence;
    assert!(fence > adopted + 1_000_000, "{fence}");
    new.commit(transition(&"run".into(), fence, "\"goes on\""))
        .await
        .unwrap();
    old.close().await;
    new.commit(transition(&"run".into(), fence, "\"still\""))
        .await
        .unwrap();
    new.close().await;
    let row = place.open().await.run(&"run".into()).await.unwrap().unwrap();
    assert_eq!(
        row.state, "\"still\"",
        "closing the old files did not touch the new ones"
    );
}

#[tokio::test]
async fn without_a_backup_the_money_comes_from_the_log_alone() {
    let place = Place::new();
    let store = place.open().await;
    create(&store, new_run("run")).await;
    spend(&store, "one").await;
    spend(&store, "two").await;
    store.close().await;
    damage(&place.state);

    let store = place.open().await;

    let totals = store.ledger().day_totals(DAY, &DayScope::User).await.unwrap();
    assert_eq!((totals.cost, totals.calls), (Money::from_dollars(2), 2));
    assert_eq!(store.runs(RunFilter::default()).await.unwrap(), []);
    assert!(store.restoration().unwrap().contains("no usable backup"));
}

#[tokio::test]
async fn a_second_damage_before_the_next_backup_loses_no_money_either() {
    let place = Place::new();
    with_history(&place).await.close().await;
    damage(&place.state);
    let store = place.open().await;
    spend(&store, "between").await;
    store.close().await;
    damage(&place.state);

    let store = place.open().await;

    let totals = store.ledger().day_totals(DAY, &DayScope::User).await.unwrap();
    assert_eq!((totals.cost, totals.calls), (Money::from_dollars(4), 5));
    let life = Life::read(&raw(&place.state)).unwrap();
    assert_eq!(life.incarnation, 3);
    assert!(place.state.join("damaged/2/clode.db").exists());
}

#[tokio::test]
async fn a_database_that_lost_its_own_log_is_damaged_too() {
    // Given: nothing of it had reached the file yet, or all up to the log before.
    for is_empty in [true, false] {
        let place = Place::new();
        let store = place.open().await;
        spend(&store, "one").await;
        if !is_empty {
            store.close().await;
        }
        let store = place.open().await;
        store.back_up().await.unwrap();
        spend(&store, "two").await;
        let (main, log) = (place.state.join("clode.db"), place.state.join("clode.db-wal"));
        let length = std::fs::metadata(&log).unwrap().len();
        assert!(length > 0, "the log holds it");
        std::fs::write(&log, vec![0xA5; usize::try_from(length).unwrap()]).unwrap();
        let copy = Place::new();
        std::fs::create_dir_all(&copy.state).unwrap();
        for folder in ["log", "backup"] {
            std::fs::create_dir(copy.state.join(folder)).unwrap();
        }
        for name in ["clode.db", "clode.db-wal", "log/2.log", "backup/clode.db"] {
            std::fs::copy(place.state.join(name), copy.state.join(name)).unwrap();
        }
        assert_eq!(std::fs::metadata(main).unwrap().len() < 8192, is_empty);

        let store = copy.open().await;

        let totals = store.ledger().day_totals(DAY, &DayScope::User).await.unwrap();
        assert_eq!(
            (totals.cost, totals.calls),
            (Money::from_dollars(2), 2),
            "{is_empty}"
        );
        assert!(
            store
                .restoration()
                .unwrap()
                .contains("lost what was written last")
        );
    }
}

#[tokio::test]
async fn a_damaged_backup_is_not_used() {
    let place = Place::new();
    with_history(&place).await.close().await;
    damage(&place.state);
    std::fs::write(place.state.join("backup/clode.db"), "no database".repeat(1000)).unwrap();

    let store = place.open().await;

    assert!(store.restoration().unwrap().contains("no usable backup"));
    let totals = store.ledger().day_totals(DAY, &DayScope::User).await.unwrap();
    assert_eq!(
        (totals.cost, totals.reserved),
        (DOLLAR, Money::from_dollars(4)),
        "what the log since that backup holds"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside_as_it_is() {
    let place = Place::new();
    std::fs::create_dir_all(&place.state).unwrap();
    let text = "this is not a database ".repeat(1000);
    std::fs::write(place.state.join("clode.db"), &text).unwrap();

    let store = place.open().await;

    create(&store, new_run("run")).await;
    let kept = place.state.join("damaged/1/clode.db");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), text);
}

#[tokio::test]
async fn of_many_that_open_a_damaged_database_at_once_one_replaces_it_and_all_can_write() {
    let place = Place::new();
    with_history(&place).await.close().await;
    damage(&place.state);

    let opened = futures::future::join_all((0..6).map(|_| place.open())).await;

    for (number, store) in opened.iter().enumerate() {
        create(store, new_run(&format!("new-{number}"))).await;
    }
    let aside = std::fs::read_dir(place.state.join("damaged")).unwrap().count();
    assert_eq!(aside, 1);
    assert_eq!(opened[0].runs(RunFilter::default()).await.unwrap().len(), 8);
}

#[tokio::test]
async fn a_replacement_that_a_crash_interrupted_is_done_again() {
    // Given every state in which a crash can leave the files: with and without the old, with and
    // without the new, the log of the old one alone.
    for (old, log, new) in [
        (true, true, false),
        (false, true, false),
        (false, false, false),
        (false, false, true),
    ] {
        let place = Place::new();
        with_history(&place).await.close().await;
        let state = &place.state;
        std::fs::write(state.join("restoring"), "").unwrap();
        std::fs::write(state.join("clode.db-wal"), "the log of the damaged file").unwrap();
        damage(state);
        if !old {
            std::fs::remove_file(state.join("clode.db")).unwrap();
        }
        if !log {
            std::fs::remove_file(state.join("clode.db-wal")).unwrap();
        }
        if new {
            std::fs::copy(state.join("backup/clode.db"), state.join("clode.db")).unwrap();
        }

        let store = place.open().await;

        let case = format!("old {old}, log {log}, new {new}");
        let totals = store.ledger().day_totals(DAY, &DayScope::User).await.unwrap();
        assert_eq!(totals.cost, Money::from_dollars(3), "{case}");
        assert_eq!(store.restored_runs().await.unwrap().len(), 1, "{case}");
        assert!(!state.join("restoring").exists(), "{case}");
        assert_eq!(
            std::fs::read_dir(state.join("damaged")).unwrap().count(),
            1,
            "{case}"
        );
    }
}

#[tokio::test]
async fn damage_that_shows_while_running_stops_the_store_and_the_next_start_replaces_it() {
    let place = Place::new();
    let store = place.open().await;
    for number in 0..300 {
        create(&store, new_run(&format!("run-{number}"))).await;
    }
    store.back_up().await.unwrap();
    store.close().await;
    let store = place.open().await;
    damage(&place.state);

    let error = store.runs(RunFilter::default()).await.unwrap_err();

    assert_eq!(error.code, "storeCorrupt", "{error}");
    assert_eq!(store.writable().unwrap_err().code, "storeFailed");
    assert_eq!(
        store
            .ledger()
            .reserve(hold("paid", 1, 100))
            .await
            .unwrap_err()
            .code,
        "storeFailed",
        "no paid work is begun"
    );
    drop(store);
    let store = place.open().await;
    assert_eq!(store.restored_runs().await.unwrap().len(), 300);
    assert!(!place.state.join("suspect").exists());
}

#[tokio::test]
async fn a_suspicion_without_damage_is_looked_into_and_dropped() {
    let place = Place::new();
    create(&place.open().await, new_run("run")).await;
    std::fs::write(place.state.join("suspect"), "something was read wrongly").unwrap();

    let store = place.open().await;

    assert!(store.run(&"run".into()).await.unwrap().is_some());
    assert!(!place.state.join("suspect").exists());
    assert_eq!(store.restoration(), None);
}
