//! Settings, answers and the audit.

use super::support::{NOW, Place, create, new_run, raw};
use crate::store::AuditRecord;

fn record(action: &str, run: Option<&str>) -> AuditRecord {
    AuditRecord {
        at: NOW,
        run: run.map(Into::into),
        actor: "person@editor".to_owned(),
        action: action.to_owned(),
        detail: "{}".to_owned(),
    }
}

#[tokio::test]
async fn a_setting_is_set_replaced_and_removed() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(store.setting("trust").await.unwrap(), None);
    for value in ["\"a\"", "\"b\""] {
        store.set_setting("trust", Some(value.to_owned())).await.unwrap();
        assert_eq!(store.setting("trust").await.unwrap().as_deref(), Some(value));
    }
    store.set_setting("trust", None).await.unwrap();
    assert_eq!(store.setting("trust").await.unwrap(), None);
}

#[tokio::test]
async fn a_question_that_was_answered_in_a_run_is_answered_again_there_only() {
    let place = Place::new();
    let store = place.open().await;
    let (one, other) = (
        create(&store, new_run("one")).await,
        create(&store, new_run("other")).await,
    );

    store
        .save_answer(&one, "hash", "\"yes\"".to_owned(), NOW)
        .await
        .unwrap();

    assert_eq!(
        store.answer(&one, "hash").await.unwrap().as_deref(),
        Some("\"yes\"")
    );
    assert_eq!(store.answer(&one, "another").await.unwrap(), None);
    assert_eq!(store.answer(&other, "hash").await.unwrap(), None);
}

#[tokio::test]
async fn audit_records_come_in_order_by_page_and_by_run() {
    let place = Place::new();
    let store = place.open().await;
    for (action, run) in [
        ("start", None),
        ("approve", Some("a")),
        ("route", Some("b")),
        ("apply", Some("a")),
    ] {
        store.audit(record(action, run)).await.unwrap();
    }

    let all = store.audit_records(None, None, 3).await.unwrap();
    let rest = store
        .audit_records(None, all.last().map(|row| row.id), 3)
        .await
        .unwrap();
    let of_a = store.audit_records(Some("a".into()), None, 10).await.unwrap();

    let actions = |rows: &[crate::store::AuditRow]| {
        rows.iter()
            .map(|row| row.record.action.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(actions(&all), ["start", "approve", "route"]);
    assert_eq!(actions(&rest), ["apply"]);
    assert_eq!(actions(&of_a), ["approve", "apply"]);
}

#[tokio::test]
async fn a_removed_audit_record_shows() {
    let place = Place::new();
    let store = place.open().await;
    for action in ["start", "approve", "apply"] {
        store.audit(record(action, None)).await.unwrap();
    }
    let database = raw(&place.state);
    let forbidden = database
        .execute("DELETE FROM audit WHERE id = 2", [])
        .unwrap_err();
    assert!(forbidden.to_string().contains("append-only"), "{forbidden}");

    database
        .execute_batch("DROP TRIGGER audit_is_never_deleted; DELETE FROM audit WHERE id = 2")
        .unwrap();

    let error = store.audit_records(None, None, 10).await.unwrap_err();
    assert_eq!(error.code, "storeCorrupt");
    assert!(
        error.message.contains("`3`") && error.message.contains("`audit`"),
        "{error}"
    );
}
