//! One question to a model without tools, and who answered it.

use super::prompt::Prompt;
use super::recall;
use crate::config::Config;
use crate::engine::{ModelAnswer, StepContext};
use crate::id::StepKey;
use crate::money::Money;
use crate::pipeline::{StepFailure, StepOutput};
use crate::provider::{Message, Request, Stop};

/// Window of a model about which nothing is known (tokens).
const WINDOW_TOKENS_DEFAULT: u64 = 128_000;

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    /// What the answer is called in the step cache, if it is kept there.
    pub(super) key: Option<StepKey>,
    /// What it cost when it was given, if it is an earlier one.
    pub(super) saved: Option<Money>,
}

impl Spoken {
    pub(super) fn of(answer: &ModelAnswer) -> Self {
        Self {
            provider: Some(answer.provider.clone()),
            model: Some(answer.model.clone()),
            key: None,
            saved: None,
        }
    }

    /// Puts the names where a person finds them.
    pub(super) fn sign(self, output: StepOutput) -> StepOutput {
        StepOutput {
            provider: self.provider,
            model: self.model,
            key: self.key,
            saved: self.saved,
            ..output
        }
    }
}

/// The request of an agent that only answers.
pub(super) fn request(config: &Config, prompt: Prompt, opening: Message, tokens_max: u32) -> Request {
    Request {
        model: String::new(),
        system: prompt.blocks(config),
        messages: vec![opening],
        tools: Vec::new(),
        max_tokens: tokens_max,
    }
}

/// An earlier answer to the very same request, else [`ask`]; a whole one is kept.
pub(super) async fn ask_or_recall(
    context: &StepContext,
    request: Request,
) -> Result<(String, Spoken), StepFailure> {
    let key = recall::key_of_request(context, &request)?;
    if let Some(earlier) = recall::answer(context, &key).await {
        return Ok(earlier);
    }
    let answer = asked(context, request).await?;
    let (text, mut spoken) = (answer.response.text(), Spoken::of(&answer));
    if answer.response.stop == Stop::EndTurn {
        recall::keep_answer(context, key, &text, &mut spoken, answer.cost).await;
    }
    Ok((text, spoken))
}

/// Asks once. An answer that was cut is better than none; a refusal is none.
pub(super) async fn ask(context: &StepContext, request: Request) -> Result<(String, Spoken), StepFailure> {
    let answer = asked(context, request).await?;
    Ok((answer.response.text(), Spoken::of(&answer)))
}

async fn asked(context: &StepContext, request: Request) -> Result<ModelAnswer, StepFailure> {
    let answer = context.call(request).await?;
    if answer.response.stop == Stop::Refusal {
        return Err(StepFailure::permanent(super::tool_loop::refused(
            &answer.model,
            &answer.response.text(),
        )));
    }
    Ok(answer)
}

/// The smallest window and output limit of the models that may answer this agent.
pub(super) fn window(config: &Config, agent: &crate::id::AgentId, tokens_max: u32) -> (u64, u32) {
    let routes = config.route(agent);
    let models = routes
        .iter()
        .filter_map(|route| config.model(&route.provider, &route.model));
    let (mut window, mut output) = (None, u64::from(tokens_max));
    for model in models {
        window = window.into_iter().chain(model.context_window).min();
        output = output.min(model.max_output.unwrap_or(output));
    }
    (
        window.unwrap_or(WINDOW_TOKENS_DEFAULT),
        u32::try_from(output).unwrap_or(tokens_max).max(1),
    )
}
