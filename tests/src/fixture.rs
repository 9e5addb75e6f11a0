//! Where a test plays: a git repository and an empty home, each in a directory of its own that goes away
//! with it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// The variable by which a test finds its processes again.
pub const MARK_VARIABLE: &str = "CLODE_TEST_MARK";
/// All commits of a test are made at the same moment, so that their ids are the same in every run.
const COMMIT_TIME: &str = "2026-01-02T03:04:05Z";

/// What lies in a directory: path to what it is and holds.
pub type Snapshot = BTreeMap<String, String>;

/// A git repository with one branch, `main`.
#[derive(Debug)]
pub struct Repo {
    dir: TempDir,
}

impl Default for Repo {
    fn default() -> Self {
        Self::new()
    }
}

impl Repo {
    /// An empty repository without a commit.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("clode-repo-")
            .tempdir()
            .expect("a temporary directory");
        fs::create_dir(dir.path().join("work")).expect("a directory in it");
        let repo = Self { dir };
        repo.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repo
    }

    /// A repository whose first commit holds these files.
    #[must_use]
    pub fn with(files: &[(&str, &str)]) -> Self {
        let repo = Self::new();
        for (path, text) in files {
            repo.write(path, text);
        }
        repo.commit("Begin");
        repo
    }

    /// A small Python project with a bug, and a test that finds it: `calc.py`, `test_calc.py`.
    #[must_use]
    pub fn with_a_bug() -> Self {
        Self::with(&[
            ("calc.py", "def add(a, b):\n    return a - b\n"),
            (
                "test_calc.py",
                "from calc import add\n\nassert add(2, 3) == 5, add(2, 3)\nprint(\"1 passed\")\n",
            ),
            (".gitignore", "__pycache__/\n"),
        ])
    }

    /// The top level.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        // A temporary directory may be reached through a link; what git answers never is.
        fs::canonicalize(self.dir.path().join("work")).expect("the repository is there")
    }

    /// Writes a file of the working tree.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let file = self.path().join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).expect("the directory of the file");
        }
        fs::write(file, text).expect("the file is written");
    }

    /// The text of a file of the working tree.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap_or_else(|error| format!("<{path}: {error}>"))
    }

    /// Takes a file out of the working tree.
    pub fn delete(&self, path: &str) {
        fs::remove_file(self.path().join(path)).expect("the file was there");
    }

    /// Commits everything; answers the id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git here; answers its output without the last line end.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = git_command(&self.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("git is installed");
        assert!(
            output.status.success(),
            "git {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Every file under `.git`, with what it holds. Two of them are equal only if nothing was touched.
    #[must_use]
    pub fn fingerprint_git(&self) -> Snapshot {
        snapshot(&self.path().join(".git"), &[])
    }

    /// Every file of the working tree, with what it holds.
    #[must_use]
    pub fn tree(&self) -> Snapshot {
        snapshot(&self.path(), &[".git"])
    }
}

/// git with nothing of the machine's own configuration, and a fixed identity.
#[expect(clippy::disallowed_methods, reason = "the rig starts its own git")]
fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .env_clear()
        .envs(inherited())
        .envs([
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "A Tester"),
            ("GIT_AUTHOR_EMAIL", "tester@example.org"),
            ("GIT_AUTHOR_DATE", COMMIT_TIME),
            ("GIT_COMMITTER_NAME", "A Tester"),
            ("GIT_COMMITTER_EMAIL", "tester@example.org"),
            ("GIT_COMMITTER_DATE", COMMIT_TIME),
        ]);
    command
}

/// What a cleared environment keeps of the test's own: where programs are found.
#[expect(clippy::disallowed_methods, reason = "the rig hands the search path on")]
pub(crate) fn inherited() -> Vec<(String, String)> {
    std::env::var("PATH")
        .map(|path| ("PATH".to_owned(), path))
        .into_iter()
        .collect()
}

/// What lies below `root`: kind, mode and content of every entry, without the entries named in `leave_out`.
#[must_use]
pub fn snapshot(root: &Path, leave_out: &[&str]) -> Snapshot {
    let mut found = Snapshot::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).expect("a directory of the tree can be read");
        for entry in entries {
            let path = entry.expect("an entry can be read").path();
            let name = path
                .strip_prefix(root)
                .expect("entries lie below")
                .to_string_lossy()
                .into_owned();
            if leave_out.contains(&name.as_str()) {
                continue;
            }
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let content = if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap_or_default().display())
            } else if metadata.is_dir() {
                open.push(path);
                continue;
            } else {
                let bytes = fs::read(&path).unwrap_or_default();
                format!(
                    "{:o} {}",
                    metadata.permissions().mode() & 0o7777,
                    blake3::hash(&bytes).to_hex()
                )
            };
            found.insert(name, content);
        }
    }
    found
}

/// An empty home of a person who has never run the program.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    mark: String,
    environment: BTreeMap<String, String>,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// Fresh directories, and an environment that leads there and nowhere else.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The mark is part of the directory's name, so that what works in there is found by where it works.
        let mark = format!(
            "clode-{}-{}-",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = tempfile::Builder::new()
            .prefix(&format!("{mark}home-"))
            .tempdir()
            .expect("a temporary directory");
        let mut environment: BTreeMap<String, String> = inherited().into_iter().collect();
        for (variable, folder) in [
            ("HOME", "home"),
            ("TMPDIR", "tmp"),
            ("XDG_CONFIG_HOME", "home/.config"),
            ("XDG_STATE_HOME", "home/.local/state"),
            ("XDG_DATA_HOME", "home/.local/share"),
            ("XDG_CACHE_HOME", "home/.cache"),
            ("XDG_RUNTIME_DIR", "run"),
            ("CLODE_STATE_DIR", "state"),
            ("CLODE_CACHE_DIR", "cache"),
            ("CLODE_CONFIG_DIR", "config"),
        ] {
            let path = dir.path().join(folder);
            if !folder.starts_with("home/") && !variable.starts_with("CLODE_") {
                fs::create_dir_all(&path).expect("a directory of the home");
            }
            environment.insert(variable.to_owned(), path.to_string_lossy().into_owned());
        }
        fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o700))
            .expect("a private run directory");
        environment.insert("LANG".to_owned(), "C.UTF-8".to_owned());
        environment.insert(MARK_VARIABLE.to_owned(), mark.clone());
        Self {
            dir,
            mark,
            environment,
        }
    }

    /// Adds a variable to everything that is started from here.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.environment.insert(variable.to_owned(), value.to_owned());
    }

    /// Takes a variable away.
    pub fn unset(&mut self, variable: &str) {
        self.environment.remove(variable);
    }

    /// Leads everything that is started from here to this provider.
    #[must_use]
    pub fn with_api(mut self, api: &crate::scripted_api::ScriptedApi) -> Self {
        self.environment.extend(api.environment());
        self
    }

    /// The whole environment of a program.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// The text that every process started from here carries in its environment.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// A path below the home's own directory, such as `state`, `cache`, `config`, `home`, `tmp`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the user's `providers.yaml`.
    pub fn configure(&self, yaml: &str) {
        let folder = self.path("config");
        fs::create_dir_all(&folder).expect("the configuration directory");
        fs::write(folder.join("providers.yaml"), yaml).expect("the configuration is written");
    }
}
