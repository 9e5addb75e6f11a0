//! Our own look at the files of a slot, which an agent wrote: nothing is opened but directories and
//! ignore files, no link is followed, and what is no file, link or directory is named and left.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::beneath::Root;
use super::paths::{check_path, is_dot_git};
use super::vault::os_path;
use crate::{Error, Kind, Result};

/// The most entries that one scan looks at.
const ENTRIES_MAX: usize = 2_000_000;
/// The deepest folder that is looked into.
const DEPTH_MAX: usize = 256;
/// The most of an ignore file that is read.
const IGNORE_BYTES_MAX: u64 = 1024 * 1024;
/// Stands for the top folder where patterns need an absolute path.
const TOP: &str = "/";

/// Something in a slot that is not taken into the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Relative to the top.
    pub path: String,
    /// Why, for a person.
    pub reason: String,
}

/// Ignore rules as they were when the slot was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// From outside the tree, weakest first.
    pub(crate) general: Vec<String>,
    /// `.gitignore` files by folder (empty: the top).
    pub(crate) by_folder: BTreeMap<String, String>,
}

/// What the index of the slot holds at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracked {
    /// A file or a link.
    File,
    /// A submodule.
    Submodule,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Tracked files and links that are there.
    pub(crate) present: HashSet<Vec<u8>>,
    /// Files and links that are not tracked and not ignored.
    pub(crate) added: Vec<Vec<u8>>,
    /// Files and folders that are ignored; folders end with `/`.
    pub(crate) ignored: Vec<Vec<u8>>,
    /// What is not taken, and the paths below which nothing was looked at.
    pub(crate) refused: Vec<Refusal>,
    /// Folders with nothing tracked in them.
    pub(crate) extra_folders: Vec<Vec<u8>>,
    /// Regular files that have more than one name.
    pub(crate) hard_linked: usize,
    closed: Vec<Vec<u8>>,
}

impl Scan {
    /// Tracked paths that are gone.
    pub(crate) fn missing<'a>(&self, tracked: &'a BTreeMap<Vec<u8>, Tracked>) -> Vec<&'a [u8]> {
        let gone = tracked
            .iter()
            .filter(|(path, kind)| **kind == Tracked::File && !self.present.contains(*path));
        gone.map(|(path, _)| path.as_slice())
            .filter(|path| !self.is_closed(path))
            .collect()
    }

    /// Whether the path lies where nothing was looked at.
    pub(crate) fn is_closed(&self, path: &[u8]) -> bool {
        self.closed.iter().any(|closed| {
            path.strip_prefix(closed.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }

    fn refuse(&mut self, path: &[u8], reason: &str) {
        self.closed.push(path.to_vec());
        self.refused.push(Refusal {
            path: String::from_utf8_lossy(path).into_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// Looks at everything beneath `root`.
pub(crate) fn scan(root: &Root, tracked: &BTreeMap<Vec<u8>, Tracked>, rules: &Rules) -> Result<Scan> {
    let mut folders = HashSet::new();
    for path in tracked.keys() {
        let mut end = path.len();
        while let Some(at) = memchr::memrchr(b'/', path.get(..end).unwrap_or_default()) {
            if !folders.insert(path.get(..at).unwrap_or_default().to_vec()) {
                break;
            }
            end = at;
        }
    }
    let general = rules
        .general
        .iter()
        .filter_map(|text| matcher(TOP.as_ref(), text))
        .collect();
    let mut walk = Walk {
        tracked,
        folders,
        rules,
        general,
        frozen: Vec::new(),
        present: Vec::new(),
        entries: 0,
        scan: Scan::default(),
    };
    walk.folder(root.fd(), b"", 0, Inherited::Open)?;
    walk.scan.added.sort();
    Ok(walk.scan)
}

struct Walk<'a> {
    tracked: &'a BTreeMap<Vec<u8>, Tracked>,
    folders: HashSet<Vec<u8>>,
    rules: &'a Rules,
    general: Vec<Gitignore>,
    frozen: Vec<Option<Gitignore>>,
    present: Vec<Option<Gitignore>>,
    entries: usize,
    scan: Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inherited {
    /// Ignore rules decide.
    Open,
    /// A folder above is ignored.
    Ignored,
}

impl Walk<'_> {
    fn folder(&mut self, fd: &OwnedFd, path: &[u8], depth: usize, inherited: Inherited) -> Result<()> {
        let failed = |error: rustix::io::Errno| Error::io(String::from_utf8_lossy(path), &error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(fd).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort();
        self.entries += names.len();
        if self.entries > ENTRIES_MAX || depth > DEPTH_MAX {
            let message =
                format!("the working directory holds more than {ENTRIES_MAX} entries or is too deep");
            return Err(Error::new(Kind::Git, "tooManyFiles", message).hint("add build output to .gitignore"));
        }
        if !path.is_empty()
            && names
                .iter()
                .any(|name| is_dot_git(&String::from_utf8_lossy(name)))
        {
            self.scan.refuse(path, "another repository lies inside");
            return Ok(());
        }
        self.enter(fd, path, &names);
        for name in names {
            if !(path.is_empty() && name == b".git") {
                self.entry(fd, path, &name, depth, inherited)?;
            }
        }
        self.frozen.pop();
        self.present.pop();
        Ok(())
    }

    /// Takes up the ignore rules of a folder: as they were, and as the agent has them now.
    fn enter(&mut self, fd: &OwnedFd, path: &[u8], names: &[Vec<u8>]) {
        let folder = String::from_utf8_lossy(path).into_owned();
        let base = PathBuf::from(TOP).join(os_path(path));
        let frozen = self.rules.by_folder.get(&folder);
        let now = if names.iter().any(|name| name == b".gitignore") {
            read_ignore(fd)
        } else {
            None
        };
        self.present
            .push(now.as_ref().and_then(|text| matcher(&base, text)));
        self.frozen.push(frozen.and_then(|text| matcher(&base, text)));
    }

    fn entry(
        &mut self,
        fd: &OwnedFd,
        folder: &[u8],
        name: &[u8],
        depth: usize,
        inherited: Inherited,
    ) -> Result<()> {
        let mut path = folder.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let os_name = os_path(name);
        let Ok(found) = rustix::fs::statat(fd, Path::new(&os_name), AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(());
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        let tracked = self.tracked.get(&path).copied();
        if tracked == Some(Tracked::Submodule) {
            return Ok(());
        }
        if is_dot_git(&String::from_utf8_lossy(name)) {
            self.scan.refuse(&path, "its name means `.git`");
            return Ok(());
        }
        let ignored = inherited == Inherited::Ignored || self.is_ignored(&path, kind == FileType::Directory);
        match kind {
            FileType::Directory => {
                let holds_tracked = self.folders.contains(&path);
                if ignored && !holds_tracked {
                    path.push(b'/');
                    self.scan.ignored.push(path);
                    return Ok(());
                }
                if !holds_tracked {
                    self.scan.extra_folders.push(path.clone());
                }
                let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(fd.as_fd(), Path::new(&os_name), flags, Mode::empty()) {
                    Ok(below) => self.folder(
                        &below,
                        &path,
                        depth + 1,
                        if ignored {
                            Inherited::Ignored
                        } else {
                            Inherited::Open
                        },
                    )?,
                    Err(error) => self
                        .scan
                        .refuse(&path, &format!("the folder cannot be opened: {error}")),
                }
            }
            FileType::RegularFile | FileType::Symlink => {
                if kind == FileType::RegularFile && found.st_nlink > 1 {
                    self.scan.hard_linked += 1;
                }
                if tracked.is_some() {
                    self.scan.present.insert(path);
                } else if ignored {
                    self.scan.ignored.push(path);
                } else {
                    self.added(path);
                }
            }
            _ if ignored => self.scan.ignored.push(path),
            _ => self.scan.refuse(&path, "it is no file, link or folder"),
        }
        Ok(())
    }

    fn added(&mut self, path: Vec<u8>) {
        match std::str::from_utf8(&path) {
            Err(_) => self.scan.refuse(&path, "its name is not UTF-8"),
            Ok(text) => match check_path(text) {
                Ok(()) => self.scan.added.push(path),
                Err(error) => self.scan.refuse(&path, &error.message),
            },
        }
    }

    /// Ignored when either the rules of the snapshot or the rules as they are now say so: build
    /// output of a project that the agent begins stays out as well.
    fn is_ignored(&self, path: &[u8], folder: bool) -> bool {
        let full = PathBuf::from(TOP).join(os_path(path));
        let decide = |stack: &[Option<Gitignore>]| {
            let stack = self.general.iter().chain(stack.iter().flatten());
            let decided = stack
                .rev()
                .map(|rules| rules.matched(&full, folder))
                .find(|found| !found.is_none());
            matches!(decided, Some(Match::Ignore(_)))
        };
        decide(&self.frozen) || decide(&self.present)
    }
}

fn matcher(base: &Path, text: &str) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(base);
    for line in text.lines() {
        // a pattern that git cannot read either is no pattern
        let _ = builder.add_line(None, line);
    }
    builder.build().ok().filter(|rules| !rules.is_empty())
}

fn read_ignore(fd: &OwnedFd) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(fd, ".gitignore", flags, Mode::empty()).ok()?;
    let found = rustix::fs::fstat(&fd).ok()?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd)
        .take(IGNORE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The tracked paths that have a `.gitignore`, with their folder.
pub(crate) fn ignore_files(tracked: &BTreeMap<Vec<u8>, Tracked>) -> BTreeSet<(String, String)> {
    tracked
        .keys()
        .filter_map(|path| std::str::from_utf8(path).ok())
        .filter_map(|path| {
            let folder = path.strip_suffix(".gitignore")?;
            (folder.is_empty() || folder.ends_with('/'))
                .then(|| (folder.trim_end_matches('/').to_owned(), path.to_owned()))
        })
        .collect()
}
