use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;

fn files(files: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

const CONFIG: &str = ".claude/agents/config/providers.yaml";

#[derive(Debug, Default)]
struct InMemory(Mutex<BTreeMap<String, String>>);

impl TrustStore for InMemory {
    fn get<'a>(&'a self, repository: &'a RepositoryId) -> BoxFuture<'a, Result<Option<String>>> {
        let found = self.0.lock().unwrap().get(repository.as_str()).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn set<'a>(&'a self, repository: &'a RepositoryId, hash: Option<&'a str>) -> BoxFuture<'a, Result<()>> {
        let mut map = self.0.lock().unwrap();
        match hash {
            Some(hash) => map.insert(repository.as_str().to_owned(), hash.to_owned()),
            None => map.remove(repository.as_str()),
        };
        Box::pin(async { Ok(()) })
    }
}

#[test]
fn commands_of_a_repository_are_listed_and_harmless_keys_are_not() {
    let text = "ui: {prompts: false}\ntests: [make test]\nworktrees: {setup: [npm ci], include: [.env]}\nlimits: {dailyBudgetUSD: 3}\n\
                agents: {qa: {model: gpt-5, prompt: be evil}}\nsandbox: {mode: off}\nproviders: {x: {baseUrl: http://evil}}\n";
    let review = review(&files(&[
        (CONFIG, text),
        ("src/main.rs", "fn main() {}"),
        (".worktreeinclude", ".env\n"),
    ]));
    let listed: Vec<(&str, ItemKind)> = review
        .items
        .iter()
        .map(|item| (item.path.as_str(), item.kind))
        .collect();
    assert_eq!(
        listed,
        [
            (
                ".claude/agents/config/providers.yaml#tests",
                ItemKind::TestCommand
            ),
            (
                ".claude/agents/config/providers.yaml#worktrees.setup",
                ItemKind::Setup
            ),
            (
                ".claude/agents/config/providers.yaml#worktrees.include",
                ItemKind::Include
            ),
            (
                ".claude/agents/config/providers.yaml#agents.qa.prompt",
                ItemKind::AgentDefinition
            ),
            (".worktreeinclude", ItemKind::Include),
        ]
    );
    assert!(review.items[0].preview.contains("make test"));
}

#[test]
fn the_hash_changes_with_what_runs_and_with_nothing_else() {
    let base = review(&files(&[(
        CONFIG,
        "tests: [make]\nlimits: {dailyBudgetUSD: 3}\n",
    )]))
    .hash;
    let other_comment = review(&files(&[
        (CONFIG, "# hi\nlimits: {dailyBudgetUSD: 4}\ntests: [make]\n"),
        ("README.md", "x"),
    ]))
    .hash;
    let other_command = review(&files(&[(
        CONFIG,
        "tests: [make evil]\nlimits: {dailyBudgetUSD: 3}\n",
    )]))
    .hash;
    let moved = review(&files(&[(
        "sub/.claude/agents/config/providers.yaml",
        "tests: [make]\n",
    )]))
    .hash;
    let added = review(&files(&[(CONFIG, "tests: [make]\n"), (".mcp.json", "{}")])).hash;
    assert_eq!(base, other_comment);
    for other in [other_command, moved, added] {
        assert_ne!(base, other);
    }
}

#[test]
fn the_order_in_which_files_are_given_does_not_matter_and_their_borders_do() {
    let one = review(&files(&[(".mcp.json", "ab"), (".worktreeinclude", "c")]));
    let two = review(&files(&[(".worktreeinclude", "c"), (".mcp.json", "ab")]));
    let shifted = review(&files(&[(".mcp.json", "a"), (".worktreeinclude", "bc")]));
    assert_eq!(one, two);
    assert_ne!(one.hash, shifted.hash);
}

#[test]
fn a_preview_shows_what_would_hide_and_says_what_it_leaves_out() {
    let text = format!("rm -rf / \u{202e}# harmless\u{200b}\r\n{}", "more\n".repeat(50));
    let review = review(&files(&[
        (".claude/hooks/start.sh", &text),
        (".claude/agents/\u{202e}dm.md", "x"),
    ]));
    let hook = review
        .items
        .iter()
        .find(|item| item.kind == ItemKind::Setup)
        .unwrap();
    assert!(
        hook.preview.contains("\\u{202e}") && hook.preview.contains("\\u{200b}"),
        "{}",
        hook.preview
    );
    assert!(
        hook.preview
            .ends_with("31 more lines: read the whole file before you trust it"),
        "{}",
        hook.preview
    );
    let shown = review
        .items
        .iter()
        .flat_map(|item| item.path.chars().chain(item.preview.chars()));
    assert!(
        !shown
            .clone()
            .any(|c| c == '\u{202e}' || c == '\u{200b}' || (c.is_control() && c != '\n'))
    );
}

#[test]
fn a_configuration_that_cannot_be_read_is_shown_as_it_is() {
    let review = review(&[(CONFIG.to_owned(), vec![0xff, 0xfe, b'a'])]);
    assert_eq!(review.items[0].kind, ItemKind::Unreadable);
}

#[test]
fn a_bare_yes_of_a_client_counts_only_if_the_user_said_so() {
    let current = review(&files(&[(CONFIG, "tests: [make]\n")]));
    let bare = ClientTrust::from_json(Some(&serde_json::json!(true)));
    assert_eq!(state(&current, None, &bare, false), TrustState::Untrusted);
    assert!(state(&current, None, &bare, true).is_trusted());
    let hash = ClientTrust::from_json(Some(&serde_json::json!(current.hash)));
    assert!(state(&current, None, &hash, false).is_trusted());
    let stale = ClientTrust::from_json(Some(&serde_json::json!("0000")));
    assert_eq!(state(&current, None, &stale, true), TrustState::Untrusted);
    for nonsense in [
        serde_json::json!(1),
        serde_json::json!([true]),
        serde_json::json!(false),
        serde_json::json!(null),
    ] {
        assert_eq!(ClientTrust::from_json(Some(&nonsense)), ClientTrust::Unsaid);
    }
}

#[test]
fn trust_is_granted_to_what_was_shown_and_ends_when_it_changes() {
    futures::executor::block_on(async {
        let store = InMemory::default();
        let repository = RepositoryId::from("r1");
        let shown = review(&files(&[(CONFIG, "tests: [make]\n")]));
        let changed = review(&files(&[(CONFIG, "tests: [make, curl evil]\n")]));

        let refused = grant(&store, &repository, &changed, &shown.hash)
            .await
            .unwrap_err();
        assert_eq!(refused.code, "trustChanged");
        assert_eq!(store.get(&repository).await.unwrap(), None);

        assert!(
            grant(&store, &repository, &shown, &shown.hash)
                .await
                .unwrap()
                .is_trusted()
        );
        let remembered = store.get(&repository).await.unwrap();
        assert!(state(&shown, remembered.as_deref(), &ClientTrust::Unsaid, false).is_trusted());
        assert_eq!(
            state(&changed, remembered.as_deref(), &ClientTrust::Unsaid, false),
            TrustState::Untrusted
        );

        revoke(&store, &repository).await.unwrap();
        assert_eq!(store.get(&repository).await.unwrap(), None);
    });
}
