//! Our own bare repository for one repository of the user's: snapshots, checkpoints and results.
//!
//! New objects go here, never into the user's; the user's objects are read as alternates. Secret
//! files of a snapshot lie *sealed* in an object directory of their own that no slot can read.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::git::{Call, Git};
use super::repository::Repository;
use super::{files, tidy};
use crate::id::{CommitId, TreeId};
use crate::{Error, Kind, Result};

/// Our bare repository and what lies beside it.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    pub(crate) git: Git,
    root: PathBuf,
    git_dir: PathBuf,
    objects: PathBuf,
    sealed: PathBuf,
    pub(crate) scratch: PathBuf,
    object_format: String,
}

/// What a commit of ours says about itself, as the last line of its message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitNote {
    /// Secret files that agents do not get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) withheld: Vec<String>,
    /// The same snapshot without the secret files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) visible: Option<CommitId>,
}

/// A commit, read.
#[derive(Debug, Clone)]
pub(crate) struct CommitText {
    pub(crate) tree: TreeId,
    pub(crate) committed_at: String,
    pub(crate) note: CommitNote,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) mode: String,
    pub(crate) object: String,
}

impl Vault {
    /// Opens the private repository under `root`, and makes it when there is none. `scratch` is a
    /// directory of this process.
    pub(crate) async fn open(
        git: &Git,
        root: &Path,
        scratch: &Path,
        repository: &Repository,
    ) -> Result<Self> {
        let git_dir = root.join("git");
        let vault = Self {
            git: git.clone(),
            root: root.to_owned(),
            objects: git_dir.join("objects"),
            sealed: root.join("sealed"),
            scratch: scratch.to_owned(),
            object_format: repository.object_format.clone(),
            git_dir,
        };
        if !vault.git_dir.join("HEAD").is_file() {
            files::private_dir(&vault.git_dir)?;
            let format = format!("--object-format={}", repository.object_format);
            git.call(["init", "--quiet", "--bare", "--template=", &format])
                .git_dir(&vault.git_dir)
                .bytes()
                .await?;
        }
        files::private_dir(&vault.scratch)?;
        files::private_dir(&vault.sealed.join("info"))?;
        files::private_dir(&vault.objects.join("info"))?;
        write_alternates(&vault.objects, &[&repository.objects()])?;
        write_alternates(&vault.sealed, &[&vault.objects])?;
        Ok(vault)
    }

    /// Where objects that agents may read are written.
    pub(crate) fn objects(&self) -> &Path {
        &self.objects
    }

    /// Where the objects of secret files are written.
    pub(crate) fn sealed(&self) -> &Path {
        &self.sealed
    }

    /// A call on the private repository that can read everything.
    pub(crate) fn reading<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Call {
        self.git.call(args).git_dir(&self.git_dir).objects(&self.sealed)
    }

    /// `sha1` or `sha256`.
    pub(crate) fn object_format(&self) -> &str {
        &self.object_format
    }

    /// Writes a commit and keeps it with a ref `refs/clode/<class>/<commit>`.
    pub(crate) async fn commit(
        &self,
        objects: &Path,
        tree: &TreeId,
        parent: Option<&str>,
        class: &'static str,
        note: &CommitNote,
    ) -> Result<CommitId> {
        let date = match parent {
            Some(parent) => self.read_commit(parent).await?.committed_at,
            None => "@0 +0000".to_owned(),
        };
        let note = serde_json::to_string(note).map_err(|error| Error::internal(error.to_string()))?;
        let message = format!("clode {class}\n\n{note}\n");
        let mut call = self
            .git
            .call(["commit-tree", tree.as_str(), "-F", "-"])
            .git_dir(&self.git_dir)
            .objects(objects);
        if let Some(parent) = parent {
            call = call.args(["-p", parent]);
        }
        let call = call
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date);
        let commit = call.stdin(message.into_bytes()).text().await?;
        let name = format!("refs/clode/{class}/{commit}");
        self.reading(["update-ref", &name, &commit]).bytes().await?;
        // git leaves a ref alone that is right already; but it counts from now again
        files::touch(&self.git_dir.join(name))?;
        Ok(CommitId::new(commit))
    }

    /// Nothing is removed from our store as long as the answer is held.
    pub(crate) async fn writing(&self) -> Result<files::Held> {
        tidy::writing(&self.root).await
    }

    /// Copies into our own store what a patch needs of the user's objects: all trees of both sides and
    /// the changed blobs. Afterwards the user may prune or rewrite as they like.
    pub(crate) async fn keep(&self, commits: &[&CommitId], blobs: &[String]) -> Result<()> {
        let mut ids: BTreeSet<String> = blobs.iter().cloned().collect();
        for commit in commits {
            let (_, text) = self.visible(commit).await?;
            let printed = self
                .reading(["ls-tree", "-r", "-t", "-z", text.tree.as_str()])
                .whole_tree()
                .bytes()
                .await?;
            let lines = printed.split(|byte| *byte == 0);
            let trees = lines.filter_map(|line| {
                let head = String::from_utf8_lossy(line.get(..memchr::memchr(b'\t', line)?)?).into_owned();
                head.split_once(" tree ").map(|(_, id)| id.to_owned())
            });
            ids.extend(trees);
            ids.insert(text.tree.as_str().to_owned());
        }
        let list: String = ids.iter().flat_map(|id| [id, "\n"]).collect();
        let packs = self.objects.join("pack");
        files::private_dir(&packs)?;
        let call = self.git.call([
            "pack-objects".into(),
            "--quiet".into(),
            packs.join("pack").into_os_string(),
        ]);
        call.git_dir(&self.git_dir)
            .stdin(list.into_bytes())
            .whole_tree()
            .bytes()
            .await?;
        Ok(())
    }

    /// Removes the refs that keep a commit.
    pub(crate) async fn forget(&self, commit: &CommitId) -> Result<()> {
        let mut orders = String::new();
        for class in ["snapshots", "sealed", "results"] {
            orders.push_str("delete refs/clode/");
            orders.extend([class, "/", commit.as_str(), "\n"]);
        }
        self.reading(["update-ref", "--stdin"])
            .stdin(orders.into_bytes())
            .bytes()
            .await?;
        Ok(())
    }

    /// Reads a commit of ours or of the user's.
    pub(crate) async fn read_commit(&self, id: &str) -> Result<CommitText> {
        let answer = self.reading(["cat-file", "commit", id]).answer().await?;
        if answer.code != 0 {
            return Err(Error::new(
                Kind::Git,
                "commitMissing",
                format!("commit {id} cannot be read: {}", answer.stderr.trim()),
            )
            .hint("the base may have been pruned or the repository may have moved; start the task anew"));
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let tree = field("tree ").ok_or_else(|| Error::internal(format!("commit {id} has no tree")))?;
        let committer = field("committer ").unwrap_or_default();
        let mut words = committer.rsplitn(3, ' ');
        let (zone, time) = (words.next().unwrap_or("+0000"), words.next().unwrap_or("0"));
        let note = message
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_default();
        Ok(CommitText {
            tree: TreeId::new(tree),
            committed_at: format!("@{time} {zone}"),
            note,
        })
    }

    /// The commit as agents may see it: without secret files.
    pub(crate) async fn visible(&self, commit: &CommitId) -> Result<(CommitId, CommitText)> {
        let text = self.read_commit(commit.as_str()).await?;
        match text.note.visible.clone() {
            Some(visible) => {
                let text = CommitText {
                    note: text.note,
                    ..self.read_commit(visible.as_str()).await?
                };
                Ok((visible, text))
            }
            None => Ok((commit.clone(), text)),
        }
    }

    /// The contents of blobs, in the order asked for; `None` for what is missing or too large.
    pub(crate) async fn blobs(&self, ids: &[String], bytes_max: usize) -> Result<Vec<Option<Vec<u8>>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = ids.join("\n") + "\n";
        let sizes = self
            .reading(["cat-file", "--batch-check"])
            .stdin(list.clone().into_bytes())
            .whole_tree()
            .text()
            .await?;
        let fits: Vec<bool> = sizes
            .lines()
            .map(|line| {
                line.split(' ')
                    .nth(2)
                    .and_then(|size| size.parse::<usize>().ok())
                    .is_some_and(|size| size <= bytes_max)
            })
            .collect();
        let fitting = ids.iter().zip(&fits).filter(|(_, fits)| **fits);
        let wanted: String = fitting.flat_map(|(id, _)| [id, "\n"]).collect();
        if wanted.is_empty() {
            return Ok(vec![None; ids.len()]);
        }
        let bytes = self
            .reading(["cat-file", "--batch"])
            .stdin(wanted.into_bytes())
            .whole_tree()
            .bytes()
            .await?;
        let mut rest = bytes.as_slice();
        fits.iter()
            .map(|fits| {
                if *fits {
                    next_blob(&mut rest).map(Some)
                } else {
                    Ok(None)
                }
            })
            .collect()
    }

    /// The entry of a path in a commit.
    pub(crate) async fn entry_at(&self, commit: &str, path: &str) -> Result<Option<TreeEntry>> {
        let call = self.reading([
            "--literal-pathspecs",
            "ls-tree",
            "-z",
            "--full-tree",
            commit,
            "--",
            path,
        ]);
        let printed = call.bytes().await?;
        let text = String::from_utf8_lossy(&printed);
        Ok(text.split('\0').find_map(|line| {
            let (head, name) = line.split_once('\t')?;
            let mut words = head.split(' ');
            let (mode, kind, object) = (words.next()?, words.next()?, words.next()?);
            (name == path && kind == "blob").then(|| TreeEntry {
                mode: mode.to_owned(),
                object: object.to_owned(),
            })
        }))
    }
}

fn next_blob(rest: &mut &[u8]) -> Result<Vec<u8>> {
    let torn = || Error::internal("git cat-file answered something unexpected");
    let line_end = memchr::memchr(b'\n', rest).ok_or_else(torn)?;
    let (head, body) = rest.split_at(line_end);
    let size = String::from_utf8_lossy(head)
        .rsplit(' ')
        .next()
        .and_then(|size| size.parse::<usize>().ok())
        .ok_or_else(torn)?;
    let content = body.get(1..=size).ok_or_else(torn)?.to_vec();
    *rest = body.get(size + 2..).ok_or_else(torn)?;
    Ok(content)
}

/// The configuration of a git directory of ours.
pub(crate) fn basic_config(object_format: &str) -> String {
    if object_format == "sha256" {
        "[core]\n\trepositoryFormatVersion = 1\n\tbare = false\n[extensions]\n\tobjectFormat = sha256\n"
            .to_owned()
    } else {
        "[core]\n\trepositoryFormatVersion = 0\n\tbare = false\n".to_owned()
    }
}

/// Names the object directories that are read besides `objects`.
pub(crate) fn write_alternates(objects: &Path, others: &[&Path]) -> Result<()> {
    let mut text = Vec::new();
    for other in others {
        text.extend(quoted(other.as_os_str().as_encoded_bytes()));
        text.push(b'\n');
    }
    let path = objects.join("info").join("alternates");
    if std::fs::read(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    files::write_atomically(&path, &text)
}

/// A path as git reads it in `alternates`: quoted when it would be misread.
fn quoted(path: &[u8]) -> Vec<u8> {
    if !path.starts_with(b"\"") && !path.starts_with(b"#") && !path.contains(&b'\n') {
        return path.to_vec();
    }
    let mut text = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            b'\n' => text.extend(b"\\n"),
            other => text.push(*other),
        }
    }
    text.push(b'"');
    text
}

/// Paths with a NUL after each, as git reads them with `-z --stdin`.
pub(crate) fn nul_separated<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend_from_slice(path);
        bytes.push(0);
    }
    bytes
}

/// The file name that git's bytes mean on this system.
#[cfg(unix)]
pub(crate) fn os_path(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

/// The file name that git's bytes mean on this system.
#[cfg(not(unix))]
pub(crate) fn os_path(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}
