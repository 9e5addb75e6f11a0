//! One object directory of ours: its loose objects and its packs. What the user has is never looked at
//! when it is decided whether something may go.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::super::files;
use super::super::git::Git;
use crate::{Error, Result};

/// Digits of an object id of SHA-256 repositories.
const LONG_ID_DIGITS: usize = 64;
/// Digits of an object id of all others.
const SHORT_ID_DIGITS: usize = 40;
/// Digits of the folder of a loose object.
const FOLDER_DIGITS: usize = 2;
/// Files that belong to a pack; without the first one nobody begins to read it.
const PACK_PARTS: &[&str] = &["idx", "pack", "rev", "bitmap", "mtimes"];

/// An object directory.
pub(super) struct Shelf<'a> {
    pub(super) git: &'a Git,
    pub(super) git_dir: &'a Path,
    pub(super) objects: &'a Path,
}

impl Shelf<'_> {
    /// The ids of loose objects.
    pub(super) fn loose(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for folder in files::list(self.objects)? {
            let Some(begin) = folder
                .to_str()
                .filter(|name| name.len() == FOLDER_DIGITS && is_hex(name))
            else {
                continue;
            };
            let names = files::list(&self.objects.join(begin))?;
            let rest = names.iter().filter_map(|name| name.to_str());
            ids.extend(rest.map(|rest| format!("{begin}{rest}")).filter(|id| is_id(id)));
        }
        Ok(ids)
    }

    fn loose_file(&self, id: &str) -> PathBuf {
        let (begin, rest) = id.split_at_checked(FOLDER_DIGITS).unwrap_or((id, ""));
        self.objects.join(begin).join(rest)
    }

    /// The names of our packs: `pack-<hash>`.
    pub(super) fn packs(&self) -> Result<BTreeSet<String>> {
        let names = files::list(&self.pack_folder())?;
        let packs = names
            .iter()
            .filter_map(|name| name.to_str()?.strip_suffix(".idx"));
        Ok(packs.map(str::to_owned).collect())
    }

    fn pack_folder(&self) -> PathBuf {
        self.objects.join("pack")
    }

    fn pack_file(&self, pack: &str, part: &str) -> PathBuf {
        self.pack_folder().join(format!("{pack}.{part}"))
    }

    /// The ids of the objects in all our packs.
    pub(super) async fn packed(&self) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        for pack in self.packs()? {
            ids.extend(self.objects_in(&pack).await?);
        }
        Ok(ids)
    }

    async fn objects_in(&self, pack: &str) -> Result<BTreeSet<String>> {
        let path = self.pack_file(pack, "idx");
        let index = std::fs::read(&path).map_err(|error| Error::io(path.display(), &error))?;
        // the name of a pack is as long as the ids in it
        let format = if pack.len() > LONG_ID_DIGITS {
            "--object-format=sha256"
        } else {
            "--object-format=sha1"
        };
        let listed = self
            .git
            .call(["show-index", format])
            .stdin(index)
            .whole_tree()
            .text()
            .await?;
        let ids = listed.lines().filter_map(|line| line.split(' ').nth(1));
        Ok(ids.map(str::to_owned).collect())
    }

    /// Moves these loose objects into a pack; how many.
    pub(super) async fn pack_loose(&self, ids: &[String]) -> Result<usize> {
        if ids.is_empty() {
            return Ok(0);
        }
        self.pack(ids.iter().map(String::as_str)).await?;
        for id in ids {
            // whoever has it open reads on, whoever looks for it finds the pack
            remove(&self.loose_file(id))?;
        }
        Ok(ids.len())
    }

    /// Writes exactly these objects into a pack of ours and sees that they are all in it.
    async fn pack<'a>(&self, ids: impl Iterator<Item = &'a str> + Clone) -> Result<String> {
        let folder = self.pack_folder();
        files::private_dir(&folder)?;
        let list: String = ids.clone().flat_map(|id| [id, "\n"]).collect();
        let arguments = [
            "pack-objects".into(),
            "--quiet".into(),
            folder.join("pack").into_os_string(),
        ];
        let name = self
            .git
            .call(arguments)
            .git_dir(self.git_dir)
            .objects(self.objects)
            .setting("pack.threads=1")
            .stdin(list.into_bytes())
            .whole_tree()
            .text()
            .await?;
        let pack = format!("pack-{name}");
        let found = self.objects_in(&pack).await?;
        if let Some(missing) = ids.into_iter().find(|id| !found.contains(*id)) {
            return Err(Error::internal(format!("object {missing} is not in {pack}")));
        }
        // the pack is there for good before anything else goes
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::io(folder.display(), &error))?;
        Ok(pack)
    }

    /// Removes what a writer left half written when it died. Only while nobody writes.
    pub(super) fn remove_torn(&self) -> Result<()> {
        for folder in files::list(self.objects)? {
            let folder = self.objects.join(folder);
            if !folder.is_dir() {
                continue;
            }
            for name in files::list(&folder)? {
                if name.to_string_lossy().starts_with("tmp_") {
                    remove(&folder.join(name))?;
                }
            }
        }
        Ok(())
    }

    /// Makes one pack of those objects in our packs that are among `reached`, and removes all others;
    /// how many objects went.
    pub(super) async fn keep_only(&self, reached: &BTreeSet<String>) -> Result<usize> {
        let before = self.packs()?;
        let packed = self.packed().await?;
        let kept: BTreeSet<&str> = packed.intersection(reached).map(String::as_str).collect();
        if before.len() <= 1 && kept.len() == packed.len() {
            return Ok(0);
        }
        let new = if kept.is_empty() {
            None
        } else {
            Some(self.pack(kept.iter().copied()).await?)
        };
        for old in before.iter().filter(|old| Some(*old) != new.as_ref()) {
            for part in PACK_PARTS {
                remove(&self.pack_file(old, part))?;
            }
        }
        Ok(packed.len() - kept.len())
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(text: &str) -> bool {
    matches!(text.len(), SHORT_ID_DIGITS | LONG_ID_DIGITS) && is_hex(text)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}
