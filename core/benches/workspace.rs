//! What isolation costs: snapshot, slot, result and patch, each beside what git itself offers for the
//! same purpose, in the same rounds on the same repository.
//!
//! `cargo bench -p clode-core --bench workspace`; see docs/benchmarks.md.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

#[path = "rig/git.rs"]
mod git;
#[path = "rig/measure.rs"]
mod measure;
#[path = "rig/sha1.rs"]
mod sha1;
#[path = "rig/synthetic.rs"]
mod synthetic;
#[path = "rig/timed.rs"]
mod timed;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clode_core::id::CommitId;
use clode_core::process::Spawner;
use clode_core::workspace::{Buffer, Places, Repository, Slot, SlotNote, Snapshot, UserHome, Workspaces};

use measure::{Effort, Table};
use timed::timed;

const STASH: &str = "git stash create";
const ADD_ALL: &str = "git add -A on a copied index";
const WORKTREE_ADD: &str = "git worktree add --detach";
const CHECKOUT: &str = "git checkout --detach";
const WORKTREE_REMOVE: &str = "git worktree remove --force";
const DIFF_TREE: &str = "git diff-tree -p -M";

/// Files that differ where files differ: modified, deleted, added.
const CHANGED: (u64, u64, u64) = (7, 1, 2);
/// Documents with unsaved text.
const BUFFERS: u64 = 10;

fn main() {
    let effort = Effort::from_arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(effort));
}

async fn run(effort: Effort) {
    let world = World::new(effort.pick(2_000, 60)).await;
    measure::print_machine(&world.root);
    println!(
        "{} files, {}",
        world.files,
        git::text(&world.project, &["version"])
    );
    let mut tables = Tables::new();
    for round in 0..effort.pick(11, 1) {
        world.snapshots(&mut tables, round).await;
        world.slots(&mut tables, round).await;
    }
    tables.print();
}

struct Tables {
    clean: Table,
    dirty: Table,
    cold: Table,
    warm: Table,
    result: Table,
    patch: Table,
    release: Table,
}

impl Tables {
    fn new() -> Self {
        let changed = CHANGED.0 + CHANGED.1 + CHANGED.2;
        Self {
            clean: Table::new("Snapshot, nothing changed"),
            dirty: Table::new(format!(
                "Snapshot, {changed} files changed, {BUFFERS} unsaved documents"
            )),
            cold: Table::new("Working directory from nothing"),
            warm: Table::new(format!("Working directory from the pool, {changed} files differ")),
            result: Table::new(format!("Result of an agent, {changed} files changed")),
            patch: Table::new(format!("Patch of {changed} files")),
            release: Table::new("Giving a working directory back"),
        }
    }

    fn print(&self) {
        let Self {
            clean,
            dirty,
            cold,
            warm,
            result,
            patch,
            release,
        } = self;
        for table in [clean, dirty, cold, warm, result, patch, release] {
            table.print();
        }
    }
}

/// The user's repository, our rooms, and a place for what the contenders make.
struct World {
    _place: tempfile::TempDir,
    root: PathBuf,
    project: PathBuf,
    files: u64,
    head: String,
    workspaces: Workspaces,
    repository: Repository,
}

impl World {
    async fn new(files: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        synthetic::check(&root.join("check"));
        let project = root.join("project");
        let head = synthetic::make(&project, files);
        let pool = root.join("pooled");
        git::run(
            &project,
            &["worktree", "add", "-q", "--detach", pool.to_str().unwrap()],
        );
        let places = Places {
            state: root.join("state"),
            cache: root.join("cache"),
            user: UserHome::default(),
        };
        let spawner = Spawner::new("/nonexistent/shim".into());
        let workspaces = Workspaces::open(places, spawner, git::search_path())
            .await
            .unwrap();
        let repository = workspaces.repository(&project).await.unwrap();
        Self {
            _place: place,
            root,
            project,
            files,
            head,
            workspaces,
            repository,
        }
    }

    /// A fresh object directory, so that no contender finds what another one has written.
    fn quarantine(&self, name: &str) -> PathBuf {
        let path = self.root.join("quarantine").join(name);
        std::fs::create_dir_all(path.join("info")).unwrap();
        let alternates = format!("{}\n", self.project.join(".git/objects").display());
        std::fs::write(path.join("info/alternates"), alternates).unwrap();
        path
    }

    async fn snapshots(&self, tables: &mut Tables, round: u64) {
        synthetic::restore(&self.project);
        let taken = self
            .snapshot(&mut tables.clean, &[], &format!("clean-{round}"))
            .await;
        assert_eq!(
            taken.tree.as_str(),
            git::text(&self.project, &["rev-parse", "HEAD^{tree}"])
        );

        change(&self.project, self.files, round);
        let buffers: Vec<Buffer> = (0..BUFFERS)
            .map(|number| Buffer {
                path: synthetic::path(number),
                text: format!("unsaved {round}\n").into_bytes(),
            })
            .collect();
        self.snapshot(&mut tables.dirty, &buffers, &format!("dirty-{round}"))
            .await;
    }

    /// Takes a snapshot in three ways and demands the same tree of ours and of git's.
    async fn snapshot(&self, table: &mut Table, buffers: &[Buffer], name: &str) -> Snapshot {
        let (time, taken) = timed(self.workspaces.snapshot(&self.repository, buffers)).await;
        table.lap("snapshot", &[STASH, ADD_ALL], time);
        let taken = taken.unwrap();

        let objects = self.quarantine(&format!("{name}-stash"));
        let begun = Instant::now();
        git::text_with(
            &self.project,
            &[("GIT_OBJECT_DIRECTORY", &objects)],
            &["stash", "create"],
        );
        table.lap(STASH, &[], begun.elapsed());

        let objects = self.quarantine(name);
        let begun = Instant::now();
        let (index, mut tree, _) = self.add_all(&self.project, &objects);
        table.lap(ADD_ALL, &[], begun.elapsed());

        let variables: git::Variables<'_> = &[("GIT_INDEX_FILE", &index), ("GIT_OBJECT_DIRECTORY", &objects)];
        for buffer in buffers {
            let hash = ["hash-object", "-w", "--stdin"];
            let id = git::feed_with(&self.project, variables, &hash, &buffer.text);
            let entry = format!("100644,{id},{}", buffer.path);
            git::text_with(
                &self.project,
                variables,
                &["update-index", "--add", "--cacheinfo", &entry],
            );
            tree = git::text_with(&self.project, variables, &["write-tree"]);
        }
        assert_eq!(taken.tree.as_str(), tree, "our snapshot is not what git sees");
        taken
    }

    /// Everything in a work tree as a commit, without touching its index; index, tree and commit.
    fn add_all(&self, work_tree: &Path, objects: &Path) -> (PathBuf, String, String) {
        let git_dir = PathBuf::from(git::text(work_tree, &["rev-parse", "--absolute-git-dir"]));
        let index = objects.join("copied-index");
        std::fs::copy(git_dir.join("index"), &index).unwrap();
        let variables: git::Variables<'_> = &[("GIT_INDEX_FILE", &index), ("GIT_OBJECT_DIRECTORY", objects)];
        git::text_with(work_tree, variables, &["add", "-A"]);
        let tree = git::text_with(work_tree, variables, &["write-tree"]);
        let commit = ["commit-tree", &tree, "-p", &self.head, "-m", "result"];
        let commit = git::text_with(work_tree, variables, &commit);
        (index, tree, commit)
    }

    async fn slots(&self, tables: &mut Tables, round: u64) {
        let name = format!("slot-{round}");
        let objects = self.quarantine(&name);
        synthetic::restore(&self.project);
        change(&self.project, self.files, round);
        let dirty = self.workspaces.snapshot(&self.repository, &[]).await.unwrap();
        let (_, tree, dirty_for_git) = self.add_all(&self.project, &objects);
        assert_eq!(dirty.tree.as_str(), tree);
        synthetic::restore(&self.project);
        let clean = self.workspaces.snapshot(&self.repository, &[]).await.unwrap();

        // nothing is in the pool
        self.workspaces.janitor(0, |_| false).await.unwrap();
        let (time, slot) = timed(self.acquire(&clean.commit)).await;
        tables.cold.lap("acquire", &[WORKTREE_ADD], time);
        let worktree = self.root.join("worktrees").join(&name);
        let begun = Instant::now();
        self.add_worktree(&worktree);
        tables.cold.lap(WORKTREE_ADD, &[], begun.elapsed());
        assert_clean(&slot, &clean);

        let result = self.result(tables, &slot, &worktree, &clean, &objects).await;
        self.patch(tables, &clean.commit, &result.0, &result.1, &objects)
            .await;

        let (time, ()) = timed(self.workspaces.release(slot)).await;
        tables.release.lap("release", &[WORKTREE_REMOVE], time);
        let begun = Instant::now();
        let remove = ["worktree", "remove", "--force", worktree.to_str().unwrap()];
        git::run(&self.project, &remove);
        tables.release.lap(WORKTREE_REMOVE, &[], begun.elapsed());

        let (time, slot) = timed(self.acquire(&clean.commit)).await;
        tables
            .warm
            .lap("acquire, nothing differs", &[CHECKOUT, WORKTREE_ADD], time);
        assert_clean(&slot, &clean);
        self.workspaces.release(slot).await;
        let (time, slot) = timed(self.acquire(&dirty.commit)).await;
        tables.warm.lap("acquire", &[CHECKOUT, WORKTREE_ADD], time);
        assert_clean(&slot, &dirty);
        self.workspaces.release(slot).await;

        let pooled = self.root.join("pooled");
        let variables: git::Variables<'_> = &[("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects)];
        let begun = Instant::now();
        git::text_with(
            &pooled,
            variables,
            &["checkout", "-q", "--detach", &dirty_for_git],
        );
        tables.warm.lap(CHECKOUT, &[], begun.elapsed());
        git::text_with(&pooled, variables, &["checkout", "-q", "--detach", &self.head]);
        let begun = Instant::now();
        self.add_worktree(&worktree);
        tables.warm.lap(WORKTREE_ADD, &[], begun.elapsed());
        git::run(&self.project, &remove);
    }

    async fn acquire(&self, at: &CommitId) -> Slot {
        let note = SlotNote {
            run: "pipeline-bench-1".into(),
            step: "developer".into(),
            fence: 1,
            trust: None,
        };
        self.workspaces
            .acquire(&self.repository, at, &note)
            .await
            .unwrap()
    }

    fn add_worktree(&self, path: &Path) {
        let path = path.to_str().unwrap();
        git::run(
            &self.project,
            &["worktree", "add", "-q", "--detach", path, &self.head],
        );
    }

    /// The same work in our slot and in git's worktree, taken in; our commit and git's.
    async fn result(
        &self,
        tables: &mut Tables,
        slot: &Slot,
        worktree: &Path,
        clean: &Snapshot,
        objects: &Path,
    ) -> (CommitId, String) {
        for folder in [&slot.root, worktree] {
            change(folder, self.files, u64::MAX);
        }
        let collected = self.workspaces.collect(&self.repository, slot, &clean.commit);
        let (time, collected) = timed(collected).await;
        tables.result.lap("collect", &[ADD_ALL], time);
        let begun = Instant::now();
        let (_, tree, commit) = self.add_all(worktree, objects);
        tables.result.lap(ADD_ALL, &[], begun.elapsed());
        let collected = collected.unwrap();
        assert_eq!(collected.tree.as_str(), tree, "our result is not what git sees");
        assert!(collected.refused.is_empty());
        (collected.commit, commit)
    }

    async fn patch(
        &self,
        tables: &mut Tables,
        base: &CommitId,
        result: &CommitId,
        result_for_git: &str,
        objects: &Path,
    ) {
        let (time, patch) = timed(self.workspaces.patch(&self.repository, base, result)).await;
        tables.patch.lap("patch", &[DIFF_TREE], time);
        let begun = Instant::now();
        let variables: git::Variables<'_> = &[("GIT_OBJECT_DIRECTORY", objects)];
        let diff = ["diff-tree", "-r", "-p", "-M", &self.head, result_for_git];
        git::text_with(&self.project, variables, &diff);
        tables.patch.lap(DIFF_TREE, &[], begun.elapsed());

        let index = objects.join("applied-index");
        let variables: git::Variables<'_> = &[("GIT_INDEX_FILE", &index), ("GIT_OBJECT_DIRECTORY", objects)];
        git::text_with(&self.project, variables, &["read-tree", &self.head]);
        let unified = patch.unwrap().to_unified();
        git::feed_with(
            &self.project,
            variables,
            &["apply", "--cached", "-"],
            unified.as_bytes(),
        );
        let applied = git::text_with(&self.project, variables, &["write-tree"]);
        let wanted = git::text_with(
            &self.project,
            variables,
            &["rev-parse", &format!("{result_for_git}^{{tree}}")],
        );
        assert_eq!(applied, wanted, "our patch does not give the result");
    }
}

/// Changes files here and there; every round leaves other contents.
fn change(folder: &Path, files: u64, round: u64) {
    let (modified, deleted, added) = CHANGED;
    let step = files / (modified + deleted);
    let path = |number: u64| folder.join(synthetic::path(number * step + 1));
    for number in 0..modified {
        let mut text = std::fs::read_to_string(path(number)).unwrap();
        text.extend(["changed in round ", &round.to_string(), "\n"]);
        std::fs::write(path(number), text).unwrap();
    }
    for number in modified..modified + deleted {
        std::fs::remove_file(path(number)).unwrap();
    }
    for number in 0..added {
        let path = folder.join(format!("added/new/{number}.txt"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("added in round {round}: {number}\n")).unwrap();
    }
}

/// What the slot holds is the snapshot, as git sees it from inside.
fn assert_clean(slot: &Slot, snapshot: &Snapshot) {
    assert_eq!(git::text(&slot.root, &["status", "--porcelain"]), "");
    let tree = git::text(&slot.root, &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(tree, snapshot.tree.as_str());
}
