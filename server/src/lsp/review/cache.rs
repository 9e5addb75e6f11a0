//! A run as the session last saw it, with its hunks in the documents of now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clode_core::Result;
use clode_core::engine::Engine;
use clode_core::id::PipelineId;
use clode_core::pipeline::{Gate, GateKind, HunkState, Machine, PatchStage};
use clode_core::store::{RunRow, StepTotals};
use clode_core::task::ApplyMode;
use clode_core::workspace::{Change, FileChange, Hunk, Patch};
use lsp_types::Range;
use ropey::Rope;
use url::Url;

use crate::lsp::document::Document;
use crate::lsp::encoding::{self, PositionEncoding};
use crate::lsp::session::Session;
use crate::review::observe::{self, FileNow, Seen};
use crate::review::{Content, FileView, HunkNow, Reviewed, address, hunks_now, is_open};

/// A run under review, or with something to decide, as of one look at it.
#[derive(Debug, Clone)]
pub(crate) struct RunReview {
    pub(crate) id: PipelineId,
    /// As shown.
    pub(crate) title: String,
    pub(crate) machine: Arc<Machine>,
    pub(crate) patch: Option<Arc<Patch>>,
    /// The top level, as the repository knows it.
    pub(crate) top_level: PathBuf,
    /// The top level as the editor writes it; they differ where a link leads to the folder.
    pub(crate) root: PathBuf,
    /// The opened folder of the run, as the repository knows it.
    pub(crate) folder: PathBuf,
    /// In the order of the patch.
    pub(crate) files: Vec<Arc<FileReview>>,
    pub(crate) costs: Vec<StepTotals>,
    pub(crate) encoding: PositionEncoding,
}

/// A file of a run where it is now.
#[derive(Debug, Clone)]
pub(crate) struct FileReview {
    /// Its number in the patch.
    pub(crate) number: usize,
    /// Where the text that the hunks are about lies.
    pub(crate) path: PathBuf,
    pub(crate) uri: Url,
    pub(crate) now: FileNow,
    pub(crate) rope: Rope,
    pub(crate) hunks: Vec<HunkNow>,
}

impl RunReview {
    /// Loads a run; `None` when it belongs to no folder of this session.
    pub(crate) async fn load(session: &Session, engine: &Engine, row: &RunRow) -> Result<Option<Self>> {
        match root_of(session, row) {
            Some(root) => Self::load_at(session, engine, row, root).await.map(Some),
            None => Ok(None),
        }
    }

    /// Loads a run of a repository that is not open here, judged by the disk.
    pub(crate) async fn load_elsewhere(session: &Session, engine: &Engine, row: &RunRow) -> Result<Self> {
        Self::load_at(session, engine, row, PathBuf::from(&row.top_level)).await
    }

    async fn load_at(session: &Session, engine: &Engine, row: &RunRow, root: PathBuf) -> Result<Self> {
        let machine = row.machine()?;
        let known = session
            .reviews()
            .run(&row.id)
            .filter(|known| known.machine.patch == machine.patch);
        let patch = match known.and_then(|known| known.patch.clone()) {
            Some(patch) => Some(patch),
            None => engine.patch(&machine).await?.map(Arc::new),
        };
        let costs = engine.services().store.ledger().step_totals(&row.id).await?;
        let mut review = Self {
            id: row.id.clone(),
            title: machine.spec.shown_title(),
            machine: Arc::new(machine),
            patch,
            top_level: PathBuf::from(&row.top_level),
            root,
            folder: PathBuf::from(&row.folder),
            files: Vec::new(),
            costs,
            encoding: session.documents().encoding(),
        };
        review.look(session, None).await;
        Ok(review)
    }

    /// The same run after another look at these documents, or at all.
    pub(crate) async fn look(&mut self, session: &Session, only: Option<&[PathBuf]>) {
        let Some(patch) = self.patch.clone() else {
            self.files.clear();
            return;
        };
        let concerned = |file: &FileChange| {
            only.is_none_or(|paths| {
                let touches = |path: &str| {
                    paths.contains(&self.root.join(path)) || paths.contains(&self.top_level.join(path))
                };
                touches(&file.path) || file.old_path.as_deref().is_some_and(touches)
            })
        };
        let mut files = Vec::with_capacity(patch.files.len());
        let wanted: Vec<FileChange> = patch
            .files
            .iter()
            .filter(|file| concerned(file))
            .cloned()
            .collect();
        let mut found = look_at(session, &self.top_level, &self.root, wanted).await;
        for (number, file) in patch.files.iter().enumerate() {
            let fresh = found
                .remove(&file.path)
                .and_then(|now| self.file_review(number, file, now))
                .map(Arc::new);
            files.extend(fresh.or_else(|| self.files.iter().find(|known| known.number == number).cloned()));
        }
        self.files = files;
    }

    fn file_review(&self, number: usize, file: &FileChange, now: FileNow) -> Option<FileReview> {
        let hunks = hunks_now(file, &self.machine, &now);
        let at_old =
            file.change == Change::Renamed && now.at_old.as_ref().is_some_and(|old| !old.is_absent());
        let (path, known) = match &file.old_path {
            Some(old) if at_old => (old, &now.old_uri),
            _ => (&file.path, &now.uri),
        };
        let path = self.root.join(path);
        let uri = known
            .as_deref()
            .and_then(|uri| Url::parse(uri).ok())
            .or_else(|| address::file(&path))?;
        Some(FileReview {
            number,
            path,
            uri,
            rope: now.text_rope(file),
            now,
            hunks,
        })
    }

    /// What is changed in this document, with hunks in exactly this text. No I/O.
    pub(crate) fn in_document(&self, uri: &Url, document: Option<&Document>) -> Vec<Arc<FileReview>> {
        let path = uri.to_file_path().ok();
        let is_here = |file: &&Arc<FileReview>| {
            file.uri == *uri || path.as_ref().is_some_and(|path| file.path == *path)
        };
        self.files
            .iter()
            .filter(is_here)
            .map(|file| self.brought_up(file, document))
            .collect()
    }

    fn brought_up(&self, file: &Arc<FileReview>, document: Option<&Document>) -> Arc<FileReview> {
        let (Some(document), Some(change)) = (document, self.change(file)) else {
            return Arc::clone(file);
        };
        if file.now.shown(change).version == Some(document.version) {
            return Arc::clone(file);
        }
        let mut now = file.now.clone();
        let at_old =
            change.change == Change::Renamed && now.at_old.as_ref().is_some_and(|old| !old.is_absent());
        let place = if at_old {
            now.at_old.as_mut()
        } else {
            Some(&mut now.at)
        };
        if let Some(place) = place {
            *place = seen_in(document, place.executable);
        }
        self.file_review(file.number, change, now)
            .map_or_else(|| Arc::clone(file), Arc::new)
    }

    pub(crate) fn change(&self, file: &FileReview) -> Option<&FileChange> {
        self.patch.as_ref()?.files.get(file.number)
    }

    /// Hunks of a file with what they do.
    pub(crate) fn hunks<'a>(&'a self, file: &'a FileReview) -> impl Iterator<Item = (&'a Hunk, &'a HunkNow)> {
        self.change(file)
            .into_iter()
            .flat_map(|change| change.hunks.iter())
            .zip(&file.hunks)
    }

    pub(crate) fn range(&self, file: &FileReview, hunk: &HunkNow) -> Range {
        encoding::range_of(&file.rope, hunk.bytes.clone(), self.encoding)
    }

    /// The files as on the wire.
    pub(crate) fn views(&self) -> Vec<FileView> {
        let Some(patch) = &self.patch else {
            return Vec::new();
        };
        let reviewed = self.reviewed(patch);
        let now: BTreeMap<&str, &FileNow> = self
            .files
            .iter()
            .filter_map(|file| Some((self.change(file)?.path.as_str(), &file.now)))
            .collect();
        reviewed.files(|file| {
            now.get(file.path.as_str())
                .map_or_else(absent, |now| (*now).clone())
        })
    }

    /// One file as on the wire.
    pub(crate) fn view(&self, file: &FileReview) -> Option<FileView> {
        let patch = self.patch.as_ref()?;
        let change = patch.files.get(file.number)?;
        Some(self.reviewed(patch).file_with(change, &file.now, &file.hunks))
    }

    fn reviewed<'a>(&'a self, patch: &'a Patch) -> Reviewed<'a> {
        Reviewed {
            run: &self.id,
            machine: &self.machine,
            patch,
            root: &self.root,
            encoding: self.encoding,
        }
    }

    /// Whether a person can still decide about hunks.
    pub(crate) fn is_under_review(&self) -> bool {
        self.patch.is_some()
            && is_open(&self.machine)
            && self.machine.patch_stage != PatchStage::Applying
            && self.machine.spec.options.apply != ApplyMode::None
    }

    /// The open gate of this kind.
    pub(crate) fn gate(&self, kind: GateKind) -> Option<&Gate> {
        self.machine.open_gates().find(|gate| gate.kind == kind)
    }

    /// Whether the file lies in the folder that the run was started in, as the editor or the system writes it.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        let relative = self.folder.strip_prefix(&self.top_level).unwrap_or(Path::new(""));
        path.starts_with(self.root.join(relative)) || path.starts_with(&self.folder)
    }

    /// The address of a path as the editor writes it.
    pub(crate) fn uri(&self, path: &str) -> Option<Url> {
        address::file(&self.root.join(path))
    }
}

fn absent() -> FileNow {
    FileNow {
        at: Seen::ABSENT,
        at_old: None,
        uri: None,
        old_uri: None,
    }
}

/// Whether a hunk waits for a person.
pub(crate) fn is_waiting(state: HunkState) -> bool {
    matches!(
        state,
        HunkState::Pending | HunkState::Failed | HunkState::Conflict | HunkState::Unconfirmed
    )
}

/// What stands at the places of these changes: open documents first, else the disk. By path.
pub(crate) async fn look_at(
    session: &Session,
    top_level: &Path,
    root: &Path,
    files: Vec<FileChange>,
) -> BTreeMap<String, FileNow> {
    let top = top_level.to_path_buf();
    let on_disk = tokio::task::spawn_blocking(move || {
        files
            .into_iter()
            .map(|file| (observe::file_on_disk(&top, &file), file))
            .collect::<Vec<_>>()
    });
    let mut found = BTreeMap::new();
    for (mut now, file) in on_disk.await.unwrap_or_default() {
        if let Some(document) = open_document(session, top_level, root, &file.path)
            && (file.change != Change::Deleted || !now.at.is_absent())
        {
            now.at = seen_in(&document, now.at.executable);
            now.uri = Some(document.uri.to_string());
        }
        if let (Some(old_path), Some(old)) = (&file.old_path, &mut now.at_old)
            && let Some(document) = open_document(session, top_level, root, old_path)
            && !old.is_absent()
        {
            *old = seen_in(&document, old.executable);
            now.old_uri = Some(document.uri.to_string());
        }
        found.insert(file.path, now);
    }
    found
}

fn seen_in(document: &Document, executable: Option<bool>) -> Seen {
    Seen {
        content: Content::Text(document.text().into()),
        version: Some(document.version),
        executable,
    }
}

/// The open document of a path, however the editor writes its address.
pub(crate) fn open_document(
    session: &Session,
    top_level: &Path,
    root: &Path,
    path: &str,
) -> Option<Document> {
    let (full, canonical) = (root.join(path), top_level.join(path));
    let documents = session.documents();
    if let Some(document) = address::file(&full).and_then(|uri| documents.get(&uri).cloned()) {
        return Some(document);
    }
    let is_it = |document: &&Document| {
        document.uri.scheme() == "file"
            && document
                .uri
                .to_file_path()
                .is_ok_and(|open| open == full || open == canonical)
    };
    documents.iter().find(is_it).cloned()
}

/// The top level as the editor would write it, if one of its folders belongs to the run's repository.
pub(crate) fn root_of(session: &Session, row: &RunRow) -> Option<PathBuf> {
    let (top_level, folder) = (Path::new(&row.top_level), Path::new(&row.folder));
    let mut related = false;
    for open in session.folders() {
        let canonical = std::fs::canonicalize(&open.path).unwrap_or_else(|_| open.path.clone());
        related |= canonical.starts_with(top_level) || folder.starts_with(&canonical);
        if let Ok(below) = canonical.strip_prefix(top_level) {
            let mut root = open.path.as_path();
            for _ in below.components() {
                root = root.parent()?;
            }
            let same = std::fs::canonicalize(root).is_ok_and(|found| found == top_level);
            return Some(if same {
                root.to_path_buf()
            } else {
                top_level.to_path_buf()
            });
        }
    }
    related.then(|| top_level.to_path_buf())
}
