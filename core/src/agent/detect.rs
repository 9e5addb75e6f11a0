//! The test commands that a project offers, read off its manifest files.

use std::path::Path;

use serde_json::Value;

use crate::task::{CommandOrigin, TestCommand};
use crate::workspace::Root;

/// Most of a manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// What `npm init` writes as test.
const NPM_STUB: &str = "no test specified";

/// A command and the manifest that offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) test: TestCommand,
    pub(super) manifest: &'static str,
}

/// What this folder offers, most telling first. Blocking.
pub(super) fn offers(folder: &Path) -> Vec<Offer> {
    let Ok(root) = Root::open(folder) else {
        return Vec::new();
    };
    let read = |name: &str| {
        root.read(name, MANIFEST_BYTES_MAX)
            .ok()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut offers = Vec::new();
    if read("Cargo.toml").is_some() {
        offers.push(offer("cargo test", "Cargo.toml"));
    }
    if let Some(command) =
        read("package.json").and_then(|text| node(&text, &|name| root.open_file(name).is_ok()))
    {
        offers.push(offer(command, "package.json"));
    }
    if let Some(manifest) = python(&read) {
        offers.push(offer("pytest", manifest));
    }
    if read("go.mod").is_some() {
        offers.push(offer("go test ./...", "go.mod"));
    }
    // Where there is something better, `make test` only calls it.
    for manifest in ["Makefile", "makefile", "GNUmakefile"] {
        if offers.is_empty() && read(manifest).is_some_and(|text| text.lines().any(is_test_target)) {
            offers.push(offer("make test", manifest));
        }
    }
    offers
}

fn offer(command: &str, manifest: &'static str) -> Offer {
    let origin = CommandOrigin::Repository;
    Offer {
        test: TestCommand {
            command: command.to_owned(),
            success_regex: None,
            timeout_ms: None,
            origin,
        },
        manifest,
    }
}

/// The commands alone.
pub(super) fn commands(offers: &[Offer]) -> Vec<TestCommand> {
    offers.iter().map(|offer| offer.test.clone()).collect()
}

fn node(text: &str, exists: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let manifest: Value = serde_json::from_str(text).ok()?;
    let script = manifest.pointer("/scripts/test")?.as_str()?.trim();
    if script.is_empty() || script.contains(NPM_STUB) {
        return None;
    }
    let by_lock = [
        ("pnpm-lock.yaml", "pnpm test"),
        ("yarn.lock", "yarn test"),
        ("bun.lock", "bun run test"),
        ("bun.lockb", "bun run test"),
    ];
    Some(
        by_lock
            .into_iter()
            .find(|(lock, _)| exists(lock))
            .map_or("npm test", |(_, command)| command),
    )
}

fn python(read: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    const ALWAYS: [&str; 3] = ["pytest.ini", "conftest.py", "tests/conftest.py"];
    const MENTIONS: [&str; 5] = [
        "pyproject.toml",
        "setup.cfg",
        "tox.ini",
        "requirements-dev.txt",
        "requirements.txt",
    ];
    ALWAYS.into_iter().find(|name| read(name).is_some()).or_else(|| {
        MENTIONS
            .into_iter()
            .find(|name| read(name).is_some_and(|text| text.contains("pytest")))
    })
}

fn is_test_target(line: &str) -> bool {
    line.strip_prefix("test")
        .is_some_and(|rest| rest.trim_start().starts_with(':') && !rest.trim_start().starts_with(":="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let place = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(place.path().join(name), text).expect("written");
        }
        offers(place.path())
            .into_iter()
            .map(|offer| offer.test.command)
            .collect()
    }

    #[test]
    fn each_kind_of_project_offers_its_own_command() {
        assert_eq!(found(&[("Cargo.toml", "[package]\n")]), ["cargo test"]);
        assert_eq!(
            found(&[("package.json", r#"{"scripts": {"test": "vitest"}}"#)]),
            ["npm test"]
        );
        assert_eq!(
            found(&[
                ("package.json", r#"{"scripts": {"test": "vitest"}}"#),
                ("pnpm-lock.yaml", "")
            ]),
            ["pnpm test"]
        );
        assert_eq!(
            found(&[("pyproject.toml", "[tool.pytest.ini_options]\n")]),
            ["pytest"]
        );
        assert_eq!(found(&[("go.mod", "module x\n")]), ["go test ./..."]);
        assert_eq!(
            found(&[("Makefile", "all:\n\ntest: all\n\t./run\n")]),
            ["make test"]
        );
    }

    #[test]
    fn what_is_no_test_is_not_offered() {
        assert!(
            found(&[(
                "package.json",
                r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#
            )])
            .is_empty()
        );
        assert!(found(&[("package.json", "{ broken")]).is_empty());
        assert!(found(&[("Makefile", "test := 1\ntesting:\n")]).is_empty());
        assert_eq!(
            found(&[("Makefile", "test:\n"), ("Cargo.toml", "")]),
            ["cargo test"]
        );
    }
}
