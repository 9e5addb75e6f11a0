//! The team. An agent is one file and one line in [`AGENTS`]; what it may use is [`crate::engine::StepContext`].
//!
//! An agent never touches the user's repository, never opens a connection of its own and never decides
//! about money: it asks the context, which makes every fact durable first.

mod answer;
mod architect;
mod assignment;
mod briefing;
pub(crate) mod claude;
mod detect;
mod developer;
mod diagnosis;
mod estimate;
mod kb_builder;
pub(crate) mod private;
mod prompt;
mod qa;
mod recall;
mod survey;
mod task_master;
mod test_command;
mod tool_loop;
mod toolbox;

use futures::future::BoxFuture;

use crate::engine::StepContext;
use crate::pipeline::{StepFailure, StepOutput, StepRole};

/// One member of the team.
pub trait Agent: Send + Sync + std::fmt::Debug {
    /// As in configuration and on the wire: `taskMaster`.
    fn id(&self) -> &'static str;
    /// As shown: `Task Master`.
    fn title(&self) -> &'static str;
    /// Name of its step in a run: `task-master`.
    fn step_id(&self) -> &'static str;
    /// What it contributes.
    fn role(&self) -> StepRole;
    /// Works until it is done, fails, or `context.cancel` fires.
    fn run<'a>(&'a self, context: &'a StepContext) -> BoxFuture<'a, Result<StepOutput, StepFailure>>;
}

/// Every agent that there is, in the order in which a pipeline shows them.
pub static AGENTS: &[&dyn Agent] = &[
    &task_master::TaskMaster,
    &architect::Architect,
    &developer::Developer,
    &qa::Qa,
    &kb_builder::KbBuilder,
];

/// An agent by its id.
pub fn find(id: &str) -> Option<&'static dyn Agent> {
    AGENTS.iter().copied().find(|agent| agent.id() == id)
}

#[cfg(test)]
mod tests;
