//! What in a repository would run or redirect: the list that a person reads, and its hash.

use serde::{Deserialize, Serialize};

use super::preview::{neutral, preview};
use crate::config::{WORKSPACE_FILE, keys_beyond_untrusted};

/// What an item would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ItemKind {
    /// A key of the configuration that counts only with trust.
    Configuration,
    /// A command that proves the work.
    TestCommand,
    /// A command that prepares working directories, or a hook.
    Setup,
    /// Ignored files that are copied into working directories.
    Include,
    /// Programs that agents start as tool servers.
    ToolServers,
    /// An agent, a command or settings for an agent program.
    AgentDefinition,
    /// A file that cannot be read as what it should be.
    Unreadable,
}

/// One thing that would run or redirect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustItem {
    /// The file, relative to the top level; for a key of the configuration followed by `#` and the key.
    pub path: String,
    /// What it would do.
    pub kind: ItemKind,
    /// The beginning of it, harmless to look at.
    pub preview: String,
}

/// What a person is asked to trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustReview {
    /// Names exactly this content.
    pub hash: String,
    /// The content. Empty when there is nothing to trust.
    pub items: Vec<TrustItem>,
}

/// Whether a file (relative to the top level, with `/`) belongs into a review. The caller gives
/// [`review`] every such file of the snapshot.
pub fn is_reviewed(path: &str) -> bool {
    kind_of(path).is_some()
}

enum File {
    Configuration,
    Whole(ItemKind),
}

fn kind_of(path: &str) -> Option<File> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let below_claude = path
        .strip_prefix(".claude/")
        .or_else(|| path.split_once("/.claude/").map(|(_, rest)| rest));
    if path == WORKSPACE_FILE
        || path
            .strip_suffix(WORKSPACE_FILE)
            .is_some_and(|folder| folder.ends_with('/'))
    {
        return Some(File::Configuration);
    }
    let kind = match (name, below_claude) {
        (".worktreeinclude", _) => ItemKind::Include,
        (".mcp.json", _) => ItemKind::ToolServers,
        (_, Some("settings.json" | "settings.local.json")) => ItemKind::Setup,
        (_, Some(rest)) if rest.starts_with("hooks/") => ItemKind::Setup,
        (_, Some(rest))
            if ["agents/", "commands/", "skills/", "plugins/"]
                .iter()
                .any(|folder| rest.starts_with(folder)) =>
        {
            ItemKind::AgentDefinition
        }
        _ => return None,
    };
    Some(File::Whole(kind))
}

/// Reviews the files that a caller read from one snapshot. Files that do not matter are passed
/// over, so that a change to them asks nobody. Of the configuration only what counts with trust is
/// part of the hash: another budget or another model on offer asks nobody either.
pub fn review(files: &[(String, Vec<u8>)]) -> TrustReview {
    let mut files: Vec<&(String, Vec<u8>)> = files.iter().collect();
    files.sort();
    files.dedup_by(|left, right| left.0 == right.0 && left.1 == right.1);
    let mut hasher = blake3::Hasher::new();
    let mut items = Vec::new();
    for (path, bytes) in files {
        match kind_of(path) {
            None => {}
            Some(File::Whole(kind)) => {
                feed(&mut hasher, path, bytes);
                items.push(TrustItem {
                    path: neutral(path),
                    kind,
                    preview: preview(&String::from_utf8_lossy(bytes)),
                });
            }
            Some(File::Configuration) => configuration(path, bytes, &mut hasher, &mut items),
        }
    }
    TrustReview {
        hash: hasher.finalize().to_hex().to_string(),
        items,
    }
}

fn configuration(path: &str, bytes: &[u8], hasher: &mut blake3::Hasher, items: &mut Vec<TrustItem>) {
    let keys = std::str::from_utf8(bytes).ok().and_then(keys_beyond_untrusted);
    let Some(keys) = keys else {
        feed(hasher, path, bytes);
        let preview = preview(&String::from_utf8_lossy(bytes));
        items.push(TrustItem {
            path: neutral(path),
            kind: ItemKind::Unreadable,
            preview,
        });
        return;
    };
    for (key, value) in keys {
        let mut sorted = value.clone();
        sorted.sort_all_objects();
        feed(hasher, &format!("{path}#{key}"), sorted.to_string().as_bytes());
        let kind = match key.split(['.', '[']).next() {
            Some("tests") => ItemKind::TestCommand,
            Some("worktrees") if key.contains("include") => ItemKind::Include,
            Some("worktrees") => ItemKind::Setup,
            Some("agents") => ItemKind::AgentDefinition,
            _ => ItemKind::Configuration,
        };
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        items.push(TrustItem {
            path: neutral(&format!("{path}#{key}")),
            kind,
            preview: preview(&text),
        });
    }
}

/// Length first, so that no two lists of files have the same bytes.
fn feed(hasher: &mut blake3::Hasher, path: &str, bytes: &[u8]) {
    for part in [path.as_bytes(), bytes] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
}
