//! Keeps our private repositories small: every snapshot and every checkpoint leaves loose objects and
//! a ref behind.
//!
//! Nothing is lost that anybody needs. What becomes a pack is first written and looked at, then removed
//! where it was. Refs go only when nobody names them and they are old; and objects that no ref reaches
//! go only while nobody writes, which a lock of the kernel tells. Git's own `repack -l` and
//! `prune-packed` are of no use here: they take an object for superfluous as soon as the *user* has it,
//! who may prune it tomorrow.

mod reach;
mod salvage;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::files::Held;
use super::git::{Call, Git};
use super::slot::SlotPlace;
use super::{Workspaces, files};
use crate::id::CommitId;
use crate::{Error, Kind, Result};
pub use salvage::{Salvaged, Unmerged};
use shelf::Shelf;

/// Loose objects that one store may have.
const LOOSE_MAX: usize = 1_000;
/// Packs that one store may have.
const PACKS_MAX: usize = 16;
/// Refs whose removal is worth a look for objects that nobody reaches any more.
const REFS_WORTH_A_SWEEP: usize = 64;
/// A ref that is younger may be of a run that is not stored yet.
const REF_AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a writer waits for a sweep.
const WRITER_WAIT_MAX: Duration = Duration::from_secs(200);
/// Pause between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Held shared by who writes objects and refs, exclusively by who removes some.
const WRITERS_LOCK: &str = "writers.lock";
/// Held by who tidies.
const TIDY_LOCK: &str = "tidy.lock";

/// What tidying did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tidied {
    /// Loose objects that went into a pack.
    pub packed: usize,
    /// Refs that were removed.
    pub refs: usize,
    /// Objects that were removed because no ref reached them.
    pub removed: usize,
    /// Repositories that were left for the next time: somebody else was at work there.
    pub busy: usize,
}

/// How much is left lying about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thresholds {
    pub(super) loose_max: usize,
    pub(super) packs_max: usize,
    pub(super) refs_worth_a_sweep: usize,
}

const THRESHOLDS: Thresholds = Thresholds {
    loose_max: LOOSE_MAX,
    packs_max: PACKS_MAX,
    refs_worth_a_sweep: REFS_WORTH_A_SWEEP,
};

impl Workspaces {
    /// Packs loose objects where there are many. With the set of all commits that any run names, refs
    /// of others go as well, and then what no ref reaches. Safe beside other processes.
    pub async fn tidy(&self, needed: Option<&BTreeSet<CommitId>>) -> Result<Tidied> {
        self.tidy_beyond(needed, THRESHOLDS).await
    }

    /// As [`Workspaces::tidy`], down to the last object that nobody needs.
    pub async fn tidy_thoroughly(&self, needed: Option<&BTreeSet<CommitId>>) -> Result<Tidied> {
        let thresholds = Thresholds {
            refs_worth_a_sweep: 1,
            ..THRESHOLDS
        };
        self.tidy_beyond(needed, thresholds).await
    }

    pub(super) async fn tidy_beyond(
        &self,
        needed: Option<&BTreeSet<CommitId>>,
        thresholds: Thresholds,
    ) -> Result<Tidied> {
        let mut tidied = Tidied::default();
        for name in files::list(&self.repositories())? {
            let root = self.repositories().join(&name);
            if !root.join("git/HEAD").is_file() {
                continue;
            }
            let Some(_lock) = try_lock(&root.join(TIDY_LOCK))? else {
                tidied.busy += 1;
                continue;
            };
            let in_slots = commits_in_slots(&self.places.cache.join(&name))?;
            let place = Room::new(&self.git, &root);
            let worked = place.tidy(needed, &in_slots, thresholds, &mut tidied).await;
            if let Err(error) = worked {
                tracing::warn!(repository = %name.to_string_lossy(), %error, "a private repository stays untidy");
            }
        }
        Ok(tidied)
    }
}

/// Where slots stand: one whose commit is gone would have to be made anew.
fn commits_in_slots(cache: &Path) -> Result<BTreeSet<CommitId>> {
    let numbers = files::list(&cache.join("records"))?;
    let states = numbers.iter().filter_map(|number| {
        let number = number.to_str()?.parse().ok()?;
        SlotPlace::new(cache, number).read_state().ok().flatten()
    });
    Ok(states.map(|state| state.at).collect())
}

/// One private repository: what is in `objects` may be read by agents, what is in `sealed` may not.
struct Room {
    git: Git,
    root: PathBuf,
    git_dir: PathBuf,
    objects: PathBuf,
    sealed: PathBuf,
}

impl Room {
    fn new(git: &Git, root: &Path) -> Self {
        Self {
            git: git.clone(),
            root: root.to_owned(),
            git_dir: root.join("git"),
            objects: root.join("git/objects"),
            sealed: root.join("sealed"),
        }
    }

    /// A call that sees everything.
    fn reading<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Call {
        self.git
            .call(args)
            .git_dir(&self.git_dir)
            .objects(&self.sealed)
            .whole_tree()
    }

    fn shelves(&self) -> [Shelf<'_>; 2] {
        [&self.objects, &self.sealed].map(|objects| Shelf {
            git: &self.git,
            git_dir: &self.git_dir,
            objects,
        })
    }

    async fn tidy(
        &self,
        needed: Option<&BTreeSet<CommitId>>,
        in_slots: &BTreeSet<CommitId>,
        thresholds: Thresholds,
        tidied: &mut Tidied,
    ) -> Result<()> {
        for shelf in self.shelves() {
            let loose = shelf.loose()?;
            if loose.len() > thresholds.loose_max {
                tidied.packed += shelf.pack_loose(&loose).await?;
            }
        }
        let dead = match needed {
            Some(needed) => self.dead_refs(needed, in_slots).await?,
            None => Vec::new(),
        };
        let crowded = self.shelves().iter().any(|shelf| {
            shelf
                .packs()
                .is_ok_and(|packs| packs.len() > thresholds.packs_max)
        });
        if dead.is_empty() && !crowded {
            return Ok(());
        }
        let Some(_alone) = try_lock(&self.root.join(WRITERS_LOCK))? else {
            tidied.busy += 1;
            return Ok(());
        };
        let dropped = self.drop_refs(dead).await?;
        tidied.refs += dropped;
        if crowded || dropped >= thresholds.refs_worth_a_sweep {
            self.sweep(tidied).await?;
        }
        Ok(())
    }

    /// Our refs and where they point.
    async fn refs(&self) -> Result<BTreeMap<String, CommitId>> {
        let listed = self
            .reading(["for-each-ref", "--format=%(objectname) %(refname)", "refs/clode"])
            .text()
            .await?;
        let refs = listed.lines().filter_map(|line| line.split_once(' '));
        Ok(refs
            .map(|(commit, name)| (name.to_owned(), CommitId::new(commit)))
            .collect())
    }

    /// Refs that nobody names, looked for before anything is locked.
    async fn dead_refs(
        &self,
        needed: &BTreeSet<CommitId>,
        in_slots: &BTreeSet<CommitId>,
    ) -> Result<Vec<(String, CommitId)>> {
        let refs = self.refs().await?;
        let named = |commit: &CommitId| needed.contains(commit) || in_slots.contains(commit);
        // a snapshot with secret files is named, and the one without them lives by it
        let sealed: Vec<CommitId> = refs
            .iter()
            .filter(|(name, commit)| name.starts_with("refs/clode/sealed/") && named(commit))
            .map(|(_, commit)| commit.clone())
            .collect();
        let visible = reach::visible_sides(self, &sealed).await?;
        let now = self.now()?;
        Ok(refs
            .into_iter()
            .filter(|(name, commit)| {
                let is_kept = name.starts_with(salvage::SALVAGE);
                !is_kept && !named(commit) && !visible.contains(commit) && self.is_old(name, now)
            })
            .collect())
    }

    /// Removes refs that are still old, now that nobody writes.
    async fn drop_refs(&self, dead: Vec<(String, CommitId)>) -> Result<usize> {
        let now = self.now()?;
        let mut orders = String::new();
        let mut count = 0;
        for (name, commit) in dead {
            if self.is_old(&name, now) {
                orders.extend(["delete ", &name, " ", commit.as_str(), "\n"]);
                count += 1;
            }
        }
        if count > 0 {
            self.reading(["update-ref", "--stdin"])
                .stdin(orders.into_bytes())
                .bytes()
                .await?;
        }
        Ok(count)
    }

    /// The time as the file system that holds the refs has it.
    fn now(&self) -> Result<SystemTime> {
        let path = self.root.join(TIDY_LOCK);
        files::write(&path, b"tidying\n")?;
        let found = std::fs::metadata(&path).and_then(|found| found.modified());
        found.map_err(|error| Error::io(path.display(), &error))
    }

    /// Writers touch the file of a ref whenever they name its commit. One without a file of its own
    /// does not come from us.
    fn is_old(&self, name: &str, now: SystemTime) -> bool {
        let written = std::fs::metadata(self.git_dir.join(name)).and_then(|found| found.modified());
        written.is_ok_and(|written| now.duration_since(written).is_ok_and(|age| age >= REF_AGE_MIN))
    }

    /// Puts what a ref reaches into one pack for each shelf, and removes the rest. Only while nobody
    /// writes.
    async fn sweep(&self, tidied: &mut Tidied) -> Result<()> {
        for shelf in self.shelves() {
            shelf.remove_torn()?;
            tidied.packed += shelf.pack_loose(&shelf.loose()?).await?;
        }
        let mut ours = BTreeSet::new();
        for shelf in self.shelves() {
            ours.extend(shelf.packed().await?);
        }
        let reached = reach::from(self, self.refs().await?.into_values(), &ours).await?;
        for shelf in self.shelves() {
            tidied.removed += shelf.keep_only(&reached).await?;
        }
        Ok(())
    }
}

/// The lock, if nobody holds it in any way.
fn try_lock(path: &Path) -> Result<Option<Held>> {
    let lock = files::open_lock(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(Held::new(lock))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::io(path.display(), &error)),
    }
}

/// Keeps sweeps away from the private repository under `root` for as long as the answer is held. To be
/// taken by who writes objects there, until a ref holds them.
pub(super) async fn writing(root: &Path) -> Result<Held> {
    let path = root.join(WRITERS_LOCK);
    let lock = files::open_lock(&path)?;
    let wait = async {
        loop {
            match lock.try_lock_shared() {
                Ok(()) => return Ok(()),
                Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(std::fs::TryLockError::Error(error)) => return Err(Error::io(path.display(), &error)),
            }
        }
    };
    match tokio::time::timeout(WRITER_WAIT_MAX, wait).await {
        Ok(locked) => locked.map(|()| Held::new(lock)),
        Err(_) => Err(Error::new(
            Kind::State,
            "stateLocked",
            "another process tidies the snapshots of this repository",
        )
        .hint("try again")),
    }
}
