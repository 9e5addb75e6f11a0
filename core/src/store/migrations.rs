//! The schema, as a table of numbered steps. `user_version` says how many were taken.
//!
//! A published step is never edited: the next change is the next file.

use rusqlite::{Connection, TransactionBehavior};

use super::failure::Outcome;

/// Step n brings version n - 1 to n.
const STEPS: &[&str] = &[
    include_str!("migrations/001_runs.sql"),
    include_str!("migrations/002_ledger.sql"),
    include_str!("migrations/003_memory.sql"),
    include_str!("migrations/004_documents.sql"),
    include_str!("migrations/005_step_cache.sql"),
];

/// The version that this program writes.
pub(super) fn latest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The version of the file.
pub(super) fn version(connection: &Connection) -> Outcome<i64> {
    Ok(
        connection.query_row("SELECT user_version FROM pragma_user_version", [], |row| {
            row.get(0)
        })?,
    )
}

/// Takes the steps that are missing up to `target`, each in a transaction of its own. Another
/// process may do the same at the same time: the version is read again under the lock.
pub(super) fn migrate(connection: &mut Connection, target: i64) -> Outcome<()> {
    for (number, step) in (1_i64..=target).zip(STEPS) {
        if version(connection)? >= number {
            continue;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version(&transaction)? == number - 1 {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()?;
            tracing::info!(version = number, "the store's schema was brought forward");
        }
    }
    Ok(())
}
