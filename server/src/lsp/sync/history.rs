//! The last versions of each open document, so that a range of an earlier version can be carried to
//! the text of now. A version costs what its edits cost: ropes share what did not change.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use lsp_types::TextDocumentContentChangeEvent as Change;
use url::Url;

use crate::lsp::document::Document;

/// Versions that are kept of each document.
const VERSIONS_MAX: usize = 64;
/// Edits that are kept of each version.
const EDITS_MAX: usize = 256;

/// The last versions of the open documents.
#[derive(Debug, Default)]
pub(crate) struct History {
    documents: HashMap<Arc<Url>, VecDeque<Version>>,
}

/// A version and what was done to it.
#[derive(Debug)]
struct Version {
    document: Document,
    edits: Vec<Edit>,
    /// So much was done to it that nothing can be carried over it.
    too_much: bool,
}

/// Bytes that were replaced, and how many took their place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    bytes: Range<usize>,
    inserted: usize,
}

/// Where a range of an earlier version is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Here (bytes of the text of now).
    To(Range<usize>),
    /// What it named was changed, or the version is not known.
    Lost,
}

impl History {
    /// A document was opened anew or closed.
    pub(crate) fn forget(&mut self, uri: &Url) {
        self.documents.remove(uri);
    }

    /// A document is about to be changed.
    pub(super) fn remember(&mut self, document: &Document) {
        let versions = self.documents.entry(Arc::clone(&document.uri)).or_default();
        if versions.len() >= VERSIONS_MAX {
            versions.pop_front();
        }
        versions.push_back(Version {
            document: document.clone(),
            edits: Vec::new(),
            too_much: false,
        });
    }

    /// A change of the version that was remembered last; `document` is the text that it is meant for.
    pub(super) fn edited(&mut self, document: &Document, change: &Change) {
        let Some(version) = self.documents.get_mut(&document.uri).and_then(VecDeque::back_mut) else {
            return;
        };
        if version.edits.len() >= EDITS_MAX {
            version.too_much = true;
            return;
        }
        let edit = match change {
            Change::TextDocumentContentChangePartial(part) => Edit {
                bytes: document.bytes_of(part.range),
                inserted: part.text.len(),
            },
            Change::TextDocumentContentChangeWholeDocument(whole) => {
                difference(&document.text(), &whole.text)
            }
        };
        version.edits.push(edit);
    }

    /// Carries a range from `version` to the text of now.
    pub(crate) fn carry(&self, now: &Document, version: i32, range: lsp_types::Range) -> Carried {
        if version == now.version {
            return Carried::To(now.bytes_of(range));
        }
        let Some(versions) = self.documents.get(&now.uri) else {
            return Carried::Lost;
        };
        let Some(first) = versions
            .iter()
            .rposition(|known| known.document.version == version)
        else {
            return Carried::Lost;
        };
        let Some(then) = versions.get(first) else {
            return Carried::Lost;
        };
        let mut bytes = then.document.bytes_of(range);
        for version in versions.iter().skip(first) {
            if version.too_much {
                return Carried::Lost;
            }
            for edit in &version.edits {
                let Some(moved) = moved(&bytes, edit) else {
                    return Carried::Lost;
                };
                bytes = moved;
            }
        }
        Carried::To(bytes)
    }
}

/// Where a range lies after an edit: one before it moves it, one within it is part of it.
fn moved(range: &Range<usize>, edit: &Edit) -> Option<Range<usize>> {
    let removed = edit.bytes.len();
    let shift = |at: usize| (at + edit.inserted).checked_sub(removed);
    if edit.bytes.end <= range.start {
        return Some(shift(range.start)?..shift(range.end)?);
    }
    if edit.bytes.start >= range.end {
        return Some(range.clone());
    }
    if edit.bytes.start >= range.start && edit.bytes.end <= range.end && edit.bytes != *range {
        return Some(range.start..shift(range.end)?);
    }
    None
}

/// The smallest edit that makes one text of another.
fn difference(before: &str, after: &str) -> Edit {
    let common = |pairs: &mut dyn Iterator<Item = (char, char)>| -> usize {
        pairs
            .take_while(|(one, other)| one == other)
            .map(|(one, _)| one.len_utf8())
            .sum()
    };
    let head = common(&mut before.chars().zip(after.chars()));
    let (before_rest, after_rest) = (
        before.get(head..).unwrap_or_default(),
        after.get(head..).unwrap_or_default(),
    );
    let tail = common(&mut before_rest.chars().rev().zip(after_rest.chars().rev()));
    Edit {
        bytes: head..before.len() - tail,
        inserted: after_rest.len() - tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(bytes: Range<usize>, inserted: usize) -> Edit {
        Edit { bytes, inserted }
    }

    #[test]
    fn an_edit_before_the_range_moves_it_and_one_behind_it_does_not() {
        assert_eq!(moved(&(10..20), &edit(0..2, 5)), Some(13..23));
        assert_eq!(moved(&(10..20), &edit(4..10, 0)), Some(4..14));
        assert_eq!(moved(&(10..20), &edit(20..25, 1)), Some(10..20));
    }

    #[test]
    fn an_edit_within_the_range_is_part_of_it() {
        assert_eq!(moved(&(10..20), &edit(12..14, 5)), Some(10..23));
    }

    #[test]
    fn an_edit_over_an_end_of_the_range_loses_it() {
        assert_eq!(moved(&(10..20), &edit(8..12, 0)), None);
        assert_eq!(moved(&(10..20), &edit(18..22, 9)), None);
        assert_eq!(moved(&(10..20), &edit(10..20, 3)), None);
    }

    #[test]
    fn a_whole_new_text_counts_as_what_differs() {
        assert_eq!(difference("one two three", "one 2 three"), edit(4..7, 1));
        assert_eq!(difference("äa", "äa"), edit(3..3, 0));
        assert_eq!(difference("aa", "aaa"), edit(2..2, 1));
    }
}
