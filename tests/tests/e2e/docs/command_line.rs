//! `docs/command-line.md` against what `--help` says, command by command.

use std::collections::BTreeSet;

use clode_tests::cli::Cli;
use clode_tests::fixture::Home;

use super::{assert_same, book};

const DOCUMENT: &str = "docs/command-line.md";
/// Options of every command, which are written down once.
const EVERYWHERE: [&str; 2] = ["--help", "--version"];

/// A command as its help shows it.
#[derive(Debug)]
struct Helped {
    /// As typed, such as `pipelines list`; empty for the program itself.
    words: String,
    flags: BTreeSet<String>,
    /// Those that stand in its parent as well.
    subcommands: Vec<String>,
}

async fn help(words: &str) -> Helped {
    let home = Home::new();
    let mut arguments: Vec<&str> = words.split_whitespace().collect();
    arguments.push("--help");
    let finished = Cli::new(&home, home.path("home")).run(&arguments).await;
    assert_eq!(finished.code, Some(0), "{words}: {}", finished.stderr);
    let mut flags = BTreeSet::new();
    let mut subcommands = Vec::new();
    let mut in_commands = false;
    for line in finished.stdout.lines() {
        let first = line.trim_start().split([' ', ',']).next().unwrap_or_default();
        if !line.starts_with(' ') {
            in_commands = line.trim() == "Commands:";
        } else if in_commands && line.starts_with("  ") && !line.starts_with("   ") && first != "help" {
            subcommands.push(first.to_owned());
        } else if first.starts_with('-') {
            let words = line
                .split([' ', ',', '=', '['])
                .filter(|word| word.starts_with("--"));
            flags.extend(words.take(1).map(str::to_owned));
        }
    }
    flags.retain(|flag| words.is_empty() || !EVERYWHERE.contains(&flag.as_str()));
    Helped {
        words: words.to_owned(),
        flags,
        subcommands,
    }
}

async fn all() -> Vec<Helped> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(words) = open.pop() {
        let helped = help(&words).await;
        open.extend(
            helped
                .subcommands
                .iter()
                .map(|name| format!("{words} {name}").trim().to_owned()),
        );
        found.push(helped);
    }
    found
}

/// What stands under a command's heading itself, without its subcommands.
fn own_section(text: &str, words: &str) -> String {
    let section = book::section(text, &format!("`clode-ls {words}`"));
    section.split("\n### ").next().unwrap_or_default().to_owned()
}

fn flags_of(section: &str) -> BTreeSet<String> {
    book::first_column(section)
        .into_iter()
        .filter(|span| span.starts_with("--"))
        .collect()
}

#[tokio::test]
async fn every_command_and_option_of_the_help_is_written_down_and_the_other_way_round() {
    let text = book::read(DOCUMENT);
    let helped = all().await;
    let there: BTreeSet<String> = helped
        .iter()
        .filter(|one| !one.words.is_empty())
        .map(|one| format!("`clode-ls {}`", one.words))
        .collect();
    let titles = book::headings(&text).into_iter().map(|heading| heading.title);
    let written: BTreeSet<String> = titles.filter(|title| title.starts_with("`clode-ls ")).collect();
    assert_same("commands", &written, &there);

    for one in &helped {
        if one.words.is_empty() {
            let head = text.split("\n## ").next().unwrap_or_default();
            assert_same("options of clode-ls", &flags_of(head), &one.flags);
            continue;
        }
        // An option that a command takes for all its subcommands is written down once, at the command.
        let mut there = one.flags.clone();
        if let Some((parent, _)) = one.words.rsplit_once(' ') {
            let parent = flags_of(&own_section(&text, parent));
            there.retain(|flag| !parent.contains(flag));
        }
        let written = flags_of(&own_section(&text, &one.words));
        if !written.is_empty() || !there.is_empty() {
            assert_same(&format!("options of {}", one.words), &written, &there);
        }
    }
}

#[test]
fn exit_codes_are_in_a_table() {
    let rows = book::rows(&book::read(DOCUMENT));
    let codes: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.first())
        .map(String::as_str)
        .filter(|cell| cell.parse::<u8>().is_ok())
        .collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "130"]);
}
