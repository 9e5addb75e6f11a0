//! Where the hunks of a patch lie in the text of now, and in which state they are: the wire forms `File` and
//! `Hunk` of the contract. Pure; the editor's side feeds it buffers, the command line the disk.

pub(crate) mod address;
pub(crate) mod observe;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range as Span;
use std::path::Path;

use clode_core::id::PipelineId;
use clode_core::pipeline::{HunkRecord, HunkState, Machine};
use clode_core::workspace::{Change, Conflict, FileChange, Hunk, HunkKind, Patch, Verdict};
use lsp_types::{Position, Range};
use ropey::Rope;
use serde::Serialize;
use url::Url;

use crate::lsp::encoding::{self, PositionEncoding};
pub(crate) use observe::{Content, FileNow};
pub(crate) use state::{HunkNow, can_go_back, decided, hunks_now, is_open, nothing_decided};

/// A changed file as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileView {
    pub(crate) uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) old_uri: Option<String>,
    pub(crate) path: String,
    pub(crate) change: Change,
    pub(crate) base_uri: String,
    pub(crate) result_uri: String,
    pub(crate) binary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<&'static str>,
    pub(crate) insertions: u32,
    pub(crate) deletions: u32,
    pub(crate) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict_reason: Option<String>,
    pub(crate) hunks: Vec<HunkView>,
}

/// A hunk as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HunkView {
    pub(crate) id: String,
    pub(crate) kind: HunkKind,
    pub(crate) state: HunkState,
    pub(crate) round: u32,
    /// In the text of now.
    pub(crate) range: Range,
    /// The editor's version of that text; `null` for the disk.
    pub(crate) version: Option<i32>,
    pub(crate) old_text: String,
    pub(crate) new_text: String,
    pub(crate) base_range: Range,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conflict: Option<Conflict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What is needed to show the files of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reviewed<'a> {
    pub(crate) run: &'a PipelineId,
    pub(crate) machine: &'a Machine,
    pub(crate) patch: &'a Patch,
    /// The top level as the receiver knows it.
    pub(crate) root: &'a Path,
    pub(crate) encoding: PositionEncoding,
}

impl Reviewed<'_> {
    /// All files of the patch, with what earlier rounds left behind. `now` tells what stands there now.
    pub(crate) fn files(&self, mut now: impl FnMut(&FileChange) -> FileNow) -> Vec<FileView> {
        let mut views: Vec<FileView> = self
            .patch
            .files
            .iter()
            .map(|file| self.file(file, &now(file)))
            .collect();
        for record in self.left_over() {
            let hunk = superseded(record);
            match views.iter_mut().find(|view| view.path == record.path) {
                Some(view) => view.hunks.push(hunk),
                None => views.push(self.gone(&record.path, hunk)),
            }
        }
        views
    }

    /// One file, with ranges in what is seen now.
    pub(crate) fn file(&self, file: &FileChange, now: &FileNow) -> FileView {
        let hunks = hunks_now(file, self.machine, now);
        self.file_with(file, now, &hunks)
    }

    /// One file whose hunks were placed already.
    pub(crate) fn file_with(&self, file: &FileChange, now: &FileNow, hunks: &[HunkNow]) -> FileView {
        let (verdict, verdict_reason) = match &file.verdict {
            Verdict::Allow => ("allow", None),
            Verdict::Ask { reason } => ("ask", Some(reason.clone())),
        };
        let places = Places {
            current: now.text_rope(file),
            base: Rope::from_str(file.base_text.as_deref().unwrap_or_default()),
            version: now.shown(file).version,
            encoding: self.encoding,
        };
        FileView {
            uri: now.uri.clone().unwrap_or_else(|| self.uri(&file.path)),
            old_uri: file
                .old_path
                .as_deref()
                .map(|path| now.old_uri.clone().unwrap_or_else(|| self.uri(path))),
            path: file.path.clone(),
            change: file.change,
            base_uri: address::document(self.run, "base", file.old_path.as_deref().unwrap_or(&file.path)),
            result_uri: address::document(self.run, "result", &file.path),
            binary: file.binary,
            mode: file.mode.map(clode_core::workspace::FileMode::octal),
            insertions: file.insertions,
            deletions: file.deletions,
            verdict,
            verdict_reason,
            hunks: file
                .hunks
                .iter()
                .zip(hunks)
                .map(|(hunk, now)| places.view(hunk, now, self.record(hunk), self.machine.round))
                .collect(),
        }
    }

    fn record(&self, hunk: &Hunk) -> Option<&HunkRecord> {
        self.machine.hunks.iter().find(|record| record.id == hunk.id)
    }

    /// Hunks of earlier rounds that the patch does not hold any more.
    fn left_over(&self) -> impl Iterator<Item = &HunkRecord> {
        self.machine
            .hunks
            .iter()
            .filter(|record| self.patch.hunk(&record.id).is_none())
    }

    fn gone(&self, path: &str, hunk: HunkView) -> FileView {
        FileView {
            uri: self.uri(path),
            old_uri: None,
            path: path.to_owned(),
            change: Change::Modified,
            base_uri: address::document(self.run, "base", path),
            result_uri: address::document(self.run, "result", path),
            binary: false,
            mode: None,
            insertions: 0,
            deletions: 0,
            verdict: "allow",
            verdict_reason: None,
            hunks: vec![hunk],
        }
    }

    fn uri(&self, path: &str) -> String {
        address::file(&self.root.join(path)).map_or_else(String::new, |uri: Url| uri.to_string())
    }
}

fn superseded(record: &HunkRecord) -> HunkView {
    HunkView {
        id: record.id.to_string(),
        kind: HunkKind::Text,
        state: record.state,
        round: record.round,
        range: Range::default(),
        version: None,
        old_text: String::new(),
        new_text: String::new(),
        base_range: Range::default(),
        conflict: None,
        comment: record.comment.clone(),
        reason: record.reason.clone(),
    }
}

/// The texts that ranges are counted in.
struct Places {
    current: Rope,
    base: Rope,
    version: Option<i32>,
    encoding: PositionEncoding,
}

impl Places {
    fn view(&self, hunk: &Hunk, now: &HunkNow, record: Option<&HunkRecord>, round: u32) -> HunkView {
        HunkView {
            id: hunk.id.to_string(),
            kind: hunk.kind,
            state: now.state,
            round: record.map_or(round, |record| record.round),
            range: encoding::range_of(&self.current, now.bytes.clone(), self.encoding),
            version: self.version,
            old_text: hunk.old_text.clone(),
            new_text: hunk.new_text.clone(),
            base_range: encoding::range_of(
                &self.base,
                line_bytes(&self.base, &hunk.base_lines),
                self.encoding,
            ),
            conflict: now.conflict.clone(),
            comment: record.and_then(|record| record.comment.clone()),
            reason: now.reason.clone(),
        }
    }
}

/// The bytes of lines that end at `\n`, as the patch counts them.
pub(crate) fn line_bytes(text: &Rope, lines: &Span<u32>) -> Span<usize> {
    let mut starts = BTreeMap::from([(0_u32, 0_usize)]);
    let (mut line, mut at) = (0_u32, 0_usize);
    for chunk in text.chunks() {
        for (offset, byte) in chunk.bytes().enumerate() {
            if byte == b'\n' {
                line = line.saturating_add(1);
                if line == lines.start || line == lines.end {
                    starts.insert(line, at + offset + 1);
                }
            }
        }
        at += chunk.len();
    }
    let start = |line: u32| starts.get(&line).copied().unwrap_or(text.len_bytes());
    start(lines.start)..start(lines.end)
}

/// A place at the start of a line.
pub(crate) fn at_line(line: u32) -> Range {
    let position = Position { line, character: 0 };
    Range {
        start: position,
        end: position,
    }
}
