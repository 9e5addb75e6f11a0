//! Which models an agent may use, in order, each with the reason. Pure: the same configuration
//! gives the same list; health, rates and money are the router's to judge.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::price::{self, Model, Price, PriceAnswer};
use super::roster;
use super::settings::{ProviderKind, RouteKind, RuleSettings, TargetSettings};
use super::values::{Config, ProviderConfig, Readiness};
use crate::id::AgentId;
use crate::money::Money;
use crate::task::Priority;

/// Most candidates for one call.
const CANDIDATES_MAX: usize = 8;

/// One candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Id of the provider.
    pub provider: String,
    /// Name of the model. [`roster::CLAUDE_CODE_MODEL`] stands for the Developer by Claude Code;
    /// the tool loop passes over it.
    pub model: String,
    /// Why it is in this place.
    pub reason: String,
}

/// What a rule may ask about a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteQuestion {
    /// Priority of the task.
    pub priority: Priority,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
}

impl Config {
    /// Candidates for this agent, in order, for an ordinary call.
    pub fn route(&self, agent: &AgentId) -> Vec<Route> {
        self.route_for(agent, RouteQuestion::default())
    }

    /// Candidates for this agent, in order. Providers that cannot be used here are left out, unless
    /// there is no other: then they stand first, so that the error says what is missing.
    pub fn route_for(&self, agent: &AgentId, question: RouteQuestion) -> Vec<Route> {
        let name = agent.as_str();
        let mut routes = Candidates {
            config: self,
            agent: name,
            ready: Vec::new(),
            unready: Vec::new(),
        };
        for (index, rule) in self
            .routing
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| fits(rule, name, question))
        {
            routes.target(&rule.target, &format!("routing.rules[{index}]"));
        }
        self.first_choice(name, &mut routes);
        for (index, target) in self.routing.fallback.iter().enumerate() {
            routes.target(target, &format!("routing.default.fallback[{index}]"));
        }
        if routes.ready.is_empty() {
            self.found_on_this_machine(name, &mut routes);
        }
        routes.finish()
    }

    /// The models that `routing.downgrade` names for this agent, in order, and the share of the
    /// budget below which they are used.
    pub fn downgrade(&self, agent: &AgentId) -> Option<(super::amount::Share, Vec<Route>)> {
        let downgrade = self.routing.downgrade.as_ref()?;
        let mut routes = Candidates {
            config: self,
            agent: agent.as_str(),
            ready: Vec::new(),
            unready: Vec::new(),
        };
        for (index, target) in downgrade.to.iter().enumerate() {
            routes.target(target, &format!("routing.downgrade.to[{index}]"));
        }
        Some((downgrade.below, routes.ready))
    }

    fn first_choice(&self, agent: &str, routes: &mut Candidates<'_>) {
        let own = self
            .agents
            .get(&AgentId::from(agent))
            .and_then(|agent| agent.model.as_deref());
        let own_wins = self.routing.model_wins.iter().any(|name| name == agent);
        if let Some(model) = own.filter(|_| own_wins) {
            routes.model(model, &format!("agents.{agent}.model"));
        }
        match self.routing.kind {
            RouteKind::ByAgent => {
                if let Some(target) = self.routing.map.get(agent) {
                    routes.target(target, &format!("routing.default.map.{agent}"));
                }
            }
            RouteKind::Fixed => {
                if let Some(target) = &self.routing.fixed {
                    routes.target(target, "routing.default (fixed)");
                }
            }
            RouteKind::ByCost => {
                for (provider, model, _, _) in self.capable(agent) {
                    routes.add(
                        provider,
                        model,
                        "byCost: the cheapest that can do what the agent needs".to_owned(),
                    );
                }
            }
            RouteKind::ByCapability => {
                let mut capable = self.capable(agent);
                capable.sort_by_key(|(_, _, capabilities, cost)| (Reverse(*capabilities), Reverse(*cost)));
                for (provider, model, capabilities, _) in capable {
                    routes.add(
                        provider,
                        model,
                        format!("byCapability: can do {capabilities} of the things that models can"),
                    );
                }
            }
        }
        if let Some(model) = own.filter(|_| !own_wins && routes.is_empty()) {
            routes.model(model, &format!("agents.{agent}.model"));
        }
    }

    /// Priced models of ready interfaces that can do what the agent needs, the cheapest first.
    fn capable(&self, agent: &str) -> Vec<(&str, &str, usize, Money)> {
        let needs = self
            .routing
            .needs
            .get(agent)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut capable: Vec<_> = self
            .providers
            .iter()
            .filter(|(_, provider)| provider.readiness == Readiness::Ready && is_interface(provider.kind))
            .flat_map(|(id, provider)| {
                provider
                    .models
                    .iter()
                    .map(move |(name, model)| (id.as_str(), name.as_str(), model))
            })
            .filter(|(_, _, model)| needs.iter().all(|need| model.capabilities.contains(need)))
            .filter_map(|(id, name, model)| {
                Some((id, name, model.capabilities.len(), model.price?.typical()))
            })
            .collect();
        capable.sort_by_key(|(id, name, _, cost)| (*cost, *id, *name));
        capable
    }

    /// Without any word of a person: what this machine offers.
    fn found_on_this_machine(&self, agent: &str, routes: &mut Candidates<'_>) {
        let ready = |kind: ProviderKind| {
            self.providers
                .iter()
                .filter(move |(_, provider)| provider.kind == kind && provider.readiness == Readiness::Ready)
        };
        let order = [
            ProviderKind::Anthropic,
            ProviderKind::OpenAi,
            ProviderKind::OpenAiCompatible,
            ProviderKind::ClaudeCode,
            ProviderKind::Demo,
        ];
        for kind in order {
            // Programs and the demonstration only stand in where there is no interface.
            if !is_interface(kind) && !routes.ready.is_empty() {
                break;
            }
            for (id, provider) in ready(kind) {
                if let Some(model) = default_model(provider, agent) {
                    let why = if kind == ProviderKind::Demo {
                        "nothing else is set up"
                    } else {
                        "found on this machine"
                    };
                    routes.add(id, model, format!("default for {agent}: {why}"));
                }
            }
        }
    }

    /// What is known about a model.
    pub fn model(&self, provider: &str, model: &str) -> Option<&Model> {
        price::find(&self.providers.get(provider)?.models, model)
    }

    /// What a token of this model costs.
    pub fn price(&self, provider: &str, model: &str) -> PriceAnswer {
        let Some(provider) = self.providers.get(provider) else {
            return PriceAnswer::Unknown;
        };
        if let Some(price) = price::find(&provider.models, model).and_then(|model| model.price) {
            return PriceAnswer::Known(price);
        }
        provider
            .models
            .values()
            .filter_map(|model| model.price)
            .reduce(Price::dearest)
            .map_or(PriceAnswer::Unknown, PriceAnswer::Assumed)
    }
}

fn fits(rule: &RuleSettings, agent: &str, question: RouteQuestion) -> bool {
    let when = &rule.when;
    when.agent.as_deref().is_none_or(|wanted| wanted == agent)
        && when.priority.is_none_or(|wanted| wanted == question.priority)
        && when
            .prompt_tokens_above
            .is_none_or(|tokens| question.prompt_tokens > tokens)
}

fn is_interface(kind: ProviderKind) -> bool {
    matches!(
        kind,
        ProviderKind::Anthropic | ProviderKind::OpenAi | ProviderKind::OpenAiCompatible
    )
}

/// The model that a provider offers an agent: the table's choice, else the first that the user named.
fn default_model<'p>(provider: &'p ProviderConfig, agent: &str) -> Option<&'p str> {
    match price::vendor(provider.kind) {
        Some(vendor) => Some(vendor.default_model(agent)),
        None => provider.models.keys().next().map(String::as_str),
    }
}

struct Candidates<'c> {
    config: &'c Config,
    agent: &'c str,
    ready: Vec<Route>,
    unready: Vec<Route>,
}

impl Candidates<'_> {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.unready.is_empty()
    }

    /// A provider and perhaps a model that a person named.
    fn target(&mut self, target: &TargetSettings, reason: &str) {
        let Some(provider) = self.config.providers.get(&target.provider) else {
            return;
        };
        let by_claude_code = target.model.as_deref() == Some(roster::CLAUDE_CODE_MODEL);
        if by_claude_code && self.agent == roster::DEVELOPER {
            self.add(&target.provider, roster::CLAUDE_CODE_MODEL, reason.to_owned());
        }
        let named = target.model.as_deref().filter(|_| !by_claude_code);
        let Some(model) = named.or_else(|| default_model(provider, self.agent)) else {
            return;
        };
        let reason = match (named, by_claude_code && self.agent == roster::DEVELOPER) {
            (_, true) => format!("{reason}: for the tool loop, should Claude Code not run"),
            (None, _) => format!("{reason}: the provider's default for {}", self.agent),
            (Some(_), _) => reason.to_owned(),
        };
        let model = model.to_owned();
        self.add(&target.provider, &model, reason);
    }

    /// A model that a person named without its provider: the first that offers it.
    fn model(&mut self, model: &str, reason: &str) {
        let offers = |provider: &ProviderConfig| {
            price::find(&provider.models, model).is_some()
                || (model == roster::CLAUDE_CODE_MODEL
                    && matches!(provider.kind, ProviderKind::Anthropic | ProviderKind::ClaudeCode))
        };
        let offering: BTreeMap<_, _> = self
            .config
            .providers
            .iter()
            .filter(|(_, provider)| offers(provider))
            .map(|(id, provider)| {
                (
                    (
                        provider.readiness != Readiness::Ready,
                        !is_interface(provider.kind),
                        id.clone(),
                    ),
                    id.clone(),
                )
            })
            .collect();
        if let Some(id) = offering.into_values().next() {
            self.target(
                &TargetSettings {
                    provider: id,
                    model: Some(model.to_owned()),
                },
                reason,
            );
        }
    }

    fn add(&mut self, provider: &str, model: &str, reason: String) {
        let known = self
            .ready
            .iter()
            .chain(&self.unready)
            .any(|route| route.provider == provider && route.model == model);
        let Some(config) = self.config.providers.get(provider).filter(|_| !known) else {
            return;
        };
        let route = Route {
            provider: provider.to_owned(),
            model: model.to_owned(),
            reason,
        };
        match config.readiness.problem() {
            None => self.ready.push(route),
            Some(problem) => self.unready.push(Route {
                reason: format!("{}; {problem}", route.reason),
                ..route
            }),
        }
    }

    fn finish(self) -> Vec<Route> {
        let missing = self
            .unready
            .first()
            .map(|route| format!("instead of {}/{} ({})", route.provider, route.model, route.reason));
        let mut routes = if self.ready.is_empty() {
            self.unready
        } else {
            self.ready
        };
        if let (Some(missing), Some(first)) = (missing, routes.first_mut())
            && !missing.contains(&first.reason)
        {
            first.reason = format!("{}, {missing}", first.reason);
        }
        routes.truncate(CANDIDATES_MAX);
        routes
    }
}
