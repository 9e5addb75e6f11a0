//! Which processes are alive: for "nothing that was started is left".

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its parent's number.
    pub parent: u32,
    /// Its command line, with spaces between the words.
    pub command: String,
}

/// The children of a process, their children, and so on.
#[must_use]
pub fn descendants(of: u32) -> Vec<Process> {
    let all = living();
    let mut family = vec![of];
    let mut found: Vec<Process> = Vec::new();
    while let Some(parent) = family.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            family.push(process.id);
            found.push(process.clone());
        }
    }
    found
}

/// Every process whose environment, command line or working directory holds `mark`, wherever it hangs now.
#[must_use]
pub fn carrying(mark: &str) -> Vec<Process> {
    let holds = |process: &Process| {
        process.command.contains(mark)
            || fs::read_link(format!("/proc/{}/cwd", process.id))
                .is_ok_and(|directory| directory.to_string_lossy().contains(mark))
            || fs::read(format!("/proc/{}/environ", process.id))
                .is_ok_and(|environment| contains(&environment, mark.as_bytes()))
    };
    living()
        .into_iter()
        .filter(|process| process.id != std::process::id() && holds(process))
        .collect()
}

/// Fails unless everything that carries `mark` is gone within `limit`.
pub async fn assert_none_left(mark: &str, limit: Duration) {
    let until = Instant::now() + limit;
    loop {
        let left = carrying(mark);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "still alive after {limit:?}: {left:#?}");
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// Whether this very process still runs; its number alone may have gone to another.
#[must_use]
pub fn is_alive(process: &Process) -> bool {
    living()
        .iter()
        .any(|each| each.id == process.id && each.command == process.command)
}

/// Waits for a process below another whose command line holds a text.
pub async fn below(parent: u32, part: &str, limit: Duration) -> Process {
    let until = Instant::now() + limit;
    loop {
        let family = descendants(parent);
        if let Some(found) = family.iter().find(|process| process.command.contains(part)) {
            return found.clone();
        }
        assert!(
            Instant::now() < until,
            "no {part:?} within {limit:?} in {family:#?}"
        );
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

impl Process {
    /// Fails unless it is gone within `limit`.
    pub async fn gone_within(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while is_alive(self) {
            assert!(Instant::now() < until, "still alive after {limit:?}: {self:?}");
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

/// All processes but the dead ones that wait for their parent.
fn living() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // The name in parentheses may hold anything, spaces and parentheses too.
            let (_, after_name) = status.rsplit_once(')')?;
            let mut fields = after_name.split_whitespace();
            let dead = matches!(fields.next()?, "Z" | "X");
            let parent = fields.next()?.parse().ok()?;
            let command = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command)
                .replace('\0', " ")
                .trim_end()
                .to_owned();
            (!dead).then_some(Process { id, parent, command })
        })
        .collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}
