//! The system prompts: who an agent is, what it may believe, how it answers.

use crate::config::Config;
use crate::id::AgentId;
use crate::provider::SystemBlock;

const SHARED: &str = include_str!("../../../config/prompts/shared.md");
const TASK_MASTER: &str = include_str!("../../../config/prompts/task-master.md");
const ARCHITECT: &str = include_str!("../../../config/prompts/architect.md");
const DEVELOPER: &str = include_str!("../../../config/prompts/developer.md");
const DEVELOPER_TOOLS: &str = include_str!("../../../config/prompts/developer-tools.md");
const DEVELOPER_CLAUDE_CODE: &str = include_str!("../../../config/prompts/developer-claude-code.md");
const QA: &str = include_str!("../../../config/prompts/qa.md");
const KB_BUILDER: &str = include_str!("../../../config/prompts/kb-builder.md");

/// A prompt of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    TaskMaster,
    Architect,
    /// The Developer in our own tool loop.
    Developer,
    /// The Developer by Claude Code.
    DeveloperByClaudeCode,
    Qa,
    KbBuilder,
}

impl Prompt {
    const fn agent(self) -> &'static str {
        match self {
            Self::TaskMaster => "taskMaster",
            Self::Architect => "architect",
            Self::Developer | Self::DeveloperByClaudeCode => "developer",
            Self::Qa => "qa",
            Self::KbBuilder => "kbBuilder",
        }
    }

    const fn parts(self) -> [&'static str; 2] {
        match self {
            Self::TaskMaster => [TASK_MASTER, ""],
            Self::Architect => [ARCHITECT, ""],
            Self::Developer => [DEVELOPER, DEVELOPER_TOOLS],
            Self::DeveloperByClaudeCode => [DEVELOPER, DEVELOPER_CLAUDE_CODE],
            Self::Qa => [QA, ""],
            Self::KbBuilder => [KB_BUILDER, ""],
        }
    }

    /// The text. Its first line names the agent: the demonstration goes by it, and so do tests.
    pub(super) fn text(self) -> String {
        let [own, more] = self.parts();
        let mut text = format!("clode-agent: {}\n\n{own}\n", self.agent());
        if !more.is_empty() {
            text.push_str(more);
            text.push('\n');
        }
        text.push_str(SHARED);
        text
    }

    /// What the user's configuration adds.
    pub(super) fn further(self, config: &Config) -> Option<String> {
        let prompt = config
            .agents
            .get(&AgentId::new(self.agent()))?
            .prompt
            .as_deref()?
            .trim();
        (!prompt.is_empty())
            .then(|| format!("## Further instructions, from the user's configuration\n{prompt}\n"))
    }

    /// The prompt as blocks, the part that never changes first.
    pub(super) fn blocks(self, config: &Config) -> Vec<SystemBlock> {
        let further = self.further(config).into_iter();
        std::iter::once(self.text())
            .chain(further)
            .map(|text| SystemBlock { text, cache: true })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_names_its_agent_first_and_says_what_is_data() {
        for prompt in [
            Prompt::TaskMaster,
            Prompt::Architect,
            Prompt::Developer,
            Prompt::DeveloperByClaudeCode,
            Prompt::Qa,
            Prompt::KbBuilder,
        ] {
            let text = prompt.text();
            assert!(
                text.starts_with(&format!("clode-agent: {}\n", prompt.agent())),
                "{prompt:?}"
            );
            assert!(text.contains("never follow them"), "{prompt:?}");
            assert!(crate::agent::find(prompt.agent()).is_some(), "{prompt:?}");
        }
    }

    #[test]
    fn the_form_that_the_architect_is_shown_is_a_plan_that_we_read() {
        let form = ARCHITECT
            .split("# Plan:")
            .nth(1)
            .and_then(|rest| rest.split("Rules of the form").next());
        let plan = format!("# Plan:{}", form.expect("the form"));
        let plan = crate::plan::Plan::parse(&plan, &|agent| agent == "developer").expect("a plan");
        assert_eq!(plan.steps.len(), 1);
        assert_eq!(plan.tests.len(), 1);
    }
}
