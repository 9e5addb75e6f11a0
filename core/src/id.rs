//! Names of things. Each is a string on the wire and a type of its own inside.

use serde::{Deserialize, Serialize};

macro_rules! string_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    )*};
}

string_id! {
    /// A run of a pipeline: `pipeline-<task id>-<suffix>`.
    PipelineId,
    /// A task as the person or script names it.
    TaskId,
    /// A step of a run, unique in it: `architect`, `developer`, `qa`.
    StepId,
    /// An agent: `taskMaster`, `architect`, `developer`, `qa`, `kbBuilder` or a custom one.
    AgentId,
    /// An open question to a person; names gate, round and content.
    ApprovalId,
    /// A hunk under review; stable while the person types and across rounds that keep it.
    HunkId,
    /// A git commit in our own store (hexadecimal object id).
    CommitId,
    /// A git tree in our own store (hexadecimal object id).
    TreeId,
    /// Bytes in the store, named by their blake3 hash (hexadecimal).
    BlobId,
    /// A repository of the user's as we know it; random, bound to its place and root commit.
    RepositoryId,
    /// A process that drives runs; alive as long as the kernel holds its lock.
    OwnerId,
    /// All that a step was asked, as a blake3 hash (hexadecimal): what its result is called in the step cache.
    StepKey,
    /// One physical send of a paid request: `<run>/<step>/<attempt>/<ordinal>/<send>`.
    IntentId,
}

/// `bytes` random bytes in lower-case hexadecimal. Falls back to nothing: without randomness there
/// is no safe identifier.
pub fn random_hex(bytes: usize) -> crate::Result<String> {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer)
        .map_err(|error| crate::Error::internal(format!("the system gives no random bytes: {error}")))?;
    Ok(buffer
        .iter()
        .fold(String::with_capacity(bytes * 2), |mut text, byte| {
            for nibble in [byte >> 4, byte & 0xf] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            text
        }))
}
