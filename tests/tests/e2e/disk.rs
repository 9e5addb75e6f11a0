//! The disk of the state directory gets full in the middle of a run, and has room again: a small file system
//! of our own, where mounting is allowed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use clode_tests::skip::skipped;
use clode_tests::stage::{MODULE, NEW, OLD, Stage, TEST_COMMAND};
use clode_tests::text_editor::FINISH_LIMIT;
use serde_json::Value;

/// Room for the floor and the reserve, and for a run.
const SIZE: &str = "size=112m";

/// A file system in memory.
struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Mounts one, or says loudly that this machine does not allow it.
    fn mount(root: PathBuf) -> Option<Self> {
        if fs::create_dir_all(&root).is_ok() && run("mount", &["-t", "tmpfs", "-o", SIZE, "tmpfs"], &root) {
            return Some(Self { root });
        }
        skipped("this machine does not let the test mount a tmpfs");
        None
    }

    /// Takes what is left, to the last byte, and answers the error that ends it.
    fn fill(&self) -> Option<io::ErrorKind> {
        let copy = |mut filler| io::copy(&mut io::repeat(7).take(1 << 30), &mut filler);
        let filled = File::create(self.filler()).and_then(copy);
        filled.err().map(|error| error.kind())
    }

    fn free(&self) -> io::Result<()> {
        fs::remove_file(self.filler())
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !run("umount", &[], &self.root) {
            run("umount", &["-l"], &self.root);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the rig mounts its own file system")]
fn run(program: &str, arguments: &[&str], place: &Path) -> bool {
    Command::new(program)
        .args(arguments)
        .arg(place)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_run_waits_on_a_full_disk_with_its_answer_kept_and_goes_on_when_there_is_room() {
    let stage = Stage::demo();
    let Some(disk) = Disk::mount(stage.home.path("state")) else {
        return;
    };
    let cli = stage.cli().within(FINISH_LIMIT);
    let json = async |words: &[&str]| cli.run(words).await.expect_code(0).json();
    cli.run(&["run", "Write multiply", "--id", "T-1", "--test", TEST_COMMAND])
        .await
        .assert_code(3);
    let list = json(&["pipelines", "list", "--json"]).await;
    let id = list[0]["pipelineId"].as_str().unwrap_or_default();
    assert_eq!(disk.fill(), Some(io::ErrorKind::StorageFull));

    // The answer is taken in, and what would cost something is not begun.
    cli.run(&["pipelines", "approve", id]).await.assert_code(3);

    let waiting: Value = json(&["pipelines", "show", id, "--json"]).await;
    assert_eq!(waiting["status"], "paused", "{waiting:#}");
    let reason = waiting["statusReason"].as_str().unwrap_or_default();
    assert!(reason.contains("free on the disk"), "{reason}");
    assert_eq!(
        waiting["pendingApprovals"].as_array().map(Vec::len),
        Some(0),
        "{waiting:#}"
    );
    let status = json(&["status", "--json"]).await;
    let alerts = status["alerts"].as_array().cloned().unwrap_or_default();
    assert!(
        alerts.iter().any(|alert| alert["code"] == "diskFull"),
        "{status:#}"
    );
    cli.run(&["run", "Something else", "--yes"]).await.assert_code(1);

    disk.free().expect("there is room again");

    cli.run(&["pipelines", "resume", id]).await.assert_code(3);
    let asked = json(&["pipelines", "show", id, "--json"]).await;
    assert_eq!(
        asked["pendingApproval"]["gate"], "patch",
        "the plan is not asked for again"
    );
    cli.run(&["pipelines", "approve", id]).await.assert_code(0);
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
    stage.assert_nobody_left().await;
}
