use super::*;
use crate::config::settings::ProviderKind;

fn price(kind: ProviderKind, name: &str) -> Price {
    find(&vendor(kind).unwrap().models, name).unwrap().price.unwrap()
}

#[test]
fn the_table_is_read_to_the_last_picodollar() {
    let opus = price(ProviderKind::Anthropic, "claude-opus-5-5");
    assert_eq!(opus.input.pico(), 4_000_000);
    assert_eq!(opus.output.pico(), 20_000_000);
    assert_eq!(opus.cache_read.pico(), 400_000);
    assert_eq!(opus.cache_write.pico(), 5_000_000);
    assert_eq!(
        price(ProviderKind::Anthropic, "claude-haiku-5-5")
            .cache_write
            .pico(),
        125_000
    );
    assert_eq!(
        price(ProviderKind::OpenAi, "gpt-4-turbo").output.pico(),
        30_000_000
    );
}

#[test]
fn a_call_costs_what_the_claude_program_reports_for_it() {
    // Measured: Sonnet 5, 1030 new, 3000 written, 19300 read, 260 answered: $0.01602.
    let tokens = Tokens {
        input: 1_030,
        output: 260,
        cache_read: 19_300,
        cache_write: 3_000,
    };
    assert_eq!(
        price(ProviderKind::Anthropic, "claude-sonnet-5").cost(tokens),
        Money::from_pico(16_020_000_000)
    );
}

#[test]
fn a_long_prompt_has_its_own_price() {
    let haiku = price(ProviderKind::Anthropic, "claude-haiku-5-5");
    let short = Tokens {
        input: 100_000,
        output: 10,
        ..Tokens::default()
    };
    let long = Tokens {
        input: 100_000,
        cache_read: 1,
        output: 10,
        ..Tokens::default()
    };
    assert_eq!(haiku.cost(short).pico(), 100_000 * 100_000 + 10 * 500_000);
    assert_eq!(
        haiku.cost(long).pico(),
        100_000 * 500_000 + 50_000 + 10 * 2_500_000
    );
    assert!(haiku.upper_bound(100_001, 10) >= haiku.cost(long));
    assert!(haiku.upper_bound(100_000, 10) >= haiku.cost(short));
}

#[test]
fn every_model_has_sane_prices_and_every_default_is_in_the_table() {
    for kind in [ProviderKind::Anthropic, ProviderKind::OpenAi, ProviderKind::Demo] {
        let vendor = vendor(kind).unwrap();
        for (name, model) in &vendor.models {
            let price = model.price.unwrap();
            assert!(
                price.cache_read <= price.input && price.input <= price.cache_write,
                "{name}"
            );
            assert!(price.input <= price.output, "{name}");
            assert!(model.max_output < model.context_window, "{name}");
        }
        for agent in [
            "taskMaster",
            "architect",
            "developer",
            "qa",
            "kbBuilder",
            "somebody",
        ] {
            assert!(vendor.models.contains_key(vendor.default_model(agent)), "{agent}");
        }
    }
}

#[test]
fn a_dated_name_is_the_same_model() {
    let models = &vendor(ProviderKind::Anthropic).unwrap().models;
    assert_eq!(
        find(models, "claude-haiku-4-5-20251001"),
        models.get("claude-haiku-4-5")
    );
    let models = &vendor(ProviderKind::OpenAi).unwrap().models;
    assert_eq!(find(models, "gpt-4o-2024-08-06"), models.get("gpt-4o"));
    assert!(find(models, "gpt-99").is_none());
    assert!(find(models, "gpt-4o-something-else").is_none());
}
