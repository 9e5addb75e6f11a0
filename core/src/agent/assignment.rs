//! What an agent has to do, gathered from the task, the order and the request of a single agent's run.

use serde::Deserialize;

use crate::engine::StepContext;
use crate::id::{BlobId, StepId};
use crate::pipeline::StepFailure;
use crate::plan::Plan;
use crate::task::{CommandOrigin, Origin, Priority, Task, TestCommand};

/// Everything that was said about the work, wherever it was said.
#[derive(Debug, Clone, Default)]
pub(super) struct Assignment {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) priority: Priority,
    pub(super) constraints: Vec<String>,
    pub(super) target_files: Vec<String>,
    pub(super) diagnostics: Vec<String>,
    pub(super) origin: Option<Origin>,
    /// As the person named them.
    pub(super) tests: Vec<TestCommand>,
    pub(super) brief: Option<String>,
    pub(super) plan: Option<String>,
    /// QA's report on the last round.
    pub(super) findings: Option<String>,
    /// A person's words about the last round.
    pub(super) comment: Option<String>,
    /// A patch that came with the request.
    pub(super) patch: Option<String>,
    /// The one step of the plan that is to be carried out, where others do the rest.
    pub(super) part: Option<StepId>,
    /// Files in which the last result collided with what others had done meanwhile.
    pub(super) collided_in: Vec<String>,
}

/// The request of a single agent's run. What is not understood is left alone.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    plan_step_id: Option<String>,
    objective: Option<String>,
    repo_summary: Option<String>,
    plan: Option<String>,
    patch: Option<String>,
    target_files: Option<Vec<String>>,
    constraints: Option<Vec<String>>,
    tests: Option<Vec<RequestedTest>>,
}

/// A command, alone or with what it must say.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RequestedTest {
    Line(String),
    #[serde(rename_all = "camelCase")]
    Full {
        command: String,
        success_regex: Option<String>,
        timeout_ms: Option<u64>,
    },
}

impl From<RequestedTest> for TestCommand {
    fn from(test: RequestedTest) -> Self {
        let (command, success_regex, timeout_ms) = match test {
            RequestedTest::Line(command) => (command, None, None),
            RequestedTest::Full {
                command,
                success_regex,
                timeout_ms,
            } => (command, success_regex, timeout_ms),
        };
        Self {
            command,
            success_regex,
            timeout_ms,
            origin: CommandOrigin::Person,
        }
    }
}

impl Assignment {
    /// Reads everything that the order refers to.
    pub(super) async fn gather(context: &StepContext) -> Result<Self, StepFailure> {
        let order = &context.order;
        let mut assignment = Self::of_task(&context.task);
        assignment.brief = stored(context, order.brief.as_ref()).await?;
        assignment.plan = stored(context, order.plan.as_ref()).await?;
        assignment.findings = stored(context, order.findings.as_ref()).await?;
        assignment.comment.clone_from(&order.comment);
        assignment.part.clone_from(&order.part);
        assignment.collided_in.clone_from(&order.collided_in);
        if let Some(id) = &order.request {
            assignment.take_request(context.json(id).await?);
        }
        if let (Some(part), Some(plan)) = (&assignment.part, &assignment.plan) {
            assignment.plan = Some(Plan::excerpt(plan, part));
        }
        Ok(assignment)
    }

    /// What the task alone says.
    pub(super) fn of_task(task: &Task) -> Self {
        Self {
            title: task.title.clone(),
            description: task.description.clone(),
            priority: task.priority,
            constraints: task.constraints.clone(),
            target_files: task.target_files.clone(),
            diagnostics: task.diagnostics.clone(),
            origin: task.origin.clone(),
            tests: task.tests.clone(),
            ..Self::default()
        }
    }

    fn take_request(&mut self, request: Request) {
        if let Some(objective) = request.objective.filter(|text| !text.trim().is_empty()) {
            let (first, rest) = objective.split_once('\n').unwrap_or((&objective, ""));
            first.trim().clone_into(&mut self.title);
            if !rest.trim().is_empty() {
                objective.clone_into(&mut self.description);
            }
        }
        let more = [
            request
                .plan_step_id
                .map(|id| format!("This is step `{id}` of the plan.")),
            request
                .repo_summary
                .map(|summary| format!("About the repository: {summary}")),
        ];
        for text in more.into_iter().flatten() {
            let separator = if self.description.is_empty() { "" } else { "\n\n" };
            self.description.push_str(separator);
            self.description.push_str(&text);
        }
        self.plan = request.plan.or_else(|| self.plan.take());
        self.patch = request.patch;
        let replace = |own: &mut Vec<String>, theirs: Option<Vec<String>>| {
            if let Some(theirs) = theirs.filter(|list| !list.is_empty()) {
                *own = theirs;
            }
        };
        replace(&mut self.target_files, request.target_files);
        replace(&mut self.constraints, request.constraints);
        if let Some(tests) = request.tests.filter(|tests| !tests.is_empty()) {
            self.tests = tests.into_iter().map(TestCommand::from).collect();
        }
    }

    /// The commands that prove the work: what a person named, else what the plan names, else what the
    /// project offers. A plan's command that the project offers as well is the project's.
    pub(super) fn tests(&self, configured: &[TestCommand], detected: &[TestCommand]) -> Vec<TestCommand> {
        let offered = || configured.iter().chain(detected);
        if !self.tests.is_empty() {
            return unique(self.tests.clone());
        }
        let planned = self
            .plan
            .as_deref()
            .and_then(|plan| Plan::parse(plan, &|_| true).ok());
        let planned: Vec<TestCommand> = planned
            .map(|plan| plan.test_commands())
            .unwrap_or_default()
            .into_iter()
            .filter(|command| !command.trim().is_empty() && !command.eq_ignore_ascii_case("none"))
            .map(|command| {
                let known = offered().find(|test| test.command == command).cloned();
                known.unwrap_or(TestCommand {
                    command,
                    success_regex: None,
                    timeout_ms: None,
                    origin: CommandOrigin::Model,
                })
            })
            .collect();
        if !planned.is_empty() {
            return unique(planned);
        }
        unique(if configured.is_empty() {
            detected.to_vec()
        } else {
            configured.to_vec()
        })
    }
}

fn unique(tests: Vec<TestCommand>) -> Vec<TestCommand> {
    let mut seen: Vec<TestCommand> = Vec::new();
    for test in tests {
        if !test.command.trim().is_empty() && !seen.iter().any(|known| known.command == test.command) {
            seen.push(test);
        }
    }
    seen
}

async fn stored(context: &StepContext, id: Option<&BlobId>) -> Result<Option<String>, StepFailure> {
    Ok(match id {
        Some(id) => Some(context.text(id).await?),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(command: &str, origin: CommandOrigin) -> TestCommand {
        TestCommand {
            command: command.to_owned(),
            success_regex: None,
            timeout_ms: None,
            origin,
        }
    }

    #[test]
    fn a_persons_tests_come_before_the_plans_and_those_before_the_projects() {
        let detected = [test("cargo test", CommandOrigin::Repository)];
        let mut assignment = Assignment::default();
        assert_eq!(assignment.tests(&[], &detected), detected);
        assignment.plan =
            Some("## Goal\nx\n## Steps\n### a: b\n- tests: rm -rf /\n## Tests\n- cargo test\n".to_owned());
        let planned = assignment.tests(&[], &detected);
        assert_eq!(
            planned,
            [
                test("cargo test", CommandOrigin::Repository),
                test("rm -rf /", CommandOrigin::Model)
            ]
        );
        assignment.tests = vec![
            test("make check", CommandOrigin::Person),
            test("make check", CommandOrigin::Person),
        ];
        assert_eq!(
            assignment.tests(&[], &detected),
            [test("make check", CommandOrigin::Person)]
        );
    }

    #[test]
    fn a_request_for_one_agent_is_an_assignment() {
        let request = serde_json::json!({
            "planStepId": "step-2", "objective": "Sum up\nwith care", "targetFiles": ["a.rs"], "constraints": [],
            "tests": ["cargo test", {"command": "make", "successRegex": "ok", "timeoutMs": 5}], "unknown": 1,
        });
        let mut assignment = Assignment {
            constraints: vec!["keep".to_owned()],
            ..Assignment::default()
        };
        assignment.take_request(serde_json::from_value(request).expect("a request"));
        assert_eq!(assignment.title, "Sum up");
        assert!(assignment.description.contains("with care") && assignment.description.contains("step-2"));
        assert_eq!(assignment.target_files, ["a.rs"]);
        assert_eq!(assignment.constraints, ["keep"]);
        assert_eq!(assignment.tests[1].success_regex.as_deref(), Some("ok"));
    }
}
