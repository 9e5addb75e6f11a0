//! Folders that belong to one child alone.

use std::path::{Path, PathBuf};

use crate::id::random_hex;
use crate::{Error, Result};

/// A folder of one child alone, removed with everything in it when it is dropped.
#[derive(Debug)]
pub(crate) struct PrivateFolder {
    path: PathBuf,
}

impl PrivateFolder {
    /// Makes one with `home` and `tmp` in it.
    pub(crate) fn make(cache: &Path) -> Result<Self> {
        let path = cache.join("private").join(random_hex(8)?);
        for folder in [path.clone(), path.join("home"), path.join("tmp")] {
            private_folder(&folder)?;
        }
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "a private folder could not be removed");
        }
    }
}

/// A folder that only its owner may enter.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io(format!("making {}", path.display()), &error))
}
