//! The one place where positions are converted: LSP line and character ↔ byte offset.
//!
//! Lines end at `\n`, `\r\n` and `\r` only. Everything clamps, as the protocol asks: a character beyond the
//! end of its line means the end of the line, a line beyond the last means the end of the document. A position inside
//! of a character means its start.

use std::ops::Range;

use lsp_types::{Position, PositionEncodingKind};
use ropey::{Rope, RopeSlice};

/// What a character offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PositionEncoding {
    Utf8,
    /// What a client means that names none.
    #[default]
    Utf16,
    Utf32,
}

impl PositionEncoding {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
            Self::Utf32 => "utf-32",
        }
    }

    /// The cheapest for us among those that a client offers.
    pub(crate) fn choose(offered: &[&str]) -> Self {
        [Self::Utf8, Self::Utf32]
            .into_iter()
            .find(|encoding| offered.contains(&encoding.name()))
            .unwrap_or_default()
    }
}

impl From<PositionEncoding> for PositionEncodingKind {
    fn from(encoding: PositionEncoding) -> Self {
        match encoding {
            PositionEncoding::Utf8 => Self::UTF8,
            PositionEncoding::Utf16 => Self::UTF16,
            PositionEncoding::Utf32 => Self::UTF32,
        }
    }
}

/// The byte offset that a position means in this text.
pub(crate) fn byte_at(text: &Rope, position: Position, encoding: PositionEncoding) -> usize {
    let Some((line, line_start)) = usize::try_from(position.line)
        .ok()
        .and_then(|line| line_at(text, line))
    else {
        return text.len_bytes();
    };
    let character = usize::try_from(position.character).unwrap_or(usize::MAX);
    let within = match encoding {
        PositionEncoding::Utf8 => {
            let byte = character.min(line.len_bytes());
            line.char_to_byte(line.byte_to_char(byte))
        }
        PositionEncoding::Utf16 => {
            let unit = character.min(line.len_utf16_cu());
            line.char_to_byte(line.utf16_cu_to_char(unit))
        }
        PositionEncoding::Utf32 => line.char_to_byte(character.min(line.len_chars())),
    };
    line_start + within
}

/// The position of a byte offset in this text.
pub(crate) fn position_at(text: &Rope, byte: usize, encoding: PositionEncoding) -> Position {
    let byte = byte.min(text.len_bytes());
    let line_number = text.byte_to_line(byte);
    let Some((line, line_start)) = line_at(text, line_number) else {
        return Position::default();
    };
    let within = byte.saturating_sub(line_start).min(line.len_bytes());
    let characters = line.byte_to_char(within);
    let character = match encoding {
        PositionEncoding::Utf8 => line.char_to_byte(characters),
        PositionEncoding::Utf16 => line.char_to_utf16_cu(characters),
        PositionEncoding::Utf32 => characters,
    };
    Position {
        line: saturated(line_number),
        character: saturated(character),
    }
}

/// The bytes that a range means; ends that are in the wrong order are put into the right one.
pub(crate) fn bytes_of(text: &Rope, range: lsp_types::Range, encoding: PositionEncoding) -> Range<usize> {
    let (start, end) = (
        byte_at(text, range.start, encoding),
        byte_at(text, range.end, encoding),
    );
    start.min(end)..start.max(end)
}

/// The range of some bytes.
pub(crate) fn range_of(text: &Rope, bytes: Range<usize>, encoding: PositionEncoding) -> lsp_types::Range {
    lsp_types::Range {
        start: position_at(text, bytes.start, encoding),
        end: position_at(text, bytes.end, encoding),
    }
}

/// A line without its end, and the byte that it starts at.
fn line_at(text: &Rope, line: usize) -> Option<(RopeSlice<'_>, usize)> {
    let whole = text.get_line(line)?;
    let mut characters = whole.len_chars();
    for end in ['\n', '\r'] {
        if characters > 0 && whole.get_char(characters - 1) == Some(end) {
            characters -= 1;
        }
    }
    Some((whole.get_slice(..characters)?, text.line_to_byte(line)))
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
