//! Versions of the machine: a run is driven to its end by the rules under which it began.
//!
//! | version | what it brought |
//! | --- | --- |
//! | 1 | one Developer carries out the whole plan |
//! | 2 | a plan whose steps name what they need goes to several Developers; conditions, attempts and time limits of a declared pipeline; a failure that only a person can mend pauses the run |
//!
//! A state that a version wrote stays readable for all later ones: a new field has a default, and what
//! a version added is asked for by [`Rules`] before it happens.

use super::state::Machine;

/// Version under which new runs begin.
pub const MACHINE_VERSION: u32 = 2;
/// Oldest version whose runs are still driven.
const OLDEST_VERSION: u32 = 1;

/// Whether a run that began under this version can be driven. One of a newer program is shown and left alone.
pub const fn is_known_version(version: u32) -> bool {
    OLDEST_VERSION <= version && version <= MACHINE_VERSION
}

/// What a run's version lets the machine do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rules {
    /// As it was first.
    First,
    /// As it is now.
    Present,
}

impl Machine {
    pub(super) const fn rules(&self) -> Rules {
        if self.version <= 1 {
            Rules::First
        } else {
            Rules::Present
        }
    }
}
