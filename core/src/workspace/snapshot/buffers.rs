//! Which unsaved texts belong into a snapshot, and where.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Buffer, Scan, entries};
use crate::workspace::overlay::Executable;
use crate::workspace::repository::FileSettings;
use crate::workspace::scratch::Scratch;
use crate::workspace::vault::{nul_separated, os_path};
use crate::workspace::{paths, secrets};
use crate::{Error, Kind, Result};

#[derive(Debug)]
pub(super) struct Usable {
    pub(super) path: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) executable: Executable,
    pub(super) secret: bool,
}

impl Scan<'_> {
    /// The buffers that belong into a snapshot: inside the tree, of a file that git does not ignore.
    pub(super) async fn usable_buffers(
        &self,
        scratch: &Scratch,
        settings: &FileSettings,
    ) -> Result<Vec<Usable>> {
        let mut usable: Vec<Usable> = self
            .buffers
            .iter()
            .filter_map(|buffer| self.placed(buffer))
            .collect();
        if usable.is_empty() {
            return Ok(usable);
        }
        let tracked = self
            .on_disk(
                scratch,
                settings,
                &["--literal-pathspecs", "ls-files", "-z", "--"],
            )
            .args(usable.iter().map(|buffer| os_path(&buffer.path)))
            .bytes()
            .await?;
        let tracked: BTreeSet<&[u8]> = entries(&tracked).collect();
        let list = nul_separated(usable.iter().map(|buffer| buffer.path.as_slice()));
        let ignored = self
            .on_disk(scratch, settings, &["check-ignore", "-z", "--stdin"])
            .stdin(list)
            .answer()
            .await?;
        if ignored.code > 1 {
            return Err(Error::new(
                Kind::Git,
                "gitFailed",
                format!("`git check-ignore`: {}", ignored.stderr.trim()),
            ));
        }
        let ignored: BTreeSet<&[u8]> = entries(&ignored.stdout).collect();
        usable.retain(|buffer| !ignored.contains(buffer.path.as_slice()));
        for buffer in &mut usable {
            let name = String::from_utf8_lossy(&buffer.path);
            buffer.secret = !tracked.contains(buffer.path.as_slice())
                && secrets::looks_secret(&name, || Some(buffer.text.clone()));
        }
        Ok(usable)
    }

    /// Where the text of a buffer would be saved; `None` outside the tree and inside other repositories.
    fn placed(&self, buffer: &Buffer) -> Option<Usable> {
        paths::check_path(&buffer.path).ok()?;
        let full = self.top().join(&buffer.path);
        let real = real_path(&full)?;
        let relative = real.strip_prefix(self.top()).ok()?;
        let mut parents = relative
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty());
        if parents.any(|parent| self.top().join(parent).join(".git").symlink_metadata().is_ok()) {
            return None;
        }
        let path = relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
        paths::check_path(&path).ok()?;
        let executable = if is_executable(&real) {
            Executable::Yes
        } else {
            Executable::No
        };
        Some(Usable {
            path: path.into_bytes(),
            text: buffer.text.clone(),
            executable,
            secret: false,
        })
    }
}

/// The path without symbolic links; the file itself, and folders of a new file, need not exist.
fn real_path(path: &Path) -> Option<PathBuf> {
    if let Ok(real) = std::fs::canonicalize(path) {
        return Some(real);
    }
    if path.symlink_metadata().is_ok() {
        // a link to nowhere: saving would write who knows where
        return None;
    }
    Some(real_path(path.parent()?)?.join(path.file_name()?))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn is_executable(_path: &Path) -> bool {
    false
}
