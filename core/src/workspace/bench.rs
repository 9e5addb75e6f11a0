//! Works on the files of a slot: makes them, brings them to another commit, cleans and compares them.
//!
//! Git runs here with a git directory of ours and with our own index of the slot, never with what
//! the agent can write.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::beneath::Root;
use super::files;
use super::git::Git;
use super::repository::{FileSettings, Repository};
use super::scan::{Rules, Scan, Tracked, ignore_files, scan};
use super::scratch::Scratch;
use super::slot::{SLOT_FILE_SYSTEM, SlotPlace, move_to_trash};
use super::vault::{CommitText, Vault, basic_config, os_path, write_alternates};
use crate::id::CommitId;
use crate::{Error, Result};

/// The most of an ignore file that is kept.
const IGNORE_BYTES_MAX: u64 = 1024 * 1024;

/// Works on the files of a slot with our own git directory and record.
pub(crate) struct Bench<'a> {
    pub(crate) git: &'a Git,
    pub(crate) repository: &'a Repository,
    pub(crate) vault: &'a Vault,
    pub(crate) place: &'a SlotPlace,
    pub(crate) settings: FileSettings,
}

/// What happens to ignored files when a slot is cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuildOutput {
    Keep,
    Remove,
}

impl Bench<'_> {
    /// Makes the files from nothing.
    pub(crate) async fn make(&self, commit: &CommitId, text: &CommitText) -> Result<()> {
        self.place.discard()?;
        files::private_dir(&self.place.files())?;
        files::private_dir(&self.place.git_dir())?;
        self.check_out(text).await?;
        self.furnish(commit, text).await
    }

    /// Brings clean files to another commit, writing only what differs.
    pub(crate) async fn retarget(&self, commit: &CommitId, text: &CommitText) -> Result<()> {
        self.check_out(text).await?;
        self.furnish(commit, text).await
    }

    /// Removes what is not tracked and restores what is; false when the slot is not known to be clean
    /// afterwards.
    pub(crate) async fn clean(&self, text: &CommitText, output: BuildOutput) -> Result<Cleanliness> {
        let tracked = self.tracked().await?;
        let found = self.scan(&tracked).await?;
        if !found.refused.is_empty() || found.hard_linked > 0 {
            return Ok(Cleanliness::Doubtful);
        }
        self.sweep(&found, output)?;
        self.check_out(text).await?;
        let tracked = self.tracked().await?;
        let found = self.scan(&tracked).await?;
        let clean = found.refused.is_empty()
            && found.added.is_empty()
            && found.hard_linked == 0
            && (output == BuildOutput::Keep || found.ignored.is_empty())
            && found.missing(&tracked).is_empty()
            && self.changed(&self.scratch()?).await?.is_empty();
        Ok(if clean {
            Cleanliness::Clean
        } else {
            Cleanliness::Doubtful
        })
    }

    fn sweep(&self, found: &Scan, output: BuildOutput) -> Result<()> {
        let files = self.place.files();
        let ignored = found.ignored.iter().filter(|_| output == BuildOutput::Remove);
        for path in found.added.iter().chain(ignored) {
            let path = path.strip_suffix(b"/").unwrap_or(path);
            move_to_trash(&files.join(os_path(path)), &self.place.trash())?;
        }
        for folder in found.extra_folders.iter().rev() {
            // one that still holds ignored files stays
            let _ = std::fs::remove_dir(files.join(os_path(folder)));
        }
        Ok(())
    }

    /// Our own git directory for one operation, with the slot's index copied into it.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        let scratch = Scratch::new(self.vault, &self.settings)?;
        if self.place.index().is_file() {
            files::copy_index(&self.place.index(), &scratch.index())?;
        }
        Ok(scratch)
    }

    async fn check_out(&self, text: &CommitText) -> Result<()> {
        let scratch = Scratch::new(self.vault, &self.settings)?;
        let call = scratch.call(
            ["read-tree", "--reset", "-u", text.tree.as_str()],
            &self.place.files(),
        );
        let call = call
            .index(&self.place.index())
            .env("GIT_ATTR_SOURCE", text.tree.as_str());
        SLOT_FILE_SYSTEM
            .iter()
            .fold(call, |call, setting| call.setting(*setting))
            .bytes()
            .await?;
        Ok(())
    }

    /// What the slot's index tracks.
    pub(crate) async fn tracked(&self) -> Result<BTreeMap<Vec<u8>, Tracked>> {
        let scratch = self.scratch()?;
        let printed = scratch
            .call(["ls-files", "-z", "--stage"], &scratch.tree())
            .bytes()
            .await?;
        let entries = printed.split(|byte| *byte == 0).filter_map(|line| {
            let tab = memchr::memchr(b'\t', line)?;
            let kind = if line.starts_with(b"160000") {
                Tracked::Submodule
            } else {
                Tracked::File
            };
            Some((line.get(tab + 1..)?.to_vec(), kind))
        });
        Ok(entries.collect())
    }

    /// Looks at the files ourselves.
    pub(crate) async fn scan(&self, tracked: &BTreeMap<Vec<u8>, Tracked>) -> Result<Scan> {
        let (files, tracked, rules) = (self.place.files(), tracked.clone(), self.place.read_rules()?);
        let work = move || scan(&Root::open(&files)?, &tracked, &rules);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::internal(format!("the scan ended: {error}")))?
    }

    /// Tracked paths whose file may differ from the index.
    pub(crate) async fn changed(&self, scratch: &Scratch) -> Result<Vec<Vec<u8>>> {
        let args = [
            "diff-files",
            "-z",
            "--name-only",
            "--no-renames",
            "--ignore-submodules=all",
        ];
        let call = scratch.call(args, &self.place.files());
        let printed = SLOT_FILE_SYSTEM
            .iter()
            .fold(call, |call, setting| call.setting(*setting))
            .bytes()
            .await?;
        Ok(printed
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(<[u8]>::to_vec)
            .collect())
    }

    /// Writes the git directory anew, the `.git` file and the record of ignore rules.
    async fn furnish(&self, commit: &CommitId, text: &CommitText) -> Result<()> {
        let rules = self.rules_now().await?;
        files::write_json(&self.place.rules(), &rules)?;
        self.write_git_dir(commit, &rules, text).await?;
        self.place.restore_git_file()
    }

    async fn rules_now(&self) -> Result<Rules> {
        let tracked = self.tracked().await?;
        let root = Root::open(&self.place.files())?;
        let read = |path: &str| {
            let bytes = root.read_exactly(path, IGNORE_BYTES_MAX).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let by_folder = ignore_files(&tracked)
            .into_iter()
            .filter_map(|(folder, path)| Some((folder, read(&path)?)));
        Ok(Rules {
            general: self.settings.excludes.clone(),
            by_folder: by_folder.collect(),
        })
    }

    async fn write_git_dir(&self, commit: &CommitId, rules: &Rules, text: &CommitText) -> Result<()> {
        let git_dir = self.place.git_dir();
        move_to_trash(&git_dir, &self.place.trash())?;
        for folder in ["info", "refs/heads", "objects/info", "objects/pack"] {
            files::private_dir(&git_dir.join(folder))?;
        }
        write_alternates(
            &git_dir.join("objects"),
            &[self.vault.objects(), &self.repository.objects()],
        )?;
        let refs = self.repository.refs_as_packed(self.git).await?;
        files::write(&git_dir.join("packed-refs"), &refs)?;
        files::write(&git_dir.join("info/exclude"), rules.general.join("\n").as_bytes())?;
        files::write(
            &git_dir.join("info/attributes"),
            self.settings.attributes.join("\n").as_bytes(),
        )?;
        let shallow = self.repository.common_dir.join("shallow");
        if shallow.is_file() {
            // the history ends where the user's does
            files::copy_index(&shallow, &git_dir.join("shallow"))?;
        }
        files::write(&git_dir.join("config"), self.slot_config().as_bytes())?;
        files::write(&git_dir.join("HEAD"), format!("{commit}\n").as_bytes())?;
        tracing::debug!(slot = self.place.number(), tree = %text.tree, "slot furnished");
        files::copy_index(&self.place.index(), &git_dir.join("index"))
    }

    fn slot_config(&self) -> String {
        let mut config = basic_config(self.vault.object_format());
        config.push_str(
            "[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tfilemode = true\n\tsymlinks = true\n",
        );
        for setting in &self.settings.conversion {
            if let Some((key, value)) = setting.trim_start_matches("core.").split_once('=')
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
            {
                let _ = writeln!(config, "\t{key} = {value}");
            }
        }
        config.push_str("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n");
        config.push_str("[user]\n\tname = Clode agent\n\temail = agent@localhost.invalid\n");
        config
    }
}

/// What is known about a slot after cleaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleanliness {
    Clean,
    Doubtful,
}
