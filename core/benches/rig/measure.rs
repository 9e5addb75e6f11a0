//! Rounds, laps and one table.
//!
//! A machine that others use as well runs now fast, now slow. So every round runs every contender
//! once, in the same order, and what is compared is the *ratio within a round*; the milliseconds
//! beside it only say of what size it is.

use std::path::Path;
use std::time::Duration;

/// How much a bench does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// `cargo bench`: enough rounds for a median.
    Measure,
    /// `cargo test --benches`: everything once and small, only to see that it still works.
    Smoke,
}

impl Effort {
    /// Cargo passes `--bench` when it measures, and nothing when it tests.
    pub(crate) fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self::Measure
        } else {
            Self::Smoke
        }
    }

    /// The first when it counts, the second for a smoke test.
    pub(crate) fn pick<T>(self, measure: T, smoke: T) -> T {
        match self {
            Self::Measure => measure,
            Self::Smoke => smoke,
        }
    }
}

/// One contender and its times, one for each round.
struct Line {
    name: &'static str,
    peers: &'static [&'static str],
    times: Vec<Duration>,
}

/// Contenders of one question, in the order in which they run.
pub(crate) struct Table {
    title: String,
    lines: Vec<Line>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lines: Vec::new(),
        }
    }

    /// Notes the time of a contender in this round. It is compared with `peers`, which are contenders
    /// of the same table.
    pub(crate) fn lap(&mut self, name: &'static str, peers: &'static [&'static str], time: Duration) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.name == name) {
            line.times.push(time);
        } else {
            self.lines.push(Line {
                name,
                peers,
                times: vec![time],
            });
        }
    }

    /// Prints every line: median, best, and how many times as long the peer took in the same round.
    pub(crate) fn print(&self) {
        let rounds = self.lines.iter().map(|line| line.times.len()).max().unwrap_or(0);
        println!("\n## {} ({rounds} rounds)", self.title);
        println!("| | median | min | ratio to its peers in the same round |");
        println!("|---|---|---|---|");
        for line in &self.lines {
            let ratios: Vec<String> = line
                .peers
                .iter()
                .filter_map(|peer| Some(format!("{} `{peer}`", times(self.ratio(line, peer)?))))
                .collect();
            println!(
                "| {} | {} | {} | {} |",
                line.name,
                shown(median(&line.times)),
                shown(line.times.iter().min().copied().unwrap_or_default()),
                ratios.join(", "),
            );
        }
    }

    /// The median over the rounds of peer divided by own: above 1 means faster than the peer.
    fn ratio(&self, line: &Line, peer: &str) -> Option<f64> {
        let peer = self.lines.iter().find(|other| other.name == peer)?;
        let mut ratios: Vec<f64> = peer
            .times
            .iter()
            .zip(&line.times)
            .map(|(peer, own)| peer.as_secs_f64() / own.as_secs_f64().max(f64::MIN_POSITIVE))
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }
}

/// On what this ran: without it figures say nothing.
pub(crate) fn print_machine(place: &Path) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let profile = if cfg!(debug_assertions) {
        "unoptimized build"
    } else {
        "optimized build"
    };
    println!(
        "{cores} cores, {}, {} on {}, {profile}",
        std::env::consts::OS,
        std::env::consts::ARCH,
        file_system(place),
    );
}

/// The type of the file system that holds this path.
fn file_system(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        path.starts_with(at).then_some((at.len(), kind))
    });
    mounted.max_by_key(|(length, _)| *length).map_or_else(
        || "an unknown file system".to_owned(),
        |(_, kind)| kind.to_owned(),
    )
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Two digits that mean something.
fn times(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.4}x")
    } else if ratio < 10.0 {
        format!("{ratio:.2}x")
    } else {
        format!("{ratio:.0}x")
    }
}

fn shown(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 1.0 {
        format!("{:.0} µs", ms * 1e3)
    } else if ms < 100.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}
