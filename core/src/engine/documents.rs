//! Unsaved text in other editors: an apply leaves a file alone that another living editor holds so.

use std::path::{Path, PathBuf};

use super::Engine;
use crate::error::Result;
use crate::store::Store;

/// The code of what is refused because of it.
pub const OPEN_ELSEWHERE: &str = "openElsewhere";

/// Longest name of an editor (characters).
const CLIENT_CHARS_MAX: usize = 120;

/// A file that another living editor holds with unsaved text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The file as it was asked for.
    pub path: PathBuf,
    /// The editor as a person knows it.
    pub client: String,
}

impl Elsewhere {
    /// What to tell the person.
    pub fn message(&self) -> String {
        let client = if self.client.is_empty() {
            "another editor"
        } else {
            &self.client
        };
        format!(
            "{} is open in {client} with unsaved text, which this would overtake",
            self.path.display()
        )
    }

    /// What to do next.
    pub const fn hint() -> &'static str {
        "save or close it there and apply again, or apply from that editor"
    }
}

impl Engine {
    /// Says which files the editor of this process holds with unsaved text; replaces what was said before. It
    /// holds as long as this process lives.
    pub async fn hold_documents(&self, client: &str, paths: Vec<PathBuf>) -> Result<()> {
        let client: String = client.chars().take(CLIENT_CHARS_MAX).collect();
        let paths = paths.iter().map(|path| real(path)).collect();
        let store = &self.shared.services.store;
        store.set_unsaved(&self.shared.owner, &client, paths).await
    }

    /// Those of these files that another living editor holds with unsaved text.
    pub async fn held_elsewhere(&self, paths: &[PathBuf]) -> Result<Vec<Elsewhere>> {
        let store = &self.shared.services.store;
        let asked: Vec<(String, &PathBuf)> = paths.iter().map(|path| (real(path), path)).collect();
        let found = store
            .unsaved(asked.iter().map(|(real, _)| real.clone()).collect())
            .await?;
        let held = found
            .into_iter()
            .filter(|document| document.owner != self.shared.owner && store.is_alive(&document.owner));
        Ok(held
            .filter_map(|document| {
                let (_, path) = asked.iter().find(|(real, _)| *real == document.path)?;
                Some(Elsewhere {
                    path: (*path).clone(),
                    client: document.client,
                })
            })
            .collect())
    }
}

/// Removes what dead processes said.
pub(super) async fn forget_dead(store: &Store) {
    let owners = store.document_owners().await.unwrap_or_default();
    for owner in owners.iter().filter(|owner| !store.is_alive(owner)) {
        if let Err(error) = store.set_unsaved(owner, "", Vec::new()).await {
            tracing::debug!(%error, "documents of a dead process stay listed");
        }
    }
}

/// The file without symbolic links on the way to it; it need not exist.
fn real(path: &Path) -> String {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        if let Ok(found) = there.canonicalize() {
            let whole = missing.iter().rev().fold(found, |whole, name| whole.join(name));
            return whole.to_string_lossy().into_owned();
        }
        match (there.parent(), there.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                there = parent;
            }
            _ => return path.to_string_lossy().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_whichever_way_it_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let real_folder = folder.path().canonicalize().expect("its path");
        std::fs::create_dir(real_folder.join("real")).expect("a folder");
        std::os::unix::fs::symlink("real", real_folder.join("link")).expect("a link");
        let by_link = real(&real_folder.join("link/new/file.txt"));
        assert_eq!(by_link, real(&real_folder.join("real/new/file.txt")));
        assert!(by_link.ends_with("/real/new/file.txt"), "{by_link}");
    }
}
