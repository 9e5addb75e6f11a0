//! Text on its way to a person: no control characters, no end without limit.

/// Longest message; editors show one line to one screen.
const MESSAGE_CHARS_MAX: usize = 4000;

/// The text without control characters other than line ends and tabs, cut at the limit.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .map(|character| if character == '\r' { ' ' } else { character })
        .filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
        .take(MESSAGE_CHARS_MAX + 1)
        .collect();
    if plain.chars().count() > MESSAGE_CHARS_MAX {
        plain.pop();
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_screen() {
        assert_eq!(
            plain("a\u{1b}[31mred\u{0}\u{7}\nb\tc\r\n\u{9b}d"),
            "a[31mred\nb\tc \nd"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let cut = plain(&"é".repeat(5000));
        assert_eq!(cut.chars().count(), MESSAGE_CHARS_MAX + 1);
        assert!(cut.ends_with('…'));
        assert_eq!(
            plain(&"é".repeat(MESSAGE_CHARS_MAX)).chars().count(),
            MESSAGE_CHARS_MAX
        );
    }
}
