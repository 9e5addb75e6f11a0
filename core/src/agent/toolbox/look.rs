//! Tools that look: list, search, read.

use std::fmt::Write as _;

use grep_regex::RegexMatcherBuilder;
use grep_searcher::sinks::Lossy;
use grep_searcher::{BinaryDetection, SearcherBuilder};
use serde_json::Value;

use super::{ANSWER_BYTES_MAX, Inner, number, text};
use crate::agent::survey;
use crate::{Error, Result};

/// Most hits of one search.
const HITS_MAX: usize = 200;
/// Longest line that a search shows (characters).
const HIT_CHARS_MAX: usize = 240;
/// Lines that are read without a range.
const LINES_MAX: usize = 2_000;
/// Largest compiled pattern (bytes).
const PATTERN_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Inner {
    pub(super) fn list_files(&self, input: &Value) -> Result<String> {
        let folder = self.folder(input)?;
        let files = survey::list(&self.path, &folder, &self.exclude);
        if files.is_empty() {
            return Ok("(no files)".to_owned());
        }
        let mut answer = String::new();
        for (index, (path, _)) in files.iter().enumerate() {
            if answer.len() + path.len() > ANSWER_BYTES_MAX - 100 {
                let _ = writeln!(answer, "({} more: name a folder)", files.len() - index);
                break;
            }
            let _ = writeln!(answer, "{path}");
        }
        Ok(answer)
    }

    pub(super) fn search(&self, input: &Value) -> Result<String> {
        let pattern = text(input, "pattern")?;
        let matcher = RegexMatcherBuilder::new()
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .line_terminator(Some(b'\n'))
            .build(pattern)
            .map_err(|error| {
                Error::usage("invalidPattern", format!("the pattern cannot be read: {error}"))
            })?;
        let (mut answer, mut hits) = (String::new(), 0_usize);
        for (path, bytes) in self.searched(input)? {
            if hits >= HITS_MAX {
                break;
            }
            // A link, or a file that is gone meanwhile, has no hits.
            let Ok(file) = self.root.open_file(&path) else {
                continue;
            };
            if bytes > super::FILE_BYTES_MAX {
                continue;
            }
            let mut searcher = SearcherBuilder::new()
                .binary_detection(BinaryDetection::quit(0))
                .line_number(true)
                .build();
            let found = searcher.search_file(
                &matcher,
                &file,
                Lossy(|line, text| {
                    hits += 1;
                    let shown: String = text.trim_end().chars().take(HIT_CHARS_MAX).collect();
                    let _ = writeln!(answer, "{path}:{line}:{}", self.redactor.redact(&shown));
                    Ok(hits < HITS_MAX)
                }),
            );
            if let Err(error) = found {
                tracing::debug!(%error, "a file could not be searched");
            }
        }
        if hits == 0 {
            return Ok("(no match)".to_owned());
        }
        if hits >= HITS_MAX {
            let _ = writeln!(
                answer,
                "(more than {HITS_MAX} matches: make the pattern narrower, or name a path)"
            );
        }
        Ok(answer)
    }

    /// The files to search: one, those of a folder, or all.
    fn searched(&self, input: &Value) -> Result<Vec<(String, u64)>> {
        let folder = self.folder(input)?;
        if !folder.is_empty() && self.root.open_file(&folder).is_ok() {
            return Ok(vec![(folder, 0)]);
        }
        Ok(survey::list(&self.path, &folder, &self.exclude))
    }

    pub(super) fn read_file(&self, input: &Value) -> Result<String> {
        let path = self.path(input)?;
        let content = self.read_text(&path)?;
        let (start, end) = (number(input, "start_line")?, number(input, "end_line")?);
        let first = start.unwrap_or(1);
        let count = end
            .map_or(LINES_MAX, |end| (end + 1).saturating_sub(first))
            .min(LINES_MAX);
        let content = self.redactor.redact(&content);
        let total = content.lines().count();
        if total == 0 {
            return Ok("(the file is empty)".to_owned());
        }
        if first > total {
            return Err(Error::usage(
                "invalidToolInput",
                format!("{path} has only {total} lines"),
            ));
        }
        let (mut answer, mut shown) = (String::new(), 0);
        for (index, line) in content.lines().enumerate().skip(first - 1).take(count) {
            if answer.len() + line.len() > ANSWER_BYTES_MAX - 200 {
                break;
            }
            let _ = writeln!(answer, "{:>5}\t{line}", index + 1);
            shown += 1;
        }
        let last = first - 1 + shown;
        let asked_for = end.map_or(total, |end| end.min(total));
        if last < asked_for {
            let _ = writeln!(
                answer,
                "(lines {} to {total} are not shown: read on with start_line)",
                last + 1
            );
        }
        Ok(answer)
    }
}
