//! Documents with unsaved text, by the process whose editor holds them.

use std::collections::BTreeSet;

use rusqlite::{Row, params};

use super::checksum::{Seal, text};
use super::failure::Outcome;
use super::scope::Scope;
use super::{Store, limit_payload};
use crate::Result;
use crate::id::OwnerId;

const TABLE: &str = "unsaved_documents";
/// Most documents that are remembered for one process.
pub const DOCUMENTS_MAX: usize = 2_000;

/// A document that an editor holds with unsaved text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsavedDocument {
    /// The process behind the editor. Whether it lives is to be asked, see [`Store::is_alive`].
    pub owner: OwnerId,
    /// Absolute, without symbolic links.
    pub path: String,
    /// The editor as a person knows it.
    pub client: String,
}

impl UnsavedDocument {
    fn seal(&self) -> Seal {
        Seal::of(TABLE, self.owner.as_str())
            .text(&self.path)
            .text(&self.client)
    }

    fn read(row: &Row<'_>) -> Outcome<Self> {
        let document = Self {
            owner: OwnerId::new(text(row, 0)?),
            path: text(row, 1)?,
            client: text(row, 2)?,
        };
        document.seal().check(TABLE, &document.path, &text(row, 3)?)?;
        Ok(document)
    }
}

impl Store {
    /// Says which documents this process's editor holds with unsaved text; replaces what was said before.
    /// Of more than [`DOCUMENTS_MAX`] the first ones count.
    pub async fn set_unsaved(&self, owner: &OwnerId, client: &str, paths: Vec<String>) -> Result<()> {
        limit_payload("the name of an editor", client)?;
        let documents: Vec<UnsavedDocument> = paths
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .take(DOCUMENTS_MAX)
            .map(|path| UnsavedDocument {
                owner: owner.clone(),
                path,
                client: client.to_owned(),
            })
            .collect();
        let owner = owner.clone();
        self.write(move |transaction| {
            transaction
                .prepare_cached("DELETE FROM unsaved_documents WHERE owner = ?1")?
                .execute([owner.as_str()])?;
            let sql = "INSERT INTO unsaved_documents (owner, path, client, checksum) VALUES (?1, ?2, ?3, ?4)";
            let mut statement = transaction.prepare_cached(sql)?;
            for document in &documents {
                statement.execute(params![
                    document.owner.as_str(),
                    document.path,
                    document.client,
                    document.seal().finish()
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// Who holds any of these with unsaved text, the dead included.
    pub async fn unsaved(&self, paths: Vec<String>) -> Result<Vec<UnsavedDocument>> {
        self.read(move |connection| {
            let sql =
                "SELECT owner, path, client, checksum FROM unsaved_documents WHERE path = ?1 ORDER BY owner";
            let mut statement = connection.prepare_cached(sql)?;
            let _view = Scope::view(connection)?;
            let mut found = Vec::new();
            for path in &paths {
                let mut rows = statement.query([path])?;
                while let Some(row) = rows.next()? {
                    found.push(UnsavedDocument::read(row)?);
                }
            }
            Ok(found)
        })
        .await
    }

    /// Every process that said something about its documents.
    pub async fn document_owners(&self) -> Result<Vec<OwnerId>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT DISTINCT owner FROM unsaved_documents")?;
            let mut rows = statement.query([])?;
            let mut owners = Vec::new();
            while let Some(row) = rows.next()? {
                owners.push(OwnerId::new(text(row, 0)?));
            }
            Ok(owners)
        })
        .await
    }
}
