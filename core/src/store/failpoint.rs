//! Lets a test end the process at the n-th journal write, right before or right after it is on the
//! disk. Only builds with debug assertions have this.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Where the process ends: `before-commit:7` or `after-commit:7`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failpoint {
    side: Side,
    number: u64,
}

/// On which side of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

static ARMED: OnceLock<Failpoint> = OnceLock::new();
/// Journal writes that are on the disk.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Journal writes of the transaction under way; one thread writes.
static UNDER_WAY: AtomicU64 = AtomicU64::new(0);

impl FromStr for Failpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once(':').and_then(|(place, number)| {
            let side = match place {
                "before-commit" => Side::Before,
                "after-commit" => Side::After,
                _ => return None,
            };
            let number = number.parse().ok()?;
            Some(Self { side, number })
        });
        parsed.ok_or_else(|| {
            Error::internal(format!(
                "the failpoint `{text}` is neither `before-commit:N` nor `after-commit:N`"
            ))
        })
    }
}

impl Failpoint {
    /// Holds for this process from now on.
    pub fn arm(self) {
        ARMED.get_or_init(|| self);
    }
}

/// The transaction has one more journal write in it.
pub(super) fn journal_written() {
    UNDER_WAY.fetch_add(1, Ordering::SeqCst);
}

/// The transaction is about to be, or has been, committed.
pub(super) fn reached(side: Side) {
    let (before, count) = match side {
        Side::Before => (WRITTEN.load(Ordering::SeqCst), UNDER_WAY.load(Ordering::SeqCst)),
        Side::After => {
            let count = UNDER_WAY.swap(0, Ordering::SeqCst);
            (WRITTEN.fetch_add(count, Ordering::SeqCst), count)
        }
    };
    let Some(armed) = ARMED.get() else { return };
    if armed.side == side && (before + 1..=before + count).contains(&armed.number) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_named_by_side_and_number() {
        for (text, is_one) in [
            ("before-commit:1", true),
            ("after-commit:20", true),
            ("commit:1", false),
            ("before-commit", false),
            ("after-commit:x", false),
        ] {
            assert_eq!(text.parse::<Failpoint>().is_ok(), is_one, "{text}");
        }
    }
}
