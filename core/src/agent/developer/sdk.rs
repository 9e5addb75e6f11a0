//! The Developer in our own tool loop.

use super::{NUDGE, Report, StepHost, changes_nothing};
use crate::agent::answer::{self, Spoken};
use crate::agent::assignment::Assignment;
use crate::agent::prompt::Prompt;
use crate::agent::survey::Depth;
use crate::agent::task_master::look;
use crate::agent::tool_loop::{Conversation, Rest, Setting, Transcript};
use crate::agent::toolbox::{Access, Toolbox};
use crate::agent::{briefing, detect, recall};
use crate::engine::StepContext;
use crate::error::{Error, Kind};
use crate::pipeline::StepFailure;
use crate::provider::Message;

/// Most output tokens of one answer: whole files are written in one.
const ANSWER_TOKENS_MAX: u32 = 16_000;
/// Most model calls of one step, when nothing is configured.
const TURNS_MAX_DEFAULT: u32 = 80;

pub(super) async fn work(context: &StepContext, assignment: &Assignment) -> Result<Report, StepFailure> {
    context.say("reads the plan");
    let seen = look(context, assignment, Depth::Named).await?;
    let tests = assignment.tests(&context.config.tests, &detect::commands(&seen.offers));
    let opening = opening(seen.text, assignment, &tests);
    let place = context.working_directory().await?;
    let toolbox = Toolbox::open(
        &place.root,
        &context.config.context,
        &context.services().redactor,
        Access::Change,
    )?;
    let agent = context.config.agents.get(&context.order.agent);
    let (window_tokens, tokens_max) =
        answer::window(&context.config, &context.order.agent, ANSWER_TOKENS_MAX);
    let setting = Setting {
        system: Prompt::Developer.blocks(&context.config),
        tools: toolbox.specs(agent.and_then(|agent| agent.tools.as_deref())),
        turns_max: agent.map_or(TURNS_MAX_DEFAULT, |agent| agent.max_turns),
        tokens_max,
        window_tokens,
    };
    let key = recall::key_of_conversation(context, &setting, &opening, &tests).await?;
    if let Some((text, spoken)) = recall::conversation(context, &key, &toolbox).await? {
        return Ok(Report {
            text,
            note: None,
            spoken,
        });
    }
    let host = StepHost::changing(context, tests);
    let mut transcript = host.resumed().await?.unwrap_or_else(|| Transcript::new(opening));
    transcript.renew(setting.turns_max);
    let mut conversation = Conversation {
        host: &host,
        toolbox: &toolbox,
        setting,
        transcript,
        spoken: Spoken::default(),
    };
    let mut rest = conversation.run().await?;
    let untouched = context.collect().await?.changed == 0;
    if matches!(rest, Rest::Said(_)) && untouched && !changes_nothing(assignment) {
        conversation.transcript.tell(NUDGE);
        rest = conversation.run().await?;
    }
    if let Rest::Said(text) = &rest {
        recall::keep_conversation(context, key, text, &mut conversation).await?;
    }
    report(context, rest, conversation.spoken).await
}

/// The first turn of the Developer.
pub(super) fn opening(seen: String, assignment: &Assignment, tests: &[crate::task::TestCommand]) -> Message {
    briefing::opening(
        seen,
        briefing::task(assignment, tests) + &briefing::so_far(assignment),
    )
}

async fn report(context: &StepContext, rest: Rest, spoken: Spoken) -> Result<Report, StepFailure> {
    match rest {
        Rest::Said(text) => Ok(Report {
            text,
            note: None,
            spoken,
        }),
        Rest::OutOfTurns if context.collect().await?.changed > 0 => {
            let note = "The Developer used up its model calls (`agents.developer.maxTurns`) before it said that it was done.".to_owned();
            Ok(Report {
                text: "The work may be unfinished.".to_owned(),
                note: Some(note),
                spoken,
            })
        }
        Rest::OutOfTurns => Err(StepFailure::permanent(
            Error::new(
                Kind::State,
                "maxTurns",
                "the Developer used up its model calls and changed nothing",
            )
            .hint("raise `agents.developer.maxTurns`, or make the task smaller"),
        )),
    }
}
