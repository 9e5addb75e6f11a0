//! The open documents, exactly as the editor holds them.

use std::collections::HashMap;
use std::sync::Arc;

use lsp_types::TextDocumentContentChangeEvent as Change;
use ropey::Rope;
use url::Url;

use super::encoding::{self, PositionEncoding};

/// One open document at one version. A clone is a snapshot: it costs the same however long the text is.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) uri: Arc<Url>,
    pub(crate) version: i32,
    rope: Rope,
    encoding: PositionEncoding,
}

impl Document {
    /// The whole text.
    pub(crate) fn text(&self) -> String {
        self.rope.to_string()
    }

    pub(crate) fn rope(&self) -> &Rope {
        &self.rope
    }

    #[cfg(test)]
    /// The byte offset that a position of this client means.
    pub(crate) fn byte_at(&self, position: lsp_types::Position) -> usize {
        encoding::byte_at(&self.rope, position, self.encoding)
    }

    #[cfg(test)]
    /// The position, for this client, of a byte offset.
    pub(crate) fn position_at(&self, byte: usize) -> lsp_types::Position {
        encoding::position_at(&self.rope, byte, self.encoding)
    }

    /// The bytes that a range of this client means.
    pub(crate) fn bytes_of(&self, range: lsp_types::Range) -> std::ops::Range<usize> {
        encoding::bytes_of(&self.rope, range, self.encoding)
    }

    /// The range, for this client, of some bytes.
    pub(crate) fn range_of(&self, bytes: std::ops::Range<usize>) -> lsp_types::Range {
        encoding::range_of(&self.rope, bytes, self.encoding)
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::TextDocumentContentChangeWholeDocument(whole) => self.rope = Rope::from_str(&whole.text),
            Change::TextDocumentContentChangePartial(part) => {
                let bytes = self.bytes_of(part.range);
                let (start, end) = (
                    self.rope.byte_to_char(bytes.start),
                    self.rope.byte_to_char(bytes.end),
                );
                self.rope.remove(start..end);
                self.rope.insert(start, &part.text);
            }
        }
    }
}

/// What the editor has open. Owned by one task, which applies every notification in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    open: HashMap<Arc<Url>, Document>,
    encoding: PositionEncoding,
}

/// A change of a document that is not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the editor changed {0}, which it has not opened")]
pub(crate) struct NotOpen(pub(crate) Url);

impl Documents {
    /// No document yet; positions are counted as negotiated.
    pub(crate) fn new(encoding: PositionEncoding) -> Self {
        Self {
            open: HashMap::new(),
            encoding,
        }
    }

    /// `textDocument/didOpen`; opening twice means starting over with this text.
    pub(crate) fn open(&mut self, uri: Url, version: i32, text: &str) -> &Document {
        let uri = Arc::new(uri);
        let document = Document {
            uri: Arc::clone(&uri),
            version,
            rope: Rope::from_str(text),
            encoding: self.encoding,
        };
        self.open.entry(uri).insert_entry(document).into_mut()
    }

    /// `textDocument/didChange`: each change is meant for the text that the one before it left.
    pub(crate) fn change(
        &mut self,
        uri: &Url,
        version: i32,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<&Document, NotOpen> {
        let document = self.open.get_mut(uri).ok_or_else(|| NotOpen(uri.clone()))?;
        if version <= document.version {
            tracing::debug!(
                version,
                known = document.version,
                "a change does not raise the version"
            );
        }
        for change in changes {
            document.apply(change);
        }
        document.version = version;
        Ok(document)
    }

    /// `textDocument/didClose`: the last state of the document, if it was open.
    pub(crate) fn close(&mut self, uri: &Url) -> Option<Document> {
        self.open.remove(uri)
    }

    pub(crate) fn get(&self, uri: &Url) -> Option<&Document> {
        self.open.get(uri)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Document> {
        self.open.values()
    }

    /// Snapshots of all open documents, ordered by address.
    pub(crate) fn snapshot(&self) -> Vec<Document> {
        let mut documents: Vec<Document> = self.open.values().cloned().collect();
        documents.sort_by(|one, other| one.uri.cmp(&other.uri));
        documents
    }

    pub(crate) fn encoding(&self) -> PositionEncoding {
        self.encoding
    }
}

#[cfg(test)]
mod tests;
