//! A flipped bit in any payload is noticed and named.

use super::support::{DAY, NOW, Place, create, hold, new_run, raw, settlement, transition};
use crate::Result;
use crate::id::{PipelineId, StepId};
use crate::money::Money;
use crate::store::{AuditRecord, CostBy, DayScope, FIRST_FENCE, Limits, RunFilter, SignalId, Store, blob_id};

/// Table, column, whose row: what is flipped, and how it would be read.
const PAYLOADS: &[(&str, &str)] = &[
    ("runs", "state"),
    ("runs", "title"),
    ("runs", "identity_hash"),
    ("runs", "fence"),
    ("journal", "body"),
    ("events", "body"),
    ("events", "at"),
    ("signals", "payload"),
    ("blobs", "bytes"),
    ("checkpoints", "note"),
    ("checkpoints", "files"),
    ("answers", "answer"),
    ("settings", "value"),
    ("audit", "detail"),
    ("holds", "amount"),
    ("holds", "cost"),
    ("holds", "model"),
    ("tallies", "cost"),
    ("tallies", "calls"),
];

async fn fill(store: &Store) {
    let run = create(store, new_run("run")).await;
    store.commit(transition(&run, 1, "\"state\"")).await.unwrap();
    store
        .send_signal(&run, "d", "\"payload\"".to_owned(), NOW)
        .await
        .unwrap();
    let transcript = store.put_blob(b"transcript".to_vec()).await.unwrap();
    let step = StepId::new("step");
    store
        .save_checkpoint(
            &run,
            &step,
            1,
            Some("commit".into()),
            transcript,
            "\"note\"".to_owned(),
            NOW,
        )
        .await
        .unwrap();
    store
        .save_answer(&run, "question", "\"answer\"".to_owned(), NOW)
        .await
        .unwrap();
    store
        .set_setting("key", Some("\"value\"".to_owned()))
        .await
        .unwrap();
    let detail = "\"detail\"".to_owned();
    store
        .audit(AuditRecord {
            at: NOW,
            run: None,
            actor: "a".to_owned(),
            action: "b".to_owned(),
            detail,
        })
        .await
        .unwrap();
    store.ledger().reserve(hold("intent", 5, 100)).await.unwrap();
    store
        .ledger()
        .settle(&"intent".into(), settlement(Money::from_dollars(3)))
        .await
        .unwrap();
}

async fn read(store: &Store, table: &str) -> Result<()> {
    let run = PipelineId::new("run");
    match table {
        "runs" => {
            store.run(&run).await?;
            store.runs(RunFilter::default()).await.map(drop)
        }
        "journal" => store.journal(&run, 0, 10).await.map(drop),
        "events" => store.events(&run, 0, 10).await.map(drop),
        "signals" => {
            store.signal_outcome(SignalId(1)).await?;
            store.pending_signals(&run, FIRST_FENCE).await.map(drop)
        }
        "blobs" => store.blob(&blob_id(b"transcript")).await.map(drop),
        "checkpoints" => store.checkpoint(&run, &"step".into()).await.map(drop),
        "answers" => store.answer(&run, "question").await.map(drop),
        "settings" => store.setting("key").await.map(drop),
        "audit" => store.audit_records(None, None, 10).await.map(drop),
        "holds" => store.ledger().costs(CostBy::Day, None, None).await.map(drop),
        "tallies" => store.ledger().day_totals(DAY, &DayScope::User).await.map(drop),
        other => panic!("no way to read {other}"),
    }
}

/// Flips one bit in every row of the column; a high bit makes text that is not UTF-8.
fn flip(state: &std::path::Path, table: &str, column: &str, bit: u8) {
    use rusqlite::types::Value;
    let database = raw(state);
    database
        .execute_batch("DROP TRIGGER IF EXISTS audit_is_never_changed")
        .unwrap();
    let value = database.query_row(&format!("SELECT {column} FROM {table} LIMIT 1"), [], |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => Value::Integer(number),
            text => Value::Blob(text.as_bytes()?.to_vec()),
        })
    });
    let (value, target) = match value.unwrap() {
        Value::Integer(number) => (Value::Integer(number ^ 1), "?1"),
        Value::Blob(mut bytes) => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= bit;
            (
                Value::Blob(bytes),
                if table == "blobs" {
                    "?1"
                } else {
                    "CAST(?1 AS TEXT)"
                },
            )
        }
        other => panic!("{other:?}"),
    };
    assert!(
        database
            .execute(&format!("UPDATE {table} SET {column} = {target}"), [value])
            .unwrap()
            > 0
    );
}

#[tokio::test]
async fn a_flipped_bit_is_reported_with_table_and_key() {
    let sound = Place::new();
    let store = sound.open().await;
    fill(&store).await;
    store.close().await;
    for (table, column) in PAYLOADS {
        for bit in [0x01, 0x80] {
            let place = Place::new();
            std::fs::create_dir_all(&place.state).unwrap();
            std::fs::copy(sound.state.join("clode.db"), place.state.join("clode.db")).unwrap();
            let store = place.open().await;
            read(&store, table).await.unwrap();

            flip(&place.state, table, column, bit);

            let error = read(&store, table).await.unwrap_err();
            assert_eq!(error.code, "storeCorrupt", "{table}.{column}: {error}");
            assert!(
                error.message.contains(&format!("table `{table}`")),
                "{table}.{column}: {error}"
            );
            assert!(
                store.writable().is_ok(),
                "one damaged row does not stop the others"
            );
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_content_of_its_own_file_is_reported() {
    let place = Place::new();
    let store = place.open().await;
    let id = store.put_blob(vec![7; 100_000]).await.unwrap();
    let file = place
        .state
        .join("blobs")
        .join(&id.as_str()[..2])
        .join(id.as_str());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let error = store.blob(&id).await.unwrap_err();
    assert_eq!(error.code, "storeCorrupt");
    assert!(error.message.contains(id.as_str()));

    std::fs::remove_file(&file).unwrap();
    assert_eq!(store.blob(&id).await.unwrap_err().code, "storeCorrupt");
    store.put_blob(vec![7; 100_000]).await.unwrap();
    assert_eq!(
        store.blob(&id).await.unwrap(),
        vec![7; 100_000],
        "storing it again heals it"
    );
}

#[tokio::test]
async fn a_damaged_run_can_be_deleted_and_the_others_go_on() {
    let place = Place::new();
    let store = place.open().await;
    let run = create(&store, new_run("run")).await;
    flip(&place.state, "runs", "state", 1);
    let sound = create(&store, new_run("sound")).await;
    assert_eq!(store.run(&run).await.unwrap_err().code, "storeCorrupt");
    assert_eq!(
        store.commit(transition(&run, 1, "{}")).await.unwrap_err().code,
        "storeCorrupt"
    );
    store.commit(transition(&sound, 1, "{}")).await.unwrap();

    store.delete_run(&run).await.unwrap();

    assert_eq!(store.runs(RunFilter::default()).await.unwrap().len(), 1);
}
