//! What comments and place holders look like.

use super::language::Language;

/// What stands before a TODO in a comment, its text, and what closes the comment.
pub(super) fn todo_in<'a>(language: &Language, line: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let is_star = |mark: &str| mark == "*";
    let comment = language.comments.iter().filter_map(|mark| {
        if is_star(mark) {
            line.trim_start()
                .starts_with('*')
                .then(|| line.len() - line.trim_start().len())
        } else {
            line.find(mark)
        }
    });
    let comment = comment.min()?;
    let word = ["TODO", "FIXME"]
        .into_iter()
        .filter_map(|word| Some((line.get(comment..)?.find(word)? + comment, word)))
        .min()?;
    let (at, word) = word;
    let before = line.get(..at)?;
    let mut rest = line.get(at + word.len()..)?;
    if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        || before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    {
        return None;
    }
    if let Some((_, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
        rest = after;
    }
    let rest = rest.trim_start_matches([':', ' ', '-', '\t']).trim_end();
    let closing = ["*/", "-->"].into_iter().find(|closing| rest.ends_with(closing));
    match closing {
        Some(closing) => {
            let text = rest.strip_suffix(closing).unwrap_or(rest).trim_end();
            Some((before, text, if closing == "*/" { " */" } else { " -->" }))
        }
        None => Some((before, rest, "")),
    }
}

/// Whether this code only holds a place: plainly, or as a default value beside a TODO.
pub(super) fn is_placeholder(code: &str, has_todo: bool) -> bool {
    const PLAIN: &[&str] = &["pass", "...", "todo!()", "unimplemented!()"];
    const PLAIN_STARTS: &[&str] = &[
        "todo!(",
        "unimplemented!(",
        "raise NotImplementedError",
        "throw new UnsupportedOperationException",
        "throw new NotImplemented",
    ];
    const DEFAULTS: &[&str] = &[
        "0",
        "0.0",
        "false",
        "true",
        "nil",
        "None",
        "String::new()",
        "Default::default()",
        "Vec::new()",
        "\"\"",
        "''",
        "-1",
        "null",
        "undefined",
        "\"\".to_string()",
        "\"\".to_owned()",
        "[]",
    ];
    let code = code.trim().trim_end_matches(';').trim();
    let lowered = code.to_ascii_lowercase();
    let says_so = lowered.contains("not implemented") || lowered.contains("todo");
    let raises = ["throw new ", "panic(", "panic!(", "error(", "raise "]
        .iter()
        .any(|start| code.starts_with(start));
    let value = code.strip_prefix("return").map_or(code, str::trim);
    PLAIN.contains(&code)
        || PLAIN_STARTS.iter().any(|start| code.starts_with(start))
        || (raises && says_so)
        || (has_todo && (value.is_empty() || DEFAULTS.contains(&value)))
        || code.starts_with("let _ = ")
        || code.starts_with("(void)")
        || code.starts_with("_ = ")
}
