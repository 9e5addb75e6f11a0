//! Workspace edits in the form that this client understands.

use std::collections::BTreeMap;

use clode_core::id::HunkId;
use clode_core::workspace::review::{Replacement, replacements};
use clode_core::workspace::{self, FileChange};
use lsp_types::Range;
use ropey::Rope;
use serde_json::{Map, Value, json};
use url::Url;

use super::operation::Operation;
use super::result::FileResult;
use super::select::Work;
use crate::lsp::capabilities::EditCapabilities;
use crate::lsp::document::Document;
use crate::lsp::encoding;
use crate::lsp::review::{RunReview, open_document};
use crate::lsp::session::Session;
use crate::review::{self, observe};

/// The edits of one document, against one version of it.
#[derive(Debug, Clone)]
pub(crate) struct TextChange {
    pub(crate) uri: Url,
    /// `None`: it is not open.
    pub(crate) version: Option<i32>,
    pub(crate) edits: Vec<(Range, String)>,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl TextChange {
    /// What an editor makes of another text that looks at positions only.
    pub(crate) fn carried_out_on(&self, document: &Document) -> String {
        let mut text = document.text();
        for (range, new) in self.edits.iter().rev() {
            let bytes = document.bytes_of(*range);
            if text.is_char_boundary(bytes.start) && text.is_char_boundary(bytes.end) {
                text.replace_range(bytes, new);
            }
        }
        text
    }
}

/// What a work means for the text of now: nothing when all is there already; a result when it does not fit.
pub(crate) fn text_change(
    session: &Session,
    review: &RunReview,
    work: &Work,
) -> Result<Option<TextChange>, Box<FileResult>> {
    if !is_text(&work.file) {
        return Ok(None);
    }
    let Some(text) = text_now(session, review, &work.file) else {
        return if work.file.change == workspace::Change::Modified {
            Err(misfit(work, format!("{} is not there any more", work.file.path)))
        } else {
            Ok(None)
        };
    };
    let wanted = work
        .part(|hunk| hunk.kind != workspace::HunkKind::Mode)
        .map(|part| part.wanted)
        .unwrap_or_default();
    let found = replacements(&work.file, &undecided(review, work), &text.text, &wanted);
    let found = found.map_err(|misfits| {
        misfit(
            work,
            misfits
                .into_iter()
                .find_map(|placed| placed.reason)
                .unwrap_or_else(|| "you changed the same lines".to_owned()),
        )
    })?;
    if found.is_empty() {
        return Ok(None);
    }
    let rope = text
        .document
        .as_ref()
        .map_or_else(|| Rope::from_str(&text.text), |document| document.rope().clone());
    let after = workspace::review::apply(&text.text, &found);
    let edits = found
        .iter()
        .map(|replacement| minimal(&text.text, replacement))
        .map(|(bytes, new)| (encoding::range_of(&rope, bytes, review.encoding), new))
        .collect();
    let uri = text
        .document
        .as_ref()
        .map_or_else(|| text.uri.clone(), |document| (*document.uri).clone());
    Ok(Some(TextChange {
        uri,
        version: text.document.map(|document| document.version),
        edits,
        before: text.text,
        after,
    }))
}

fn misfit(work: &Work, reason: String) -> Box<FileResult> {
    Box::new(work.result("conflict").code("conflict").because(reason))
}

/// What was decided, as if nothing had been about the wanted hunks.
pub(crate) fn undecided(review: &RunReview, work: &Work) -> BTreeMap<HunkId, workspace::HunkState> {
    let mut decided = review::decided(&review.machine, &work.file);
    decided.retain(|id, _| !work.wanted.contains(id));
    decided
}

/// Whether the change is of text that an editor shows: no bytes, no links.
pub(crate) fn is_text(file: &FileChange) -> bool {
    !file.binary && observe::is_link(file) == observe::Expect::File
}

/// The text that a file change is about, as the editor shows it, else as it is on the disk.
pub(crate) struct TextNow {
    pub(crate) text: String,
    pub(crate) document: Option<Document>,
    pub(crate) uri: Url,
}

pub(crate) fn text_now(session: &Session, review: &RunReview, file: &FileChange) -> Option<TextNow> {
    let path = file.old_path.as_deref().unwrap_or(&file.path);
    let uri = review.uri(path)?;
    if let Some(document) = open_document(session, &review.top_level, &review.root, path) {
        return Some(TextNow {
            text: document.text(),
            document: Some(document),
            uri,
        });
    }
    let seen = observe::on_disk(&review.top_level, path, observe::Expect::File);
    seen.text().map(|text| TextNow {
        text: text.to_owned(),
        document: None,
        uri: uri.clone(),
    })
}

/// The replacement without equal lines at both ends.
fn minimal(text: &str, replacement: &Replacement) -> (std::ops::Range<usize>, String) {
    let old = text.get(replacement.bytes.clone()).unwrap_or_default();
    let new = replacement.new_text.as_str();
    let same = |(a, b): &(&str, &str)| a == b;
    let start: usize = old
        .split_inclusive('\n')
        .zip(new.split_inclusive('\n'))
        .take_while(same)
        .map(|(line, _)| line.len())
        .sum();
    let (old_rest, new_rest) = (
        old.get(start..).unwrap_or_default(),
        new.get(start..).unwrap_or_default(),
    );
    let end: usize = old_rest
        .split_inclusive('\n')
        .rev()
        .zip(new_rest.split_inclusive('\n').rev())
        .take_while(same)
        .map(|(line, _)| line.len())
        .sum();
    let bytes = replacement.bytes.start + start..replacement.bytes.end - end;
    (
        bytes,
        new_rest
            .get(..new_rest.len() - end)
            .unwrap_or_default()
            .to_owned(),
    )
}

/// The edit that turns one text into another: what lies between their common ends.
pub(crate) fn difference(document: &Document, wanted: &str) -> TextChange {
    let before = document.text();
    let whole = Replacement {
        bytes: 0..before.len(),
        lines: 0..0,
        new_text: wanted.to_owned(),
    };
    let (bytes, new) = minimal(&before, &whole);
    TextChange {
        uri: (*document.uri).clone(),
        version: Some(document.version),
        edits: vec![(document.range_of(bytes), new)],
        before,
        after: wanted.to_owned(),
    }
}

/// One `WorkspaceEdit`: text first, operations last; nothing that the client has not declared.
pub(crate) fn workspace_edit(
    capabilities: EditCapabilities,
    texts: &[TextChange],
    operations: &[Operation],
) -> Value {
    let edits = |change: &TextChange| -> Vec<Value> {
        change
            .edits
            .iter()
            .map(|(range, text)| json!({"range": range, "newText": text}))
            .collect()
    };
    if !capabilities.document_changes && operations.is_empty() {
        let changes: Map<String, Value> = texts
            .iter()
            .map(|change| (change.uri.to_string(), Value::Array(edits(change))))
            .collect();
        return json!({ "changes": changes });
    }
    let mut changes: Vec<Value> = texts
        .iter()
        .map(|change| json!({"textDocument": {"uri": change.uri, "version": change.version}, "edits": edits(change)}))
        .collect();
    changes.extend(operations.iter().flat_map(Operation::wire));
    json!({ "documentChanges": changes })
}
