//! What a step works on: its working directory, and its checkpoints of files and transcript together.

use std::path::PathBuf;
use std::sync::Arc;

use super::StepContext;
use crate::error::{Error, Result};
use crate::id::CommitId;
use crate::store::Checkpoint;
use crate::workspace::{Collected, Slot, SlotNote};

/// Where an earlier attempt of the step stood after its last whole turn.
#[derive(Debug, Clone)]
pub struct ResumePoint {
    /// The files then.
    pub files: Option<CommitId>,
    /// The transcript then (whatever the agent stored).
    pub transcript: Vec<u8>,
    /// The agent's own note.
    pub note: String,
}

/// The files that a checkpoint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Nothing touched them since the last checkpoint of this attempt, or since it began.
    Unchanged,
    /// As they are now.
    Changed,
}

/// Where an agent works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// The top folder of the files.
    pub root: PathBuf,
    /// The opened folder inside it: where tests run.
    pub folder: PathBuf,
    /// Its private git directory.
    pub git_dir: PathBuf,
}

impl StepContext {
    /// The working directory of this step, set to `order.files` when it is first asked for.
    pub async fn working_directory(&self) -> Result<WorkingDirectory> {
        let mut slot = self.slot.lock().await;
        let slot = self.acquired(&mut slot).await?;
        Ok(WorkingDirectory {
            root: slot.root.clone(),
            folder: slot.folder.clone(),
            git_dir: slot.git_dir(),
        })
    }

    async fn acquired<'a>(&self, slot: &'a mut Option<Slot>) -> Result<&'a mut Slot> {
        if slot.is_none() {
            let note = SlotNote {
                run: self.run.clone(),
                step: self.order.step.clone(),
                fence: self.fence,
                trust: None,
            };
            *slot = Some(
                self.shared
                    .services
                    .workspaces
                    .acquire(&self.repository, &self.order.files, &note)
                    .await?,
            );
        }
        slot.as_mut()
            .ok_or_else(|| Error::internal("a slot vanished while it was acquired"))
    }

    /// The files in the working directory as they are now, as a commit on top of `order.files`.
    pub async fn collect(&self) -> Result<Collected> {
        let mut slot = self.slot.lock().await;
        let slot = self.acquired(&mut slot).await?;
        self.shared
            .services
            .workspaces
            .collect(&self.repository, slot, &self.order.files)
            .await
    }

    /// Puts these files into the working directory.
    pub async fn put_files(&self, files: &CommitId) -> Result<()> {
        let mut slot = self.slot.lock().await;
        let slot = self.acquired(&mut slot).await?;
        self.shared
            .services
            .workspaces
            .reset(&self.repository, slot, files)
            .await
    }

    /// Makes files and transcript durable together; a later attempt begins from here.
    pub async fn checkpoint(&self, transcript: Vec<u8>, files: Files, note: &str) -> Result<()> {
        let has_slot = self.slot.lock().await.is_some();
        let kept = self.kept.lock().await.clone();
        let files = match files {
            Files::Unchanged => kept.or_else(|| has_slot.then(|| self.order.files.clone())),
            Files::Changed if has_slot => Some(self.collect().await?.commit),
            Files::Changed => None,
        };
        self.kept.lock().await.clone_from(&files);
        let store = &self.shared.services.store;
        let transcript = store.put_blob(transcript).await?;
        store
            .save_checkpoint(
                &self.run,
                &self.order.step,
                self.fence,
                files,
                transcript,
                format!("{}\n{note}", self.checkpoint_round()),
                self.shared.services.clock.now(),
            )
            .await
    }

    /// The checkpoint of an earlier attempt in this very round, if there is one. Its files are put
    /// into the slot.
    pub async fn resume_point(&self) -> Result<Option<ResumePoint>> {
        let store = &self.shared.services.store;
        let Some(checkpoint) = store.checkpoint(&self.run, &self.order.step).await? else {
            return Ok(None);
        };
        let Some((round, note)) = checkpoint.note.split_once('\n') else {
            return Ok(None);
        };
        if round != self.checkpoint_round() {
            return Ok(None);
        }
        if let Some(files) = &checkpoint.files {
            self.put_files(files).await?;
        }
        self.kept.lock().await.clone_from(&checkpoint.files);
        let transcript = store.blob(&checkpoint.transcript).await?;
        Ok(Some(ResumePoint {
            files: checkpoint.files,
            transcript,
            note: note.to_owned(),
        }))
    }

    fn checkpoint_round(&self) -> String {
        format!("{}/{}", self.order.round, self.order.files)
    }

    pub(in crate::engine) async fn end(&self) {
        if let Some(slot) = self.slot.lock().await.take() {
            let workspaces = Arc::clone(&self.shared.services.workspaces);
            tokio::spawn(async move { workspaces.release(slot).await });
        }
    }
}

/// The files that a step began from when it made this checkpoint; nothing if that was in another round.
pub(in crate::engine) fn begun_from(checkpoint: &Checkpoint, round: u32) -> Option<CommitId> {
    let (begin, _) = checkpoint.note.split_once('\n')?;
    begin.strip_prefix(&format!("{round}/")).map(CommitId::new)
}
