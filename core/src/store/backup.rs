//! A copy of the database for the day when the disk damages it.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::failure::{Failure, Outcome};
use super::{Store, connection};
use crate::id::random_hex;
use crate::{Error, Result};

impl Store {
    /// Replaces `<state>/backup/clode.db` by a copy of the database as it is now, beside the
    /// store's own threads. Contents with files of their own are not copied.
    pub async fn back_up(&self) -> Result<PathBuf> {
        self.writable()?;
        let (path, folder) = (self.path().to_path_buf(), self.state().join("backup"));
        let copied = tokio::task::spawn_blocking(move || copy(&path, &folder)).await;
        let copied = copied.map_err(|error| Error::internal(format!("copying the store: {error}")))?;
        // A failed copy says nothing about the database: the store goes on.
        copied.map_err(|failure| failure.into_error(self.path()))
    }
}

fn copy(path: &Path, folder: &Path) -> Outcome<PathBuf> {
    let target = folder.join(connection::FILE_NAME);
    let at = |error: std::io::Error| Failure::File(target.clone(), error);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(at)?;
    remove_unfinished(folder);
    let unfinished = folder.join(format!(".{}.unfinished", random_hex(8)?));
    let name = unfinished.to_string_lossy().into_owned();
    let source = connection::open_beside(path)?;
    let copied = source
        .execute("VACUUM INTO ?1", [&name])
        .map_err(Failure::from)
        .and_then(|_| {
            fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600)).map_err(at)?;
            File::open(&unfinished)
                .and_then(|file| file.sync_all())
                .map_err(at)?;
            fs::rename(&unfinished, &target).map_err(at)?;
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(at)
        });
    if copied.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    copied.map(|()| target.clone())
}

/// What a killed process left.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "unfinished")
        {
            drop(fs::remove_file(entry.path()));
        }
    }
}
