//! From a pipeline's name to its steps.

use std::collections::BTreeMap;

use crate::agent::{AGENTS, Agent};
use crate::config::{Config, PipelineDefinition, StepDefinition};
use crate::error::{Error, Result};
use crate::id::{AgentId, StepId};
use crate::pipeline::{StepRole, StepSpec};

/// Longest time of one attempt of a step, waiting for people not counted.
const STEP_TIME_LIMIT_MS: i64 = 60 * 60 * 1000;

/// The steps of a pipeline; `only` keeps these agents and the Task Master. A step that needs one that is left
/// out needs what that one needed.
pub(super) fn steps(config: &Config, name: &str, only: Option<&[AgentId]>) -> Result<Vec<StepSpec>> {
    if let Some(unknown) = only
        .into_iter()
        .flatten()
        .find(|id| crate::agent::find(id.as_str()).is_none())
    {
        return Err(unknown_agent(unknown.as_str()));
    }
    let Some(definition) = config.pipelines.get(name) else {
        let known: Vec<&str> = config.pipelines.keys().map(String::as_str).collect();
        return Err(Error::usage(
            "unknownPipelineKind",
            format!(
                "there is no pipeline called `{name}`; there are: {}",
                known.join(", ")
            ),
        ));
    };
    let mut steps: Vec<StepSpec> = Vec::new();
    let mut left_out: BTreeMap<StepId, Vec<StepId>> = BTreeMap::new();
    for declared in &definition.steps {
        let agent = crate::agent::find(declared.agent.as_str())
            .ok_or_else(|| unknown_agent(declared.agent.as_str()))?;
        let enabled = config
            .agents
            .get(&declared.agent)
            .is_none_or(|agent| agent.enabled);
        let wanted = only.is_none_or(|ids| agent.role() == StepRole::Brief || ids.contains(&declared.agent));
        let needs: Vec<StepId> = declared
            .needs
            .iter()
            .flat_map(|need| left_out.get(need).cloned().unwrap_or_else(|| vec![need.clone()]))
            .collect();
        if enabled && wanted {
            steps.push(as_declared(declared, step(declared.id.clone(), agent, needs)));
        } else {
            left_out.insert(declared.id.clone(), needs);
        }
    }
    if steps.is_empty() {
        return Err(Error::new(
            crate::Kind::Config,
            "emptyPipeline",
            format!("pipeline `{name}` has no step left to run"),
        )
        .hint("enable an agent of it, or choose another pipeline"));
    }
    Ok(steps)
}

/// The one step of a single agent's run.
pub(super) fn single(agent: &AgentId) -> Result<Vec<StepSpec>> {
    let agent = crate::agent::find(agent.as_str()).ok_or_else(|| unknown_agent(agent.as_str()))?;
    Ok(vec![step(StepId::new(agent.step_id()), agent, Vec::new())])
}

fn unknown_agent(id: &str) -> Error {
    let known: Vec<&str> = AGENTS.iter().map(|agent| agent.id()).collect();
    Error::usage(
        "unknownAgent",
        format!("there is no agent `{id}`; there are: {}", known.join(", ")),
    )
}

fn step(id: StepId, agent: &dyn Agent, needs: Vec<StepId>) -> StepSpec {
    StepSpec::new(id, agent.id(), agent.role(), needs, STEP_TIME_LIMIT_MS)
}

/// With what its declaration says beyond the agent. A condition in words of an older program holds always.
fn as_declared(declared: &StepDefinition, step: StepSpec) -> StepSpec {
    StepSpec {
        time_limit_ms: declared.timeout_ms.map_or(step.time_limit_ms, limit_ms),
        attempts_max: declared.max_attempts,
        when: declared.when.as_deref().and_then(|when| when.parse().ok()),
        ..step
    }
}

/// Whether a pipeline declares that results of this role wait for a yes.
pub(super) fn asks_after(definition: &PipelineDefinition, role: StepRole) -> bool {
    definition.steps.iter().any(|declared| {
        let agent = crate::agent::find(declared.agent.as_str());
        declared.gate.is_some() && agent.is_some_and(|agent| agent.role() == role)
    })
}

/// A time limit as the machine counts it.
pub(super) fn limit_ms(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
