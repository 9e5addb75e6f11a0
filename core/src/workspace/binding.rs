//! Which name of ours belongs to which repository of the user's.
//!
//! The name is random. It is bound to the common directory's path, device, inode and birth time and
//! to a root commit, so that a new clone at the same path is another repository, and nothing of the
//! old one is ever shown for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::files;
use super::git::Git;
use super::repository::Found;
use crate::id::{RepositoryId, random_hex};
use crate::{Error, Result};

const BINDING_FILE: &str = "binding.json";
const LOCK_FILE: &str = "lock";
/// How long another process may hold the list of repositories.
const LOCK_LIMIT_MS: u64 = 60_000;
/// Bytes of randomness in a name.
const NAME_BYTES: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    common_dir: PathBuf,
    device: u64,
    inode: u64,
    born_ns: Option<i64>,
    root_commit: Option<String>,
}

/// Keeps other processes from naming repositories until it is dropped.
pub(crate) async fn lock(repositories: &Path) -> Result<File> {
    files::private_dir(repositories)?;
    let lock = files::open_lock(&repositories.join(LOCK_FILE))?;
    let waited = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    tokio::time::timeout(Duration::from_millis(LOCK_LIMIT_MS), waited)
        .await
        .map_err(|_| {
            Error::state("stateLocked", "another process holds the list of repositories").hint("try again")
        })?
        .map_err(|error| Error::internal(format!("waiting for the list of repositories: {error}")))?
        .map_err(|error| Error::io("locking the list of repositories", &error))
}

/// The name of the repository that was found; a new one when it was never seen before. To be called
/// under the [`lock`].
pub(crate) async fn bind(git: &Git, repositories: &Path, found: &Found) -> Result<RepositoryId> {
    let here = place_of(&found.common_dir)?;
    for entry in files::list(repositories)? {
        let path = repositories.join(&entry).join(BINDING_FILE);
        let Some(mut known) = files::read_json::<Binding>(&path)? else {
            continue;
        };
        let same_place = Binding {
            root_commit: None,
            ..known.clone()
        } == here;
        if !same_place {
            continue;
        }
        match known.root_commit.clone() {
            Some(root) if !has_commit(git, found, &root).await? => continue,
            Some(_) => {}
            None => {
                known.root_commit = root_commit(git, found).await?;
                files::write_json(&path, &known)?;
            }
        }
        return Ok(RepositoryId::new(entry.to_string_lossy()));
    }
    let id = random_hex(NAME_BYTES)?;
    files::private_dir(&repositories.join(&id))?;
    let binding = Binding {
        root_commit: root_commit(git, found).await?,
        ..here
    };
    files::write_json(&repositories.join(&id).join(BINDING_FILE), &binding)?;
    tracing::info!(repository = %id, "bound a repository");
    Ok(RepositoryId::new(id))
}

async fn has_commit(git: &Git, found: &Found, id: &str) -> Result<bool> {
    let call = git
        .call(["cat-file", "-e", id])
        .git_dir(&found.git_dir)
        .common_dir(&found.common_dir);
    Ok(call.answer().await?.code == 0)
}

async fn root_commit(git: &Git, found: &Found) -> Result<Option<String>> {
    let call = git
        .call(["rev-list", "--max-parents=0", "HEAD"])
        .git_dir(&found.git_dir)
        .common_dir(&found.common_dir);
    let answer = call.answer().await?;
    let text = String::from_utf8_lossy(&answer.stdout);
    Ok(text
        .lines()
        .last()
        .filter(|_| answer.code == 0)
        .map(str::to_owned))
}

#[cfg(unix)]
fn place_of(common_dir: &Path) -> Result<Binding> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(common_dir).map_err(|error| Error::io(common_dir.display(), &error))?;
    Ok(Binding {
        common_dir: common_dir.to_owned(),
        device: found.dev(),
        inode: found.ino(),
        born_ns: born(&found),
        root_commit: None,
    })
}

#[cfg(not(unix))]
fn place_of(common_dir: &Path) -> Result<Binding> {
    let found = std::fs::metadata(common_dir).map_err(|error| Error::io(common_dir.display(), &error))?;
    Ok(Binding {
        common_dir: common_dir.to_owned(),
        device: 0,
        inode: 0,
        born_ns: born(&found),
        root_commit: None,
    })
}

fn born(found: &std::fs::Metadata) -> Option<i64> {
    let age = found.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(age.as_nanos()).ok()
}
