//! Runs the built `clode-ls` as a person or an editor would: another process, a cleared environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::fixture::Home;
use crate::skip::skipped;

/// No run of a test takes longer.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// The binary under test: `CLODE_TEST_SERVER`, else the one that stands beside this test's executable.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the rig may be pointed at another build"
)]
pub fn binary() -> PathBuf {
    if let Some(given) = std::env::var_os("CLODE_TEST_SERVER") {
        return PathBuf::from(given);
    }
    let test = std::env::current_exe().expect("a test knows its own executable");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/<profile>/deps");
    let binary = profile.join("clode-ls");
    assert!(
        binary.exists(),
        "{} is not built: run `cargo build` first",
        binary.display()
    );
    binary
}

/// A command line to be run.
#[derive(Debug, Clone)]
pub struct Cli {
    program: PathBuf,
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    input: Option<String>,
    limit: Duration,
}

/// How it ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

/// One that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    limit: Duration,
    what: String,
}

impl Cli {
    /// `clode-ls` for the person of this home, in a directory.
    #[must_use]
    pub fn new(home: &Home, directory: impl Into<PathBuf>) -> Self {
        Self::program(binary(), home, directory)
    }

    /// Another program for the person of this home.
    #[must_use]
    pub fn program(program: impl Into<PathBuf>, home: &Home, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            directory: directory.into(),
            environment: home.environment().clone(),
            input: None,
            limit: RUN_LIMIT,
        }
    }

    /// With a variable.
    #[must_use]
    pub fn env(mut self, variable: &str, value: &str) -> Self {
        self.environment.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// With this on stdin, which then ends; without it stdin is empty.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// With another time limit.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end. One that does not end in time is killed and fails the test.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish().await
    }

    /// Whether the help of these words names this command. The test of one that is not there is skipped, loudly.
    pub async fn offers(&self, words: &[&str], command: &str) -> bool {
        let help = self.run(&[words, &["--help"]].concat()).await.stdout;
        let is_it = |line: &str| line.split_whitespace().next() == Some(command);
        let offered = help.lines().any(is_it);
        if !offered {
            skipped(&format!(
                "the command line does not offer {words:?} {command} yet"
            ));
        }
        offered
    }

    /// Starts it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the rig starts the program under test")]
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(&self.environment)
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()));
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), self.input.clone()) {
            tokio::spawn(async move {
                // A program that ends without reading is no error of the rig.
                let _ = stdin.write_all(text.as_bytes()).await;
            });
        }
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        Running {
            child,
            stdout,
            stderr,
            limit: self.limit,
            what: format!("{arguments:?}"),
        }
    }
}

impl Running {
    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Ends it as the kernel would: no warning, no clean-up.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process number");
        rustix::process::kill_process(id, signal).expect("it is alive");
    }

    /// Waits for its end.
    pub async fn finish(mut self) -> Finished {
        let Ok(status) = tokio::time::timeout(self.limit, self.child.wait()).await else {
            let _ = self.child.kill().await;
            let (stdout, stderr) = (self.stdout.await, self.stderr.await);
            panic!(
                "{} did not end within {:?}; stdout {stdout:?}, stderr {stderr:?}",
                self.what, self.limit
            );
        };
        let status: ExitStatus = status.expect("its end can be waited for");
        Finished {
            code: status.code(),
            stdout: self.stdout.await.expect("stdout was read"),
            stderr: self.stderr.await.expect("stderr was read"),
        }
    }
}

impl Finished {
    /// Fails unless it ended with this code.
    #[track_caller]
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        self.assert_code(code);
        self
    }

    /// Fails unless it ended with this code.
    #[track_caller]
    pub fn assert_code(&self, code: i32) {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
    }

    /// Its stdout as one JSON document.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON ({error}):\n{}", self.stdout))
    }

    /// Its stdout as JSON lines.
    #[track_caller]
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

fn collect(pipe: Option<impl tokio::io::AsyncRead + Unpin + Send + 'static>) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes).await;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
