//! The condition of a step in a declared pipeline: asked when the step's turn comes, of what is known then.
//!
//! `[not] changed | findings | planned | tests | priority low|medium|high`

use serde::{Deserialize, Serialize};

use super::state::Machine;
use crate::task::Priority;

/// What may be asked, for whoever wrote something else.
pub const FACTS: &str = "`changed`, `findings`, `planned`, `tests`, `priority low`, `priority medium` or `priority high`, each with `not ` before it if need be";

/// When a step is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    expects: Expectation,
    fact: Fact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expectation {
    Holds,
    DoesNot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// Files were changed so far.
    Changed,
    /// QA found something.
    Findings,
    /// There is a plan.
    Planned,
    /// There are commands that prove the work.
    Tests,
    /// The task is this urgent.
    Priority(Priority),
}

/// Every fact and how it is written.
const WRITTEN: [(&str, Fact); 7] = [
    ("changed", Fact::Changed),
    ("findings", Fact::Findings),
    ("planned", Fact::Planned),
    ("tests", Fact::Tests),
    ("priority low", Fact::Priority(Priority::Low)),
    ("priority medium", Fact::Priority(Priority::Medium)),
    ("priority high", Fact::Priority(Priority::High)),
];

impl std::str::FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (expects, words) = match words.split_first() {
            Some((&"not", rest)) => (Expectation::DoesNot, rest),
            _ => (Expectation::Holds, words.as_slice()),
        };
        let wanted = words.join(" ");
        WRITTEN
            .iter()
            .find(|(written, _)| *written == wanted)
            .map(|(_, fact)| Self { expects, fact: *fact })
            .ok_or_else(|| format!("`{text}` is no condition"))
    }
}

impl TryFrom<String> for Condition {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        let written = WRITTEN
            .iter()
            .find(|(_, fact)| *fact == condition.fact)
            .map_or("", |(written, _)| *written);
        match condition.expects {
            Expectation::Holds => written.to_owned(),
            Expectation::DoesNot => format!("not {written}"),
        }
    }
}

impl Machine {
    /// Whether a condition holds now.
    pub(super) fn holds(&self, condition: Condition) -> bool {
        let is_so = match condition.fact {
            Fact::Changed => {
                let began = self.agents_base.as_ref().or(self.base.as_ref());
                self.result.is_some() && self.result.as_ref() != began
            }
            Fact::Findings => self
                .steps
                .iter()
                .filter_map(|step| step.output.as_ref())
                .any(|output| !output.findings.is_empty()),
            Fact::Planned => self.plan.is_some(),
            Fact::Tests => !self.spec.task.tests.is_empty(),
            Fact::Priority(priority) => self.spec.task.priority == priority,
        };
        is_so == (condition.expects == Expectation::Holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_read_and_written_as_people_write_it() {
        for text in ["changed", "not planned", "priority high", "not priority low"] {
            let condition: Condition = text.parse().expect("a condition");
            assert_eq!(String::from(condition), text);
        }
        for text in [
            "",
            "not",
            "always",
            "priority",
            "priority urgent",
            "changed planned",
        ] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
