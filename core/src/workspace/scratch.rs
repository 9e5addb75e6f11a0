//! A git directory of our own for one operation, with the user's rules and settings copied into it.

use std::path::{Path, PathBuf};

use super::files;
use super::git::Call;
use super::repository::FileSettings;
use super::vault::{Vault, basic_config};
use crate::Result;
use crate::id::random_hex;

/// Bytes of randomness in the name of a scratch directory.
const SCRATCH_NAME_BYTES: usize = 8;

/// A git directory, an index and an empty tree of files for one operation of ours.
#[derive(Debug)]
pub(crate) struct Scratch {
    settings: FileSettings,
    vault: Vault,
    root: PathBuf,
}

impl Scratch {
    /// Makes one; it is removed when dropped.
    pub(crate) fn new(vault: &Vault, settings: &FileSettings) -> Result<Self> {
        let root = vault.scratch.join(random_hex(SCRATCH_NAME_BYTES)?);
        let scratch = Self {
            settings: settings.clone(),
            vault: vault.clone(),
            root,
        };
        files::private_dir(&scratch.git_dir().join("info"))?;
        files::private_dir(&scratch.git_dir().join("refs"))?;
        files::private_dir(&scratch.git_dir().join("objects"))?;
        files::private_dir(&scratch.tree())?;
        files::write(&scratch.git_dir().join("HEAD"), b"ref: refs/heads/none\n")?;
        files::write(
            &scratch.git_dir().join("config"),
            basic_config(vault.object_format()).as_bytes(),
        )?;
        files::write(
            &scratch.git_dir().join("info/exclude"),
            settings.excludes.join("\n").as_bytes(),
        )?;
        files::write(
            &scratch.git_dir().join("info/attributes"),
            settings.attributes.join("\n").as_bytes(),
        )?;
        Ok(scratch)
    }

    /// The git directory.
    pub(crate) fn git_dir(&self) -> PathBuf {
        self.root.join("git")
    }

    /// The index file.
    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The empty tree of files.
    pub(crate) fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    /// A call with the scratch index and git directory, on this tree of files, with the user's way
    /// of converting line ends.
    pub(crate) fn call<'a>(&self, args: impl IntoIterator<Item = &'a str>, work_tree: &Path) -> Call {
        let call = self
            .vault
            .git
            .call(args)
            .git_dir(&self.git_dir())
            .index(&self.index())
            .work_tree(work_tree);
        let call = call.objects(self.vault.objects()).whole_tree();
        self.settings
            .conversion
            .iter()
            .fold(call, |call, setting| call.setting(setting.clone()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = files::remove_tree(&self.root) {
            tracing::warn!(%error, "a scratch directory stays");
        }
    }
}
