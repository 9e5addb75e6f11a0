//! What a line of a file asks for: a TODO, an instruction to us, or just its words.

/// Words that begin a comment which asks for work.
const MARKERS: [&str; 5] = ["TODO", "FIXME", "HACK", "XXX", "BUG"];
/// The word that begins an instruction to us.
const INSTRUCTION: &str = "clode:";
/// What begins or ends a comment in some language.
const COMMENT_SIGNS: [&str; 16] = [
    "///", "//!", "//", "/**", "/*", "<!--", "\"\"\"", "'''", "--", "##", "#", ";;", ";", "%", "*", "!",
];
/// What ends a comment.
const COMMENT_ENDS: [&str; 4] = ["*/", "-->", "\"\"\"", "'''"];

/// The work that a line asks for, if it says that it does.
pub(super) fn asked(line: &str) -> Option<String> {
    let position = line.to_ascii_lowercase().find(INSTRUCTION);
    if let Some(rest) = position.and_then(|at| line.get(at + INSTRUCTION.len()..)) {
        return non_blank(without_end(rest));
    }
    MARKERS.iter().find_map(|marker| {
        let (before, after) = line.split_once(marker)?;
        let is_word = |text: char| text.is_alphanumeric() || text == '_';
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return None;
        }
        // TODO(name): text
        let after = match after.strip_prefix('(') {
            Some(named) => named.split_once(')').map_or(after, |(_, rest)| rest),
            None => after,
        };
        non_blank(without_end(after.trim_start_matches([':', '-', ' ', '\t'])))
    })
}

/// The words of a line without the signs that make it a comment.
pub(super) fn words(line: &str) -> Option<String> {
    let mut rest = line.trim();
    while let Some(shorter) = COMMENT_SIGNS.iter().find_map(|sign| rest.strip_prefix(sign)) {
        rest = shorter.trim_start();
    }
    non_blank(without_end(rest))
}

fn without_end(text: &str) -> &str {
    let text = text.trim();
    COMMENT_ENDS
        .iter()
        .find_map(|end| text.strip_suffix(end))
        .unwrap_or(text)
}

fn non_blank(text: &str) -> Option<String> {
    let text = text.trim();
    text.chars().any(char::is_alphanumeric).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_that_asks_for_work_says_which() {
        let cases = [
            ("    // TODO: sum the list", Some("sum the list")),
            ("# FIXME(ann) - check the bounds", Some("check the bounds")),
            ("/* TODO sort them */", Some("sort them")),
            ("<!-- clode: shorten this -->", Some("shorten this")),
            ("-- Clode: add an index", Some("add an index")),
            ("let TODOS = 1;", None),
            ("// TODO", None),
            ("let x = 1;", None),
        ];
        for (line, expected) in cases {
            assert_eq!(asked(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_comment_without_its_signs_is_its_words() {
        assert_eq!(
            words("  /// Adds two numbers.").as_deref(),
            Some("Adds two numbers.")
        );
        assert_eq!(words("fn add() {}").as_deref(), Some("fn add() {}"));
        assert_eq!(words("  }").as_deref(), None);
    }
}
