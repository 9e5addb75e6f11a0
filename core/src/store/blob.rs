//! Contents by their hash. Small ones live in the database, large ones in files beside it:
//! `<state>/blobs/<first two digits>/<hash>`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::failure::{Failure, Outcome, damaged_row};
use super::{Store, runs};
use crate::id::{BlobId, random_hex};
use crate::{Error, Kind, Result};

const TABLE: &str = "blobs";
/// Larger contents get a file of their own.
pub const BLOB_INLINE_BYTES_MAX: usize = 64 * 1024;
/// Larger contents are refused.
pub const BLOB_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A content on its way into the store.
#[derive(Debug)]
pub(super) struct Prepared {
    id: BlobId,
    bytes: Vec<u8>,
    /// Where it lives if it is large.
    file: Option<PathBuf>,
}

impl Store {
    /// Stores a content; the same content is stored once.
    pub async fn put_blob(&self, bytes: Vec<u8>) -> Result<BlobId> {
        let prepared = self.prepare_blobs(vec![bytes]).await?;
        self.write(move |transaction| {
            insert(transaction, &prepared)?;
            Ok(prepared.into_iter().map(|blob| blob.id).next())
        })
        .await?
        .ok_or_else(|| Error::internal("a blob without an id"))
    }

    /// A content by its hash, checked against it.
    pub async fn blob(&self, id: &BlobId) -> Result<Vec<u8>> {
        let (id, folder) = (id.clone(), self.blob_folder());
        self.read(move |connection| fetch(connection, &folder, &id)).await
    }

    /// Writes the files of large contents, away from the thread that commits.
    pub(super) async fn prepare_blobs(&self, contents: Vec<Vec<u8>>) -> Result<Vec<Prepared>> {
        self.writable()?;
        if contents.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.blob_folder();
        let bytes: usize = contents.iter().map(Vec::len).sum();
        let work = move || -> Outcome<Vec<Prepared>> {
            contents
                .into_iter()
                .map(|bytes| prepare(&folder, bytes))
                .collect()
        };
        // Small ones are only hashed: that is done sooner than handed to another thread.
        let result = if bytes <= BLOB_INLINE_BYTES_MAX {
            work()
        } else {
            tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| Error::internal(format!("writing a blob: {error}")))?
        };
        result.map_err(|failure| self.conclude(failure))
    }

    pub(super) fn blob_folder(&self) -> PathBuf {
        self.state().join("blobs")
    }
}

/// The name of a content.
pub fn blob_id(bytes: &[u8]) -> BlobId {
    BlobId::new(blake3::hash(bytes).to_hex().to_string())
}

/// Where a large content lives.
pub(super) fn place(folder: &Path, id: &BlobId) -> PathBuf {
    let name = id.as_str();
    folder.join(name.get(..2).unwrap_or("__")).join(name)
}

fn prepare(folder: &Path, bytes: Vec<u8>) -> Outcome<Prepared> {
    if bytes.len() > BLOB_BYTES_MAX {
        let message = format!(
            "a content of {} bytes is larger than {BLOB_BYTES_MAX} bytes",
            bytes.len()
        );
        return Err(Error::new(Kind::Usage, "blobTooLarge", message).into());
    }
    let id = blob_id(&bytes);
    let file = (bytes.len() > BLOB_INLINE_BYTES_MAX).then(|| place(folder, &id));
    let blob = Prepared { id, bytes, file };
    if let Some(path) = &blob.file {
        ensure_file(path, &blob.bytes)?;
    }
    Ok(blob)
}

/// Puts the content at `path` so that it is there whole, after a crash too, or not at all.
fn ensure_file(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let at = |error: io::Error| Failure::File(path.to_path_buf(), error);
    if fs::metadata(path).is_ok_and(|found| found.len() == bytes.len() as u64) {
        return Ok(());
    }
    let Some(parent) = path.parent() else {
        return Err(at(io::ErrorKind::InvalidInput.into()));
    };
    let made = !parent.is_dir();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(at)?;
    let temporary = parent.join(format!(".{}", random_hex(8)?));
    let written = write_whole(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        drop(fs::remove_file(&temporary));
        return Err(at(error));
    }
    sync_directory(parent).map_err(at)?;
    if made {
        for above in parent.ancestors().skip(1).take(2) {
            sync_directory(above).map_err(at)?;
        }
    }
    Ok(())
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Records prepared contents. A known one counts as new, so that no sweep takes it away.
pub(super) fn insert(connection: &Connection, blobs: &[Prepared]) -> Outcome<()> {
    for blob in blobs {
        // A sweep may have removed the file since it was prepared.
        let inline = match &blob.file {
            Some(path) => ensure_file(path, &blob.bytes).map(|()| None)?,
            None => Some(&blob.bytes),
        };
        let size = i64::try_from(blob.bytes.len()).unwrap_or(i64::MAX);
        connection
            .prepare_cached(
                "INSERT INTO blobs (id, ordinal, size, bytes) VALUES (?1, (SELECT coalesce(max(ordinal), 0) + 1 FROM blobs), ?2, ?3) \
                 ON CONFLICT (id) DO UPDATE SET ordinal = excluded.ordinal, size = excluded.size, bytes = excluded.bytes",
            )?
            .execute(params![blob.id.as_str(), size, inline])?;
    }
    Ok(())
}

/// Fails unless the content is stored.
pub(super) fn must_exist(connection: &Connection, id: &BlobId) -> Outcome<()> {
    let exists = connection
        .prepare_cached("SELECT 1 FROM blobs WHERE id = ?1")?
        .exists([id.as_str()])?;
    if exists { Ok(()) } else { Err(unknown(id).into()) }
}

fn unknown(id: &BlobId) -> Error {
    Error::state("unknownBlob", format!("there is no content `{id}` in the store"))
}

fn fetch(connection: &Connection, folder: &Path, id: &BlobId) -> Outcome<Vec<u8>> {
    let row = connection
        .prepare_cached("SELECT bytes FROM blobs WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get::<_, Option<Vec<u8>>>(0));
    let bytes = match runs::optional(row)? {
        None => return Err(unknown(id).into()),
        Some(Some(bytes)) => bytes,
        Some(None) => {
            let path = place(folder, id);
            match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(damaged_row(TABLE, id.as_str()).into());
                }
                other => other.map_err(|error| Failure::File(path, error))?,
            }
        }
    };
    if &blob_id(&bytes) == id {
        Ok(bytes)
    } else {
        Err(damaged_row(TABLE, id.as_str()).into())
    }
}
