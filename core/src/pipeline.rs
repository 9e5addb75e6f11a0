//! The pure machine of a run: an event goes in, effects come out, and the state in between is a value.
//!
//! Nothing here knows a clock, a thread or a disk. Whoever drives it ([`crate::engine`]) makes the
//! new state durable *before* it performs the effects, so that after a crash the state alone says
//! what was under way: [`Event::Recovered`] turns that into effects again.
//!
//! Invariants: an ended machine asks for nothing but publication; a step runs only when all that it
//! needs has finished; a rejected event changes nothing; every state accepts every event.

mod answer;
mod condition;
mod control;
mod event;
mod gate;
mod halt;
mod machine;
mod parts;
mod patch;
mod progress;
mod schedule;
mod spec;
mod state;
mod step;
mod time;
mod version;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use condition::{Condition, FACTS as CONDITION_FACTS};
pub use event::{Effect, Event, RunEvent, Transitioned};
pub use gate::{
    Answer, Answerer, BudgetAsk, Choice, Estimate, Gate, GateKind, GateRequest, PermissionAsk, Resolution,
};
pub use parts::{Division, MergeOutcome};
pub use patch::{HunkOutcome, HunkRecord, HunkState, PatchStage, PreparedPatch};
pub use spec::{GatePolicy, Part, RunSpec, StepRole, StepSpec};
pub use state::{Ending, Machine, Status};
pub use step::{
    Finding, KnowledgeEntry, StepFailure, StepFailureClass, StepOrder, StepOutput, StepRecord, StepStatus,
    TestRun, Verdict,
};
pub use version::{MACHINE_VERSION, is_known_version};
