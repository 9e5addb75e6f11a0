//! Puts contents that we hold into a scratch index, as `git add` would, without letting git open
//! anything in a tree that somebody else writes.
//!
//! The contents are laid out under their own paths in an empty tree of ours, so that attributes and
//! line-ending settings apply to them by path.

use std::path::Path;

use super::files;
use super::scratch::Scratch;
use super::vault::{nul_separated, os_path};
use crate::id::TreeId;
use crate::{Error, Result};

/// What a path is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file as the user or an agent has it, before conversion.
    File {
        /// The bytes.
        bytes: Vec<u8>,
        /// The mode.
        executable: Executable,
    },
    /// A symbolic link.
    Link(Vec<u8>),
}

/// Whether a file may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executable {
    Yes,
    No,
}

/// Where converted attributes come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attributes<'a> {
    /// The index.
    Index,
    /// This tree, whatever the index holds by now.
    Tree(&'a TreeId),
}

impl Scratch {
    /// Adds or replaces these paths in the index; their objects go into `objects`.
    pub(crate) async fn put(
        &self,
        entries: &[(Vec<u8>, Content)],
        objects: &Path,
        settings: &[&str],
        attributes: Attributes<'_>,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let tree = self.tree();
        files::remove_tree(&tree)?;
        files::private_dir(&tree)?;
        for (path, content) in entries {
            lay_out(&tree.join(os_path(path)), content)?;
        }
        let mut call = self
            .call(["update-index", "-z", "--add", "--replace", "--stdin"], &tree)
            .objects(objects);
        for setting in settings {
            call = call.setting(*setting);
        }
        if let Attributes::Tree(source) = attributes {
            call = call.env("GIT_ATTR_SOURCE", source.as_str());
        }
        call.stdin(nul_separated(entries.iter().map(|(path, _)| path.as_slice())))
            .bytes()
            .await?;
        files::remove_tree(&tree)?;
        files::private_dir(&tree)
    }

    /// Takes these paths out of the index.
    pub(crate) async fn take_out<'a>(&self, paths: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        let list = nul_separated(paths);
        if list.is_empty() {
            return Ok(());
        }
        self.call(["update-index", "-z", "--force-remove", "--stdin"], &self.tree())
            .stdin(list)
            .bytes()
            .await?;
        Ok(())
    }

    /// Writes the index as a tree into `objects`.
    pub(crate) async fn write_tree(&self, objects: &Path) -> Result<TreeId> {
        self.call(["write-tree"], &self.tree())
            .objects(objects)
            .text()
            .await
            .map(TreeId::new)
    }
}

fn lay_out(path: &Path, content: &Content) -> Result<()> {
    let failed = |error: std::io::Error| Error::io(format!("writing {}", path.display()), &error);
    if let Some(parent) = path.parent() {
        files::private_dir(parent)?;
    }
    match content {
        Content::File { bytes, executable } => {
            std::fs::write(path, bytes).map_err(failed)?;
            if *executable == Executable::Yes {
                make_executable(path).map_err(failed)?;
            }
        }
        Content::Link(target) => link(target, path).map_err(failed)?,
    }
    Ok(())
}

#[cfg(unix)]
fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn link(target: &[u8], path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(os_path(target), path)
}

#[cfg(not(unix))]
fn link(target: &[u8], path: &Path) -> std::io::Result<()> {
    std::fs::write(path, target)
}
