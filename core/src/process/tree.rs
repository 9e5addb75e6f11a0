//! A tree of processes, however its members hide: found through the kernel's list of children, which a
//! process cannot leave by making a session or group of its own.

use std::collections::HashSet;

use rustix::process::{Pid, Signal, kill_process};

/// More processes than that are not followed in one look; the next look finds the rest.
#[cfg(target_os = "linux")]
const PROCESSES_MAX: usize = 65_536;
/// Descriptors are scarcer than processes.
#[cfg(target_os = "linux")]
const HELD_MAX: usize = 128;
/// Rounds of stopping in which new members still turn up.
const FREEZE_ROUNDS_MAX: usize = 16;

/// Kills every descendant of `root` that can be found, not `root` itself. First everything is stopped,
/// so that nobody forks away from under the walk. Returns how many were found.
pub(super) fn kill_descendants(root: Pid) -> usize {
    let mut seen: HashSet<Pid> = HashSet::new();
    for _ in 0..FREEZE_ROUNDS_MAX {
        let fresh: Vec<Pid> = descendants(root)
            .into_iter()
            .filter(|pid| seen.insert(*pid))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            // A process that ended meanwhile is what we want.
            let _ = kill_process(pid, Signal::STOP);
        }
    }
    for pid in &seen {
        let _ = kill_process(*pid, Signal::KILL);
    }
    seen.len()
}

/// Processes that can be killed later without mistaking another one for them.
#[derive(Debug, Default)]
pub(super) struct Held(#[cfg(target_os = "linux")] Vec<std::os::fd::OwnedFd>);

impl Held {
    /// Every descendant of `root` as of now.
    pub(super) fn descendants_of(root: Pid) -> Self {
        #[cfg(target_os = "linux")]
        let held = {
            let open = |pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
            Self(
                descendants(root)
                    .into_iter()
                    .take(HELD_MAX)
                    .filter_map(open)
                    .collect(),
            )
        };
        #[cfg(not(target_os = "linux"))]
        let held = {
            let _ = root;
            Self()
        };
        held
    }

    /// Kills those that are still there.
    pub(super) fn kill(self) {
        #[cfg(target_os = "linux")]
        for descriptor in self.0 {
            let _ = rustix::process::pidfd_send_signal(descriptor, Signal::KILL);
        }
    }
}

/// Every descendant of `root`, parents before their children.
#[cfg(target_os = "linux")]
pub(super) fn descendants(root: Pid) -> Vec<Pid> {
    if !has_child_lists() {
        return descendants_by_scan(root);
    }
    let mut found = children(root);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        if found.len() < PROCESSES_MAX {
            found.extend(children(pid));
        }
    }
    found
}

/// Elsewhere only process groups are reached.
#[cfg(not(target_os = "linux"))]
pub(super) fn descendants(_root: Pid) -> Vec<Pid> {
    Vec::new()
}

/// Kernels may be built without the `children` files.
#[cfg(target_os = "linux")]
fn has_child_lists() -> bool {
    std::path::Path::new("/proc/thread-self/children").exists()
}

#[cfg(target_os = "linux")]
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(parse_pid)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(target_os = "linux")]
fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// The slow way: everybody's parent.
#[cfg(target_os = "linux")]
fn descendants_by_scan(root: Pid) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parents: Vec<(Pid, Pid)> = entries
        .flatten()
        .filter_map(|entry| parse_pid(entry.file_name().to_str()?))
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .take(PROCESSES_MAX)
        .collect();
    let mut found: Vec<Pid> = parents
        .iter()
        .filter(|(_, parent)| *parent == root)
        .map(|(pid, _)| *pid)
        .collect();
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == pid)
                .map(|(pid, _)| *pid),
        );
    }
    found
}

#[cfg(target_os = "linux")]
fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // "pid (name) state parent …"; the name may contain anything, also parentheses.
    parse_pid(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this test needs a child of its own")]
    fn both_ways_of_looking_find_the_same_grandchild() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 60 & read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let root = Pid::from_child(&child);
        let mut found = descendants(root);
        while found.is_empty() {
            std::thread::yield_now();
            found = descendants(root);
        }
        assert_eq!(found, descendants_by_scan(root));
        assert_eq!(kill_descendants(root), 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
