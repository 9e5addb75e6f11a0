//! The rig's own parts: a fingerprint that would miss a change, or a search that would miss a process, would
//! let every test that relies on them pass.

#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::time::Duration;

use clode_tests::cli::Cli;
use clode_tests::fixture::{Home, Repo};
use clode_tests::processes::{self, Process};

#[test]
fn the_fingerprint_of_git_sees_every_kind_of_change() {
    let repo = Repo::with_a_bug();
    let before = repo.fingerprint_git();
    assert_eq!(before, repo.fingerprint_git(), "looking changes nothing");

    repo.git(&["branch", "other"]);
    let with_branch = repo.fingerprint_git();
    assert_ne!(before, with_branch, "a new ref");

    repo.git(&["branch", "--delete", "--quiet", "other"]);
    repo.git(&["config", "some.key", "value"]);
    assert_ne!(before, repo.fingerprint_git(), "configuration");
}

#[test]
fn commits_of_equal_repositories_have_equal_ids() {
    let [first, second] = [Repo::with_a_bug(), Repo::with_a_bug()];

    assert_eq!(
        first.git(&["rev-parse", "HEAD"]),
        second.git(&["rev-parse", "HEAD"])
    );
    assert_eq!(first.tree(), second.tree());
}

#[test]
fn the_tree_holds_the_files_and_not_the_git_directory() {
    let repo = Repo::with_a_bug();
    let before = repo.tree();
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        [".gitignore", "calc.py", "test_calc.py"]
    );

    repo.write("deep/new.txt", "x");
    repo.delete("calc.py");

    let after = repo.tree();
    assert!(after.contains_key("deep/new.txt") && !after.contains_key("calc.py"));
}

#[tokio::test]
async fn a_process_that_left_its_family_is_found_by_its_mark() {
    let home = Home::new();
    let script = "setsid sleep 60 < /dev/null > /dev/null 2>&1 & echo started";
    let shell = Cli::program("/bin/sh", &home, home.path("home"))
        .run(&["-c", script])
        .await
        .expect_code(0);
    assert_eq!(shell.stdout, "started\n");

    let left = until_one_runs("sleep 60", || processes::carrying(home.mark())).await;
    let judged = tokio::spawn({
        let mark = home.mark().to_owned();
        async move { processes::assert_none_left(&mark, Duration::from_millis(50)).await }
    })
    .await;

    assert!(judged.is_err(), "the orphan was not reported");
    for process in left {
        end(process.id);
    }
    processes::assert_none_left(home.mark(), Duration::from_secs(2)).await;
}

#[tokio::test]
async fn descendants_are_found_through_their_parents() {
    let home = Home::new();
    let running = Cli::program("/bin/sh", &home, home.path("home")).start(&["-c", "sleep 61 & echo; wait"]);

    let found = until_one_runs("sleep 61", || processes::descendants(running.id())).await;

    assert_eq!(found.len(), 1, "{found:?}");
    running.kill().await;
    for process in found {
        end(process.id);
    }
}

#[tokio::test]
async fn a_program_gets_the_home_and_nothing_of_the_tests_own_environment() {
    let mut home = Home::new();
    home.set("GIVEN", "yes");

    let run = Cli::program("/usr/bin/env", &home, home.path("home"))
        .env("MORE", "1")
        .run(&[])
        .await
        .expect_code(0);

    let names: Vec<&str> = run
        .stdout
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    for name in [
        "PATH",
        "HOME",
        "TMPDIR",
        "XDG_STATE_HOME",
        "CLODE_STATE_DIR",
        "GIVEN",
        "MORE",
    ] {
        assert!(names.contains(&name), "{name} is missing: {names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
}

#[tokio::test]
async fn input_reaches_the_program_and_its_exit_code_comes_back() {
    let home = Home::new();
    let shell = Cli::program("/bin/sh", &home, home.path("home")).input("{\"a\":1}\n");

    let run = shell
        .run(&["-c", "cat; echo problem >&2; exit 3"])
        .await
        .expect_code(3);

    assert_eq!(run.json()["a"], 1);
    assert_eq!(run.stderr, "problem\n");
}

/// Looks again until a process with this command line is among those that are found.
async fn until_one_runs(command: &str, find: impl Fn() -> Vec<Process>) -> Vec<Process> {
    let looking = async {
        loop {
            let found = find();
            if found.iter().any(|process| process.command == command) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looking)
        .await
        .expect("it starts in time")
}

/// Ends a process that a test left behind on purpose.
fn end(id: u32) {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
    }
}
