//! The process under test, in a world of its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::LspClient;
use super::wire::Wire;
use crate::fixture::Home;

/// How often the end of the process is looked for.
const POLL: Duration = Duration::from_millis(2);

/// How the server is started. By default: `--stdio`, an empty environment but for `PATH`, and state, cache,
/// configuration and home in a fresh folder that is deleted afterwards.
#[derive(Debug, Default)]
pub struct Setup {
    args: Option<Vec<OsString>>,
    env: BTreeMap<OsString, OsString>,
    current_dir: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Setup {
    /// Other arguments than `--stdio`.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// One more variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Where it starts.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(folder.into());
        self
    }

    /// A home that is there already and stays: for servers that follow one another.
    #[must_use]
    pub fn home(mut self, folder: impl Into<PathBuf>) -> Self {
        self.home = Some(folder.into());
        self
    }

    /// For the person of this home, with everything that is set there.
    #[must_use]
    pub fn of(mut self, home: &Home) -> Self {
        for (name, value) in home.environment() {
            self.env.insert(name.into(), value.into());
        }
        self.home(home.path(""))
    }

    /// Starts it.
    pub fn start(self) -> LspClient {
        let own_home = tempfile::tempdir().unwrap();
        let home = self.home.unwrap_or_else(|| own_home.path().to_owned());
        let mut command = command(&binary());
        command
            .args(self.args.unwrap_or_else(|| vec!["--stdio".into()]))
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", &home)
            .env("CLODE_STATE_DIR", home.join("state"))
            .env("CLODE_CACHE_DIR", home.join("cache"))
            .env("CLODE_CONFIG_DIR", home.join("config"))
            .envs(self.env)
            .current_dir(self.current_dir.as_deref().unwrap_or(&home))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let wire = Wire::new(child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let log = collect(child.stderr.take().unwrap());
        LspClient::over(
            Server {
                child,
                log,
                home,
                _own_home: own_home,
            },
            wire,
        )
    }
}

/// The running process.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    home: PathBuf,
    _own_home: TempDir,
}

impl Server {
    /// `None` when it still runs after the limit.
    pub(super) fn exit_status(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() > end {
                return None;
            }
            thread::sleep(POLL);
        }
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }
}

fn collect(mut stderr: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&log);
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut piece) {
            collected
                .lock()
                .unwrap()
                .extend_from_slice(piece.get(..read).unwrap_or_default());
        }
    });
    log
}

/// The binary of the same build as this test: `target/<profile>/clode-ls`, above `target/<profile>/deps/<test>`.
pub(super) fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run from target/<profile>/deps");
    let binary = profile.join(format!("clode-ls{}", std::env::consts::EXE_SUFFIX));
    assert!(
        binary.is_file(),
        "{} is missing: run `cargo build -p clode-ls` first",
        binary.display()
    );
    binary
}

#[expect(clippy::disallowed_methods, reason = "the server under test is started here")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

#[expect(
    clippy::disallowed_methods,
    reason = "git and the like are found as the user finds them"
)]
fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").to_owned())
}
