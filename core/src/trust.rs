//! What a repository may decide before a person trusts it, and how that trust is given.
//!
//! Trust is bound to a hash of exactly what would run or redirect. It holds for those bytes only:
//! when they change, the workspace is untrusted again. Nothing here runs or reads anything.

mod preview;
mod review;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::id::RepositoryId;
use crate::{Error, Result};

pub use preview::neutral;
pub use review::{ItemKind, TrustItem, TrustReview, is_reviewed, review};

/// Whether a person trusts what comes with a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TrustState {
    /// Nobody looked, or what was looked at has changed.
    #[default]
    Untrusted,
    /// A person looked at exactly this.
    Trusted {
        /// Hash of what was shown.
        hash: String,
    },
}

impl TrustState {
    /// Whether it is trusted.
    pub const fn is_trusted(&self) -> bool {
        matches!(self, Self::Trusted { .. })
    }

    /// Hash of what is trusted, if anything is.
    pub fn hash(&self) -> Option<&str> {
        match self {
            Self::Untrusted => None,
            Self::Trusted { hash } => Some(hash),
        }
    }
}

/// The port through which trust is remembered: one hash for each repository.
pub trait TrustStore: Send + Sync + std::fmt::Debug {
    /// The hash that was granted.
    fn get<'a>(&'a self, repository: &'a RepositoryId) -> BoxFuture<'a, Result<Option<String>>>;
    /// Remembers a granted hash, or forgets it.
    fn set<'a>(&'a self, repository: &'a RepositoryId, hash: Option<&'a str>) -> BoxFuture<'a, Result<()>>;
}

/// What the client said in `initializationOptions.trusted`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientTrust {
    /// Nothing, or `false`.
    #[default]
    Unsaid,
    /// A bare `true`.
    Bare,
    /// The hash that was shown.
    Hash(String),
}

impl ClientTrust {
    /// Takes the value as it was sent; anything else than a hash or a truth value says nothing.
    pub fn from_json(value: Option<&serde_json::Value>) -> Self {
        match value {
            Some(serde_json::Value::Bool(true)) => Self::Bare,
            Some(serde_json::Value::String(hash)) => Self::Hash(hash.clone()),
            _ => Self::Unsaid,
        }
    }
}

/// Whether the workspace is trusted now: by what was remembered, or by what the client said. A bare
/// `true` counts only with `trustClient: true` in the user's own configuration.
pub fn state(
    current: &TrustReview,
    remembered: Option<&str>,
    client: &ClientTrust,
    trust_client: bool,
) -> TrustState {
    let by_client = match client {
        ClientTrust::Unsaid => false,
        ClientTrust::Bare => trust_client,
        ClientTrust::Hash(hash) => *hash == current.hash,
    };
    if by_client || remembered == Some(current.hash.as_str()) {
        TrustState::Trusted {
            hash: current.hash.clone(),
        }
    } else {
        TrustState::Untrusted
    }
}

/// Grants trust to what was shown. Refused when it is not what is there now.
pub async fn grant(
    store: &dyn TrustStore,
    repository: &RepositoryId,
    current: &TrustReview,
    shown: &str,
) -> Result<TrustState> {
    if shown != current.hash {
        return Err(Error::state("trustChanged", "what this workspace would run is not what was shown")
            .hint("look at it again (`clode-ls trust --show` or clode.trust with action show), then grant the new hash"));
    }
    store.set(repository, Some(shown)).await?;
    Ok(TrustState::Trusted {
        hash: current.hash.clone(),
    })
}

/// Takes the trust back.
pub async fn revoke(store: &dyn TrustStore, repository: &RepositoryId) -> Result<TrustState> {
    store.set(repository, None).await?;
    Ok(TrustState::Untrusted)
}

#[cfg(test)]
mod tests;
