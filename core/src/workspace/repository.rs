//! The user's repository: found from any folder inside it, and only ever read.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::git::Git;
use crate::id::RepositoryId;
use crate::{Error, Kind, Result};

/// A repository of the user's, with the folder that was opened in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Our name for it; random, bound to its place.
    pub id: RepositoryId,
    /// The top folder of the user's files, absolute, without symbolic links.
    pub top_level: PathBuf,
    /// The user's git directory; for a linked worktree its own one.
    pub git_dir: PathBuf,
    /// The git directory that all worktrees of the repository share.
    pub common_dir: PathBuf,
    /// The folder that was opened, absolute, without symbolic links.
    pub folder: PathBuf,
    /// The opened folder relative to the top, with `/`; empty for the top itself.
    pub folder_path: String,
    /// `sha1` or `sha256`.
    pub object_format: String,
}

/// What discovery finds before the repository has a name of ours.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) top_level: PathBuf,
    pub(crate) git_dir: PathBuf,
    pub(crate) common_dir: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) folder_path: String,
    pub(crate) object_format: String,
}

impl Found {
    pub(crate) fn named(self, id: RepositoryId) -> Repository {
        let Self {
            top_level,
            git_dir,
            common_dir,
            folder,
            folder_path,
            object_format,
        } = self;
        Repository {
            id,
            top_level,
            git_dir,
            common_dir,
            folder,
            folder_path,
            object_format,
        }
    }
}

/// Settings of the user's that decide how files become blobs; the only ones that we take over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSettings {
    /// `core.autocrlf=true` and the like, as `-c` arguments.
    pub(crate) conversion: Vec<String>,
    /// How this file system behaves: `core.filemode` and the like.
    pub(crate) file_system: Vec<String>,
    /// Ignore rules of the user's, outside the tree: weakest first.
    pub(crate) excludes: Vec<String>,
    /// Attributes of the user's, outside the tree: weakest first.
    pub(crate) attributes: Vec<String>,
}

const CONVERSION_KEYS: &[&str] = &["core.autocrlf", "core.eol"];
const FILE_SYSTEM_KEYS: &[&str] = &[
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.trustctime",
    "core.checkstat",
    "core.precomposeunicode",
];
/// The most of one ignore or attributes file that is read.
const RULES_BYTES_MAX: u64 = 1024 * 1024;

/// Finds the repository that holds `folder`, as git does: with its check of the owner.
pub(crate) async fn discover(git: &Git, folder: &Path) -> Result<Found> {
    let folder = std::fs::canonicalize(folder)
        .map_err(|error| Error::io(format!("opening the folder {}", folder.display()), &error))?;
    let answer = git
        .call(["-C".into(), folder.clone().into_os_string()])
        .args([
            "rev-parse",
            "--path-format=absolute",
            "--show-toplevel",
            "--absolute-git-dir",
            "--git-common-dir",
        ])
        .args(["--show-object-format"])
        .with_user_configuration()
        .answer()
        .await?;
    if answer.code != 0 {
        return Err(refusal(&folder, &answer.stderr));
    }
    let text = String::from_utf8(answer.stdout).map_err(|_| {
        Error::new(
            Kind::Git,
            "unsupportedPath",
            format!("the path of {} is not UTF-8", folder.display()),
        )
    })?;
    let lines: Vec<&str> = text.lines().collect();
    let [top_level, git_dir, common_dir, object_format] = lines.as_slice() else {
        return Err(Error::new(
            Kind::Git,
            "unsupportedPath",
            format!(
                "the path of the repository at {} has a line break in it",
                folder.display()
            ),
        ));
    };
    let absolute = |path: &str| {
        std::fs::canonicalize(path).map_err(|error| Error::io(format!("opening {path}"), &error))
    };
    let top_level = absolute(top_level)?;
    let relative = folder.strip_prefix(&top_level).map_err(|_| {
        Error::new(
            Kind::Git,
            "notARepository",
            format!("{} is not inside {}", folder.display(), top_level.display()),
        )
    })?;
    let folder_path = relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
    Ok(Found {
        git_dir: absolute(git_dir)?,
        common_dir: absolute(common_dir)?,
        object_format: (*object_format).to_owned(),
        folder_path,
        top_level,
        folder,
    })
}

fn refusal(folder: &Path, stderr: &str) -> Error {
    let place = folder.display();
    if stderr.contains("dubious ownership") {
        return Error::new(
            Kind::Git,
            "dubiousOwnership",
            format!("the repository at {place} belongs to somebody else"),
        )
        .hint(format!(
            "if you trust it: `git config --global --add safe.directory {place}`"
        ));
    }
    if stderr.contains("not a git repository")
        || stderr.contains("must be run in a work tree")
        || stderr.contains("bare")
    {
        return Error::new(
            Kind::Git,
            "notARepository",
            format!("{place} is not inside a git repository"),
        )
        .hint(format!(
            "run `git init` in {place}, or open a folder of a repository"
        ));
    }
    Error::new(
        Kind::Git,
        "gitFailed",
        format!("git cannot open the repository at {place}: {}", stderr.trim()),
    )
}

impl Repository {
    /// The directory of the user's objects.
    pub fn objects(&self) -> PathBuf {
        self.common_dir.join("objects")
    }

    /// A call that reads the user's git directory and nothing else.
    pub(crate) fn reading<'a>(&self, git: &Git, args: impl IntoIterator<Item = &'a str>) -> super::git::Call {
        git.call(args).git_dir(&self.git_dir).common_dir(&self.common_dir)
    }

    /// The commit that HEAD names, if there is one yet.
    pub(crate) async fn head(&self, git: &Git) -> Result<Option<String>> {
        let answer = self
            .reading(
                git,
                [
                    "rev-parse",
                    "--verify",
                    "--quiet",
                    "--end-of-options",
                    "HEAD^{commit}",
                ],
            )
            .answer()
            .await?;
        let id = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Ok((answer.code == 0 && !id.is_empty()).then_some(id))
    }

    /// Branches, tags and remote branches as lines of a `packed-refs` file.
    pub(crate) async fn refs_as_packed(&self, git: &Git) -> Result<Vec<u8>> {
        self.reading(git, ["for-each-ref", "--format=%(objectname) %(refname)"])
            .args(["refs/heads", "refs/tags", "refs/remotes"])
            .bytes()
            .await
    }

    /// The user's settings that decide how files become blobs.
    pub(crate) async fn file_settings(&self, git: &Git) -> Result<FileSettings> {
        let printed = self
            .reading(git, ["config", "-z", "--get-regexp", "^core\\."])
            .with_user_configuration()
            .answer()
            .await?;
        let mut values = std::collections::BTreeMap::new();
        for entry in String::from_utf8_lossy(&printed.stdout).split('\0') {
            if let Some((key, value)) = entry.split_once('\n') {
                values.insert(key.to_ascii_lowercase(), value.to_owned());
            }
        }
        let chosen = |keys: &[&str]| -> Vec<String> {
            keys.iter()
                .filter_map(|key| values.get(*key).map(|value| format!("{key}={value}")))
                .collect()
        };
        let user = git.user();
        let config_home = user
            .config_home
            .clone()
            .or_else(|| user.home.as_ref().map(|home| home.join(".config")));
        let outside = |key: &str, default_name: &str, own: &Path| -> Vec<String> {
            let configured = values
                .get(key)
                .map(|value| expand_home(value, user.home.as_deref()));
            let general = configured.or_else(|| {
                config_home
                    .as_ref()
                    .map(|home| home.join("git").join(default_name))
            });
            general
                .iter()
                .map(PathBuf::as_path)
                .chain([own])
                .filter_map(read_rules)
                .collect()
        };
        let info = self.common_dir.join("info");
        Ok(FileSettings {
            conversion: chosen(CONVERSION_KEYS),
            file_system: chosen(FILE_SYSTEM_KEYS),
            excludes: outside("core.excludesfile", "ignore", &info.join("exclude")),
            attributes: outside("core.attributesfile", "attributes", &info.join("attributes")),
        })
    }
}

fn expand_home(value: &str, home: Option<&Path>) -> PathBuf {
    match (value.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(value),
    }
}

fn read_rules(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    if !found.is_file() || found.len() > RULES_BYTES_MAX {
        return None;
    }
    std::fs::read(path)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
