//! Comment lines that ask for something: `TODO`, `FIXME`, and `clode: <text>`. Told by their looks, in any language.

/// What begins a comment somewhere.
const MARKERS: [&str; 13] = [
    "//", "#", "--", ";", "/*", "*", "<!--", "%", "{-", "(*", "\"\"\"", "'''", "'",
];
/// What ends one on the same line.
const ENDS: [&str; 6] = ["*/", "-->", "-}", "*)", "\"\"\"", "'''"];
/// Longer lines are no comments for people.
const LINE_BYTES_MAX: usize = 2_000;

/// The words after `TODO` or `FIXME` on a comment line; may be empty.
pub(crate) fn todo(line: &str) -> Option<&str> {
    let comment = comment(line)?;
    let (at, word) = ["TODO", "FIXME"]
        .into_iter()
        .filter_map(|word| Some((whole_word(comment, word)?, word)))
        .min()?;
    let rest = comment.get(at + word.len()..)?;
    let rest = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, after)) => after,
        None => rest,
    };
    Some(rest.trim_start_matches(':').trim())
}

/// The text of a comment line `clode: <text>`.
pub(crate) fn instruction(line: &str) -> Option<&str> {
    let text = comment(line)?.strip_prefix("clode:")?.trim();
    (!text.is_empty()).then_some(text)
}

/// Whether the line is nothing but an instruction to us: it is not part of the person's text.
pub(crate) fn is_instruction_line(line: &str) -> bool {
    let start = line.trim_start();
    instruction(line).is_some() && MARKERS.into_iter().any(|marker| start.starts_with(marker))
}

/// The text without the lines that are instructions to us; nothing where there are none.
pub(crate) fn without_instructions(text: &str) -> Option<String> {
    let kept: String = text
        .split_inclusive('\n')
        .filter(|line| !is_instruction_line(line))
        .collect();
    (kept.len() != text.len()).then_some(kept)
}

/// The text of the comment that the line is or ends with.
fn comment(line: &str) -> Option<&str> {
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    let line = line.trim();
    let starts = MARKERS
        .into_iter()
        .filter(|marker| line.starts_with(marker))
        .map(|marker| (0, marker));
    let later = ["//", "#", "--", "/*", "<!--"].into_iter().filter_map(|marker| {
        let at = line.find(&format!(" {marker}"))?;
        Some((at + 1, marker))
    });
    let (at, marker) = starts
        .max_by_key(|(_, marker)| marker.len())
        .or_else(|| later.min())?;
    let mut text = line
        .get(at + marker.len()..)?
        .trim_start_matches(['/', '!', '*', '#', '-', ';'])
        .trim();
    for end in ENDS {
        text = text.strip_suffix(end).unwrap_or(text).trim_end();
    }
    Some(text)
}

fn whole_word(text: &str, word: &str) -> Option<usize> {
    let at = text.find(word)?;
    let free = |character: Option<char>| {
        character.is_none_or(|character| !character.is_alphanumeric() && character != '_')
    };
    let (before, after) = (text.get(..at)?, text.get(at + word.len()..)?);
    (free(before.chars().next_back()) && free(after.chars().next())).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_todo_is_found_in_the_comments_of_many_languages() {
        let lines = [
            "    // TODO: retry with backoff",
            "# TODO retry with backoff",
            "-- FIXME(anna): retry with backoff",
            "/* TODO: retry with backoff */",
            " * TODO: retry with backoff",
            "<!-- TODO: retry with backoff -->",
            "let x = 1; // TODO: retry with backoff",
            "/// TODO: retry with backoff",
        ];
        for line in lines {
            assert_eq!(todo(line), Some("retry with backoff"), "{line}");
        }
        assert_eq!(todo("// TODO"), Some(""));
    }

    #[test]
    fn code_that_only_mentions_it_is_no_todo() {
        for line in [
            "let TODO = 1;",
            "// TODOS are many",
            "print(\"TODO: x\")",
            "my_TODO()",
            "// a_TODO",
        ] {
            assert_eq!(todo(line), None, "{line}");
        }
    }

    #[test]
    fn an_instruction_is_a_comment_that_begins_with_our_name() {
        assert_eq!(instruction("  // clode: make it faster"), Some("make it faster"));
        assert_eq!(instruction("# clode: use a map"), Some("use a map"));
        assert_eq!(instruction("<!-- clode: shorten -->"), Some("shorten"));
        for line in ["// clode:", "clode: no comment", "// see clode: x"] {
            assert_eq!(instruction(line), None, "{line}");
        }
    }
}
