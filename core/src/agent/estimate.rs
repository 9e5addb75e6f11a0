//! What the work that a plan describes is likely to cost: two figures for the gate, from prices and
//! from how many model calls such steps take.

use crate::agent::answer;
use crate::config::{Config, Price, PriceAnswer, ProviderKind, Tokens};
use crate::id::AgentId;
use crate::money::Money;
use crate::pipeline::Estimate;
use crate::plan::Plan;

/// Model calls of a step that goes well, and of one that does not.
const CALLS_PER_STEP: (u64, u64) = (3, 12);
/// Model calls of the Developer before the first step.
const CALLS_BEFORE: u64 = 2;
/// Tokens that one call adds to the conversation: results of tools and the answer itself.
const ADDED_TOKENS: (u64, u64) = (600, 2_500);
/// Tokens of one answer.
const ANSWER_TOKENS: (u64, u64) = (250, 1_200);
/// Rounds after a failed test that the higher figure counts with.
const ROUNDS_MAX: u64 = 2;
/// Tokens of the tools and the system prompt.
const FIXED_TOKENS: u64 = 3_000;

/// The figures; none where nothing is known about the price.
pub(super) fn of(config: &Config, plan: &Plan, prompt_tokens: u64) -> Option<Estimate> {
    let developer = AgentId::from("developer");
    let route = config.route(&developer).into_iter().next()?;
    if config
        .providers
        .get(&route.provider)
        .is_some_and(|provider| provider.kind == ProviderKind::Demo)
    {
        let basis = "the demo provider costs nothing".to_owned();
        return Some(Estimate {
            min: Money::ZERO,
            max: Money::ZERO,
            basis,
        });
    }
    let (price, assumed) = match config.price(&route.provider, &route.model) {
        PriceAnswer::Known(price) => (price, ""),
        PriceAnswer::Assumed(price) => (price, ", its price assumed to be the dearest of the provider"),
        PriceAnswer::Unknown => return None,
    };
    let steps = u64::try_from(plan.steps.len()).unwrap_or(u64::MAX);
    let turns_max = config
        .agents
        .get(&developer)
        .map_or(u64::MAX, |agent| u64::from(agent.max_turns));
    let calls = (
        CALLS_BEFORE + steps * CALLS_PER_STEP.0,
        CALLS_BEFORE + steps * CALLS_PER_STEP.1,
    );
    let calls = (calls.0.min(turns_max), calls.1.min(turns_max));
    let (window, _) = answer::window(config, &developer, u32::MAX);
    let min = conversation(
        &price,
        calls.0,
        prompt_tokens,
        ADDED_TOKENS.0,
        ANSWER_TOKENS.0,
        window,
    );
    let max = conversation(
        &price,
        calls.1,
        prompt_tokens,
        ADDED_TOKENS.1,
        ANSWER_TOKENS.1,
        window,
    )
    .times(ROUNDS_MAX);
    let model = &route.model;
    let basis = format!(
        "{steps} step(s), {} to {} calls of {model} with the prompt cache{assumed}",
        calls.0,
        calls.1 * ROUNDS_MAX
    );
    Some(Estimate { min, max, basis })
}

/// A conversation that grows by so many tokens with each call; what was said before is read from the cache.
fn conversation(price: &Price, calls: u64, prompt: u64, added: u64, answer: u64, window: u64) -> Money {
    let first = FIXED_TOKENS.saturating_add(prompt);
    let call = |number: u64| {
        let before = first.saturating_add(number.saturating_mul(added)).min(window);
        let (fresh, cached) = if number == 0 { (first, 0) } else { (added, before) };
        price.cost(Tokens {
            input: 0,
            output: answer,
            cache_read: cached,
            cache_write: fresh,
        })
    };
    (0..calls).map(call).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, FoundAgents, Sources, load};

    fn plan(steps: usize) -> Plan {
        let steps: Vec<String> = (0..steps)
            .map(|step| format!("### step-{step}: x\n- agent: developer\n"))
            .collect();
        let steps = steps.join("\n");
        Plan::parse(&format!("## Goal\nx\n## Steps\n{steps}"), &|_| true).expect("a plan")
    }

    #[test]
    fn more_steps_cost_more_and_the_higher_figure_is_higher() {
        let environment = Environment::from_pairs([("ANTHROPIC_API_KEY", "key")]);
        let config = load(&environment, &FoundAgents::default(), &Sources::default()).config;
        let (one, four) = (
            of(&config, &plan(1), 5_000).expect("known"),
            of(&config, &plan(4), 5_000).expect("known"),
        );
        assert!(
            Money::ZERO < one.min && one.min < one.max && one.max < four.max,
            "{one:?} {four:?}"
        );
        assert!(one.max < Money::from_dollars(5), "{}", one.max);
    }

    #[test]
    fn the_demonstration_costs_nothing() {
        assert_eq!(
            of(&Config::demo(), &plan(2), 5_000).expect("known").max,
            Money::ZERO
        );
    }
}
