//! Slots are used again: the next agent gets the files of an earlier one, brought to its snapshot by
//! writing only what differs. A slot that is not known to be clean is never handed out.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Workspaces;
use super::bench::{Bench, BuildOutput, Cleanliness};
use super::files;
use super::repository::Repository;
use super::slot::{Phase, Slot, SlotNote, SlotPlace, State};
use super::vault::Vault;
use crate::id::CommitId;
use crate::{Error, Kind, Result};

/// The most slots of one repository.
const SLOTS_MAX: u32 = 64;

/// How much room the slots take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotUsage {
    /// Slots that somebody works in.
    pub active: u32,
    /// Slots that are ready.
    pub pooled: u32,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// Slots that were removed.
    pub removed: u32,
    /// Bytes that came free.
    pub bytes: u64,
    /// Slots that stay.
    pub kept: Vec<KeptSlot>,
}

/// A slot that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptSlot {
    /// `<repository>/<number>`.
    pub id: String,
    /// For a person.
    pub reason: String,
    /// Who works in it, or did last.
    pub note: Option<SlotNote>,
    /// Its files.
    pub path: PathBuf,
}

/// A free slot and how well it fits.
struct Candidate {
    place: SlotPlace,
    lock: std::fs::File,
    ready: Option<State>,
}

impl Workspaces {
    /// A working directory with the files of this commit, without the secret ones.
    pub async fn acquire(
        &self,
        repository: &Repository,
        at: &CommitId,
        owner_note: &SlotNote,
    ) -> Result<Slot> {
        let vault = self.vault(repository).await?;
        let (commit, text) = vault.visible(at).await?;
        let Candidate { place, lock, ready } = self.choose(repository, &commit)?;
        let reused = ready.as_ref().and_then(|state| state.build_output.clone());
        let state = State {
            phase: Phase::Busy,
            note: owner_note.clone(),
            at: commit.clone(),
            build_output: reused.clone(),
        };
        place.write_state(&state)?;
        let settings = repository.file_settings(&self.git).await?;
        let bench = Bench {
            git: &self.git,
            repository,
            vault: &vault,
            place: &place,
            settings,
        };
        let warm = match &ready {
            Some(ready) if reused.is_none() || reused == owner_note.trust => {
                let known = vault.visible(&ready.at).await.is_ok();
                known
                    && bench
                        .retarget(&commit, &text)
                        .await
                        .inspect_err(|error| warn(&place, error))
                        .is_ok()
            }
            _ => false,
        };
        if !warm {
            bench.make(&commit, &text).await?;
            place.write_state(&State {
                build_output: None,
                ..state
            })?;
        }
        let root = place.files();
        let folder = root.join(&repository.folder_path);
        tracing::info!(repository = %repository.id, slot = place.number(), warm, run = %owner_note.run, "slot acquired");
        let (note, number) = (owner_note.clone(), place.number());
        Ok(Slot {
            root,
            folder,
            number,
            repository: repository.clone(),
            at: commit,
            note,
            place,
            _lock: lock,
        })
    }

    /// The ready slot at this commit, else any ready one, else a new number.
    fn choose(&self, repository: &Repository, commit: &CommitId) -> Result<Candidate> {
        let cache = self.cache_of(repository.id.as_str());
        let (mut other, mut empty) = (None, None);
        for number in 1..=SLOTS_MAX {
            if empty.is_some() && !cache.join("records").join(number.to_string()).is_dir() {
                break;
            }
            let place = SlotPlace::new(&cache, number);
            let Some(lock) = place.try_lock()? else { continue };
            match place.read_state()? {
                Some(state) if state.phase == Phase::Ready => {
                    let fits = state.at == *commit;
                    let candidate = Candidate {
                        place,
                        lock,
                        ready: Some(state),
                    };
                    if fits {
                        return Ok(candidate);
                    }
                    other.get_or_insert(candidate);
                }
                // its owner died: the janitor decides
                Some(_) => {}
                None => {
                    empty.get_or_insert(Candidate {
                        place,
                        lock,
                        ready: None,
                    });
                }
            }
        }
        other.or(empty).ok_or_else(|| {
            Error::new(
                Kind::State,
                "noFreeSlot",
                format!("all {SLOTS_MAX} working directories of this repository are in use"),
            )
            .hint("run `clode-ls worktrees clean`, or wait for a run to end")
        })
    }

    /// Brings the files of a held slot to another commit and removes everything else.
    pub async fn reset(&self, repository: &Repository, slot: &mut Slot, to: &CommitId) -> Result<()> {
        let vault = self.vault(repository).await?;
        let (commit, text) = vault.visible(to).await?;
        let settings = repository.file_settings(&self.git).await?;
        let bench = Bench {
            git: &self.git,
            repository,
            vault: &vault,
            place: &slot.place,
            settings,
        };
        let cleaned = bench.clean(&text, BuildOutput::Keep).await;
        if matches!(cleaned, Ok(Cleanliness::Clean)) {
            bench.retarget(&commit, &text).await?;
        } else {
            bench.make(&commit, &text).await?;
        }
        slot.at = commit.clone();
        let state = State {
            phase: Phase::Busy,
            note: slot.note.clone(),
            at: commit,
            build_output: None,
        };
        slot.place.write_state(&state)
    }

    /// Gives a slot back. Its processes must have ended. It is cleaned and checked, and goes to the
    /// trash when it is not known to be clean; this takes a scan, so it is best not waited for.
    pub async fn release(&self, slot: Slot) {
        let place = slot.place.clone();
        let released = self.try_release(&slot).await;
        if !matches!(released, Ok(Cleanliness::Clean)) {
            if let Err(error) = &released {
                warn(&place, error);
            }
            if let Err(error) = place.discard() {
                warn(&place, &error);
            }
        }
        drop(slot);
        self.empty_trash(&place.trash()).await;
    }

    async fn try_release(&self, slot: &Slot) -> Result<Cleanliness> {
        let mut state = State {
            phase: Phase::Dirty,
            note: slot.note.clone(),
            at: slot.at.clone(),
            build_output: slot.note.trust.clone(),
        };
        slot.place.write_state(&state)?;
        if !slot.place.git_file_is_ours() {
            return Ok(Cleanliness::Doubtful);
        }
        let vault = self.vault(&slot.repository).await?;
        let text = vault.read_commit(slot.at.as_str()).await?;
        let settings = slot.repository.file_settings(&self.git).await?;
        let bench = Bench {
            git: &self.git,
            repository: &slot.repository,
            vault: &vault,
            place: &slot.place,
            settings,
        };
        let output = if slot.note.trust.is_some() {
            BuildOutput::Keep
        } else {
            BuildOutput::Remove
        };
        let cleaned = bench.clean(&text, output).await?;
        if cleaned == Cleanliness::Clean {
            state.phase = Phase::Ready;
            slot.place.write_state(&state)?;
        }
        Ok(cleaned)
    }

    /// Removes what nobody needs: slots of dead owners whose run does not live on, ready slots beyond
    /// `pooled_max` in each repository, and the trash.
    pub async fn janitor(&self, pooled_max: u32, is_alive: impl Fn(&SlotNote) -> bool) -> Result<Swept> {
        let mut swept = Swept::default();
        for repository in files::list(&self.places.cache)? {
            let cache = self.places.cache.join(&repository);
            let mut pooled = 0;
            for number in files::list(&cache.join("records"))? {
                let Some(number) = number.to_str().and_then(|number| number.parse().ok()) else {
                    continue;
                };
                let place = SlotPlace::new(&cache, number);
                let id = format!("{}/{number}", repository.to_string_lossy());
                let (reason, note) = match place.try_lock()? {
                    None => ("in use".to_owned(), place.read_state()?.map(|state| state.note)),
                    Some(_lock) => match place.read_state()? {
                        Some(state) if state.phase == Phase::Ready && pooled < pooled_max => {
                            pooled += 1;
                            ("ready for the next agent".to_owned(), Some(state.note))
                        }
                        Some(state) if state.phase != Phase::Ready && is_alive(&state.note) => (
                            format!("belongs to {}, which can go on", state.note.run),
                            Some(state.note),
                        ),
                        _ => {
                            swept.removed += u32::from(place.slot().exists());
                            place.discard()?;
                            continue;
                        }
                    },
                };
                swept.kept.push(KeptSlot {
                    id,
                    reason,
                    note,
                    path: place.files(),
                });
            }
            swept.bytes += self.empty_trash(&cache.join("trash")).await;
        }
        self.sweep_scratch()?;
        Ok(swept)
    }

    /// How many slots there are and how much room they take.
    pub async fn usage(&self) -> Result<SlotUsage> {
        let cache = self.places.cache.clone();
        let count = move || {
            let mut usage = SlotUsage::default();
            for repository in files::list(&cache)? {
                let cache = cache.join(&repository);
                for number in files::list(&cache.join("records"))? {
                    let Some(number) = number.to_str().and_then(|number| number.parse().ok()) else {
                        continue;
                    };
                    let place = SlotPlace::new(&cache, number);
                    match place.read_state()?.map(|state| state.phase) {
                        Some(Phase::Ready) => usage.pooled += 1,
                        // What a dead process left behind is nobody's: the janitor takes it away.
                        Some(_) if place.try_lock()?.is_none() => usage.active += 1,
                        _ => {}
                    }
                }
                usage.bytes += files::size_of_tree(&cache);
            }
            Ok(usage)
        };
        tokio::task::spawn_blocking(count)
            .await
            .map_err(|error| Error::internal(error.to_string()))?
    }

    /// Deletes what lies in a trash folder; returns the bytes.
    async fn empty_trash(&self, trash: &Path) -> u64 {
        let trash = trash.to_owned();
        let work = move || {
            let mut bytes = 0;
            for name in files::list(&trash).unwrap_or_default() {
                match files::remove_tree(&trash.join(&name)) {
                    Ok(freed) => bytes += freed,
                    Err(error) => tracing::warn!(%error, "something stays in the trash"),
                }
            }
            bytes
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(0)
    }

    /// Opens our private repository for one of the user's.
    pub(crate) async fn vault(&self, repository: &Repository) -> Result<Vault> {
        Vault::open(
            &self.git,
            &self.repositories().join(repository.id.as_str()),
            &self.scratch,
            repository,
        )
        .await
    }
}

fn warn(place: &SlotPlace, error: &Error) {
    tracing::warn!(slot = place.number(), %error, "the slot is not clean");
}
