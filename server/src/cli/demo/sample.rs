//! The sample repository: a little project that needs nothing but git and a shell.

use std::path::{Path, PathBuf};

use clode_core::id::random_hex;
use clode_core::process::{Command, Confinement, Limits};
use clode_core::{Error, Kind, Result};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// The task.
pub(super) const TITLE: &str = "Implement greet in greet.sh";
/// The file that it is about.
pub(super) const FILE: &str = "greet.sh";
/// What proves it.
pub(super) const TEST: &str = "sh test_greet.sh";

/// Longest time of one call of git.
const GIT_LIMITS: Limits = Limits::new(std::time::Duration::from_secs(20), 16 << 10);

const FILES: [(&str, &str); 3] = [
    (
        "README.md",
        "# Greetings\n\nA sample project of `clode-ls demo`. Run its test with `sh test_greet.sh`.\n",
    ),
    (
        FILE,
        "#!/bin/sh\n# Greetings for the command line.\n\n# TODO: greet the person whose name is the first argument\ngreet() {\n    true\n}\n",
    ),
    (
        "test_greet.sh",
        "#!/bin/sh\n# Fails until greet says hello.\n. ./greet.sh\n\nexpected=\"Hello, Ada!\"\nactual=$(greet Ada)\nif [ \"$actual\" = \"$expected\" ]; then\n    echo \"1 passed\"\nelse\n    echo \"1 failed: expected '$expected', got '$actual'\"\n    exit 1\nfi\n",
    ),
];

/// A place for a new sample: in the cache, where it may be deleted at any time.
pub(super) fn new_place(app: &App) -> Result<PathBuf> {
    Ok(app
        .directories
        .cache
        .join("demo")
        .join(format!("greetings-{}", random_hex(3)?)))
}

/// Whether a sample may be made here: nothing is there yet.
pub(super) fn may_be_made_in(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Makes it: files, and one commit under a name that is plainly ours.
pub(super) async fn make(app: &App, folder: &Path) -> Result<()> {
    let failed = |error: &std::io::Error| {
        Error::io(
            format!("making the sample repository in {}", folder.display()),
            error,
        )
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).map_err(|error| failed(&error))?;
    }
    git(app, folder, &["init", "--quiet", "--initial-branch=main", "."]).await?;
    git(app, folder, &["add", "--all"]).await?;
    let identity = [
        "-c",
        "user.name=clode-ls demo",
        "-c",
        "user.email=demo@clode.invalid",
        "-c",
        "commit.gpgsign=false",
    ];
    let commit = [
        "commit",
        "--quiet",
        "--no-verify",
        "--message",
        "A project with something left to do",
    ];
    git(app, folder, &[&identity[..], &commit[..]].concat()).await
}

async fn git(app: &App, folder: &Path, arguments: &[&str]) -> Result<()> {
    let services = app.engine.services();
    let mut command = Command::new(
        services.workspaces.git().program(),
        folder,
        Confinement::Direct,
        GIT_LIMITS,
    )
    .args(["-c", "core.hooksPath=/dev/null"])
    .args(arguments)
    .env("GIT_CONFIG_NOSYSTEM", "1")
    .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env.extend(app.environment.child_baseline());
    let output = services.spawner.run(command, &CancellationToken::new()).await?;
    if output.end.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(
        Kind::Git,
        "gitFailed",
        format!("the sample repository cannot be made: git says: {why}"),
    ))
}
