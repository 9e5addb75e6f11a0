//! What the scenarios are made of: commands, and processes that are found again.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clode_core::process::{Command, Confinement, Limits, Line, Network, Output, SandboxPolicy, Spawner};
use tokio_util::sync::CancellationToken;

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const OUTPUT_MAX: usize = 64 * 1024;

pub(crate) fn own_path() -> PathBuf {
    std::env::current_exe().unwrap()
}

pub(crate) fn spawner() -> Spawner {
    Spawner::new(own_path())
}

pub(crate) async fn run(command: Command) -> clode_core::Result<Output> {
    spawner().run(command, &CancellationToken::new()).await
}

pub(crate) fn shell(script: &str, confinement: Confinement) -> Command {
    Command::new("/bin/sh", "/", confinement, Limits::new(LONG, OUTPUT_MAX))
        .args(["-c", script])
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
}

pub(crate) fn sandboxed(writable: &[&Path], network: Network) -> Confinement {
    Confinement::Sandboxed(SandboxPolicy {
        writable: writable.iter().map(|path| (*path).to_owned()).collect(),
        readable: vec![own_path()],
        network,
    })
}

pub(crate) fn every_confinement() -> [Confinement; 3] {
    [
        Confinement::Direct,
        Confinement::Supervised,
        sandboxed(&[], Network::None),
    ]
}

/// A script that leaves three processes behind: in a session of its own, forked twice, and forked twice
/// in a session of its own. None of them holds a pipe.
pub(crate) fn hiding(marker: &Marker) -> String {
    format!(
        "setsid sleep {marker} </dev/null >/dev/null 2>&1 &
         (sleep {marker} </dev/null >/dev/null 2>&1 &)
         (setsid sh -c 'sleep {marker} & wait' </dev/null >/dev/null 2>&1 &)
         sleep 0.2;"
    )
}

pub(crate) fn text(line: Option<Line>) -> String {
    match line {
        Some(Line::Text(text)) => String::from_utf8(text).unwrap(),
        other => panic!("expected a line, got {other:?}"),
    }
}

pub(crate) async fn tried(confinement: Confinement, port: u16) -> String {
    let limits = Limits::new(LONG, OUTPUT_MAX);
    let command = Command::new(own_path(), "/", confinement, limits).args(["__network", &port.to_string()]);
    let output = run(command).await.unwrap();
    assert!(output.end.success(), "{}", output.stderr_text());
    output.stdout_text().trim().to_owned()
}

pub(crate) fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// An argument of `sleep` by which processes of one scenario are found again.
pub(crate) struct Marker(String);

impl Marker {
    pub(crate) fn new() -> Self {
        Self(format!(
            "3600.{}",
            u64::from_str_radix(&clode_core::id::random_hex(7).unwrap(), 16).unwrap()
        ))
    }

    /// Processes that carry it and are no corpses.
    pub(crate) fn alive(&self) -> Vec<i32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments
                .split(|byte| *byte == 0)
                .any(|argument| argument == self.0.as_bytes())
        })
        .collect()
    }

    pub(crate) async fn present(&self, count: usize) {
        let begun = Instant::now();
        while self.alive().len() < count {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{} of {count} processes came up",
                self.alive().len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn gone_within(&self, limit: Duration) -> Duration {
        let begun = Instant::now();
        while !self.alive().is_empty() {
            assert!(begun.elapsed() < limit, "still alive: {:?}", self.alive());
            std::thread::sleep(Duration::from_millis(5));
        }
        begun.elapsed()
    }

    pub(crate) async fn gone_after(&self, limit: Duration) {
        let begun = Instant::now();
        while !self.alive().is_empty() {
            assert!(begun.elapsed() < limit, "still alive: {:?}", self.alive());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn kill(&self) {
        for pid in self.alive() {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn text(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    pub(crate) fn program(&self, name: &str, content: &str) -> PathBuf {
        let file = self.file(name, content);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }
}
