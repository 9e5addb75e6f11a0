//! Tools that change: write, edit, delete.

use serde_json::Value;

use super::{Inner, text};
use crate::{Error, Result};

/// Largest file that is written.
const WRITTEN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The beginning of a mark that stands for a secret.
const REDACTION_MARK: &str = "\u{ab}redacted:";

impl Inner {
    pub(super) fn write_file(&self, input: &Value) -> Result<String> {
        let path = self.path(input)?;
        let content = text(input, "content")?;
        self.put(&path, content)?;
        Ok(format!("wrote {path} ({} lines)", content.lines().count()))
    }

    pub(super) fn edit_file(&self, input: &Value) -> Result<String> {
        let path = self.path(input)?;
        let (old, new) = (text(input, "old_text")?, text(input, "new_text")?);
        if old.is_empty() {
            return Err(Error::usage("invalidToolInput", "old_text is empty")
                .hint("to write a new file, use write_file"));
        }
        if old == new {
            return Err(Error::usage(
                "invalidToolInput",
                "old_text and new_text are the same",
            ));
        }
        let content = self.read_text(&path)?;
        let (old, new) = with_line_ends_of(&content, old, new);
        match content.matches(old.as_str()).count() {
            1 => {
                self.put(&path, &content.replacen(old.as_str(), &new, 1))?;
                let line = content
                    .split(old.as_str())
                    .next()
                    .unwrap_or_default()
                    .matches('\n')
                    .count()
                    + 1;
                Ok(format!("edited {path} at line {line}"))
            }
            0 => Err(
                Error::state("noMatch", format!("old_text occurs 0 times in {path}"))
                    .hint("read the file again and copy the text exactly, without the line numbers"),
            ),
            count => Err(
                Error::state("manyMatches", format!("old_text occurs {count} times in {path}"))
                    .hint("take more lines around it, so that it is unique"),
            ),
        }
    }

    pub(super) fn delete_file(&self, input: &Value) -> Result<String> {
        let path = self.path(input)?;
        self.root.remove(&path)?;
        Ok(format!("deleted {path}"))
    }

    fn put(&self, path: &str, content: &str) -> Result<()> {
        if content.len() > WRITTEN_BYTES_MAX {
            return Err(Error::state(
                "fileTooLarge",
                format!("{path} would be larger than {WRITTEN_BYTES_MAX} bytes"),
            ));
        }
        if content.contains(REDACTION_MARK) && !self.holds_a_mark(path) {
            return Err(Error::state(
                "redactionMark",
                "the new text holds a mark that stands for a secret",
            )
            .hint("leave the lines with such marks as they are, and edit only others with edit_file"));
        }
        self.root.write(path, content.as_bytes())
    }

    /// Whether the file itself holds such a mark, as the sources of a redactor do.
    fn holds_a_mark(&self, path: &str) -> bool {
        self.read_text(path)
            .is_ok_and(|content| content.contains(REDACTION_MARK))
    }
}

/// A model writes `\n`; a file with Windows line ends keeps them.
fn with_line_ends_of(content: &str, old: &str, new: &str) -> (String, String) {
    let is_windows = content.contains("\r\n") && !old.contains('\r');
    if !is_windows || content.contains(old) && !old.contains('\n') && !new.contains('\n') {
        return (old.to_owned(), new.to_owned());
    }
    (
        old.replace('\n', "\r\n"),
        new.replace("\r\n", "\n").replace('\n', "\r\n"),
    )
}
