//! A user with a home, a repository and files; and our rooms beside them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::process::Spawner;
use crate::workspace::{Buffer, Places, Repository, Slot, SlotNote, Snapshot, UserHome, Workspaces};

pub(super) struct World {
    pub(super) place: tempfile::TempDir,
    pub(super) workspaces: Workspaces,
}

impl World {
    /// A home and an empty repository `project` on branch `main`.
    pub(super) async fn new() -> Self {
        Self::with_git_init(&["init", "-q", "-b", "main"]).await
    }

    pub(super) async fn with_git_init(init: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        for folder in ["home", "project", "state", "cache"] {
            std::fs::create_dir(place.path().join(folder)).unwrap();
        }
        let root = place.path().canonicalize().unwrap();
        let user = UserHome {
            home: Some(root.join("home")),
            config_home: None,
        };
        let places = Places {
            state: root.join("state"),
            cache: root.join("cache"),
            user,
        };
        let spawner = Spawner::new("/nonexistent/shim".into());
        let workspaces = Workspaces::open(places, spawner, search_path()).await.unwrap();
        let world = Self { place, workspaces };
        world.git(init);
        world
    }

    pub(super) fn root(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap()
    }

    pub(super) fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        write(&self.project().join(path), text.as_bytes());
    }

    pub(super) fn git(&self, args: &[&str]) -> String {
        let (ok, text) = self.try_git(&self.project(), args);
        assert!(ok, "git {args:?}: {text}");
        text
    }

    /// Git as somebody would type it in this folder.
    #[expect(
        clippy::disallowed_methods,
        reason = "the user and the agent of a test run git themselves"
    )]
    pub(super) fn try_git(&self, folder: &Path, args: &[&str]) -> (bool, String) {
        let mut command = std::process::Command::new("git");
        command
            .args(args)
            .current_dir(folder)
            .env_clear()
            .env("PATH", search_path());
        command.env("HOME", self.root().join("home")).env("LC_ALL", "C");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "Ada")
                .env(format!("GIT_{who}_EMAIL"), "ada@example.invalid");
        }
        let output = command.output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    pub(super) fn commit_all(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "work"]);
    }

    pub(super) async fn repository(&self) -> Repository {
        self.workspaces.repository(&self.project()).await.unwrap()
    }

    pub(super) async fn snapshot(&self, repository: &Repository) -> Snapshot {
        self.workspaces.snapshot(repository, &[]).await.unwrap()
    }

    pub(super) async fn slot(&self, repository: &Repository, snapshot: &Snapshot) -> Slot {
        self.workspaces
            .acquire(repository, &snapshot.commit, &note())
            .await
            .unwrap()
    }

    /// Sweeps until no slot is left. A child that another test is just starting shares our locks until it becomes
    /// its program.
    pub(super) async fn sweep_every_slot(&self) {
        for _ in 0..200 {
            if self
                .workspaces
                .janitor(0, |_| false)
                .await
                .unwrap()
                .kept
                .is_empty()
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("a slot is still in use");
    }

    pub(super) async fn text_at(
        &self,
        repository: &Repository,
        snapshot: &Snapshot,
        path: &str,
    ) -> Option<String> {
        let bytes = self
            .workspaces
            .file_at(repository, &snapshot.commit, path)
            .await
            .unwrap()?;
        Some(String::from_utf8(bytes).unwrap())
    }

    /// Every path and mode in a commit of ours.
    pub(super) fn tree_of(&self, repository: &Repository, commit: &str) -> BTreeMap<String, String> {
        let vault = self
            .root()
            .join("state/repositories")
            .join(repository.id.as_str());
        let git_dir = format!("--git-dir={}", vault.join("git").display());
        let listed = self.git(&[&git_dir, "-c", "core.quotePath=false", "ls-tree", "-r", commit]);
        listed
            .lines()
            .map(|line| {
                let (head, path) = line.split_once('\t').unwrap();
                (path.to_owned(), head.split(' ').next().unwrap().to_owned())
            })
            .collect()
    }

    /// The bytes and modes of everything in the user's git directory.
    pub(super) fn user_git(&self) -> BTreeMap<PathBuf, String> {
        fingerprint(&self.project().join(".git"))
    }
}

pub(super) fn buffer(path: &str, text: &str) -> Buffer {
    Buffer {
        path: path.to_owned(),
        text: text.as_bytes().to_vec(),
    }
}

/// So many different lines with this line end.
pub(super) fn numbered(lines: usize, end: &str) -> String {
    (0..lines)
        .flat_map(|line| ["line ".to_owned(), line.to_string(), end.to_owned()])
        .collect()
}

pub(super) fn note() -> SlotNote {
    SlotNote {
        run: "pipeline-t-1".into(),
        step: "developer".into(),
        fence: 1,
        trust: None,
    }
}

pub(super) fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub(super) fn make_executable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(super) fn fingerprint(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            "folder".to_owned()
        } else if metadata.is_symlink() {
            format!("link {}", std::fs::read_link(&path).unwrap().display())
        } else {
            blake3::hash(&std::fs::read(&path).unwrap()).to_string()
        };
        found.insert(path, format!("{:o} {content}", metadata.permissions().mode()));
    }
    found
}

/// The user's or an agent's files without `.git`, by relative path.
pub(super) fn files_of(folder: &Path) -> BTreeMap<PathBuf, String> {
    let relative = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    let found = fingerprint(folder)
        .into_iter()
        .map(|(path, content)| (relative(path), content));
    found
        .filter(|(path, content)| !path.starts_with(".git") && !content.ends_with("folder"))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "tests use the git of the machine")]
pub(super) fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap()
}
