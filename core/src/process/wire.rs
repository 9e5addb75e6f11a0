//! What the server and the shim say to each other.
//!
//! To the shim: one length-prefixed JSON specification on its stdin; the rest of stdin is the
//! program's. From the shim: one length-prefixed JSON report as the first bytes of its stderr; the rest
//! is the program's. A program that cannot be executed after all leaves a late report behind a random
//! mark that only the two of us know. So no key, policy or environment is ever in an argument list.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use super::command::Network;
use crate::{Error, Kind, Result};

/// Largest specification: the kernel takes about 2 MiB of arguments and environment.
pub(super) const SPECIFICATION_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest report.
pub(super) const REPORT_BYTES_MAX: usize = 4 * 1024;
/// Longest message in a report, so that a report always fits.
const REPORT_MESSAGE_CHARS_MAX: usize = 800;
/// A secret must fit into a pipe that nobody reads yet.
pub(super) const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Exit code of a shim whose program could not be executed; counts only together with the mark.
pub(super) const EXIT_NOT_STARTED: u8 = 125;
/// Length prefix of a frame.
pub(super) const PREFIX_BYTES: usize = 4;

/// Text of the operating system: UTF-8 where it is, bytes where it is not.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawText {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&OsStr> for RawText {
    fn from(text: &OsStr) -> Self {
        text.to_str().map_or_else(
            || Self::Bytes(text.as_bytes().to_vec()),
            |text| Self::Text(text.to_owned()),
        )
    }
}

impl From<RawText> for OsString {
    fn from(text: RawText) -> Self {
        match text {
            RawText::Text(text) => Self::from(text),
            RawText::Bytes(bytes) => Self::from_vec(bytes),
        }
    }
}

/// What the shim starts.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Specification {
    pub program: RawText,
    pub args: Vec<RawText>,
    pub env: Vec<(RawText, RawText)>,
    pub cwd: RawText,
    pub stdin: Input,
    /// Whose death ends everything.
    pub parent: u32,
    /// Mark of a late report.
    pub mark: String,
    pub resources: Resources,
    pub sandbox: Option<Sandbox>,
    pub secret: Option<Secret>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Input {
    Null,
    Rest,
}

/// Resource limits of the whole tree (each process has its own count).
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resources {
    pub open_files: u64,
    pub file_bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sandbox {
    pub writable: Vec<RawText>,
    pub readable: Vec<RawText>,
    /// No toolchain root that contains one of these is made readable.
    pub protected: Vec<RawText>,
    pub network: Network,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Secret {
    pub env_name: String,
    #[serde(serialize_with = "plain", deserialize_with = "zeroizing")]
    pub value: Zeroizing<String>,
}

fn plain<S: Serializer>(value: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

fn zeroizing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// What the shim says before the program runs.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Report {
    /// Confinement is prepared; the program is about to run.
    #[serde(rename_all = "camelCase")]
    Ready { landlock_abi: Option<u8> },
    /// It will not run.
    Failed { code: String, message: String },
}

impl Report {
    pub(super) fn failed(code: &str, message: &str) -> Self {
        Self::Failed {
            code: code.to_owned(),
            message: message.chars().take(REPORT_MESSAGE_CHARS_MAX).collect(),
        }
    }

    /// The error that a failed report stands for.
    pub(super) fn into_error(self) -> Option<Error> {
        match self {
            Self::Ready { .. } => None,
            Self::Failed { code, message } => {
                let mut error = Error::new(Kind::Io, "programNotStarted", message);
                error.code = code.into();
                Some(error)
            }
        }
    }
}

/// A frame: length prefix, then JSON. The buffer is wiped when it is dropped.
pub(super) fn frame<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>> {
    let too_large = || Error::internal("a process specification is too large");
    // Room for all of it beforehand: a buffer that grows leaves copies of secrets behind.
    let mut counter = Counter(PREFIX_BYTES);
    serde_json::to_writer(&mut counter, value).map_err(|error| Error::internal(error.to_string()))?;
    if counter.0 > SPECIFICATION_BYTES_MAX {
        return Err(too_large());
    }
    let length = u32::try_from(counter.0 - PREFIX_BYTES).map_err(|_| too_large())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(counter.0));
    bytes.extend_from_slice(&length.to_le_bytes());
    serde_json::to_writer(&mut *bytes, value).map_err(|error| Error::internal(error.to_string()))?;
    Ok(bytes)
}

/// The length that a prefix announces, if it is within `bytes_max`.
pub(super) fn announced(prefix: [u8; PREFIX_BYTES], bytes_max: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(prefix))
        .ok()
        .filter(|length| *length <= bytes_max)
}

/// Reads the JSON of a frame.
pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| Error::internal(format!("between server and shim: {error}")))
}

/// The error in a late report at the head of what came from stderr, if there is one.
pub(super) fn late_failure(stderr: &[u8], mark: &str) -> Option<Error> {
    let rest = stderr.strip_prefix(mark.as_bytes())?;
    let (prefix, json) = rest.split_first_chunk::<PREFIX_BYTES>()?;
    let length = announced(*prefix, REPORT_BYTES_MAX)?;
    parse::<Report>(json.get(..length)?).ok()?.into_error()
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
