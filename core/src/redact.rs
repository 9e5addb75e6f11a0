//! Keeps secrets out of what leaves the process, and control characters out of what a person reads.
//!
//! Three layers, applied at the sinks (log, export, messages to the editor), never at call sites:
//! values that this process [learned](Redactor::learn), in every form that they may take; keys that
//! their [shape](rules) gives away; and values that stand where secrets [stand](context). Each becomes
//! `«redacted:kind:6hex»`; equal secrets get equal marks. A redactor goes for recall but leaves ids
//! alone: request ids, git object ids, UUIDs, integrity hashes.
//!
//! Text is worked on in [units] (a line, or a whole private key), so that a stream gives the same
//! result however it is cut into writes.

mod context;
mod encoding;
mod known;
mod neutral;
mod rules;
mod units;
mod writer;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

pub use known::SECRET_BYTES_MIN;
pub use neutral::neutralise;
pub use writer::RedactingWriter;

use known::Known;

/// Hexadecimal digits of a mark.
const MARK_DIGITS: usize = 6;
/// Shorter secrets could be guessed from a hash, so theirs is keyed anew in each process.
const GUESSABLE_BYTES_MAX: usize = 20;

/// Finds and replaces secrets. A clone shares what was learned.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

/// Something to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    range: Range<usize>,
    kind: &'static str,
    /// Of the secret itself, whatever form it was found in.
    mark: String,
}

impl Redactor {
    /// Knows the rules and no value yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this value is replaced in all its forms. Values shorter than [`SECRET_BYTES_MIN`]
    /// are not learned: they would blank out ordinary words.
    pub fn learn(&self, secret: &str) {
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .learn(secret);
    }

    /// The text without secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut clean: Option<String> = None;
        let mut at = 0;
        while let Some(length) = units::first(
            text.as_bytes().get(at..).unwrap_or_default(),
            units::Stream::Ended,
        ) {
            // Units end at line ends or character boundaries.
            let unit = text.get(at..at + length).unwrap_or_default();
            let found = search_all(&known, unit);
            if !found.is_empty() || clean.is_some() {
                let clean = clean.get_or_insert_with(|| text.get(..at).unwrap_or_default().to_owned());
                replace(unit, &found, clean);
            }
            at += length;
        }
        clean.map_or(Cow::Borrowed(text), Cow::Owned)
    }
}

/// Says how many values it knows, never which.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Redactor({} known values)", known.len())
    }
}

/// Everything in one unit, in order and without overlaps. What lies between two secrets is searched
/// again by itself: there a word may begin that was hidden behind the first.
fn search_all(known: &Known, unit: &str) -> Vec<Found> {
    let mut all = Vec::new();
    let mut parts = Vec::new();
    let mut next_part = Some(0..unit.len());
    while let Some(part) = next_part.take().or_else(|| parts.pop()) {
        let mut at = part.start;
        let found = search(known, unit.get(part.clone()).unwrap_or_default());
        if found.is_empty() {
            continue;
        }
        for next in found {
            let range = part.start + next.range.start..part.start + next.range.end;
            parts.push(at..range.start);
            at = range.end;
            all.push(Found { range, ..next });
        }
        parts.push(at..part.end);
    }
    all.sort_by_key(|found| found.range.start);
    all
}

/// What all layers find at once.
fn search(known: &Known, unit: &str) -> Vec<Found> {
    let mut found = Vec::new();
    known.search(unit, &mut found);
    rules::search(unit, &mut found);
    context::search(unit, &mut found);
    // The first that begins wins; a longer one that begins there, or a more exact layer, goes first.
    found.sort_by(|a, b| {
        a.range
            .start
            .cmp(&b.range.start)
            .then(b.range.end.cmp(&a.range.end))
    });
    let mut merged: Vec<Found> = Vec::new();
    for next in found {
        match merged.last_mut() {
            Some(last) if next.range.start < last.range.end => {
                last.range.end = last.range.end.max(next.range.end);
            }
            _ => merged.push(next),
        }
    }
    merged
}

fn replace(unit: &str, found: &[Found], clean: &mut String) {
    let mut at = 0;
    for Found { range, kind, mark } in found {
        clean.push_str(unit.get(at..range.start).unwrap_or_default());
        clean.extend(["«redacted:", kind, ":", mark, "»"]);
        at = range.end;
    }
    clean.push_str(unit.get(at..).unwrap_or_default());
}

/// What equal secrets have in common.
fn mark(secret: &str) -> String {
    let hash = if secret.len() <= GUESSABLE_BYTES_MAX {
        blake3::keyed_hash(process_key(), secret.as_bytes())
    } else {
        blake3::hash(secret.as_bytes())
    };
    hash.to_hex().chars().take(MARK_DIGITS).collect()
}

/// Random, made once. Without randomness the marks are only easier to guess from.
fn process_key() -> &'static [u8; 32] {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut key = [0; 32];
        let _ = getrandom::fill(&mut key);
        key
    })
}

#[cfg(test)]
mod tests;
