//! From a pipeline's name to its steps.

use crate::agent::{AGENTS, Agent};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::id::{AgentId, StepId};
use crate::pipeline::{StepRole, StepSpec};

/// Longest time of one attempt of a step, waiting for people not counted.
const STEP_TIME_LIMIT_MS: i64 = 60 * 60 * 1000;
/// Pipelines that need no configuration.
pub(super) const BUILT_IN: [&str; 3] = ["default", "plan", "tests"];

/// The steps of a pipeline; `only` keeps these agents and the Task Master.
pub(super) fn steps(config: &Config, name: &str, only: Option<&[AgentId]>) -> Result<Vec<StepSpec>> {
    if let Some(unknown) = only.into_iter().flatten().find(|id| crate::agent::find(id.as_str()).is_none()) {
        return Err(unknown_agent(unknown.as_str()));
    }
    let wanted = |agent: &dyn Agent| only.is_none_or(|ids| agent.role() == StepRole::Brief || ids.iter().any(|id| id.as_str() == agent.id()));
    match name {
        "default" | "tests" => Ok(in_a_row(AGENTS.iter().copied().filter(|agent| wanted(*agent)))),
        "plan" => Ok(in_a_row(AGENTS.iter().copied().filter(|agent| matches!(agent.role(), StepRole::Brief | StepRole::Plan)))),
        other => declared(config, other, &wanted),
    }
}

/// The one step of a single agent's run.
pub(super) fn single(agent: &AgentId) -> Result<Vec<StepSpec>> {
    let agent = crate::agent::find(agent.as_str()).ok_or_else(|| unknown_agent(agent.as_str()))?;
    Ok(in_a_row(std::iter::once(agent)))
}

fn unknown_agent(id: &str) -> Error {
    let known: Vec<&str> = AGENTS.iter().map(|agent| agent.id()).collect();
    Error::usage("unknownAgent", format!("there is no agent `{id}`; there are: {}", known.join(", ")))
}

fn in_a_row<'a>(agents: impl Iterator<Item = &'a dyn Agent>) -> Vec<StepSpec> {
    let mut steps: Vec<StepSpec> = Vec::new();
    for agent in agents {
        let needs = steps.last().map(|step| step.id.clone()).into_iter().collect();
        steps.push(step(StepId::new(agent.step_id()), agent, needs));
    }
    steps
}

fn step(id: StepId, agent: &dyn Agent, needs: Vec<StepId>) -> StepSpec {
    StepSpec { id, agent: AgentId::new(agent.id()), role: agent.role(), needs, time_limit_ms: STEP_TIME_LIMIT_MS }
}

fn declared(config: &Config, name: &str, wanted: &dyn Fn(&dyn Agent) -> bool) -> Result<Vec<StepSpec>> {
    let Some(definition) = config.pipelines.get(name) else {
        let known: Vec<&str> = BUILT_IN.into_iter().chain(config.pipelines.keys().map(String::as_str)).collect();
        return Err(Error::usage("unknownPipelineKind", format!("there is no pipeline called `{name}`; there are: {}", known.join(", "))));
    };
    let mut steps: Vec<StepSpec> = Vec::new();
    for declared in &definition.steps {
        let agent = crate::agent::find(declared.agent.as_str()).ok_or_else(|| unknown_agent(declared.agent.as_str()))?;
        if !wanted(agent) {
            continue;
        }
        let before = || steps.last().map(|step| step.id.clone()).into_iter().collect();
        let needs = declared.needs.as_ref().map_or_else(before, |needs| needs.iter().map(|id| StepId::new(id.as_str())).collect());
        let id = StepId::new(declared.id.as_deref().unwrap_or_else(|| agent.step_id()));
        steps.push(step(id, agent, needs));
    }
    if steps.is_empty() {
        return Err(Error::new(crate::Kind::Config, "emptyPipeline", format!("pipeline `{name}` has no step left to run")));
    }
    Ok(steps)
}
