//! A plan is Markdown with stable headings: an agent writes it, a person edits it, both read it.
//!
//! ```text
//! # Plan: <title>
//! ## Goal
//! ## Steps
//! ### step-1: <title>
//! - agent: developer
//! - touches: src/lib.rs
//! - needs: step-0
//! - tests: cargo test
//! ## Tests
//! - cargo test
//! ```
//! `- needs: none` says that a step needs no other. Everything else in the text is kept and means nothing
//! to us.

mod excerpt;
mod parts;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{AgentId, StepId};

pub use parts::{PARTS_MAX, PlanPart};

/// Largest plan that is read (bytes).
pub const PLAN_BYTES_MAX: usize = 256 << 10;

/// What a plan says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// After `# Plan:`.
    pub title: String,
    /// The text under `## Goal`.
    pub goal: String,
    /// Under `## Steps`, in order.
    pub steps: Vec<PlanStep>,
    /// Commands under `## Tests`.
    pub tests: Vec<String>,
}

/// One `### id: title` with its list of properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// Unique in the plan.
    pub id: StepId,
    /// After the colon.
    pub title: String,
    /// Who does it.
    pub agent: AgentId,
    /// Files that it is expected to change, relative to the top level.
    pub touches: Vec<String>,
    /// Steps that come first; unsaid without such a line.
    #[serde(default)]
    pub needs: Option<Vec<StepId>>,
    /// Commands that prove it.
    pub tests: Vec<String>,
    /// The remaining text.
    pub detail: String,
    /// Line of its heading, from 1.
    pub line: u32,
}

impl Plan {
    /// Reads a plan. An error names the line; `knows_agent` says which agents exist.
    pub fn parse(text: &str, knows_agent: &dyn Fn(&str) -> bool) -> Result<Self, Error> {
        if text.len() > PLAN_BYTES_MAX {
            return Err(invalid(
                1,
                &format!("the plan is larger than {PLAN_BYTES_MAX} bytes"),
            ));
        }
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.line(u32::try_from(index + 1).unwrap_or(u32::MAX), line);
        }
        reader.finish(knows_agent)
    }

    /// All test commands that the plan names, each once, the general ones first.
    pub fn test_commands(&self) -> Vec<String> {
        let mut commands: Vec<String> = Vec::new();
        for command in self
            .tests
            .iter()
            .chain(self.steps.iter().flat_map(|step| &step.tests))
        {
            if !commands.contains(command) {
                commands.push(command.clone());
            }
        }
        commands
    }
}

fn invalid(line: u32, what: &str) -> Error {
    Error::usage("invalidPlan", format!("plan, line {line}: {what}"))
        .hint("keep the headings `## Goal` and `## Steps`, and one `### <id>: <title>` with `- agent: <agent>` for each step")
}

#[derive(Default, PartialEq)]
enum Section {
    #[default]
    Head,
    Goal,
    Steps,
    Tests,
    Other,
}

#[derive(Default)]
struct Reader {
    section: Section,
    fenced: bool,
    plan: Plan,
    agent_lines: Vec<u32>,
    last_line: u32,
}

impl Reader {
    fn line(&mut self, number: u32, line: &str) {
        self.last_line = number;
        if line.trim_start().starts_with("```") {
            self.fenced = !self.fenced;
        }
        if !self.fenced && self.heading(number, line) {
            return;
        }
        match self.section {
            Section::Goal => push_line(&mut self.plan.goal, line),
            Section::Tests => {
                if let Some(command) = list_item(line) {
                    self.plan.tests.push(unquote(command).to_owned());
                }
            }
            Section::Steps => self.step_line(number, line),
            Section::Head | Section::Other => {}
        }
    }

    fn heading(&mut self, number: u32, line: &str) -> bool {
        if let Some(title) = line.strip_prefix("# ") {
            let title = title.trim();
            title
                .strip_prefix("Plan:")
                .unwrap_or(title)
                .trim()
                .clone_into(&mut self.plan.title);
        } else if let Some(name) = line.strip_prefix("## ") {
            self.section = match name.trim().to_ascii_lowercase().as_str() {
                "goal" => Section::Goal,
                "steps" => Section::Steps,
                "tests" => Section::Tests,
                _ => Section::Other,
            };
        } else if self.section == Section::Steps
            && let Some(heading) = line.strip_prefix("### ")
        {
            let (id, title) = heading.split_once(':').unwrap_or((heading, ""));
            self.agent_lines.push(number);
            self.plan.steps.push(PlanStep {
                id: StepId::new(id.trim()),
                title: title.trim().to_owned(),
                agent: AgentId::new("developer"),
                touches: Vec::new(),
                needs: None,
                tests: Vec::new(),
                detail: String::new(),
                line: number,
            });
        } else {
            return false;
        }
        true
    }

    fn step_line(&mut self, number: u32, line: &str) {
        let Some(step) = self.plan.steps.last_mut() else {
            return;
        };
        let property = list_item(line).and_then(|item| item.split_once(':'));
        let Some((name, value)) = property else {
            push_line(&mut step.detail, line);
            return;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "agent" => {
                step.agent = AgentId::new(unquote(value));
                if let Some(last) = self.agent_lines.last_mut() {
                    *last = number;
                }
            }
            "touches" => step.touches = comma_list(value),
            "needs" => {
                let needs = comma_list(value);
                step.needs = Some(needs.iter().map(|id| StepId::new(id.as_str())).collect());
            }
            "tests" => step.tests.extend(non_empty(unquote(value))),
            _ => push_line(&mut step.detail, line),
        }
    }

    fn finish(self, knows_agent: &dyn Fn(&str) -> bool) -> Result<Plan, Error> {
        let mut plan = self.plan;
        plan.goal = plan.goal.trim().to_owned();
        if plan.goal.is_empty() && plan.steps.is_empty() {
            return Err(invalid(1, "it is empty: there is neither a goal nor a step"));
        }
        if plan.steps.is_empty() {
            return Err(invalid(
                self.last_line.max(1),
                "there is no step under `## Steps`",
            ));
        }
        for index in 0..plan.steps.len() {
            let Some(step) = plan.steps.get(index) else {
                continue;
            };
            let earlier = plan.steps.iter().take(index);
            if !is_step_id(step.id.as_str()) {
                return Err(invalid(
                    step.line,
                    &format!("`{}` is no step id (letters, digits, `-`, `_`, `.`)", step.id),
                ));
            }
            if earlier.clone().any(|other| other.id == step.id) {
                return Err(invalid(step.line, &format!("there are two steps `{}`", step.id)));
            }
            if !knows_agent(step.agent.as_str()) {
                let line = self.agent_lines.get(index).copied().unwrap_or(step.line);
                return Err(invalid(line, &format!("there is no agent `{}`", step.agent)));
            }
            if let Some(unknown) = step
                .needs
                .iter()
                .flatten()
                .find(|id| !earlier.clone().any(|other| other.id == **id))
            {
                return Err(invalid(
                    step.line,
                    &format!("step `{}` needs `{unknown}`, which is no earlier step", step.id),
                ));
            }
        }
        for step in &mut plan.steps {
            step.detail = step.detail.trim().to_owned();
        }
        Ok(plan)
    }
}

fn is_step_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 64
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn list_item(line: &str) -> Option<&str> {
    let line = line.trim();
    line.strip_prefix("- ")
        .or_else(|| line.strip_prefix("* "))
        .map(str::trim)
}

fn unquote(text: &str) -> &str {
    text.trim().trim_matches('`').trim()
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty() && !text.eq_ignore_ascii_case("none")).then(|| text.to_owned())
}

fn comma_list(text: &str) -> Vec<String> {
    text.split(',')
        .filter_map(|item| non_empty(unquote(item)))
        .collect()
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "# Plan: Greet\n\n## Goal\nSay hello.\n\n## Steps\n### step-1: Write it\n- agent: developer\n- touches: `src/a.rs`, src/b.rs\n- tests: cargo test\n\nSome detail.\n\n### step-2: Check it\n- agent: qa\n- needs: step-1\n\n## Tests\n- cargo test\n- cargo clippy\n";

    fn agents(name: &str) -> bool {
        ["developer", "qa"].contains(&name)
    }

    fn error(text: &str) -> String {
        Plan::parse(text, &agents).expect_err("must be refused").message
    }

    #[test]
    fn a_plan_is_read_with_its_steps_files_and_tests() {
        let plan = Plan::parse(PLAN, &agents).expect("valid");
        assert_eq!(plan.title, "Greet");
        assert_eq!(plan.goal, "Say hello.");
        assert_eq!(plan.steps[0].touches, ["src/a.rs", "src/b.rs"]);
        assert_eq!(plan.steps[0].detail, "Some detail.");
        assert_eq!(plan.steps[0].needs, None);
        assert_eq!(plan.steps[1].needs, Some(vec![StepId::new("step-1")]));
        assert_eq!(plan.test_commands(), ["cargo test", "cargo clippy"]);
    }

    #[test]
    fn a_plan_that_was_edited_to_nothing_is_refused() {
        assert!(error("").contains("line 1"));
        assert!(error("\n \n").contains("empty"));
        assert!(error("## Goal\nonly a goal\n").contains("no step"));
    }

    #[test]
    fn an_unknown_agent_is_named_with_its_line() {
        assert!(
            error(&PLAN.replace("agent: qa", "agent: plumber"))
                .contains("line 15: there is no agent `plumber`")
        );
    }

    #[test]
    fn an_unknown_or_repeated_step_is_named_with_its_line() {
        assert!(error(&PLAN.replace("needs: step-1", "needs: step-9")).contains("`step-9`"));
        assert!(error(&PLAN.replace("### step-2", "### step-1")).contains("line 14: there are two steps"));
        assert!(error(&PLAN.replace("### step-1:", "### :")).contains("line 7"));
    }

    #[test]
    fn headings_inside_a_code_block_are_text() {
        let text = PLAN.replace("Some detail.", "```\n### not-a-step: x\n```");
        assert_eq!(Plan::parse(&text, &agents).expect("valid").steps.len(), 2);
    }
}
