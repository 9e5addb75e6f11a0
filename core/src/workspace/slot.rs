//! A working directory for one agent: files, a private git directory, and our own record of both.
//!
//! The agent may do with files and git directory as it likes. Our record (index, ignore rules, state)
//! lies outside, so that nothing the agent writes is ever taken for ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::beneath::Root;
use super::files;
use super::git::Git;
use super::repository::{FileSettings, Repository};
use super::scan::{Rules, Scan, Tracked, ignore_files, scan};
use super::vault::{CommitText, Scratch, Vault, basic_config, write_alternates};
use crate::id::{CommitId, PipelineId, StepId, random_hex};
use crate::{Error, Kind, Result};

/// How files are written in a slot, whatever the user's file system can do.
pub(crate) const SLOT_FILE_SYSTEM: &[&str] = &["core.filemode=true", "core.symlinks=true"];
/// The most of an ignore file that is kept.
const IGNORE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of randomness in the name of something in the trash.
const TRASH_NAME_BYTES: usize = 8;

/// Who works in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotNote {
    /// The run.
    pub run: PipelineId,
    /// The step.
    pub step: StepId,
    /// The fencing number of the run's owner.
    pub fence: i64,
    /// Ignored build output is kept for, and taken over from, users with this same trust hash. To be
    /// given only when all children of the step run sandboxed; `None` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
}

/// A working directory that is the holder's alone until it is released.
#[derive(Debug)]
pub struct Slot {
    /// The top folder of the files.
    pub root: PathBuf,
    /// The opened folder inside it.
    pub folder: PathBuf,
    /// Its number in the pool of the repository.
    pub number: u32,
    pub(crate) repository: Repository,
    pub(crate) at: CommitId,
    pub(crate) note: SlotNote,
    pub(crate) place: SlotPlace,
    /// Held by the kernel for us; a dead process holds none.
    pub(crate) _lock: File,
}

impl Slot {
    /// The private git directory, writable for the agent.
    pub fn git_dir(&self) -> PathBuf {
        self.place.git_dir()
    }

    /// The commit that the files began from, as agents see it.
    pub fn at(&self) -> &CommitId {
        &self.at
    }
}

/// In which state a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Phase {
    Busy,
    Dirty,
    Ready,
}

/// What we know about a slot, outside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) note: SlotNote,
    pub(crate) at: CommitId,
    /// The trust hash under which ignored build output was kept.
    pub(crate) build_output: Option<String>,
}

/// Where the parts of a slot lie.
#[derive(Debug, Clone)]
pub(crate) struct SlotPlace {
    cache: PathBuf,
    number: u32,
}

impl SlotPlace {
    pub(crate) fn new(cache: &Path, number: u32) -> Self {
        Self {
            cache: cache.to_owned(),
            number,
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn slot(&self) -> PathBuf {
        self.cache.join("slots").join(self.number.to_string())
    }

    pub(crate) fn git_dir(&self) -> PathBuf {
        self.slot().join("git")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.slot().join("wt")
    }

    fn record(&self) -> PathBuf {
        self.cache.join("records").join(self.number.to_string())
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.record().join("index")
    }

    fn rules(&self) -> PathBuf {
        self.record().join("rules.json")
    }

    fn state(&self) -> PathBuf {
        self.record().join("state.json")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.cache.join("trash")
    }

    /// The lock, if nobody holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<File>> {
        files::private_dir(&self.record())?;
        let path = self.record().join("lock");
        let lock = files::open_lock(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(Error::io(format!("locking {}", path.display()), &error))
            }
        }
    }

    pub(crate) fn read_state(&self) -> Result<Option<State>> {
        files::read_json(&self.state())
    }

    pub(crate) fn write_state(&self, state: &State) -> Result<()> {
        files::write_json(&self.state(), state)
    }

    /// Renames the slot into the trash and forgets its record; the deletion comes later.
    pub(crate) fn discard(&self) -> Result<()> {
        let trash = self.trash();
        files::private_dir(&trash)?;
        for gone in [self.state(), self.index(), self.rules()] {
            let _ = std::fs::remove_file(gone);
        }
        move_to_trash(&self.slot(), &trash)
    }

    /// The bytes that the `.git` file must have.
    fn git_file(&self) -> Vec<u8> {
        let mut text = b"gitdir: ".to_vec();
        text.extend_from_slice(self.git_dir().as_os_str().as_encoded_bytes());
        text.push(b'\n');
        text
    }

    /// Whether the `.git` file is byte for byte ours.
    pub(crate) fn git_file_is_ours(&self) -> bool {
        let path = self.files().join(".git");
        let expected = self.git_file();
        std::fs::symlink_metadata(&path)
            .is_ok_and(|found| found.is_file() && found.len() == expected.len() as u64)
            && std::fs::read(&path).is_ok_and(|found| found == expected)
    }

    /// Puts our `.git` file back, whatever stands there now.
    pub(crate) fn restore_git_file(&self) -> Result<()> {
        let path = self.files().join(".git");
        if !self.git_file_is_ours() {
            move_to_trash(&path, &self.trash())?;
            files::write_atomically(&path, &self.git_file())?;
        }
        Ok(())
    }

    pub(crate) fn read_rules(&self) -> Result<Rules> {
        files::read_json(&self.rules())?.ok_or_else(|| {
            Error::new(
                Kind::Git,
                "slotUnknown",
                format!("the record of slot {} is gone", self.number),
            )
        })
    }
}

fn move_to_trash(path: &Path, trash: &Path) -> Result<()> {
    files::private_dir(trash)?;
    let target = trash.join(random_hex(TRASH_NAME_BYTES)?);
    match std::fs::rename(path, &target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(
            format!("moving {} into the trash", path.display()),
            &error,
        )),
        _ => Ok(()),
    }
}

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
            files::remove_tree(&files.join(super::vault::os_path(path)))?;
        }
        for folder in found.extra_folders.iter().rev() {
            // one that still holds ignored files stays
            let _ = std::fs::remove_dir(files.join(super::vault::os_path(folder)));
        }
        Ok(())
    }

    /// Our own git directory for one operation, with the slot's index copied into it.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        let scratch = self.vault.scratch(&self.settings)?;
        if self.place.index().is_file() {
            files::copy_index(&self.place.index(), &scratch.index())?;
        }
        Ok(scratch)
    }

    async fn check_out(&self, text: &CommitText) -> Result<()> {
        let scratch = self.vault.scratch(&self.settings)?;
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
                config.push_str(&format!("\t{key} = {value}\n"));
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
