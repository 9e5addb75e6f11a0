use serde_json::json;

use super::*;
use crate::money::Money;

#[test]
fn the_seeds_example_is_accepted_word_for_word_untrusted() {
    let found = FoundAgents {
        claude: Some("/usr/bin/claude".into()),
        codex: None,
    };
    let loaded = load(&both_keys(), &found, &workspace(SEED));
    assert_eq!(loaded.errors, []);
    assert_eq!(loaded.warnings, []);
    assert_eq!(routes(&loaded.config, "developer")[0], "anthropic/claude-code");
    assert_eq!(routes(&loaded.config, "qa"), ["openai/gpt-4-turbo"]);
    assert_eq!(loaded.config.developer_modes[0], Mode::Cli);
    let rates = loaded.config.limits.per_provider["anthropic"];
    assert_eq!((rates.rpm, rates.tpm), (Some(300), Some(500_000)));
    assert!(loaded.config.caps.contains(&Cap {
        scope: CapScope::RepositoryProviderDay("anthropic".to_owned()),
        limit: Money::from_dollars(50),
        layer: Layer::Workspace,
    }));
}

#[test]
fn without_any_file_a_run_may_cost_five_dollars_and_a_day_fifty() {
    let config = load_with(&both_keys(), &Sources::default()).config;
    assert_eq!(config.limits.per_execution, Some(Money::from_dollars(5)));
    let caps: Vec<_> = config
        .caps
        .iter()
        .map(|cap| (cap.scope.clone(), cap.limit, cap.layer))
        .collect();
    assert_eq!(
        caps,
        [
            (CapScope::Run, Money::from_dollars(5), Layer::Default),
            (CapScope::UserDay, Money::from_dollars(50), Layer::Default),
        ]
    );
    assert_eq!(
        config.approvals,
        Approvals {
            plan: true,
            patch: true,
            knowledge: true
        }
    );
}

#[test]
fn the_user_may_raise_the_built_in_limits_and_a_workspace_may_only_lower_them() {
    let mut sources = user("limits: {perExecutionUSD: 20, dailyBudgetUSD: 200}");
    sources.workspace = vec![file(
        "/repo/w.yaml",
        "limits:\n  perExecutionUSD: 3\n  dailyBudgetUSD: 1000\n",
    )];
    let loaded = load_with(&both_keys(), &trusted(sources));
    assert_eq!(loaded.config.limits.per_execution, Some(Money::from_dollars(3)));
    assert_eq!(loaded.origins["limits.perExecutionUSD"], Layer::Workspace);
    assert_eq!(loaded.origins["limits.dailyBudgetUSD"], Layer::User);
    assert_eq!(warned(&loaded), [("limitNotRaised", "limits.dailyBudgetUSD")]);
    let warning = &loaded.warnings[0];
    assert_eq!(
        (warning.path.as_deref(), warning.line),
        (Some(std::path::Path::new("/repo/w.yaml")), 3)
    );
}

#[test]
fn every_layers_cap_keeps_its_own_scope_and_all_must_hold() {
    let mut sources = user("limits: {dailyBudgetUSD: 40, perProvider: {openai: {dailyBudgetUSD: 7.5}}}");
    sources.workspace = vec![file("/repo/w.yaml", "limits: {dailyBudgetUSD: 12}")];
    sources.client = Some(json!({ "limits": { "dailyBudgetUSD": 9, "perExecutionUSD": 1 } }));
    let caps: Vec<_> = load_with(&both_keys(), &sources)
        .config
        .caps
        .into_iter()
        .map(|cap| (cap.scope, cap.limit, cap.layer))
        .collect();
    assert_eq!(
        caps,
        [
            (CapScope::Run, Money::from_dollars(5), Layer::Default),
            (CapScope::UserDay, Money::from_dollars(40), Layer::User),
            (
                CapScope::ProviderDay("openai".to_owned()),
                Money::from_pico(7_500_000_000_000),
                Layer::User
            ),
            (CapScope::RepositoryDay, Money::from_dollars(12), Layer::Workspace),
            (CapScope::Run, Money::from_dollars(1), Layer::Client),
            (CapScope::RepositoryDay, Money::from_dollars(9), Layer::Client),
        ]
    );
}

#[test]
fn a_budget_of_nothing_is_a_limit_and_strict_stays_strict() {
    let mut sources = user("limits: {dailyBudgetUSD: 0, enforce: strict}");
    sources.client = Some(json!({ "limits": { "enforce": "normal" } }));
    let config = load_with(&both_keys(), &sources).config;
    assert!(
        config
            .caps
            .iter()
            .any(|cap| cap.scope == CapScope::UserDay && cap.limit == Money::ZERO)
    );
    assert_eq!(config.limits.enforce, Enforce::Strict);
}

#[test]
fn the_folder_lies_over_the_top_level_and_the_client_over_both() {
    let sources = Sources {
        workspace: vec![
            file(
                "/repo/top.yaml",
                "agents: {qa: {maxTurns: 5}, developer: {maxTurns: 6}, architect: {maxTurns: 7}}",
            ),
            file(
                "/repo/app/folder.yaml",
                "agents: {qa: {maxTurns: 8}, developer: {maxTurns: 9}}",
            ),
        ],
        client: Some(json!({ "agents": { "qa": { "maxTurns": 10 } } })),
        ..Sources::default()
    };
    let loaded = load_with(&both_keys(), &sources);
    let turns = |agent: &str| loaded.config.agents[&agent.into()].max_turns;
    assert_eq!((turns("qa"), turns("developer"), turns("architect")), (10, 9, 7));
    assert_eq!(loaded.origins["agents.qa.maxTurns"], Layer::Client);
    assert_eq!(loaded.origins["agents.developer.maxTurns"], Layer::Workspace);
    assert_eq!(loaded.origins["agents.kbBuilder.maxTurns"], Layer::Default);
}

#[test]
fn a_target_is_replaced_as_a_whole() {
    let mut sources = user("routing: {default: {map: {qa: {provider: openai, model: gpt-4o}}}}");
    sources.workspace = vec![file(
        "/repo/w.yaml",
        "routing: {default: {map: {qa: {provider: anthropic}}}}",
    )];
    let config = load_with(&both_keys(), &sources).config;
    assert_eq!(
        routes(&config, "qa"),
        ["anthropic/claude-sonnet-5-5"],
        "not anthropic/gpt-4o"
    );
}

#[test]
fn one_bad_layer_takes_nothing_else_down() {
    let mut sources = user("limits: {perExecutionUSD: 2}");
    sources.workspace = vec![file("/repo/bad.yaml", "limits: {perExecutionUSD: -1}")];
    sources.client = Some(json!({ "agents": { "qa": { "maxTurns": 3 } } }));
    let loaded = load_with(&both_keys(), &sources);
    assert_eq!(loaded.errors.len(), 1);
    assert_eq!(loaded.config.limits.per_execution, Some(Money::from_dollars(2)));
    assert_eq!(loaded.config.agents[&"qa".into()].max_turns, 3);
}

#[test]
fn a_layer_that_is_wrong_only_beside_the_others_is_the_one_that_is_left_out() {
    let mut sources = user("retry: {initialMs: 30000}\nlimits: {perExecutionUSD: 2}");
    sources.workspace = vec![file("/repo/w.yaml", "retry:\n  maxMs: 10\n")];
    let loaded = load_with(&both_keys(), &trusted(sources));
    assert_eq!(loaded.errors.len(), 1, "{:?}", loaded.errors);
    assert_eq!(
        loaded.errors[0].path.as_deref(),
        Some(std::path::Path::new("/repo/w.yaml"))
    );
    assert_eq!(
        (loaded.errors[0].line, loaded.errors[0].key.as_str()),
        (2, "retry.maxMs")
    );
    assert_eq!(loaded.config.retry.initial_ms, 30_000);
    assert_eq!(loaded.config.limits.per_execution, Some(Money::from_dollars(2)));
}

#[test]
fn of_client_settings_what_is_wrong_is_dropped_key_by_key() {
    let client = json!({
        "trusted": "some-hash",
        "trace": { "server": "off" },
        "ui": { "codeLens": { "todos": true }, "inlayHints": "yes", "prompts": null },
        "limits": [],
    });
    let sources = Sources {
        client: Some(client),
        ..Sources::default()
    };
    let loaded = load_with(&both_keys(), &sources);
    assert!(loaded.config.ui.lens_todos);
    assert_eq!(warned(&loaded), [("unknownKey", "trace")]);
    let errors: Vec<_> = loaded
        .errors
        .iter()
        .map(|error| (error.code.as_str(), error.key.as_str(), error.line))
        .collect();
    assert_eq!(errors, [("wrongType", "ui.inlayHints", 0)]);
}

#[test]
fn empty_lists_and_nulls_of_a_client_say_nothing() {
    let before = load_with(&both_keys(), &Sources::default());
    for client in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "agents": [], "ui": null, "routing": { "default": [] } }),
    ] {
        let loaded = load_with(
            &both_keys(),
            &Sources {
                client: Some(client.clone()),
                ..Sources::default()
            },
        );
        assert_eq!((loaded.errors, loaded.warnings), (vec![], vec![]), "{client}");
        assert_eq!(loaded.config, before.config, "{client}");
    }
}

#[test]
fn the_hash_follows_the_content_and_nothing_else() {
    let one = load_with(
        &both_keys(),
        &user("ui: {inlayHints: true}\nlimits: {perExecutionUSD: 2}"),
    )
    .config;
    let two = load_with(
        &both_keys(),
        &user("# other text\nlimits:\n  perExecutionUSD: 2.00\nui:\n  inlayHints: true\n"),
    )
    .config;
    let three = load_with(
        &both_keys(),
        &user("ui: {inlayHints: true}\nlimits: {perExecutionUSD: 2.01}"),
    )
    .config;
    assert_eq!(one.hash(), two.hash());
    assert_ne!(one.hash(), three.hash());
    assert_eq!(one.hash().len(), 64);
}

#[test]
fn what_is_shown_has_an_origin_for_every_value_and_no_header() {
    let text = "providers: {openai: {headers: {x-team: secret-team}}}";
    let loaded = load_with(&both_keys(), &user(text));
    assert_eq!(loaded.values["providers.openai.headers.x-team"], "(not shown)");
    assert_eq!(loaded.values["limits.dailyBudgetUSD"], 50);
    assert!(loaded.values.keys().eq(loaded.origins.keys()));
}
