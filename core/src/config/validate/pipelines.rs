//! Agents and pipelines: names that must exist, and steps that can be done in some order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, is_name};
use crate::config::read::offer;
use crate::config::roster;
use crate::config::settings::{PipelineSettings, StepSettings};
use crate::config::suggest::nearest;
use crate::config::tree::Path;
use crate::pipeline::{CONDITION_FACTS, Condition};

/// Most steps of one pipeline.
const STEPS_MAX: usize = 50;
/// Most model calls of one step.
const TURNS_MAX: u32 = 1000;
/// Most attempts of one step.
const ATTEMPTS_MAX: u32 = 10;
/// Shortest and longest time limit: a second, a week.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1_000..=7 * 24 * 60 * 60 * 1_000;
/// The agents whose results can wait for a yes.
const GATED: [&str; 2] = ["architect", "developer"];

impl Checker<'_> {
    pub(super) fn agents(&mut self) {
        for (name, agent) in &self.settings.agents {
            let path = Path::of(&["agents", name]);
            if !is_name(name) {
                self.wrong(
                    path.clone(),
                    "invalidName",
                    format!("`{name}` is no id"),
                    "letters, digits, `-`, `_` and `.`",
                );
            } else if !roster::is_built_in(name)
                && agent
                    .prompt
                    .as_deref()
                    .is_none_or(|prompt| prompt.trim().is_empty())
            {
                let near =
                    nearest(name, roster::BUILT_IN).map_or(String::new(), |near| format!("`{near}`? or "));
                self.wrong(
                    path.clone(),
                    "unknownAgent",
                    format!("`{name}` is not built in and has no prompt"),
                    format!("{near}a `prompt` for an agent of your own"),
                );
            }
            if agent
                .max_turns
                .is_some_and(|turns| !(1..=TURNS_MAX).contains(&turns))
            {
                self.wrong(
                    path.key("maxTurns"),
                    "outOfRange",
                    "this is out of range",
                    format!("a whole number from 1 to {TURNS_MAX}"),
                );
            }
        }
    }

    pub(super) fn pipelines(&mut self) {
        for (name, pipeline) in &self.settings.pipelines.named {
            let path = Path::of(&["pipelines", name]);
            if !is_name(name) {
                self.wrong(
                    path.clone(),
                    "invalidName",
                    format!("`{name}` is no id"),
                    "letters, digits, `-`, `_` and `.`",
                );
            }
            if pipeline.steps.is_empty() || pipeline.steps.len() > STEPS_MAX {
                self.wrong(
                    path.key("steps"),
                    "outOfRange",
                    format!("the pipeline has {} steps", pipeline.steps.len()),
                    format!("from 1 to {STEPS_MAX} steps"),
                );
            }
            self.timeout(pipeline.timeout_ms, path.key("timeoutMs"));
            self.steps(pipeline, &path.key("steps"));
        }
    }

    fn timeout(&mut self, timeout_ms: Option<u64>, path: Path) {
        if timeout_ms.is_some_and(|limit| !TIMEOUT_MS.contains(&limit)) {
            let expected = format!(
                "milliseconds, from {} to {}",
                TIMEOUT_MS.start(),
                TIMEOUT_MS.end()
            );
            self.wrong(path, "outOfRange", "this is out of range", expected);
        }
    }

    /// What a step says about itself beside its place among the others.
    fn manner(&mut self, step: &StepSettings, path: &Path) {
        if let Some(Err(message)) = step.when.as_deref().map(str::parse::<Condition>) {
            self.wrong(path.key("when"), "unknownCondition", message, CONDITION_FACTS);
        }
        if step.gate.is_some() && !GATED.contains(&step.agent.as_str()) {
            let message = format!("nothing of `{}` waits for a yes", step.agent);
            self.wrong(
                path.key("gate"),
                "noGate",
                message,
                "a step of `architect` (the plan) or of `developer` (the patch)",
            );
        }
        if step
            .max_attempts
            .is_some_and(|attempts| !(1..=ATTEMPTS_MAX).contains(&attempts))
        {
            self.wrong(
                path.key("maxAttempts"),
                "outOfRange",
                "this is out of range",
                format!("a whole number from 1 to {ATTEMPTS_MAX}"),
            );
        }
        self.timeout(step.timeout_ms, path.key("timeoutMs"));
    }

    fn steps(&mut self, pipeline: &PipelineSettings, path: &Path) {
        let ids: Vec<&str> = pipeline
            .steps
            .iter()
            .map(|step| step.id.as_deref().unwrap_or(&step.agent))
            .collect();
        let mut seen = BTreeSet::new();
        for (index, (step, id)) in pipeline.steps.iter().zip(&ids).enumerate() {
            let path = path.index(index);
            self.known_agent(&step.agent, path.key("agent"));
            self.manner(step, &path);
            if !is_name(id) {
                self.wrong(
                    path.key("id"),
                    "invalidName",
                    format!("`{id}` is no id"),
                    "letters, digits, `-`, `_` and `.`",
                );
            }
            if !seen.insert(*id) {
                self.wrong(
                    path.clone(),
                    "duplicateStep",
                    format!("the step `{id}` is there twice"),
                    "an `id` of its own for each step",
                );
            }
            for (need, name) in step.needs.iter().flatten().enumerate() {
                if !ids.contains(&name.as_str()) {
                    let expected = offer(name, &ids);
                    self.wrong(
                        path.key("needs").index(need),
                        "unknownStep",
                        format!("there is no step `{name}`"),
                        expected,
                    );
                }
            }
        }
        let needs: BTreeMap<&str, Vec<&str>> = pipeline
            .steps
            .iter()
            .zip(&ids)
            .map(|(step, id)| (*id, step.needs.iter().flatten().map(String::as_str).collect()))
            .collect();
        if let Some(step) = in_a_circle(&needs) {
            self.wrong(
                path.clone(),
                "stepCircle",
                format!("the step `{step}` waits for itself"),
                "steps that need only what can be done before them",
            );
        }
    }
}

/// A step that needs itself, directly or over others.
fn in_a_circle<'a>(needs: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<&'a str> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = done.len();
        for (step, needed) in needs {
            if needed
                .iter()
                .all(|need| done.contains(need) || !needs.contains_key(need))
            {
                done.insert(step);
            }
        }
        if done.len() == before {
            return needs.keys().find(|step| !done.contains(*step)).copied();
        }
    }
}
