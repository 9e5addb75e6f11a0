//! The place that a task is about: a document, a range carried to the text of now, diagnostics.

use clode_core::task::Origin;
use clode_core::workspace::Repository;
use clode_core::{Error, Kind, Result};
use lsp_types::Range;
use ropey::Rope;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::words;
use crate::lsp::encoding;
use crate::lsp::session::Session;
use crate::lsp::sync::Carried;

/// Longest text of a place that is kept (bytes).
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Largest file that is read because nobody has opened it (bytes).
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Diagnostics that a task takes along.
const DIAGNOSTICS_MAX: usize = 50;
/// Longest message of a diagnostic that is kept (characters).
const MESSAGE_CHARS_MAX: usize = 500;

/// `context` of a run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::lsp::command) struct ContextFields {
    text_document: Option<DocumentFields>,
    range: Option<Range>,
    diagnostics: Vec<DiagnosticFields>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentFields {
    uri: Url,
    #[serde(default)]
    version: Option<i32>,
}

/// A diagnostic as any server of any language made it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DiagnosticFields {
    message: Message,
    range: Option<Range>,
    severity: Option<u8>,
    code: Option<Value>,
    source: Option<String>,
}

/// Plain text, or marked up.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Message {
    Plain(String),
    Markup { value: String },
}

impl Default for Message {
    fn default() -> Self {
        Self::Plain(String::new())
    }
}

impl Message {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Markup { value: text } => text,
        }
    }
}

/// A place in the text of now.
#[derive(Debug, Default)]
pub(in crate::lsp::command) struct Place {
    pub(in crate::lsp::command) uri: Option<Url>,
    /// Lines from 0, the end exclusive, and the text that was meant.
    lines: Option<Lines>,
    diagnostics: Vec<DiagnosticFields>,
}

#[derive(Debug)]
struct Lines {
    start: u32,
    end: u32,
    /// The whole lines.
    text: String,
    /// What was selected of them; blank where only a place was named.
    selected: String,
}

/// Finds the place. `-32801` when the text that was meant is not there any more.
pub(in crate::lsp::command) async fn read(session: &Session, context: &ContextFields) -> Result<Place> {
    let diagnostics: Vec<DiagnosticFields> = context
        .diagnostics
        .iter()
        .take(DIAGNOSTICS_MAX)
        .cloned()
        .collect();
    let Some(named) = &context.text_document else {
        return Ok(Place {
            diagnostics,
            ..Place::default()
        });
    };
    let range = context
        .range
        .or_else(|| diagnostics.first().and_then(|diagnostic| diagnostic.range));
    let lines = match range {
        Some(range) => lines(session, named, range).await?,
        None => None,
    };
    Ok(Place {
        uri: Some(named.uri.clone()),
        lines,
        diagnostics,
    })
}

async fn lines(session: &Session, named: &DocumentFields, range: Range) -> Result<Option<Lines>> {
    if let Some(document) = session.document(&named.uri) {
        let bytes = match named.version {
            None => document.bytes_of(range),
            Some(version) => match session.history().carry(&document, version, range) {
                Carried::To(bytes) => bytes,
                Carried::Lost => return Err(modified(&named.uri)),
            },
        };
        return Ok(Some(Lines::at(document.rope(), bytes)));
    }
    if named.version.is_some() {
        return Err(modified(&named.uri));
    }
    let Ok(path) = named.uri.to_file_path() else {
        return Ok(None);
    };
    let is_readable = tokio::fs::metadata(&path)
        .await
        .is_ok_and(|file| file.is_file() && file.len() <= FILE_BYTES_MAX);
    if !is_readable {
        return Ok(None);
    }
    let bytes = tokio::fs::read(&path)
        .await
        .map_err(|error| Error::io(path.display(), &error))?;
    let rope = Rope::from_str(&String::from_utf8_lossy(&bytes));
    let bytes = encoding::bytes_of(&rope, range, session.encoding());
    Ok(Some(Lines::at(&rope, bytes)))
}

fn modified(uri: &Url) -> Error {
    Error::new(
        Kind::Conflict,
        "contentModified",
        format!("the text in {uri} that was meant is not there any more"),
    )
    .hint("ask again for the text of now")
}

impl Lines {
    fn at(rope: &Rope, bytes: std::ops::Range<usize>) -> Self {
        let number = |line: usize| u32::try_from(line).unwrap_or(u32::MAX);
        let first = rope.byte_to_line(bytes.start);
        let mut last = rope.byte_to_line(bytes.end);
        // A selection that ends before the first character of a line does not mean that line.
        if last > first && rope.line_to_byte(last) == bytes.end {
            last -= 1;
        }
        let mut text: String = (first..=last)
            .filter_map(|line| rope.get_line(line))
            .map(|line| line.to_string())
            .collect();
        cut(&mut text);
        let mut selected = rope
            .get_byte_slice(bytes)
            .map(|slice| slice.to_string())
            .unwrap_or_default();
        cut(&mut selected);
        Self {
            start: number(first),
            end: number(last + 1),
            text,
            selected,
        }
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
}

impl Place {
    /// What the place asks for: a diagnostic, a comment, or the words that were selected.
    pub(in crate::lsp::command) fn title(&self) -> Option<String> {
        let first = self.diagnostics.iter().find_map(|diagnostic| {
            let line = diagnostic.message.text().lines().next()?.trim();
            (!line.is_empty()).then(|| format!("Fix: {line}"))
        });
        let lines = self.lines.as_ref();
        first
            .or_else(|| lines?.text.lines().find_map(words::asked))
            .or_else(|| lines?.selected.lines().find_map(words::words))
    }

    /// Where the task begins, if that is in the repository.
    pub(in crate::lsp::command) fn origin(
        &self,
        session: &Session,
        repository: &Repository,
    ) -> Option<Origin> {
        let lines = self.lines.as_ref()?;
        let path = session.relative_path(repository, &self.uri.as_ref()?.to_file_path().ok()?)?;
        Some(Origin {
            path,
            start_line: lines.start,
            end_line: lines.end,
            text: lines.text.clone(),
        })
    }

    /// `src/sum.rs:12: error (rustc E0308): mismatched types`.
    pub(in crate::lsp::command) fn diagnostic_lines(
        &self,
        session: &Session,
        repository: &Repository,
    ) -> Vec<String> {
        let path = self
            .uri
            .as_ref()
            .and_then(|uri| session.relative_path(repository, &uri.to_file_path().ok()?));
        self.diagnostics
            .iter()
            .map(|diagnostic| diagnostic.line(path.as_deref()))
            .collect()
    }
}

impl DiagnosticFields {
    fn line(&self, path: Option<&str>) -> String {
        let line = self
            .range
            .map(|range| format!(":{}", range.start.line.saturating_add(1)))
            .unwrap_or_default();
        let place = path.map(|path| format!("{path}{line}: ")).unwrap_or_default();
        let severity = match self.severity {
            Some(2) => "warning",
            Some(3) => "information",
            Some(4) => "hint",
            _ => "error",
        };
        let code = match &self.code {
            Some(Value::String(code)) => code.clone(),
            Some(Value::Number(code)) => code.to_string(),
            _ => String::new(),
        };
        let by = format!("{} {code}", self.source.as_deref().unwrap_or_default());
        let by = if by.trim().is_empty() {
            String::new()
        } else {
            format!(" ({})", by.trim())
        };
        let message: String = self
            .message
            .text()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        format!("{place}{severity}{by}: {message}")
    }
}
