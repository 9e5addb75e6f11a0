//! Lines that are replaced by others, as a replacement of text that occurs exactly once.

/// Lines `start..end` (from 0) become `lines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) lines: Vec<String>,
}

impl Change {
    /// The old and the new text, with as much around them as makes the old one unique.
    pub(super) fn replacement(&self, text: &str) -> Option<(String, String)> {
        let all: Vec<&str> = text.split('\n').collect();
        let is_crlf = text.contains("\r\n");
        let new: Vec<String> = self
            .lines
            .iter()
            .map(|line| {
                if is_crlf {
                    format!("{line}\r")
                } else {
                    line.clone()
                }
            })
            .collect();
        let (mut start, mut end) = (self.start, self.end);
        loop {
            let old = all.get(start..end)?.join("\n");
            let count = if old.is_empty() {
                usize::MAX
            } else {
                text.match_indices(&old).count()
            };
            if count == 1 {
                let before = all.get(start..self.start)?.iter().map(|line| (*line).to_owned());
                let after = all.get(self.end..end)?.iter().map(|line| (*line).to_owned());
                let new: Vec<String> = before.chain(new).chain(after).collect();
                return Some((old, new.join("\n")));
            }
            if start == 0 && end >= all.len() {
                return None;
            }
            start = start.saturating_sub(1);
            end = (end + 1).min(all.len());
        }
    }

    /// The whole text after the change.
    pub(super) fn apply(&self, text: &str) -> Option<String> {
        let (old, new) = self.replacement(text)?;
        Some(text.replacen(&old, &new, 1))
    }
}
