//! With which program, on whose account, at which price.

use crate::agent::claude::launch::{Account, Program, missing};
use crate::agent::claude::meter::Meter;
use crate::agent::claude::session::Ended;
use crate::config::{Config, Enforce, Price, PriceAnswer, ProviderConfig, ProviderKind, Readiness, roster};
use crate::engine::StepContext;
use crate::error::{Error, Kind};
use crate::money::Money;
use crate::pipeline::StepFailure;
use crate::process::find_program;
use crate::provider::Usage;
use crate::router::Confirmation;

/// Money that one process holds, unless less is left or its calls may cost more.
const SLICE: Money = Money::from_dollars(2);
/// The dearest calls that a hold is good for.
const CALLS_PER_SLICE: u64 = 4;
/// Least budget that the program is told.
const OWN_BUDGET_MIN: Money = Money::from_pico(10_000_000_000);

/// What was agreed on for the sessions of a step.
#[derive(Debug, Clone)]
pub(super) struct Contract {
    pub(super) program: Program,
    /// Whom the money goes to.
    pub(super) provider: String,
    /// As the program is told; its own choice without one.
    pub(super) model: Option<String>,
    config: std::sync::Arc<Config>,
}

impl Contract {
    /// What the configuration says.
    pub(super) fn find(context: &StepContext) -> Result<Self, StepFailure> {
        let config = &context.config;
        let services = context.services();
        if config.limits.enforce == Enforce::Strict {
            let message = "`limits.enforce: strict` refuses Claude Code, whose calls are counted but do not pass through us";
            let error = Error::new(Kind::Config, "meteredRefused", message);
            return Err(StepFailure::permanent(
                error.hint("set `agents.developer.mode: sdk`, or `limits.enforce: normal`"),
            ));
        }
        let (id, provider) = payer(config, &context.order.agent).ok_or_else(|| {
            let error = Error::new(
                Kind::Config,
                "noProvider",
                "no provider is set up that Claude Code could use",
            );
            StepFailure::permanent(error.hint("set ANTHROPIC_API_KEY, or install `claude` and log in"))
        })?;
        let search_path = services.environment.search_path();
        let command = program_of(config, provider);
        let name = command.first().map_or("claude", String::as_str);
        let path = find_program(name, &search_path)
            .ok_or_else(|| StepFailure::permanent(missing(&format!("the program `{name}` was not found"))))?;
        let key = provider
            .api_key_env
            .as_ref()
            .and_then(|name| services.environment.api_key(name));
        let base_url = provider
            .base_url
            .clone()
            .or_else(|| services.environment.get("ANTHROPIC_BASE_URL").map(str::to_owned));
        Ok(Self {
            program: Program {
                path,
                first_args: command.iter().skip(1).cloned().collect(),
                account: key.map_or(Account::Login, Account::Key),
                base_url,
            },
            provider: id.to_owned(),
            model: model(config, &context.order.agent),
            config: std::sync::Arc::clone(config),
        })
    }

    /// The price of a model; none when nothing is known.
    pub(super) fn price(&self, model: &str) -> Option<Price> {
        match self.config.price(&self.provider, model) {
            PriceAnswer::Known(price) | PriceAnswer::Assumed(price) => Some(price),
            PriceAnswer::Unknown => None,
        }
    }

    /// The most that the next call can cost.
    pub(super) fn next_at_most(&self, meter: &Meter) -> Money {
        let model = meter
            .model()
            .or(self.model.as_deref())
            .unwrap_or(roster::CLAUDE_CODE_MODEL);
        self.price(model)
            .map_or(Money::ZERO, |price| meter.next_at_most(&price))
    }

    /// What one process holds when its next call costs at most `next`: enough for a while, no more than
    /// is left, and at least a call with a little beyond, or it would be stopped before its first tool.
    pub(super) async fn amount(&self, context: &StepContext, next: Money) -> Result<Money, StepFailure> {
        let wanted = SLICE.max(next.times(CALLS_PER_SLICE));
        let left = context.remaining().await?.unwrap_or(wanted);
        Ok(left.min(wanted).max(next.plus(Money::from_pico(next.pico() / 4))))
    }

    /// What the program is told: it looks only after each call, so one call less.
    pub(super) fn own_budget(amount: Money, next: Money) -> Option<Money> {
        (next > Money::ZERO).then(|| amount.minus(next).max(OWN_BUDGET_MIN))
    }

    /// What a process cost: as we counted, or as it reports if that is more.
    pub(super) fn bill(&self, ended: &Ended) -> (Money, Usage, Confirmation) {
        let counted = ended.meter.cost(&|model| self.price(model));
        let cost = counted.max(ended.reported.unwrap_or_default());
        let is_known = ended.reported.is_some() || ended.meter.usage().is_empty();
        (
            cost,
            ended.meter.usage(),
            if is_known {
                Confirmation::Confirmed
            } else {
                Confirmation::Unconfirmed
            },
        )
    }

    /// A process that never began.
    pub(super) fn nothing() -> (Money, Usage, Confirmation) {
        (Money::ZERO, Usage::default(), Confirmation::Confirmed)
    }
}

/// The provider that pays: the one that is named with the model `claude-code`; else a `claude-code` provider
/// with a key of its own; else the one that the Developer is routed to, if Claude Code can use it; else the
/// program's own login; else any with a key for the same models.
fn payer<'c>(config: &'c Config, agent: &crate::id::AgentId) -> Option<(&'c str, &'c ProviderConfig)> {
    let ready = |provider: &ProviderConfig| provider.readiness == Readiness::Ready;
    let usable = |provider: &ProviderConfig| {
        matches!(provider.kind, ProviderKind::Anthropic | ProviderKind::ClaudeCode) && ready(provider)
    };
    let routes = config.route(agent);
    let routed_with = |wanted: &dyn Fn(&str) -> bool| {
        let fitting = routes.iter().filter(|route| wanted(&route.model));
        fitting
            .filter_map(|route| config.providers.get_key_value(&route.provider))
            .find(|(_, provider)| usable(provider))
    };
    let of_kind = |kind: ProviderKind, wanted: &dyn Fn(&ProviderConfig) -> bool| {
        let ready_ones = config.providers.iter().filter(|(_, provider)| ready(provider));
        let mut fitting = ready_ones.filter(|(_, provider)| provider.kind == kind && wanted(provider));
        fitting.next()
    };
    routed_with(&|model| model == roster::CLAUDE_CODE_MODEL)
        .or_else(|| {
            of_kind(ProviderKind::ClaudeCode, &|provider| {
                provider.api_key_env.is_some()
            })
        })
        .or_else(|| routed_with(&|_| true))
        .or_else(|| of_kind(ProviderKind::ClaudeCode, &|_| true))
        .or_else(|| of_kind(ProviderKind::Anthropic, &|_| true))
        .map(|(id, provider)| (id.as_str(), provider))
}

/// The program and its first arguments.
fn program_of(config: &Config, provider: &ProviderConfig) -> Vec<String> {
    let own = (provider.kind == ProviderKind::ClaudeCode).then_some(&provider.command);
    let others = config
        .providers
        .values()
        .filter(|other| other.kind == ProviderKind::ClaudeCode)
        .map(|other| &other.command);
    let configured = own
        .into_iter()
        .chain(others)
        .find(|command| !command.is_empty())
        .cloned();
    let found = || {
        config
            .found
            .claude
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    };
    configured.unwrap_or_else(found)
}

/// The model that a person chose for the Developer, if it is one that the program knows.
fn model(config: &Config, agent: &crate::id::AgentId) -> Option<String> {
    let knows = |provider: &str| {
        config.providers.get(provider).is_some_and(|provider| {
            matches!(provider.kind, ProviderKind::Anthropic | ProviderKind::ClaudeCode)
        })
    };
    let routes = config.route(agent).into_iter();
    routes
        .filter(|route| route.model != roster::CLAUDE_CODE_MODEL && knows(&route.provider))
        .map(|route| route.model)
        .next()
}
