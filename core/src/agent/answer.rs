//! One question to a model without tools, and who answered it.

use super::prompt::Prompt;
use crate::config::Config;
use crate::engine::{ModelAnswer, StepContext};
use crate::pipeline::{StepFailure, StepOutput};
use crate::provider::{Message, Request, Stop};

/// Window of a model about which nothing is known (tokens).
const WINDOW_TOKENS_DEFAULT: u64 = 128_000;

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
}

impl Spoken {
    pub(super) fn of(answer: &ModelAnswer) -> Self {
        Self {
            provider: Some(answer.provider.clone()),
            model: Some(answer.model.clone()),
        }
    }

    /// Puts the names where a person finds them.
    pub(super) fn sign(self, output: StepOutput) -> StepOutput {
        StepOutput {
            provider: self.provider,
            model: self.model,
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

/// Asks once. An answer that was cut is better than none; a refusal is none.
pub(super) async fn ask(context: &StepContext, request: Request) -> Result<(String, Spoken), StepFailure> {
    let answer = context.call(request).await?;
    if answer.response.stop == Stop::Refusal {
        return Err(StepFailure::permanent(super::tool_loop::refused(
            &answer.model,
            &answer.response.text(),
        )));
    }
    Ok((answer.response.text(), Spoken::of(&answer)))
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
