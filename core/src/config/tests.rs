//! Scenarios over the whole of the configuration: layers in, one configuration out.

mod layers;
mod routes;
mod samples;
mod trusted;

use super::*;

/// The seed's example, word for word.
const SEED: &str = include_str!("../../../config/samples/valid/seed.yaml");

fn keys(names: &[&str]) -> Environment {
    Environment::from_pairs(names.iter().map(|name| (*name, "a-key")))
}

fn both_keys() -> Environment {
    keys(&["ANTHROPIC_API_KEY", "OPENAI_API_KEY"])
}

fn file(path: &str, text: &str) -> SourceText {
    SourceText {
        path: path.into(),
        text: text.to_owned(),
    }
}

fn user(text: &str) -> Sources {
    Sources {
        user: Some(file("/home/u/.config/clode/providers.yaml", text)),
        ..Sources::default()
    }
}

fn workspace(text: &str) -> Sources {
    Sources {
        workspace: vec![file("/repo/.claude/agents/config/providers.yaml", text)],
        ..Sources::default()
    }
}

fn trusted(sources: Sources) -> Sources {
    Sources {
        trust: TrustState::Trusted {
            hash: "shown".to_owned(),
        },
        ..sources
    }
}

fn load_with(environment: &Environment, sources: &Sources) -> Loaded {
    load(environment, &FoundAgents::default(), sources)
}

fn warned(loaded: &Loaded) -> Vec<(&str, &str)> {
    loaded
        .warnings
        .iter()
        .map(|warning| (warning.code.as_str(), warning.key.as_str()))
        .collect()
}

fn routes(config: &Config, agent: &str) -> Vec<String> {
    config
        .route(&agent.into())
        .iter()
        .map(|route| format!("{}/{}", route.provider, route.model))
        .collect()
}
