//! The user's git: what the figures are compared with, and what checks our results.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Variables of one call.
pub(crate) type Variables<'a> = &'a [(&'a str, &'a Path)];

#[expect(clippy::disallowed_methods, reason = "the contender is a program of its own")]
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", search_path())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Bench")
            .env(format!("GIT_{who}_EMAIL"), "b@example.invalid");
    }
    command
}

#[expect(clippy::disallowed_methods, reason = "a bench uses the git of the machine")]
pub(crate) fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap()
}

fn succeeded(arguments: &[&str], output: &Output) -> String {
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Runs git and demands success.
pub(crate) fn run(folder: &Path, arguments: &[&str]) {
    text(folder, arguments);
}

/// What git prints, without the last line end.
pub(crate) fn text(folder: &Path, arguments: &[&str]) -> String {
    text_with(folder, &[], arguments)
}

/// The same with variables.
pub(crate) fn text_with(folder: &Path, variables: Variables<'_>, arguments: &[&str]) -> String {
    let output = command(folder, arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    succeeded(arguments, &output)
}

/// Runs git with these bytes on its standard input.
pub(crate) fn feed(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    feed_with(folder, &[], arguments, input)
}

/// The same with variables.
pub(crate) fn feed_with(folder: &Path, variables: Variables<'_>, arguments: &[&str], input: &[u8]) -> String {
    let mut child = command(folder, arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // what git prints here fits into the pipe
    child.stdin.take().unwrap().write_all(input).unwrap();
    succeeded(arguments, &child.wait_with_output().unwrap())
}
