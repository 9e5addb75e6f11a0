//! The pure machine of a run: an event goes in, effects come out, and the state in between is a value.
//!
//! Nothing here knows a clock, a thread or a disk. Whoever drives it ([`crate::engine`]) makes the
//! new state durable *before* it performs the effects, so that after a crash the state alone says
//! what was under way: [`Event::Recovered`] turns that into effects again.
//!
//! Invariants: an ended machine asks for nothing but publication; a step runs only when all that it
//! needs has finished; a rejected event changes nothing; every state accepts every event.

mod answer;
mod control;
mod event;
mod gate;
mod halt;
mod machine;
mod patch;
mod progress;
mod schedule;
mod spec;
mod state;
mod step;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use event::{Effect, Event, RunEvent, Transitioned};
pub use gate::{
    Answer, Answerer, BudgetAsk, Choice, Estimate, Gate, GateKind, GateRequest, PermissionAsk, Resolution,
};
pub use patch::{HunkOutcome, HunkRecord, HunkState, PatchStage, PreparedPatch};
pub use spec::{GatePolicy, RunSpec, StepRole, StepSpec};
pub use state::{Ending, Machine, Status};
pub use step::{
    Finding, KnowledgeEntry, StepFailure, StepFailureClass, StepOrder, StepOutput, StepRecord, StepStatus,
    TestRun, Verdict,
};

/// Version of the machine's behaviour and of the wire form of its state. A stored run of another
/// version is finished by that version, or shown and left alone.
pub const MACHINE_VERSION: u32 = 1;
