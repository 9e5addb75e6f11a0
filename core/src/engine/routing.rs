//! From a run's frozen configuration to a router; runs with the same configuration share one, so that
//! they share its breakers and rates.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Shared, locked};
use crate::agent::claude::provider::{ClaudeCode, Parts};
use crate::config::{CapScope, Config, ProviderKind as Kind, Readiness};
use crate::id::BlobId;
use crate::money::Money;
use crate::process::find_program;
use crate::provider::{ModelSettings, Provider, ProviderKind, ProviderSettings};
use crate::router::{BreakerSettings, Candidate, ProviderLimits, RetrySettings, Router, RouterSettings};

/// Routers that are remembered; more configurations than this at once are rare.
const ROUTERS_MAX: usize = 32;

/// The router for this configuration.
pub(super) fn router(shared: &Arc<Shared>, config: &Config) -> Arc<Router> {
    named(shared, &config.hash(), config)
}

/// The router for a configuration that a run froze: the name of what it stored is that of its content.
pub(super) fn frozen(shared: &Arc<Shared>, id: &BlobId, config: &Config) -> Arc<Router> {
    named(shared, id.as_str(), config)
}

fn named(shared: &Arc<Shared>, key: &str, config: &Config) -> Arc<Router> {
    if let Some(router) = locked(&shared.routers).get(key) {
        return Arc::clone(router);
    }
    let services = &shared.services;
    let providers = config
        .providers
        .iter()
        .filter_map(|(id, provider)| build(shared, config, id, provider.kind))
        .collect();
    let limits = Arc::new(services.store.ledger());
    let router = Arc::new(Router::new(
        settings(config),
        providers,
        limits,
        Arc::clone(&services.clock),
    ));
    let mut routers = locked(&shared.routers);
    if routers.len() >= ROUTERS_MAX {
        routers.clear();
    }
    routers.insert(key.to_owned(), Arc::clone(&router));
    router
}

fn build(
    shared: &Arc<Shared>,
    config: &Config,
    id: &str,
    kind: Kind,
) -> Option<(ProviderSettings, Arc<dyn Provider>)> {
    let provider = config.providers.get(id)?;
    if provider.readiness != Readiness::Ready {
        return None;
    }
    let wire = match kind {
        Kind::Anthropic => ProviderKind::Anthropic,
        Kind::OpenAi => ProviderKind::OpenAi,
        Kind::OpenAiCompatible => ProviderKind::OpenAiCompatible,
        Kind::Demo => ProviderKind::Demo,
        Kind::ClaudeCode => ProviderKind::ClaudeCode,
        Kind::Acp => return None,
    };
    let mut settings = ProviderSettings::new(id, wire);
    settings.base_url.clone_from(&provider.base_url);
    settings.api_key = provider
        .api_key_env
        .as_ref()
        .and_then(|name| shared.services.environment.api_key(name));
    settings.api_key_env.clone_from(&provider.api_key_env);
    settings.headers.clone_from(&provider.headers);
    settings.models = provider
        .models
        .iter()
        .map(|(name, model)| (name.clone(), model_settings(model)))
        .collect();
    if kind == Kind::ClaudeCode {
        let built = claude_code(shared, config, id, &settings)?;
        return Some((settings, built));
    }
    let http = shared.http.as_ref()?;
    let built = crate::provider::build(&settings, http);
    let built = built
        .inspect_err(|error| tracing::warn!(provider = id, %error, "a provider cannot be used"))
        .ok()?;
    Some((settings, built))
}

/// The program as a provider of plain answers, for machines where nothing else is set up.
fn claude_code(
    shared: &Arc<Shared>,
    config: &Config,
    id: &str,
    settings: &ProviderSettings,
) -> Option<Arc<dyn Provider>> {
    let services = &shared.services;
    let command = &config.providers.get(id)?.command;
    let named = command.first().map_or("claude", String::as_str);
    let program = find_program(named, &services.environment.search_path())?;
    let address = || services.environment.get("ANTHROPIC_BASE_URL").map(str::to_owned);
    Some(Arc::new(ClaudeCode::new(Parts {
        spawner: services.spawner.clone(),
        environment: Arc::clone(&services.environment),
        cache: services.cache.clone(),
        sandbox: config.sandbox.mode,
        program,
        first_args: command.iter().skip(1).cloned().collect(),
        key: settings.api_key.clone(),
        base_url: settings.base_url.clone().or_else(address),
    })))
}

fn model_settings(model: &crate::config::Model) -> ModelSettings {
    let max_output = model
        .max_output
        .map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX));
    ModelSettings {
        price: model.price,
        context_window: model.context_window,
        max_output,
    }
}

fn settings(config: &Config) -> RouterSettings {
    let smallest = |wanted: &dyn Fn(&CapScope) -> bool| {
        config
            .caps
            .iter()
            .filter(|cap| wanted(&cap.scope))
            .map(|cap| cap.limit)
            .min()
    };
    let routes = config
        .agents
        .keys()
        .map(|agent| (agent.clone(), candidates(config, agent)))
        .collect();
    let limits = config.providers.keys().map(|id| {
        let rates = config.limits.per_provider.get(id).copied().unwrap_or_default();
        let daily_budget: Option<Money> =
            smallest(&|scope| matches!(scope, CapScope::ProviderDay(name) | CapScope::RepositoryProviderDay(name) if name == id));
        let limits = ProviderLimits {
            rpm: rates.rpm,
            tpm: rates.tpm,
            concurrency: rates.concurrency.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            daily_budget,
        };
        (id.clone(), limits)
    });
    RouterSettings {
        routes,
        limits: limits.collect::<BTreeMap<_, _>>(),
        retry: RetrySettings {
            max_attempts: config.retry.max_attempts,
            initial_ms: config.retry.initial_ms,
            max_ms: config.retry.max_ms,
            ..RetrySettings::default()
        },
        breaker: BreakerSettings {
            failures: config.circuit_breaker.failures,
            window_ms: config.circuit_breaker.window_ms,
            open_ms: config.circuit_breaker.open_ms,
            ..BreakerSettings::default()
        },
        repository_day: smallest(&|scope| *scope == CapScope::RepositoryDay),
        user_day: smallest(&|scope| *scope == CapScope::UserDay),
        zone: config.time_zone(),
        ..RouterSettings::default()
    }
}

fn candidates(config: &Config, agent: &crate::id::AgentId) -> Vec<Candidate> {
    let routes = config.route(agent).into_iter();
    routes
        .filter(|route| route.model != crate::config::roster::CLAUDE_CODE_MODEL)
        .map(|route| Candidate {
            provider: route.provider,
            model: route.model,
            reason: route.reason,
        })
        .collect()
}
