//! The README's commands are the ones that are run: by the tests, by continuous integration, and here.

use std::time::Duration;

use clode_tests::cli::Cli;
use clode_tests::fixture::Home;

use super::book;

/// The demonstration takes seconds; a busy machine may need more.
const DEMO_LIMIT: Duration = Duration::from_secs(120);
const LINES_MAX: usize = 150;

fn commands() -> Vec<String> {
    let section = book::section(&book::read("README.md"), "Try it");
    let fence = book::fences(&section)
        .into_iter()
        .find(|fence| fence.language == "sh")
        .expect("the commands");
    fence.text.lines().map(str::to_owned).collect()
}

#[test]
fn the_two_commands_of_a_fresh_machine_are_the_demonstration_and_the_tests() {
    assert_eq!(commands(), ["cargo run --locked -- demo --yes", "tests/run"]);
    let integration = book::read(".ci/run");
    let last = integration.trim_end().lines().next_back().unwrap_or_default();
    assert_eq!(
        last.split_whitespace().nth(1),
        Some("tests/run"),
        "what .ci/run runs at its end: {last}"
    );
    assert!(book::read("CONTRIBUTING.md").contains("`tests/run`"));
    let lines = book::read("README.md").lines().count();
    assert!(lines < LINES_MAX, "the README has {lines} lines");
}

#[tokio::test]
async fn the_first_command_does_the_main_job_to_its_end_with_nobody_at_the_terminal() {
    let command = commands().into_iter().next().expect("the first command");
    let arguments: Vec<&str> = command
        .split(" -- ")
        .nth(1)
        .expect("arguments")
        .split_whitespace()
        .collect();
    let home = Home::new();
    let finished = Cli::new(&home, home.path("home"))
        .within(DEMO_LIMIT)
        .run(&arguments)
        .await;
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code, Some(0), "{said}");
    for line in shown() {
        assert!(
            said.lines().any(|said| masked(said) == masked(&line)),
            "the README shows {line:?}, and not in:\n{said}"
        );
    }
}

/// The lines of the README's capture of that command.
fn shown() -> Vec<String> {
    let readme = book::read("README.md");
    let fence = book::fences(&readme)
        .into_iter()
        .find(|fence| fence.language == "console")
        .expect("the capture");
    let lines = fence
        .text
        .lines()
        .skip(1)
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    assert!(lines.len() > 5, "the capture is one of the real thing: {lines:?}");
    lines
}

/// A line without what is another each time: numbers, names, directories.
fn masked(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let is_changing = word.contains('/') || word.chars().any(|c| c.is_ascii_digit());
        if is_changing { "…" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}
