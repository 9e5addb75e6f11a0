//! The editor's part, played by the disk: approved hunks are merged onto the files as they are now, and out of them
//! again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clode_core::engine::{Editor, Elsewhere, Engine, OPEN_ELSEWHERE};
use clode_core::id::{HunkId, PipelineId};
use clode_core::pipeline::{GateKind, HunkOutcome, HunkRecord, HunkState, Machine};
use clode_core::workspace::{self, Applied, FileOutcome, Patch, Repository};
use clode_core::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::review;

/// Applies patches to the files on disk.
#[derive(Debug)]
pub(super) struct Disk {
    engine: Engine,
}

/// What a person agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// Nothing in particular: what the path policy leaves to a person stays.
    Policy,
    /// This patch, with what the path policy leaves to a person.
    Person,
}

/// What became of the hunks that were to be applied.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) files: Vec<FileOutcome>,
    pub(super) outcomes: Vec<HunkOutcome>,
    /// Left to a person, by path with the reason.
    pub(super) left: Vec<(String, String)>,
}

/// Which hunks are meant; none named: all that it can be about.
#[derive(Debug, Default, Clone)]
pub(super) struct Wanted {
    /// Of these files (paths below the top level).
    pub(super) files: Vec<String>,
    /// These.
    pub(super) hunks: Vec<HunkId>,
}

impl Wanted {
    fn holds(&self, hunk: &HunkRecord) -> bool {
        let all = self.files.is_empty() && self.hunks.is_empty();
        all || self.files.contains(&hunk.path) || self.hunks.contains(&hunk.id)
    }

    /// Whether the hunk is to come in: one that nobody decided, or one that is named although it was rejected or
    /// taken back.
    fn brings(&self, hunk: &HunkRecord) -> bool {
        let again = matches!(hunk.state, HunkState::Rejected | HunkState::Reverted);
        self.holds(hunk) && (!hunk.is_decided() || again && self.hunks.contains(&hunk.id))
    }
}

impl Disk {
    /// Becomes the one who applies patches in this process.
    pub(super) fn take_over(engine: &Engine) {
        engine.set_editor(Arc::new(Self {
            engine: engine.clone(),
        }));
    }
}

impl Editor for Disk {
    fn apply_pending<'a>(&'a self, run: &'a PipelineId) -> BoxFuture<'a, Vec<HunkOutcome>> {
        async move {
            let applied = async {
                let machine = self.engine.row(run).await?.machine()?;
                let consent = if approved_by_a_person(&machine) {
                    Consent::Person
                } else {
                    Consent::Policy
                };
                apply(&self.engine, run, &Wanted::default(), consent).await
            };
            match applied.await {
                Ok(report) => report.outcomes,
                Err(error) => {
                    tracing::warn!(%error, %run, "the patch could not be applied");
                    Vec::new()
                }
            }
        }
        .boxed()
    }
}

/// Whether the last word on the patch of this round was a person's yes, in whichever editor.
fn approved_by_a_person(machine: &Machine) -> bool {
    let of_this_round = format!("{}-{}-", GateKind::Patch.as_str(), machine.round);
    let last = machine
        .gates
        .iter()
        .rev()
        .find(|gate| gate.id.as_str().starts_with(&of_this_round));
    let resolution = last.and_then(|gate| gate.resolution.as_ref());
    resolution.is_some_and(|resolution| resolution.answer.approved && resolution.by.surface != "policy")
}

/// Brings the wanted hunks that nobody decided yet into the files of the repository.
pub(super) async fn apply(
    engine: &Engine,
    run: &PipelineId,
    wanted: &Wanted,
    consent: Consent,
) -> Result<Report> {
    let row = engine.row(run).await?;
    let machine = row.machine()?;
    let Some(patch) = engine.patch(&machine).await? else {
        return Ok(Report::default());
    };
    let repository = engine.repository(Path::new(&row.folder)).await?;
    let mut report = Report::default();
    for file in &patch.files {
        let records: Vec<&HunkRecord> = machine
            .hunks
            .iter()
            .filter(|hunk| file.hunks.iter().any(|known| known.id == hunk.id))
            .collect();
        let (now, left): (Vec<&HunkRecord>, Vec<&HunkRecord>) = records
            .iter()
            .copied()
            .filter(|hunk| wanted.brings(hunk))
            .partition(|hunk| !hunk.ask || consent == Consent::Person);
        if !left.is_empty() {
            let reason = match &file.verdict {
                workspace::Verdict::Ask { reason } => reason.clone(),
                workspace::Verdict::Allow => "a person decides about it".to_owned(),
            };
            report.left.push((file.path.clone(), reason));
        }
        if !now.is_empty() {
            let all = now.iter().map(|hunk| hunk.id.clone()).collect();
            one_file(engine, &repository, &machine, file, &all, &mut report).await?;
        }
    }
    Ok(report)
}

/// Takes the wanted hunks that are in the files of the repository out of them again.
pub(super) async fn revert(engine: &Engine, run: &PipelineId, wanted: &Wanted) -> Result<Report> {
    let row = engine.row(run).await?;
    let machine = row.machine()?;
    let Some(patch) = engine.patch(&machine).await? else {
        return Ok(Report::default());
    };
    let repository = engine.repository(Path::new(&row.folder)).await?;
    let applied = in_files(&machine, &patch, &repository.top_level).await?;
    let mut report = Report::default();
    let mut meant = BTreeSet::new();
    for hunk in machine.hunks.iter().filter(|hunk| wanted.holds(hunk)) {
        if applied.contains(&hunk.id) {
            meant.insert(hunk.id.clone());
        } else if hunk.state == HunkState::Applied {
            let reason = "a later round replaced what was applied".to_owned();
            report.left.push((hunk.path.clone(), reason));
        }
    }
    let undecided = review::nothing_decided(&machine);
    for file in &patch.reversed(|id| applied.contains(id)).files {
        let hunks = file.hunks.iter().map(|hunk| &hunk.id);
        let all: BTreeSet<HunkId> = hunks.filter(|id| meant.contains(*id)).cloned().collect();
        if !all.is_empty() {
            one_file(engine, &repository, &undecided, file, &all, &mut report).await?;
        }
    }
    for outcome in &mut report.outcomes {
        if outcome.state == HunkState::Applied {
            outcome.state = HunkState::Reverted;
        }
    }
    Ok(report)
}

/// The hunks of the patch that are in the files, as far as is known.
async fn in_files(machine: &Machine, patch: &Patch, top_level: &Path) -> Result<BTreeSet<HunkId>> {
    let (machine, patch, top_level) = (machine.clone(), patch.clone(), top_level.to_path_buf());
    let look = move || {
        let mut applied = BTreeSet::new();
        for file in &patch.files {
            let now = review::observe::file_on_disk(&top_level, file);
            for hunk in review::hunks_now(file, &machine, &now) {
                let record = machine.hunks.iter().find(|record| record.id == hunk.id);
                if review::can_go_back(record, &hunk) {
                    applied.insert(hunk.id);
                }
            }
        }
        applied
    };
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| Error::internal(format!("looking at the files: {error}")))
}

async fn one_file(
    engine: &Engine,
    repository: &Repository,
    machine: &Machine,
    file: &workspace::FileChange,
    all: &BTreeSet<HunkId>,
    report: &mut Report,
) -> Result<()> {
    let mut done = FileOutcome {
        path: file.path.clone(),
        result: Applied::Applied,
        code: None,
        message: None,
        hunks: Vec::new(),
    };
    if let Some(held) = held_elsewhere(engine, repository, file).await? {
        let refused = refused(file, all, &held);
        report
            .outcomes
            .extend(all.iter().map(|id| outcome_of(id, &refused)));
        report.files.push(refused);
        return Ok(());
    }
    let mut decided = review::decided(machine, file);
    // All at once; where that conflicts each by itself, so that one conflict keeps nothing else out.
    let whole = engine
        .services()
        .workspaces
        .apply_to_disk(repository, file, &decided, all)
        .await?;
    if whole.result == Applied::Conflict && all.len() > 1 {
        for id in all {
            let outcome = engine
                .services()
                .workspaces
                .apply_to_disk(repository, file, &decided, &BTreeSet::from([id.clone()]))
                .await?;
            report.outcomes.push(outcome_of(id, &outcome));
            if outcome.result == Applied::Applied {
                decided.insert(id.clone(), workspace::HunkState::Applied);
            } else {
                (done.result, done.code, done.message) = (outcome.result, outcome.code, outcome.message);
            }
            done.hunks = outcome.hunks;
        }
    } else {
        report
            .outcomes
            .extend(all.iter().map(|id| outcome_of(id, &whole)));
        done = whole;
    }
    report.files.push(done);
    Ok(())
}

/// Whether a living editor holds the file with text that is not saved.
async fn held_elsewhere(
    engine: &Engine,
    repository: &Repository,
    file: &workspace::FileChange,
) -> Result<Option<Elsewhere>> {
    let names = std::iter::once(&file.path).chain(file.old_path.as_ref());
    let paths: Vec<PathBuf> = names.map(|name| repository.top_level.join(name)).collect();
    Ok(engine.held_elsewhere(&paths).await?.into_iter().next())
}

fn refused(file: &workspace::FileChange, wanted: &BTreeSet<HunkId>, held: &Elsewhere) -> FileOutcome {
    let message = format!("{}; {}", held.message(), Elsewhere::hint());
    let untouched = |id: &HunkId| workspace::Placed {
        id: id.clone(),
        state: HunkState::Failed,
        lines: 0..0,
        bytes: 0..0,
        conflict: None,
        reason: Some(message.clone()),
    };
    FileOutcome {
        path: file.path.clone(),
        result: Applied::Failed,
        code: Some(OPEN_ELSEWHERE.to_owned()),
        message: Some(message.clone()),
        hunks: wanted.iter().map(untouched).collect(),
    }
}

fn outcome_of(id: &HunkId, outcome: &FileOutcome) -> HunkOutcome {
    let state = match outcome.result {
        Applied::Applied => HunkState::Applied,
        Applied::Conflict => HunkState::Conflict,
        Applied::Failed => HunkState::Failed,
    };
    let placed = outcome
        .hunks
        .iter()
        .find(|placed| placed.id == *id)
        .and_then(|placed| placed.reason.clone());
    let reason = if state == HunkState::Applied {
        None
    } else {
        outcome.message.clone().or(placed)
    };
    HunkOutcome {
        id: id.clone(),
        state,
        reason,
    }
}
