//! Exit codes: the one place that knows them.

use clode_core::pipeline::{GateKind, Machine, Status};
use clode_core::{Error, Kind};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// It failed.
    Failed,
    /// Wrong usage or configuration.
    Usage,
    /// Waiting for approval, or paused.
    Waiting,
    /// Stopped by a budget; wins over waiting.
    Budget,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// As the shell sees it.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Waiting => 3,
            Self::Budget => 4,
            Self::Interrupted => 130,
        }
    }

    /// How a run stands: ended, or left where it waits.
    pub(crate) fn of(machine: &Machine) -> Self {
        let budget = |gate: &clode_core::pipeline::Gate| gate.kind == GateKind::Budget;
        let refused = || {
            machine.gates.iter().any(|gate| {
                budget(gate)
                    && gate
                        .resolution
                        .as_ref()
                        .is_some_and(|resolution| !resolution.answer.approved)
            })
        };
        match machine.status() {
            Status::Completed => Self::Done,
            Status::Failed
                if machine
                    .error
                    .as_ref()
                    .is_some_and(|error| error.kind == Kind::Budget) =>
            {
                Self::Budget
            }
            Status::Cancelled if refused() => Self::Budget,
            Status::Failed | Status::Cancelled => Self::Failed,
            _ if machine.open_gates().any(budget) => Self::Budget,
            _ => Self::Waiting,
        }
    }
}

impl From<Exit> for i32 {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind {
            Kind::Usage | Kind::Config => Self::Usage,
            Kind::Git if error.code == "notARepository" => Self::Usage,
            Kind::Budget => Self::Budget,
            Kind::Cancelled => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}
