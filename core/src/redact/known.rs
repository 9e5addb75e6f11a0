//! The exact layer: values that this process holds, in every form. No format can fool it.

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Found, encoding, mark};

/// Shorter values are not learned.
pub const SECRET_BYTES_MIN: usize = 8;
/// Of a value with several lines, a line must be so long to be looked for by itself.
const LINE_BYTES_MIN: usize = 16;
/// Values that are kept; a process that holds more has a defect elsewhere.
const VALUES_MAX: usize = 1_000;
const KIND: &str = "known";

#[derive(Default)]
pub(super) struct Known {
    /// Searched for, and the mark of the value that it is a form of.
    forms: Vec<(String, String)>,
    values: Vec<String>,
    finder: Option<AhoCorasick>,
}

impl Known {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn learn(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() < SECRET_BYTES_MIN || self.values.iter().any(|value| value == secret) {
            return;
        }
        if self.values.len() >= VALUES_MAX {
            tracing::warn!("too many secrets to look for; another one is only found by its shape");
            return;
        }
        self.values.push(secret.to_owned());
        let mark = mark(secret);
        // Text is searched line by line.
        let lines = secret
            .lines()
            .filter(|line| secret.len() == line.len() || line.len() >= LINE_BYTES_MIN);
        for part in std::iter::once(secret).chain(lines) {
            for form in encoding::forms(part) {
                if !self.forms.iter().any(|(known, _)| *known == form) {
                    self.forms.push((form, mark.clone()));
                }
            }
        }
        let patterns = self.forms.iter().map(|(form, _)| form);
        match AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(patterns)
        {
            Ok(finder) => self.finder = Some(finder),
            Err(error) => tracing::error!(%error, "secrets cannot be looked for"),
        }
    }

    /// All of them, also where they overlap.
    pub(super) fn search(&self, unit: &str, found: &mut Vec<Found>) {
        let Some(finder) = &self.finder else { return };
        for hit in finder.find_overlapping_iter(unit) {
            let Some((_, mark)) = self.forms.get(hit.pattern().as_usize()) else {
                continue;
            };
            found.push(Found {
                range: hit.range(),
                kind: KIND,
                mark: mark.clone(),
            });
        }
    }
}
