//! Which hunks an apply is about, and which of them cannot be taken at all.

use std::collections::BTreeSet;

use clode_core::id::HunkId;
use clode_core::pipeline::HunkState;
use clode_core::workspace::{FileChange, Hunk, Verdict};
use clode_core::{Error, Result};
use url::Url;

use super::Selection;
use super::result::FileResult;
use crate::lsp::review::{FileReview, RunReview};
use crate::review::HunkNow;

/// Marks the place of a secret that was kept from an agent.
const REDACTION_MARK: &str = "«redacted:";

/// Who wants the hunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A person, hunk by hunk or file by file.
    Chosen,
    /// A person, all at once at the patch gate.
    Approved,
    /// Nobody in person: what is clean and needs no yes.
    Clean,
}

/// Hunks of one file that are to be brought in.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) file: FileChange,
    pub(crate) uri: Url,
    pub(crate) wanted: BTreeSet<HunkId>,
}

impl Work {
    pub(crate) fn result(&self, result: &'static str) -> FileResult {
        let in_order = self
            .file
            .hunks
            .iter()
            .map(|hunk| &hunk.id)
            .filter(|id| self.wanted.contains(id));
        FileResult::new(self.uri.clone(), result, in_order.cloned().collect())
    }

    /// The part of it that is about these hunks; nothing when there are none.
    pub(crate) fn part(&self, keep: impl Fn(&Hunk) -> bool) -> Option<Self> {
        let of_kind = |id: &&HunkId| self.file.hunks.iter().any(|hunk| hunk.id == **id && keep(hunk));
        let wanted: BTreeSet<HunkId> = self.wanted.iter().filter(of_kind).cloned().collect();
        (!wanted.is_empty()).then(|| Self {
            wanted,
            ..self.clone()
        })
    }
}

/// What is to be done, and what is not.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) works: Vec<Work>,
    pub(crate) refused: Vec<FileResult>,
}

/// Finds the hunks that are meant. Unknown ones are the caller's mistake.
pub(crate) fn choose(review: &RunReview, selection: &Selection, scope: Scope) -> Result<Chosen> {
    check(review, selection)?;
    let all = selection.files.is_empty() && selection.hunks.is_empty();
    let mut chosen = Chosen::default();
    for file in &review.files {
        let Some(change) = review.change(file) else {
            continue;
        };
        let whole = all
            || selection
                .files
                .iter()
                .any(|uri| is_file(review, file, change, uri));
        let asks = matches!(change.verdict, Verdict::Ask { .. });
        if scope == Scope::Clean && asks {
            continue;
        }
        let mut sorted = Sorted::default();
        for (hunk, now) in review.hunks(file) {
            let named = selection.hunks.contains(&hunk.id);
            if named || whole {
                sorted.take(hunk, now, if named { Named::ById } else { Named::ByFile });
            }
        }
        sorted.into_chosen(change, file, scope, &mut chosen);
    }
    Ok(chosen)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    ById,
    ByFile,
}

#[derive(Debug, Default)]
struct Sorted {
    wanted: BTreeSet<HunkId>,
    there: Vec<HunkId>,
    unsure: Vec<HunkId>,
    conflicts: Vec<(HunkId, Option<String>)>,
    superseded: Vec<HunkId>,
    redacted: Vec<HunkId>,
}

impl Sorted {
    fn take(&mut self, hunk: &Hunk, now: &HunkNow, named: Named) {
        let id = hunk.id.clone();
        match (now.state, named) {
            (HunkState::Pending | HunkState::Failed, _)
            | (HunkState::Rejected | HunkState::Reverted, Named::ById) => {
                if hunk.new_text.contains(REDACTION_MARK) && !hunk.old_text.contains(REDACTION_MARK) {
                    self.redacted.push(id);
                } else {
                    self.wanted.insert(id);
                }
            }
            (HunkState::Applied, Named::ById) => self.there.push(id),
            (HunkState::Unconfirmed, _) => self.unsure.push(id),
            (HunkState::Conflict, _) => self.conflicts.push((id, now.reason.clone())),
            (HunkState::Superseded, Named::ById) => self.superseded.push(id),
            (
                HunkState::Applied | HunkState::Rejected | HunkState::Reverted | HunkState::Superseded,
                Named::ByFile,
            ) => {}
        }
    }

    fn into_chosen(self, change: &FileChange, file: &FileReview, scope: Scope, chosen: &mut Chosen) {
        let uri = &file.uri;
        let mut refuse =
            |hunks: Vec<HunkId>, finish: &dyn Fn(FileResult) -> FileResult, result: &'static str| {
                if !hunks.is_empty() {
                    chosen
                        .refused
                        .push(finish(FileResult::new(uri.clone(), result, hunks)));
                }
            };
        refuse(self.there, &FileResult::unrecorded, "applied");
        refuse(
            self.unsure,
            &|it| {
                it.unrecorded()
                    .because("it was sent to the editor before and has not been seen since")
            },
            "unconfirmed",
        );
        let reason = self
            .conflicts
            .iter()
            .find_map(|(_, reason)| reason.clone())
            .unwrap_or_else(|| "you changed the same lines".to_owned());
        let conflicts = self.conflicts.into_iter().map(|(id, _)| id).collect();
        refuse(
            conflicts,
            &|it| it.code("conflict").because(reason.clone()),
            "conflict",
        );
        refuse(
            self.superseded,
            &|it| {
                it.unrecorded()
                    .code("superseded")
                    .because("a later round replaced it")
            },
            "failed",
        );
        let redacted = |it: FileResult| {
            let it = it
                .code("redactionMark")
                .because("it holds the mark of a secret that was kept from the agent");
            it.hint("reject it with a comment, or write these lines yourself")
        };
        refuse(self.redacted, &redacted, "failed");
        if !self.wanted.is_empty() {
            tracing::debug!(path = %change.path, hunks = self.wanted.len(), ?scope, "to be applied");
            chosen.works.push(Work {
                file: change.clone(),
                uri: uri.clone(),
                wanted: self.wanted,
            });
        }
    }
}

/// What becomes of hunks that a person does not want: what is applied already cannot be rejected.
pub(crate) fn rejected(review: &RunReview, selection: &Selection) -> Result<Vec<FileResult>> {
    check(review, selection)?;
    let mut results = Vec::new();
    for file in &review.files {
        let (mut rejected, mut applied) = (Vec::new(), Vec::new());
        for (hunk, now) in review
            .hunks(file)
            .filter(|(hunk, _)| selection.hunks.contains(&hunk.id))
        {
            if now.state == HunkState::Applied {
                applied.push(hunk.id.clone());
            } else {
                rejected.push(hunk.id.clone());
            }
        }
        if !rejected.is_empty() {
            results.push(FileResult::new(file.uri.clone(), "rejected", rejected));
        }
        if !applied.is_empty() {
            let refused = FileResult::new(file.uri.clone(), "failed", applied).unrecorded();
            results.push(
                refused
                    .code("alreadyApplied")
                    .because("it is in your text already")
                    .hint("take it back with `clode.pipeline.revert`, or undo it"),
            );
        }
    }
    Ok(results)
}

pub(crate) fn check(review: &RunReview, selection: &Selection) -> Result<()> {
    for id in &selection.hunks {
        let recorded = review.machine.hunks.iter().any(|record| record.id == *id);
        if !recorded && review.patch.as_ref().is_none_or(|patch| patch.hunk(id).is_none()) {
            return Err(Error::usage(
                "unknownHunk",
                format!("hunks: there is no hunk `{id}` in `{}`", review.id),
            )
            .hint("`clode.pipeline.get` lists the hunks"));
        }
    }
    for uri in &selection.files {
        let known = review.files.iter().any(|file| {
            review
                .change(file)
                .is_some_and(|change| is_file(review, file, change, uri))
        });
        if !known {
            return Err(Error::usage(
                "unknownFile",
                format!("files: `{}` does not change {uri}", review.id),
            )
            .hint("`clode.pipeline.get` lists the files"));
        }
    }
    Ok(())
}

/// Whether this address means the file, at its new or its old place.
pub(crate) fn is_file(review: &RunReview, file: &FileReview, change: &FileChange, uri: &Url) -> bool {
    if file.uri == *uri {
        return true;
    }
    let Ok(path) = uri.to_file_path() else {
        return false;
    };
    [Some(&change.path), change.old_path.as_ref()]
        .into_iter()
        .flatten()
        .any(|relative| review.root.join(relative) == path || review.top_level.join(relative) == path)
}
