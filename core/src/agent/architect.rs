//! Looks at the code and writes the plan that a person approves.

use std::fmt::Write as _;

use futures::future::BoxFuture;

use super::answer::Spoken;
use super::assignment::Assignment;
use super::developer::StepHost;
use super::prompt::Prompt;
use super::survey::{Depth, tokens_of_bytes};
use super::task_master::look;
use super::tool_loop::{Conversation, Rest, Setting, Transcript};
use super::toolbox::{Access, Toolbox};
use super::{Agent, answer, briefing, detect, estimate, recall};
use crate::engine::StepContext;
use crate::error::{Error, Kind};
use crate::pipeline::{StepFailure, StepOutput, StepRole};
use crate::plan::Plan;

/// Most output tokens of one answer.
const PLAN_TOKENS_MAX: u32 = 8_000;
/// Calls that the Architect has at least: to look, and to write.
const TURNS_MIN: u32 = 2;

/// The agent.
#[derive(Debug)]
pub(super) struct Architect;

impl Agent for Architect {
    fn id(&self) -> &'static str {
        "architect"
    }

    fn title(&self) -> &'static str {
        "Architect"
    }

    fn step_id(&self) -> &'static str {
        "architect"
    }

    fn role(&self) -> StepRole {
        StepRole::Plan
    }

    fn run<'a>(&'a self, context: &'a StepContext) -> BoxFuture<'a, Result<StepOutput, StepFailure>> {
        Box::pin(work(context))
    }
}

async fn work(context: &StepContext) -> Result<StepOutput, StepFailure> {
    context.say("looks at the code");
    let assignment = Assignment::gather(context).await?;
    let seen = look(context, &assignment, Depth::Relevant).await?;
    let prompt_tokens = tokens_of_bytes(seen.text.len());
    let tests = assignment.tests(&context.config.tests, &detect::commands(&seen.offers));
    let opening = briefing::opening(
        seen.text,
        briefing::task(&assignment, &tests) + &earlier(&assignment),
    );

    let place = context.working_directory().await?;
    let toolbox = Toolbox::open(
        &place.root,
        &context.config.context,
        &context.services().redactor,
        Access::Read,
    )?;
    let agent = context.config.agents.get(&context.order.agent);
    let (window_tokens, tokens_max) = answer::window(&context.config, &context.order.agent, PLAN_TOKENS_MAX);
    let setting = Setting {
        system: Prompt::Architect.blocks(&context.config),
        tools: toolbox.specs(agent.and_then(|agent| agent.tools.as_deref())),
        turns_max: agent.map_or(TURNS_MIN, |agent| agent.max_turns.max(TURNS_MIN)),
        tokens_max,
        window_tokens,
    };
    let key = recall::key_of_conversation(context, &setting, &opening, &tests).await?;
    if let Some((text, spoken)) = recall::conversation(context, &key, &toolbox).await?
        && let Ok((text, plan)) = read(&text)
    {
        return Ok(spoken.sign(output(context, &text, &plan, prompt_tokens).await?));
    }
    let host = StepHost::looking(context);
    let mut transcript = host.resumed().await?.unwrap_or_else(|| Transcript::new(opening));
    transcript.renew(setting.turns_max);
    let mut conversation = Conversation {
        host: &host,
        toolbox: &toolbox,
        setting,
        transcript,
        spoken: Spoken::default(),
    };
    let (text, plan) = written(&mut conversation).await?;
    recall::keep_conversation(context, key, &text, &mut conversation).await?;
    Ok(conversation
        .spoken
        .sign(output(context, &text, &plan, prompt_tokens).await?))
}

async fn output(
    context: &StepContext,
    text: &str,
    plan: &Plan,
    prompt_tokens: u64,
) -> Result<StepOutput, StepFailure> {
    Ok(StepOutput {
        summary: summary(plan),
        document: Some(context.put_text(text).await?),
        estimate: estimate::of(&context.config, plan, prompt_tokens),
        parts: plan.parts(),
        ..StepOutput::default()
    })
}

/// What was said before; here the plan is an earlier draft, not an approved one.
fn earlier(assignment: &Assignment) -> String {
    let draft = assignment.plan.clone().filter(|_| assignment.comment.is_some());
    let without = Assignment {
        plan: None,
        comment: None,
        ..assignment.clone()
    };
    let mut text = briefing::so_far(&without);
    if let (Some(draft), Some(comment)) = (draft, &assignment.comment) {
        let _ = write!(
            text,
            "\n# Your last plan was not approved\n{}\n\n# What the person said about it\nTake up every point:\n{}\n",
            draft.trim(),
            comment.trim(),
        );
    }
    text
}

/// The plan; one that cannot be read is sent back once.
async fn written(conversation: &mut Conversation<'_>) -> Result<(String, Plan), StepFailure> {
    let first = said(conversation.run().await?, conversation).await?;
    let error = match read(&first) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    let hint = error.first_hint().unwrap_or_default().to_owned();
    let correction = format!(
        "This plan cannot be read: {error}. {hint}. Answer with the whole corrected plan and nothing else."
    );
    conversation.transcript.tell(&correction);
    conversation.setting.turns_max = conversation.transcript.turns + TURNS_MIN;
    let second = said(conversation.run().await?, conversation).await?;
    read(&second).map_err(|error| {
        let message = format!("the Architect wrote no plan that can be read: {error}");
        StepFailure::permanent(
            Error::new(Kind::Provider, "invalidPlan", message)
                .hint("retry, or choose a stronger model for `architect`"),
        )
    })
}

/// What the model said; one that only ever looks is told to write now.
async fn said(rest: Rest, conversation: &mut Conversation<'_>) -> Result<String, StepFailure> {
    if let Rest::Said(text) = rest {
        return Ok(text);
    }
    conversation
        .transcript
        .tell("You have looked enough. Write the plan now, with what you know; use no more tools.");
    conversation.setting.turns_max = conversation.transcript.turns + TURNS_MIN;
    match conversation.run().await? {
        Rest::Said(text) => Ok(text),
        Rest::OutOfTurns => Ok(String::new()),
    }
}

/// The plan in an answer: without a fence around it and without words before it.
fn read(answer: &str) -> Result<(String, Plan), Error> {
    let begins = |line: &str| line.starts_with("# ") || line.trim_end() == "## Goal";
    let mut lines: Vec<&str> = answer.lines().skip_while(|line| !begins(line)).collect();
    let is_fenced = answer
        .lines()
        .take_while(|line| !begins(line))
        .filter(|line| line.trim_start().starts_with("```"))
        .count()
        % 2
        == 1;
    if is_fenced && let Some(closing) = lines.iter().rposition(|line| line.trim() == "```") {
        lines.truncate(closing);
    }
    let text = lines.join("\n") + "\n";
    let plan = Plan::parse(&text, &|agent| super::find(agent).is_some())?;
    Ok((text, plan))
}

fn summary(plan: &Plan) -> String {
    let goal: String = plan
        .goal
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(300)
        .collect();
    let steps = if plan.steps.len() == 1 {
        "1 step".to_owned()
    } else {
        format!("{} steps", plan.steps.len())
    };
    format!("{steps}: {goal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "# Plan: Greet\n\n## Goal\nSay hello.\n\n## Steps\n### step-1: Write it\n- agent: developer\n\n```rust\nfn x() {}\n```\n";

    #[test]
    fn a_plan_is_found_between_words_and_inside_a_fence() {
        for answer in [
            PLAN.to_owned(),
            format!("Here it is.\n\n{PLAN}"),
            format!("```markdown\n{PLAN}```\nDone.\n"),
        ] {
            let (text, plan) = read(&answer).expect("a plan");
            assert!(
                text.starts_with("# Plan: Greet") && !text.contains("Done."),
                "{text}"
            );
            assert_eq!(plan.steps.len(), 1);
            assert!(text.contains("fn x() {}\n```"), "{text}");
        }
        assert!(read("I cannot plan this.").is_err());
    }

    #[test]
    fn an_unknown_agent_is_an_error_with_its_line() {
        assert!(
            read(&PLAN.replace("developer", "plumber"))
                .expect_err("unknown")
                .message
                .contains("plumber")
        );
    }
}
