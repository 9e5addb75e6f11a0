//! Results that nobody applied outlive their run: each is kept by a ref of its own, which says what it
//! is without the database.

use serde::{Deserialize, Serialize};

use super::{Room, writing};
use crate::clock::Timestamp;
use crate::id::{CommitId, PipelineId, RepositoryId, StepId};
use crate::workspace::{Workspaces, files};
use crate::{Error, Kind, Result};

/// Where these refs are.
pub(super) const SALVAGE: &str = "refs/clode/salvage/";
/// Milliseconds of a second, as git counts.
const SECOND_MS: i64 = 1_000;

/// A result that outlived its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Salvaged {
    /// The run.
    pub run: PipelineId,
    /// The repository that it worked on.
    pub repository: RepositoryId,
    /// What it was about.
    pub title: String,
    /// The files that it started from.
    pub base: CommitId,
    /// The files as the agents left them.
    pub result: CommitId,
    /// What steps had done that never came into the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmerged: Vec<Unmerged>,
    /// When the run went.
    pub at: Timestamp,
}

/// The work of a step that is not in the result of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unmerged {
    /// The step.
    pub step: StepId,
    /// The files that it started from.
    pub base: CommitId,
    /// The files as it left them.
    pub result: CommitId,
}

impl Salvaged {
    /// All that the ref must hold, each commit once.
    fn commits(&self) -> Vec<&CommitId> {
        let unmerged = self.unmerged.iter().flat_map(|of| [&of.result, &of.base]);
        let mut commits = Vec::new();
        for commit in [&self.result, &self.base].into_iter().chain(unmerged) {
            if !commits.contains(&commit) {
                commits.push(commit);
            }
        }
        commits
    }
}

impl Workspaces {
    /// Keeps the files of a run that is about to go.
    pub async fn salvage(&self, salvaged: &Salvaged) -> Result<()> {
        let room = self.room(&salvaged.repository);
        let _writing = writing(&room.root).await?;
        let result = salvaged.result.as_str();
        let tree = room
            .reading(["rev-parse", "--verify", "--quiet", &format!("{result}^{{tree}}")])
            .text()
            .await
            .map_err(|error| {
                Error::new(
                    Kind::Git,
                    "commitMissing",
                    format!(
                        "the result of `{}` cannot be read: {}",
                        salvaged.run, error.message
                    ),
                )
            })?;
        let note = serde_json::to_string(salvaged).map_err(|error| Error::internal(error.to_string()))?;
        let date = format!("@{} +0000", salvaged.at.0.div_euclid(SECOND_MS));
        let mut call = room
            .git
            .call(["commit-tree", tree.trim(), "-F", "-"])
            .git_dir(&room.git_dir)
            .objects(&room.sealed);
        for commit in salvaged.commits() {
            call = call.args(["-p", commit.as_str()]);
        }
        let commit = call
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .stdin(format!("clode salvage\n\n{note}\n").into_bytes())
            .text()
            .await?;
        let name = format!("{SALVAGE}{}", ref_part(&salvaged.run));
        room.reading(["update-ref", &name, commit.trim()]).bytes().await?;
        Ok(())
    }

    /// Every result that outlived its run, oldest first.
    pub async fn salvaged(&self) -> Result<Vec<Salvaged>> {
        let mut found = Vec::new();
        for room in self.rooms()? {
            found.extend(room.salvaged().await?.into_iter().map(|(_, salvaged)| salvaged));
        }
        found.sort_by(|one, other| (one.at, &one.run).cmp(&(other.at, &other.run)));
        Ok(found)
    }

    /// Lets go of those that outlived their runs before this moment; says how many.
    pub async fn forget_salvaged(&self, before: Timestamp) -> Result<usize> {
        let mut count = 0;
        for room in self.rooms()? {
            let mut orders = String::new();
            for (name, salvaged) in room.salvaged().await? {
                if salvaged.at < before {
                    orders.extend(["delete ", &name, "\n"]);
                    count += 1;
                }
            }
            if !orders.is_empty() {
                room.reading(["update-ref", "--stdin"])
                    .stdin(orders.into_bytes())
                    .bytes()
                    .await?;
            }
        }
        Ok(count)
    }

    /// The space that snapshots and results of each repository take.
    pub async fn repository_sizes(&self) -> Result<Vec<(RepositoryId, u64)>> {
        let repositories = self.repositories();
        let measure = move || -> Result<Vec<(RepositoryId, u64)>> {
            let names = files::list(&repositories)?;
            Ok(names
                .into_iter()
                .filter_map(|name| {
                    let size = files::size_of_tree(&repositories.join(&name));
                    Some((RepositoryId::new(name.into_string().ok()?), size))
                })
                .collect())
        };
        tokio::task::spawn_blocking(measure)
            .await
            .map_err(|error| Error::internal(error.to_string()))?
    }

    fn room(&self, repository: &RepositoryId) -> Room {
        Room::new(&self.git, &self.repositories().join(repository.as_str()))
    }

    fn rooms(&self) -> Result<Vec<Room>> {
        let repositories = self.repositories();
        let names = files::list(&repositories)?;
        let rooms = names
            .iter()
            .map(|name| Room::new(&self.git, &repositories.join(name)));
        Ok(rooms.filter(|room| room.git_dir.join("HEAD").is_file()).collect())
    }
}

impl Room {
    /// By the name of the ref.
    async fn salvaged(&self) -> Result<Vec<(String, Salvaged)>> {
        let listed = self
            .reading(["for-each-ref", "--format=%(refname) %(contents:body)", SALVAGE])
            .text()
            .await?;
        let lines = listed.lines().filter_map(|line| line.split_once(' '));
        Ok(lines
            .filter_map(|(name, note)| Some((name.to_owned(), serde_json::from_str(note).ok()?)))
            .collect())
    }
}

/// The run's name as git takes it in the name of a ref.
fn ref_part(run: &PipelineId) -> String {
    run.as_str().replace('.', "-")
}
