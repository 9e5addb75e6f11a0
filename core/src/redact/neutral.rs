//! Text of others, made harmless for a person's eyes and terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with control characters, direction overrides and invisible tags written out as `\u{…}`. Tab,
/// line feed and CRLF stay.
pub fn neutralise(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let line_end = character == '\r' && characters.peek() == Some(&'\n');
        if is_deceptive(character) && !line_end {
            // Writing to a string does not fail.
            let _ = write!(clean, "\\u{{{:x}}}", u32::from(character));
        } else {
            clean.push(character);
        }
    }
    Cow::Owned(clean)
}

fn is_deceptive(character: char) -> bool {
    match character {
        '\t' | '\n' => false,
        // Direction marks, embeddings, overrides and isolates; separators that end lines unseen; tags,
        // letters that nobody sees and models read.
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_in_any_language_is_untouched() {
        for text in [
            "fn main() {\n\tprintln!(\"hi\");\r\n}",
            "日本語 עברית العربية 👩‍👩‍👧 é",
            "",
        ] {
            assert!(
                matches!(neutralise(text), Cow::Borrowed(same) if same == text) || neutralise(text) == text
            );
        }
    }

    #[test]
    fn what_deceives_is_written_out() {
        assert_eq!(neutralise("\u{1b}[2Jgone"), "\\u{1b}[2Jgone");
        assert_eq!(neutralise("a\u{9b}31m"), "a\\u{9b}31m");
        assert_eq!(neutralise("over\rwritten\r\n"), "over\\u{d}written\r\n");
        assert_eq!(neutralise("x\u{202e}y\u{2066}z"), "x\\u{202e}y\\u{2066}z");
        assert_eq!(neutralise("t\u{e0041}g\u{7f}\0"), "t\\u{e0041}g\\u{7f}\\u{0}");
    }
}
