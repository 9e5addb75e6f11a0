//! The checksum of a row: SQLite does not notice a flipped bit in a payload, this does.

use rusqlite::Row;

use super::failure::{Outcome, damaged_row};

/// Hexadecimal digits of a checksum that are kept.
const HEX_DIGITS: usize = 16;
/// Most rows have no more; larger ones make the buffer grow.
const BYTES_EXPECTED: usize = 1_024;

/// Builds the checksum of one row. Fields are length-prefixed, so that no two rows read the same; they are hashed
/// in one piece, which is several times faster than one by one.
#[derive(Debug, Clone)]
pub(super) struct Seal(Vec<u8>);

impl Seal {
    /// Begins the checksum of the row of this table with this key.
    pub(super) fn of(table: &str, key: &str) -> Self {
        Self(Vec::with_capacity(BYTES_EXPECTED)).text(table).text(key)
    }

    /// Adds a text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a text that may be missing; missing differs from empty.
    pub(super) fn maybe(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    /// Adds a number.
    pub(super) fn number(mut self, number: i64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// The checksum as it is stored.
    pub(super) fn finish(&self) -> String {
        let mut hex = blake3::hash(&self.0).to_hex().to_string();
        hex.truncate(HEX_DIGITS);
        hex
    }

    /// Compares with what is stored.
    pub(super) fn check(&self, table: &str, key: &str, stored: &str) -> Outcome<()> {
        if self.finish() == stored {
            Ok(())
        } else {
            Err(damaged_row(table, key).into())
        }
    }
}

/// A text column as it is. Damaged UTF-8 is replaced, so that the checksum reports it by name.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(repaired(row.get_ref(column)?.as_bytes()?))
}

/// A text column that may be NULL.
pub(super) fn maybe_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(row.get_ref(column)?.as_bytes_or_null()?.map(repaired))
}

/// What is whole, as nearly all is, is only checked.
fn repaired(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
