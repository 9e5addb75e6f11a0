//! From what was written to what holds: the merged settings become a [`Config`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::Environment;
use super::price::{self, Model};
use super::roster;
use super::settings::{
    AgentSettings, LimitSettings, Mode, PipelineSettings, ProviderKind, ProviderSettings, RoutingSettings,
    Settings, TargetSettings,
};
use super::values::{
    AgentConfig, Alert, Approvals, Cap, CapScope, CircuitBreaker, Config, Context, Downgrade, FoundAgents,
    Knowledge, Limits, PipelineDefinition, ProviderConfig, Rates, Readiness, Retention, Retry, Routing,
    Sandbox, StepDefinition, Team, Telemetry, UiConfig, Worktrees,
};
use super::{Layer, detect};
use crate::id::{AgentId, StepId};
use crate::task::{CommandOrigin, TestCommand};

/// Model calls of one step of an agent that nobody gave a limit.
const TURNS_DEFAULT: u32 = 40;

/// What the settings alone do not say.
pub(crate) struct Surroundings<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) found: &'a FoundAgents,
    pub(crate) caps: Vec<Cap>,
    /// Who said a dotted key.
    pub(crate) layer_of: &'a dyn Fn(&[&str]) -> Option<Layer>,
}

pub(crate) fn resolve(settings: Settings, around: Surroundings<'_>) -> Config {
    let Surroundings {
        environment,
        found,
        caps,
        layer_of,
    } = around;
    let providers: BTreeMap<String, ProviderConfig> = settings
        .providers
        .into_iter()
        .filter_map(|(id, provider)| Some((id.clone(), provider_config(&id, provider, environment, found)?)))
        .collect();
    let demo_only = !providers
        .values()
        .any(|provider| provider.kind != ProviderKind::Demo && provider.readiness == Readiness::Ready);
    let test_origin = match layer_of(&["tests"]) {
        Some(layer) if layer.is_foreign() => CommandOrigin::Repository,
        _ => CommandOrigin::Person,
    };
    let agents: BTreeMap<AgentId, AgentConfig> = with_built_in(settings.agents)
        .into_iter()
        .map(|(name, agent)| (AgentId::new(name.clone()), agent_config(&name, agent)))
        .collect();
    let mut config = Config {
        routing: routing(settings.routing, &agents, layer_of),
        limits: limits(settings.limits),
        caps,
        retry: Retry {
            max_attempts: settings.retry.max_attempts.unwrap_or(1),
            initial_ms: settings.retry.initial_ms.unwrap_or(1_000),
            max_ms: settings.retry.max_ms.unwrap_or(60_000),
            jitter: settings.retry.jitter.unwrap_or_default(),
        },
        circuit_breaker: CircuitBreaker {
            failures: settings.circuit_breaker.failures.unwrap_or(5),
            window_ms: settings.circuit_breaker.window_ms.unwrap_or(60_000),
            open_ms: settings.circuit_breaker.open_ms.unwrap_or(30_000),
        },
        approvals: Approvals {
            plan: settings.approvals.plan.unwrap_or(true),
            patch: settings.approvals.patch.unwrap_or(true),
            knowledge: settings.approvals.knowledge.unwrap_or(true),
        },
        alerts: settings
            .alerts
            .into_iter()
            .map(|alert| Alert {
                metric: alert.metric,
                threshold: alert.threshold,
                window_ms: alert.window_ms,
                severity: alert.severity,
            })
            .collect(),
        agents,
        resume: settings.pipelines.resume.unwrap_or_default(),
        pipelines: settings
            .pipelines
            .named
            .into_iter()
            .map(|(name, pipeline)| (name, pipeline_definition(pipeline)))
            .collect(),
        worktrees: Worktrees {
            isolation: settings.worktrees.isolation.unwrap_or_default(),
            pool: settings.worktrees.pool.unwrap_or_default(),
            max_bytes: settings.worktrees.max_bytes.unwrap_or_default().0,
            setup: settings.worktrees.setup,
            include: settings.worktrees.include,
        },
        retention: Retention {
            days: settings.retention.days.unwrap_or(Retention::DEFAULT.days),
            max_bytes: settings
                .retention
                .max_bytes
                .map_or(Retention::DEFAULT.max_bytes, |size| size.0),
        },
        context: Context {
            exclude: settings.context.exclude,
            max_tokens: settings.context.max_tokens.unwrap_or_default(),
            max_file_bytes: settings.context.max_file_bytes.unwrap_or_default().0,
        },
        knowledge: Knowledge {
            enabled: settings.knowledge.enabled.unwrap_or_default(),
            max_entries: settings.knowledge.max_entries.unwrap_or_default(),
        },
        telemetry: Telemetry {
            enabled: settings.telemetry.enabled.unwrap_or_default(),
            endpoint: settings.telemetry.endpoint,
        },
        sandbox: Sandbox {
            mode: settings.sandbox.mode.unwrap_or_default(),
            network: settings.sandbox.network.unwrap_or_default(),
            readable: settings.sandbox.readable.into_iter().map(PathBuf::from).collect(),
            writable: settings.sandbox.writable.into_iter().map(PathBuf::from).collect(),
        },
        team: Team {
            engine: settings.team.engine.unwrap_or_default(),
            address: settings.team.address,
            namespace: settings.team.namespace,
        },
        ui: UiConfig {
            lens_hunks: settings.ui.code_lens.hunks.unwrap_or(true),
            lens_todos: settings.ui.code_lens.todos.unwrap_or_default(),
            inlay_hints: settings.ui.inlay_hints.unwrap_or_default(),
            diagnostics: settings.ui.diagnostics.unwrap_or(true),
            prompts: settings.ui.prompts.unwrap_or(true),
        },
        tests: settings
            .tests
            .into_iter()
            .map(|test| TestCommand {
                command: test.command,
                success_regex: test.success_regex,
                timeout_ms: test.timeout_ms,
                origin: test_origin,
            })
            .collect(),
        zone: settings.zone.unwrap_or_else(|| "UTC".to_owned()),
        trust_client: settings.trust_client,
        concurrency: settings.concurrency.unwrap_or(1),
        demo_only,
        developer_modes: Vec::new(),
        found: found.clone(),
        providers,
    };
    config.developer_modes = developer_modes(&config);
    config
}

fn provider_config(
    id: &str,
    settings: ProviderSettings,
    environment: &Environment,
    found: &FoundAgents,
) -> Option<ProviderConfig> {
    let kind = settings.kind?;
    let mut models: BTreeMap<String, Model> = price::vendor(kind)
        .map(|vendor| vendor.models.clone())
        .unwrap_or_default();
    for (name, model) in &settings.models {
        let known = price::find(&models, name).cloned().unwrap_or_default();
        models.insert(name.clone(), known.overlaid(model));
    }
    let mut command = settings.command.map(|command| command.0).unwrap_or_default();
    if kind == ProviderKind::ClaudeCode
        && command.is_empty()
        && let Some(claude) = &found.claude
    {
        command.push(claude.to_string_lossy().into_owned());
    }
    let api_key_env = settings.api_key_env.or_else(|| match kind {
        ProviderKind::Anthropic => Some("ANTHROPIC_API_KEY".to_owned()),
        ProviderKind::OpenAi => Some("OPENAI_API_KEY".to_owned()),
        _ => None,
    });
    let readiness = readiness(
        id,
        kind,
        settings.base_url.as_deref(),
        api_key_env.as_deref(),
        &command,
        environment,
    );
    Some(ProviderConfig {
        kind,
        base_url: settings.base_url,
        api_key_env,
        headers: settings.headers,
        command,
        models,
        readiness,
    })
}

fn readiness(
    id: &str,
    kind: ProviderKind,
    base_url: Option<&str>,
    api_key_env: Option<&str>,
    command: &[String],
    environment: &Environment,
) -> Readiness {
    if base_url.is_none()
        && let Some(variable) = detect::unusable_addresses(environment)
            .find_map(|(provider, variable)| (provider == id).then_some(variable))
    {
        return Readiness::BadAddress {
            variable: variable.to_owned(),
        };
    }
    match (kind, api_key_env) {
        (ProviderKind::ClaudeCode, _) if command.is_empty() => Readiness::NoProgram {
            program: "claude".to_owned(),
        },
        (ProviderKind::Demo, _) | (_, None) => Readiness::Ready,
        (_, Some(variable)) if environment.api_key(variable).is_none() => Readiness::NoKey {
            variable: variable.to_owned(),
        },
        (_, Some(_)) => Readiness::Ready,
    }
}

fn with_built_in(mut agents: BTreeMap<String, AgentSettings>) -> BTreeMap<String, AgentSettings> {
    for name in roster::BUILT_IN {
        agents.entry(name.to_owned()).or_default();
    }
    agents
}

fn agent_config(name: &str, settings: AgentSettings) -> AgentConfig {
    AgentConfig {
        enabled: settings.enabled.unwrap_or(true),
        built_in: roster::is_built_in(name),
        prompt: settings.prompt,
        model: settings.model,
        tools: settings.tools,
        mode: settings.mode,
        max_turns: settings.max_turns.unwrap_or(TURNS_DEFAULT),
    }
}

fn pipeline_definition(settings: PipelineSettings) -> PipelineDefinition {
    let mut before: Option<StepId> = None;
    let steps = settings
        .steps
        .into_iter()
        .map(|step| {
            let id = StepId::new(step.id.unwrap_or_else(|| step.agent.clone()));
            let needs = match step.needs {
                Some(needs) => needs.into_iter().map(StepId::new).collect(),
                None => before.take().into_iter().collect(),
            };
            before = Some(id.clone());
            StepDefinition {
                id,
                agent: AgentId::new(step.agent),
                needs,
                when: step.when,
                gate: step.gate,
                max_attempts: step.max_attempts,
                timeout_ms: step.timeout_ms,
            }
        })
        .collect();
    PipelineDefinition {
        steps,
        timeout_ms: settings.timeout_ms,
    }
}

fn routing(
    settings: RoutingSettings,
    agents: &BTreeMap<AgentId, AgentConfig>,
    layer_of: &dyn Fn(&[&str]) -> Option<Layer>,
) -> Routing {
    let model_wins = agents
        .iter()
        .filter(|(_, agent)| agent.model.is_some())
        .map(|(name, _)| name.as_str())
        .filter(|name| layer_of(&["agents", name, "model"]) >= layer_of(&["routing", "default", "map", name]))
        .map(str::to_owned)
        .collect();
    Routing {
        kind: settings.default.kind,
        map: settings.default.map,
        fixed: settings.default.provider.map(|provider| TargetSettings {
            provider,
            model: settings.default.model,
        }),
        needs: settings.default.needs,
        fallback: settings.default.fallback,
        rules: settings.rules,
        model_wins,
        downgrade: settings.downgrade.map(|downgrade| Downgrade {
            below: downgrade.below,
            to: downgrade.to,
        }),
    }
}

fn limits(settings: LimitSettings) -> Limits {
    Limits {
        per_execution: settings.per_execution.map(|limit| limit.0),
        enforce: settings.enforce.unwrap_or_default(),
        per_provider: settings
            .per_provider
            .into_iter()
            .map(|(id, limits)| {
                (
                    id,
                    Rates {
                        rpm: limits.rpm,
                        tpm: limits.tpm,
                        concurrency: limits.concurrency,
                    },
                )
            })
            .collect(),
    }
}

/// The caps that one layer's limits declare. Those of the user count everything, those of a
/// foreign layer what is spent in this repository.
pub(crate) fn caps(limits: &LimitSettings, layer_of: &dyn Fn(&[&str]) -> Layer) -> Vec<Cap> {
    let mut caps = Vec::new();
    if let Some(limit) = limits.per_execution {
        caps.push(Cap {
            scope: CapScope::Run,
            limit: limit.0,
            layer: layer_of(&["limits", "perExecutionUSD"]),
        });
    }
    if let Some(limit) = limits.daily_budget {
        let layer = layer_of(&["limits", "dailyBudgetUSD"]);
        let scope = if layer.is_foreign() {
            CapScope::RepositoryDay
        } else {
            CapScope::UserDay
        };
        caps.push(Cap {
            scope,
            limit: limit.0,
            layer,
        });
    }
    for (id, provider) in &limits.per_provider {
        if let Some(limit) = provider.daily_budget {
            let layer = layer_of(&["limits", "perProvider", id, "dailyBudgetUSD"]);
            let scope = if layer.is_foreign() {
                CapScope::RepositoryProviderDay(id.clone())
            } else {
                CapScope::ProviderDay(id.clone())
            };
            caps.push(Cap {
                scope,
                limit: limit.0,
                layer,
            });
        }
    }
    caps
}

/// Ways to carry out the Developer's work, in order.
fn developer_modes(config: &Config) -> Vec<Mode> {
    let developer = AgentId::from(roster::DEVELOPER);
    let chosen = config.agents.get(&developer).and_then(|agent| agent.mode);
    let by_model = config
        .route(&developer)
        .first()
        .is_some_and(|route| route.model == roster::CLAUDE_CODE_MODEL);
    let ready = |wanted: fn(ProviderKind) -> bool| {
        config
            .providers
            .values()
            .any(|provider| provider.readiness == Readiness::Ready && wanted(provider.kind))
    };
    let has_interface = ready(|kind| {
        matches!(
            kind,
            ProviderKind::Anthropic | ProviderKind::OpenAi | ProviderKind::OpenAiCompatible
        )
    });
    let has_claude = ready(|kind| kind == ProviderKind::ClaudeCode);
    let mut modes = Vec::new();
    modes.extend(chosen);
    modes.extend(by_model.then_some(Mode::Cli));
    modes.extend(has_interface.then_some(Mode::Sdk));
    modes.extend(has_claude.then_some(Mode::Cli));
    if modes.is_empty() {
        modes.push(if ready(|kind| kind == ProviderKind::Acp) {
            Mode::Acp
        } else {
            Mode::Sdk
        });
    }
    let mut seen = Vec::new();
    modes.retain(|mode| {
        let new = !seen.contains(mode);
        seen.push(*mode);
        new
    });
    modes
}
