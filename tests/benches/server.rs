//! What a person waits for: the server's start, its answers, and what the house around a pipeline's
//! steps costs when nobody has to be asked and no model has to think.
//!
//! `cargo build && cargo bench -p clode-tests --bench server`; see docs/benchmarks.md.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

#[path = "../../core/benches/rig/measure.rs"]
mod measure;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clode_tests::fixture::Repo;
use clode_tests::lsp_client::{LspClient, Setup, presets};
use clode_tests::stage::{NEW, TEST_COMMAND, TODO, with_a_todo};
use measure::{Effort, Table};
use serde_json::{Value, json};

const SPAWN: &str = "spawn of true, to its end";
const FIRST_START: &str = "first start, to the answer of initialize";
const START: &str = "start, to the answer of initialize";
const STATUS: &str = "clode.status";
const ECHO: &str = "echo of as many bytes by cat";

/// Equal readings after which memory counts as settled, and the pause between two.
const SETTLED_READINGS: u32 = 10;
const READING_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for that.
const SETTLE_LIMIT: Duration = Duration::from_secs(4);

/// Everything by the offline demonstration, whatever is installed here.
const DEMO_CONFIG: &str = "\
routing:
  default:
    type: byAgent
    map:
      taskMaster: { provider: demo, model: demo }
      architect: { provider: demo, model: demo }
      developer: { provider: demo, model: demo }
      qa: { provider: demo, model: demo }
      kbBuilder: { provider: demo, model: demo }
agents:
  developer: { mode: sdk }
";

fn main() {
    let effort = Effort::from_arguments();
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    measure::print_machine(&root);
    start(effort, &root);
    memory(&root);
    status(effort, &root);
    pipeline(effort, &root);
}

/// From nothing to the first answer.
fn start(effort: Effort, root: &Path) {
    let mut table = Table::new("Start of the server");
    let home = home(root, "start");
    for round in 0..effort.pick(15, 1) {
        table.lap(SPAWN, &[], spawn_true());
        let fresh = self::home(root, &format!("start-{round}"));
        table.lap(FIRST_START, &[SPAWN], start_once(&fresh));
        table.lap(START, &[SPAWN], start_once(&home));
    }
    table.print();
}

fn start_once(home: &Path) -> Duration {
    let begun = Instant::now();
    let mut client = Setup::default().home(home).start();
    let result = client.initialize(&presets::vscode());
    let took = begun.elapsed();
    assert!(result["capabilities"].is_object());
    took
}

/// What an editor pays for a server that does nothing.
fn memory(root: &Path) {
    let mut client = Setup::default().home(home(root, "memory")).start();
    client.initialize_in(&with_a_todo().path(), &presets::vscode());
    let begun = Instant::now();
    let (mut last, mut equal) = (memory_of(&client), 0);
    while equal < SETTLED_READINGS && begun.elapsed() < SETTLE_LIMIT {
        std::thread::sleep(READING_PAUSE);
        let now = memory_of(&client);
        equal = if now == last { equal + 1 } else { 0 };
        last = now;
    }
    let (resident, own) = last;
    println!("\n## Memory when idle, after initialize\n| | MiB |\n|---|---|");
    println!("| resident | {:.1} |", mib(resident));
    println!("| of it not backed by a file | {:.1} |", mib(own));
}

/// Resident and anonymous memory of the server in KiB.
fn memory_of(client: &LspClient) -> (u32, u32) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", client.process_id())).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    (
        field("VmRSS:").unwrap_or_default(),
        field("RssAnon:").unwrap_or_default(),
    )
}

fn mib(kib: u32) -> f64 {
    f64::from(kib) / 1024.0
}

/// One request and its answer.
fn status(effort: Effort, root: &Path) {
    let mut client = Setup::default().home(home(root, "status")).start();
    let repo = with_a_todo();
    if !serves(
        &client.initialize_in(&repo.path(), &presets::vscode()),
        "clode.status",
    ) {
        return;
    }
    // the first one opens what lies behind
    let answer = client.command("clode.status", &json!({})).unwrap();
    let mut echo = Echo::start();
    let mut table = Table::new("Latency of a request");
    for _ in 0..effort.pick(200, 2) {
        let begun = Instant::now();
        let answer = client.command("clode.status", &json!({})).unwrap();
        table.lap(STATUS, &[ECHO], begun.elapsed());
        assert!(answer["version"].is_string(), "{answer}");
        table.lap(ECHO, &[], echo.back_and_forth(&answer));
    }
    println!("\nan answer of {} bytes", answer.to_string().len());
    table.print();
}

/// What the steps of a pipeline cost beside the test command.
fn pipeline(effort: Effort, root: &Path) {
    let mut client = Setup::default().home(home(root, "pipeline")).start();
    let repo = with_a_todo();
    if !serves(
        &client.initialize_in(&repo.path(), &presets::vscode()),
        "clode.run",
    ) {
        return;
    }
    let mut table = Table::new("A demo pipeline, approvals skipped");
    let mut steps = 0;
    for _ in 0..effort.pick(7, 1) {
        table.lap(SPAWN, &[], spawn_true());
        let begun = Instant::now();
        let run = client.command("clode.run", &request(&repo)).unwrap();
        let wall = begun.elapsed();
        let testing = testing(&run);
        steps = run["steps"].as_array().map_or(0, Vec::len);
        assert_eq!(run["status"], "completed", "{run:#}");
        assert!(
            run["patch"].as_str().unwrap().contains(NEW.trim()),
            "{}",
            run["patch"]
        );
        assert!(!testing.is_zero(), "no test was run: {run:#}");

        let house = wall.saturating_sub(testing);
        table.lap("the whole run", &[], wall);
        table.lap("its test commands", &[], testing);
        table.lap("the rest: all steps", &[], house);
        let for_each = house / u32::try_from(steps.max(1)).unwrap();
        table.lap("the rest, for each step", &[SPAWN], for_each);
    }
    println!("\n{steps} steps");
    table.print();
}

fn request(repo: &Repo) -> Value {
    let file = repo.path().join("calc.py");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().position(|line| line == TODO.trim_end()).unwrap();
    json!({
        "task": { "title": "Write multiply", "tests": [TEST_COMMAND] },
        "options": { "skipApprovals": true, "apply": "none", "cache": "bypass", "force": true },
        "context": {
            "textDocument": { "uri": url::Url::from_file_path(&file).unwrap() },
            "range": { "start": { "line": line, "character": 0 }, "end": { "line": line, "character": 0 } },
        },
        "wait": true,
    })
}

/// How long the test commands of a run took, as it says itself.
fn testing(run: &Value) -> Duration {
    let runs = run["testRuns"].as_array().into_iter().flatten();
    let ms = runs.filter_map(|test| test["durationMs"].as_u64()).sum();
    Duration::from_millis(ms)
}

/// Whether this build answers the command; said when it does not, so that nobody misses the line.
fn serves(initialized: &Value, command: &str) -> bool {
    let commands = &initialized["capabilities"]["executeCommandProvider"]["commands"];
    let served = commands
        .as_array()
        .is_some_and(|commands| commands.iter().any(|known| known == command));
    if !served {
        println!("\nnot measured: this build does not serve {command}");
    }
    served
}

/// A home whose configuration names the demonstration for every agent.
fn home(root: &Path, name: &str) -> std::path::PathBuf {
    let home = root.join(name);
    let config = home.join("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("providers.yaml"), DEMO_CONFIG).unwrap();
    home
}

/// The least that any program costs.
fn spawn_true() -> Duration {
    let mut command = program("true");
    let begun = Instant::now();
    let ended = command.status().unwrap();
    let took = begun.elapsed();
    assert!(ended.success());
    took
}

/// A program that answers at once, over the same kind of pipes.
struct Echo {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Echo {
    fn start() -> Self {
        let mut child = program("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn back_and_forth(&mut self, value: &Value) -> Duration {
        let line = format!("{value}\n");
        let mut answer = String::new();
        let begun = Instant::now();
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.flush().unwrap();
        self.output.read_line(&mut answer).unwrap();
        let took = begun.elapsed();
        assert_eq!(answer, line);
        took
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the reference is a program of its own")]
fn program(name: &str) -> Command {
    Command::new(name)
}
