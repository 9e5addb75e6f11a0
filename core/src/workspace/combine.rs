//! Brings two results that began from the same files together: a three-way merge of whole trees, in our own
//! store. A place that both sides changed is never decided here: then nothing is combined.

use std::collections::{BTreeMap, BTreeSet};

use super::Workspaces;
use super::files;
use super::repository::Repository;
use super::scratch::Scratch;
use super::vault::{CommitNote, CommitText, TreeEntry, Vault};
use crate::id::CommitId;
use crate::{Error, Result};

/// The largest file whose lines are merged; a larger one that both sides changed collides.
const MERGED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Exit codes of `git merge-file` above this are errors, such as a binary file.
const CONFLICTS_MAX: i32 = 127;

/// What bringing two results together came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Combined {
    /// The files with the changes of both.
    Files(CommitId),
    /// Files that both changed in the same place, or in ways that exclude each other.
    Collision(Vec<String>),
}

/// The entries that a merge left open for one path.
#[derive(Debug, Default)]
struct Open {
    base: Option<TreeEntry>,
    onto: Option<TreeEntry>,
    result: Option<TreeEntry>,
}

impl Workspaces {
    /// Takes what changed from `base` to `result` over onto `onto`.
    pub async fn combine(
        &self,
        repository: &Repository,
        base: &CommitId,
        onto: &CommitId,
        result: &CommitId,
    ) -> Result<Combined> {
        let vault = self.vault(repository).await?;
        let _writing = vault.writing().await?;
        let (_, base) = vault.visible(base).await?;
        let (onto_commit, onto) = vault.visible(onto).await?;
        let (_, result) = vault.visible(result).await?;
        let (here, there) = (
            changed(&vault, &base, &onto).await?,
            changed(&vault, &base, &result).await?,
        );
        let in_the_way = folders_in_the_way(&here, &there);
        if !in_the_way.is_empty() {
            return Ok(Combined::Collision(in_the_way));
        }
        let settings = repository.file_settings(&self.git).await?;
        let scratch = Scratch::new(&vault, &settings)?;
        let trees = [&base, &onto, &result].map(|commit| commit.tree.as_str());
        scratch
            .call(["read-tree", "-i", "-m", "--aggressive"], &scratch.tree())
            .args(trees)
            .bytes()
            .await?;
        let mut collisions = Vec::new();
        for (path, open) in left_open(&scratch).await? {
            match merge_file(&vault, &scratch, &open).await? {
                Some(merged) => put_entry(&scratch, &path, &merged).await?,
                None => collisions.push(String::from_utf8_lossy(&path).into_owned()),
            }
        }
        if !collisions.is_empty() {
            return Ok(Combined::Collision(collisions));
        }
        let tree = scratch.write_tree(vault.objects()).await?;
        let note = CommitNote {
            withheld: onto.note.withheld.clone(),
            visible: None,
        };
        let parent = Some(onto_commit.as_str());
        vault
            .commit(vault.objects(), &tree, parent, "results", &note)
            .await
            .map(Combined::Files)
    }
}

async fn changed(vault: &Vault, from: &CommitText, to: &CommitText) -> Result<BTreeSet<Vec<u8>>> {
    let printed = vault
        .reading(["diff-tree", "-r", "-z", "--name-only", "--no-renames"])
        .args([from.tree.as_str(), to.tree.as_str()])
        .whole_tree()
        .bytes()
        .await?;
    let names = printed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// Paths that one side needs as a file and the other as a folder.
fn folders_in_the_way(one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>) -> Vec<String> {
    let below = |files: &BTreeSet<Vec<u8>>, path: &Vec<u8>| {
        let parents = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .filter_map(|(end, _)| path.get(..end));
        parents.into_iter().any(|parent| files.contains(parent))
    };
    let found = one
        .iter()
        .filter(|path| below(other, path))
        .chain(other.iter().filter(|path| below(one, path)));
    found
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

async fn left_open(scratch: &Scratch) -> Result<BTreeMap<Vec<u8>, Open>> {
    let printed = scratch
        .call(["ls-files", "--unmerged", "-z"], &scratch.tree())
        .bytes()
        .await?;
    let mut found: BTreeMap<Vec<u8>, Open> = BTreeMap::new();
    for line in printed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let torn = || Error::internal("git ls-files answered something unexpected");
        let tab = memchr::memchr(b'\t', line).ok_or_else(torn)?;
        let (head, path) = line.split_at(tab);
        let head = String::from_utf8_lossy(head).into_owned();
        let words: Vec<&str> = head.split(' ').collect();
        let [mode, object, stage] = words.as_slice() else {
            return Err(torn());
        };
        let entry = Some(TreeEntry {
            mode: (*mode).to_owned(),
            object: (*object).to_owned(),
        });
        let open = found
            .entry(path.get(1..).unwrap_or_default().to_vec())
            .or_default();
        match *stage {
            "1" => open.base = entry,
            "2" => open.onto = entry,
            _ => open.result = entry,
        }
    }
    Ok(found)
}

/// The file with the changes of both sides; none where they collide.
async fn merge_file(vault: &Vault, scratch: &Scratch, open: &Open) -> Result<Option<TreeEntry>> {
    let (Some(base), Some(onto), Some(result)) = (&open.base, &open.onto, &open.result) else {
        return Ok(None);
    };
    let sides = [onto, base, result];
    if !sides.iter().all(|entry| entry.mode.starts_with("100")) {
        return Ok(None);
    }
    let mode = match (onto.mode == base.mode, result.mode == base.mode) {
        (true, _) => &result.mode,
        (_, true) => &onto.mode,
        _ if onto.mode == result.mode => &onto.mode,
        _ => return Ok(None),
    };
    let ids: Vec<String> = sides.iter().map(|entry| entry.object.clone()).collect();
    let texts: Option<Vec<Vec<u8>>> = vault.blobs(&ids, MERGED_BYTES_MAX).await?.into_iter().collect();
    let Some(texts) = texts else { return Ok(None) };
    let names = ["onto", "base", "result"];
    for (name, text) in names.iter().zip(&texts) {
        files::write(&scratch.git_dir().join(name), text)?;
    }
    let paths = names.map(|name| scratch.git_dir().join(name).into_os_string());
    let merged = scratch
        .call(["merge-file", "-p", "--quiet"], &scratch.tree())
        .args(paths)
        .answer()
        .await?;
    match merged.code {
        0 => {}
        1..=CONFLICTS_MAX => return Ok(None),
        _ => {
            tracing::debug!(error = %merged.stderr.trim(), "a file cannot be merged by lines");
            return Ok(None);
        }
    }
    let object = scratch
        .call(["hash-object", "-w", "--stdin"], &scratch.tree())
        .stdin(merged.stdout)
        .text()
        .await?;
    Ok(Some(TreeEntry {
        mode: mode.clone(),
        object,
    }))
}

/// Closes what was left open for a path.
async fn put_entry(scratch: &Scratch, path: &[u8], entry: &TreeEntry) -> Result<()> {
    let mut line = format!("{} {} 0\t", entry.mode, entry.object).into_bytes();
    line.extend_from_slice(path);
    line.push(0);
    scratch
        .call(["update-index", "-z", "--index-info"], &scratch.tree())
        .stdin(line)
        .bytes()
        .await?;
    Ok(())
}
