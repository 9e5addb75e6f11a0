//! Small values by key: which content a person trusts, and the like.

use rusqlite::{Connection, params};

use super::checksum::{Seal, text};
use super::failure::Outcome;
use super::{Store, limit_payload};
use crate::Result;

const TABLE: &str = "settings";

impl Store {
    /// The value of a key.
    pub async fn setting(&self, key: &str) -> Result<Option<String>> {
        let key = key.to_owned();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT value, checksum FROM settings WHERE key = ?1")?;
            let mut rows = statement.query([&key])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let value = text(row, 0)?;
            seal(&key, &value).check(TABLE, &key, &text(row, 1)?)?;
            Ok(Some(value))
        })
        .await
    }

    /// Sets or removes the value of a key.
    pub async fn set_setting(&self, key: &str, value: Option<String>) -> Result<()> {
        limit_payload("a setting", value.as_deref().unwrap_or_default())?;
        let key = key.to_owned();
        self.write(move |transaction| {
            let Some(value) = value else {
                transaction
                    .prepare_cached("DELETE FROM settings WHERE key = ?1")?
                    .execute([&key])?;
                return Ok(());
            };
            set(transaction, &key, &value)
        })
        .await
    }
}

/// Sets the value of a key.
pub(super) fn set(connection: &Connection, key: &str, value: &str) -> Outcome<()> {
    let sql = "INSERT INTO settings (key, value, checksum) VALUES (?1, ?2, ?3) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum";
    connection
        .prepare_cached(sql)?
        .execute(params![key, value, seal(key, value).finish()])?;
    Ok(())
}

fn seal(key: &str, value: &str) -> Seal {
    Seal::of(TABLE, key).text(value)
}
