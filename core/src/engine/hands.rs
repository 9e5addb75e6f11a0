//! The port to those who do what a run asks for: agents, and what reads the user's repository. The engine
//! decides; these carry out.

use futures::future::BoxFuture;

use super::Services;
use super::effects::{self, Snapshots};
use crate::agent::{self, Agent};
use crate::error::Result;
use crate::id::{BlobId, CommitId};
use crate::pipeline::PreparedPatch;
use crate::workspace::{Combined, Repository};

/// Who carries out what effects ask for. Applying a patch is the [`super::Editor`]'s.
pub trait Hands: Send + Sync + std::fmt::Debug {
    /// An agent by its id.
    fn agent(&self, id: &str) -> Option<&dyn Agent>;

    /// Makes the user's files safe as they are now, with this unsaved text.
    fn snapshot<'a>(
        &'a self,
        services: &'a Services,
        repository: &'a Repository,
        buffers: Option<BlobId>,
    ) -> BoxFuture<'a, Result<Snapshots>>;

    /// Computes and stores the patch between two commits.
    fn patch<'a>(
        &'a self,
        services: &'a Services,
        repository: &'a Repository,
        base: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, Result<PreparedPatch>>;

    /// Brings what two sides made of a commit together.
    fn combine<'a>(
        &'a self,
        services: &'a Services,
        repository: &'a Repository,
        base: &'a CommitId,
        onto: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, Result<Combined>>;
}

/// The team, and git.
#[derive(Debug)]
pub(super) struct Real;

impl Hands for Real {
    fn agent(&self, id: &str) -> Option<&dyn Agent> {
        agent::find(id).map(|agent| agent as &dyn Agent)
    }

    fn snapshot<'a>(
        &'a self,
        services: &'a Services,
        repository: &'a Repository,
        buffers: Option<BlobId>,
    ) -> BoxFuture<'a, Result<Snapshots>> {
        Box::pin(effects::snapshot(services, repository, buffers))
    }

    fn patch<'a>(
        &'a self,
        services: &'a Services,
        repository: &'a Repository,
        base: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, Result<PreparedPatch>> {
        Box::pin(effects::prepare(services, repository, base, result))
    }

    fn combine<'a>(
        &'a self,
        services: &'a Services,
        repository: &'a Repository,
        base: &'a CommitId,
        onto: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, Result<Combined>> {
        Box::pin(services.workspaces.combine(repository, base, onto, result))
    }
}
