use super::*;
use crate::money::Money;
use crate::task::Priority;

fn claude() -> FoundAgents {
    FoundAgents {
        claude: Some("/usr/local/bin/claude".into()),
        codex: None,
    }
}

#[test]
fn with_a_key_of_anthropic_every_agent_has_its_model() {
    let config = load_with(&keys(&["ANTHROPIC_API_KEY"]), &Sources::default()).config;
    for (agent, model) in [
        ("taskMaster", "claude-haiku-5-5"),
        ("architect", "claude-opus-5-5"),
        ("developer", "claude-sonnet-5-5"),
        ("qa", "claude-sonnet-5-5"),
        ("kbBuilder", "claude-haiku-5-5"),
    ] {
        assert_eq!(routes(&config, agent), [format!("anthropic/{model}")]);
    }
    assert_eq!(config.developer_modes, [Mode::Sdk]);
    assert!(!config.demo_only);
}

#[test]
fn with_both_keys_the_other_provider_stands_by() {
    let config = load_with(&both_keys(), &Sources::default()).config;
    assert_eq!(
        routes(&config, "qa"),
        ["anthropic/claude-sonnet-5-5", "openai/gpt-5.1"]
    );
}

#[test]
fn with_openai_only_the_small_jobs_go_to_the_cheap_model() {
    let config = load_with(&keys(&["OPENAI_API_KEY"]), &Sources::default()).config;
    assert_eq!(routes(&config, "kbBuilder"), ["openai/gpt-5-mini"]);
    assert_eq!(routes(&config, "architect"), ["openai/gpt-5.2"]);
    for agent in roster::BUILT_IN {
        let model = &config.route(&agent.into())[0].model;
        assert!(
            matches!(config.price("openai", model), PriceAnswer::Known(_)),
            "{model}"
        );
    }
}

#[test]
fn with_only_the_claude_program_it_does_everything() {
    let config = load(&Environment::default(), &claude(), &Sources::default()).config;
    assert_eq!(config.developer_modes, [Mode::Cli]);
    assert_eq!(routes(&config, "architect"), ["claude-code/claude-opus-5-5"]);
    assert_eq!(config.providers["claude-code"].command, ["/usr/local/bin/claude"]);
    assert!(!config.demo_only);
}

#[test]
fn with_a_key_and_the_claude_program_the_interface_comes_first() {
    let config = load(&keys(&["ANTHROPIC_API_KEY"]), &claude(), &Sources::default()).config;
    assert_eq!(config.developer_modes, [Mode::Sdk, Mode::Cli]);
    let config = load(
        &keys(&["ANTHROPIC_API_KEY"]),
        &claude(),
        &user("agents: {developer: {mode: cli}}"),
    )
    .config;
    assert_eq!(config.developer_modes, [Mode::Cli, Mode::Sdk]);
    let config = load(&keys(&["ANTHROPIC_API_KEY"]), &claude(), &workspace(SEED)).config;
    assert_eq!(config.developer_modes, [Mode::Cli, Mode::Sdk]);
    assert_eq!(
        routes(&config, "developer"),
        ["anthropic/claude-code", "anthropic/claude-sonnet-5-5"]
    );
}

#[test]
fn with_nothing_at_all_it_is_the_demonstration_and_says_so() {
    let config = Config::demo();
    assert!(config.demo_only);
    for agent in roster::BUILT_IN {
        assert_eq!(routes(&config, agent), ["demo/demo"]);
    }
    let Price { input, output, .. } = Price::default();
    assert_eq!((input, output), (Money::ZERO, Money::ZERO));
    assert_eq!(config.price("demo", "demo"), PriceAnswer::Known(Price::default()));
}

#[test]
fn a_named_provider_without_its_key_is_reported_and_another_stands_in() {
    let loaded = load(&keys(&["ANTHROPIC_API_KEY"]), &claude(), &workspace(SEED));
    assert_eq!(routes(&loaded.config, "qa"), ["anthropic/claude-sonnet-5-5"]);
    let reason = &loaded.config.route(&"qa".into())[0].reason;
    assert!(
        reason.contains("instead of openai/gpt-4-turbo") && reason.contains("OPENAI_API_KEY is not set"),
        "{reason}"
    );
    assert_eq!(
        warned(&loaded),
        [("providerNotReady", "routing.default.map.qa.provider")]
    );
    assert_eq!(loaded.warnings[0].line, 9);
}

#[test]
fn rules_come_first_then_the_map_then_the_fallback_each_once() {
    let text = "routing:\n  rules:\n    - {when: {agent: qa, priority: high}, use: {provider: openai, model: gpt-5.2}}\n    \
                - {when: {promptTokensAbove: 1000}, use: {provider: openai, model: gpt-4.1}}\n  default:\n    map: {qa: {provider: anthropic, model: claude-opus-5-5}}\n    \
                fallback: [{provider: openai, model: gpt-4.1}, {provider: openai}]\n";
    let config = load_with(&both_keys(), &user(text)).config;
    let question = RouteQuestion {
        priority: Priority::High,
        prompt_tokens: 1001,
    };
    let models: Vec<String> = config
        .route_for(&"qa".into(), question)
        .into_iter()
        .map(|route| route.model)
        .collect();
    assert_eq!(models, ["gpt-5.2", "gpt-4.1", "claude-opus-5-5", "gpt-5.1"]);
    assert_eq!(
        routes(&config, "qa"),
        ["anthropic/claude-opus-5-5", "openai/gpt-4.1", "openai/gpt-5.1"]
    );
}

#[test]
fn by_cost_takes_the_cheapest_that_can_do_the_work() {
    let config = load_with(&both_keys(), &user("routing: {default: {type: byCost}}")).config;
    assert_eq!(routes(&config, "taskMaster")[0], "openai/gpt-5-nano");
    assert_eq!(
        routes(&config, "developer")[0],
        "openai/gpt-5-mini",
        "the cheapest with tools and coding"
    );
    let cost = |route: &String| {
        let (provider, model) = route.split_once('/').unwrap();
        config.model(provider, model).unwrap().price.unwrap().typical()
    };
    assert!(routes(&config, "developer").iter().map(cost).is_sorted());
}

#[test]
fn by_capability_takes_the_one_that_can_do_most() {
    let config = load_with(
        &keys(&["OPENAI_API_KEY"]),
        &user("routing: {default: {type: byCapability}}"),
    )
    .config;
    assert_eq!(routes(&config, "developer")[0], "openai/gpt-5.2");
}

#[test]
fn an_agents_own_model_wins_unless_a_stronger_layer_mapped_it() {
    let config = load_with(&both_keys(), &user("agents: {qa: {model: gpt-4o}}")).config;
    assert_eq!(routes(&config, "qa")[0], "openai/gpt-4o");
    let mut sources = user("agents: {qa: {model: gpt-4o}}");
    sources.workspace = vec![file(
        "/repo/w.yaml",
        "routing: {default: {map: {qa: {provider: anthropic}}}}",
    )];
    assert_eq!(
        routes(&load_with(&both_keys(), &sources).config, "qa"),
        ["anthropic/claude-sonnet-5-5"]
    );
}

#[test]
fn an_unknown_model_is_counted_at_the_dearest_of_its_provider_and_never_as_free() {
    let loaded = load_with(
        &both_keys(),
        &user("routing: {default: {map: {qa: {provider: openai, model: gpt-5.11}}}}"),
    );
    let PriceAnswer::Assumed(price) = loaded.config.price("openai", "gpt-5.11") else {
        panic!("not assumed")
    };
    assert_eq!(
        (price.input.pico(), price.output.pico()),
        (15_000_000, 60_000_000)
    );
    assert_eq!(
        warned(&loaded),
        [("unknownPrice", "routing.default.map.qa.model")]
    );
    let local =
        "providers: {local: {kind: openai-compatible, baseUrl: 'http://127.0.0.1:1/v1', models: {m: {}}}}";
    let config = load_with(&both_keys(), &user(local)).config;
    assert_eq!(config.price("local", "m"), PriceAnswer::Unknown);
    assert_eq!(config.price("nobody", "m"), PriceAnswer::Unknown);
}

#[test]
fn the_user_may_correct_a_price() {
    let text = "providers: {openai: {models: {gpt-4o: {price: {input: 1, output: 2}}}}}";
    let config = load_with(&both_keys(), &user(text)).config;
    let PriceAnswer::Known(price) = config.price("openai", "gpt-4o-2024-08-06") else {
        panic!("not known")
    };
    assert_eq!(
        (
            price.input.pico(),
            price.cache_read.pico(),
            price.cache_write.pico()
        ),
        (1_000_000, 1_000_000, 1_250_000)
    );
    assert_eq!(
        config.model("openai", "gpt-4o").unwrap().context_window,
        Some(128_000),
        "the rest stays"
    );
}

#[test]
fn addresses_in_the_environment_count_for_their_own_provider_and_below_the_users() {
    let pairs = [
        ("ANTHROPIC_API_KEY", "k"),
        ("OPENAI_API_KEY", "k"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"),
    ];
    let environment = Environment::from_pairs(pairs);
    let loaded = load_with(&environment, &user("providers: {work: {kind: anthropic}}"));
    assert_eq!(
        loaded.config.providers["anthropic"].base_url.as_deref(),
        Some("http://127.0.0.1:9")
    );
    assert_eq!(loaded.origins["providers.anthropic.baseUrl"], Layer::Environment);
    assert_eq!(loaded.config.providers["openai"].base_url, None);
    assert_eq!(loaded.config.providers["work"].base_url, None);
    let loaded = load_with(
        &environment,
        &user("providers: {anthropic: {baseUrl: 'https://example.com'}}"),
    );
    assert_eq!(
        loaded.config.providers["anthropic"].base_url.as_deref(),
        Some("https://example.com")
    );
}

#[test]
fn a_misspelt_address_in_the_environment_does_not_send_the_key_elsewhere() {
    let environment = Environment::from_pairs([
        ("ANTHROPIC_API_KEY", "k"),
        ("ANTHROPIC_BASE_URL", "gateway.internal"),
    ]);
    let config = load_with(&environment, &Sources::default()).config;
    assert_eq!(
        config.providers["anthropic"].readiness,
        Readiness::BadAddress {
            variable: "ANTHROPIC_BASE_URL".to_owned()
        }
    );
    assert!(config.demo_only);
    let warnings = load_with(&environment, &Sources::default()).warnings;
    assert!(
        warnings[0].message.contains("ANTHROPIC_BASE_URL")
            && !warnings[0].message.contains("gateway.internal")
    );
}

#[test]
fn claude_code_without_its_program_is_reported_and_the_tool_loop_stands_by() {
    let loaded = load_with(&both_keys(), &workspace(SEED));
    assert_eq!(
        warned(&loaded),
        [("programNotFound", "routing.default.map.developer.model")]
    );
    assert_eq!(loaded.config.developer_modes, [Mode::Cli, Mode::Sdk]);
    assert_eq!(
        routes(&loaded.config, "developer"),
        ["anthropic/claude-code", "anthropic/claude-sonnet-5-5"]
    );
    assert_eq!(warned(&load(&both_keys(), &claude(), &workspace(SEED))), []);
}

#[test]
fn the_downgrade_names_models_that_can_be_used() {
    let text = "routing: {downgrade: {below: 0.2, to: [{provider: openai, model: gpt-5-nano}, {provider: anthropic, model: claude-haiku-5-5}]}}";
    let config = load_with(&keys(&["ANTHROPIC_API_KEY"]), &user(text)).config;
    let (below, to) = config.downgrade(&"qa".into()).unwrap();
    assert_eq!(below.of(Money::from_dollars(5)), Money::from_dollars(1));
    assert_eq!(
        to.iter().map(|route| route.model.as_str()).collect::<Vec<_>>(),
        ["claude-haiku-5-5"]
    );
}

#[test]
fn a_step_without_needs_follows_the_one_before_it() {
    let text = "pipelines: {audit: {steps: [{agent: architect}, {agent: developer}, {id: check, agent: qa, needs: []}]}}";
    let config = load_with(&both_keys(), &user(text)).config;
    let needs: Vec<_> = config.pipelines["audit"]
        .steps
        .iter()
        .map(|step| (step.id.as_str(), step.needs.clone()))
        .collect();
    assert_eq!(
        needs,
        [
            ("architect", vec![]),
            ("developer", vec!["architect".into()]),
            ("check", vec![])
        ]
    );
}
