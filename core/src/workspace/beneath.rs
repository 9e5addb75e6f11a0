//! Opens, reads and writes files strictly beneath a root, whatever links somebody puts there.
//!
//! The check happens where the file is opened, by the kernel where it can (`openat2`), else
//! component by component; never by comparing the beginnings of strings.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::overlay::Executable;
use super::paths::check_path;
use crate::id::random_hex;
use crate::{Error, Kind, Result};

/// Bytes of randomness in a temporary name.
const TEMPORARY_NAME_BYTES: usize = 8;
/// The longest target of a symbolic link.
const LINK_BYTES_MAX: usize = 4096;

/// A directory beneath which files are opened.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// Who may follow links inside the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    /// Links that stay beneath the root are followed.
    Inside,
    /// No link at all, not even in a parent.
    Never,
}

/// What replaces a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Replacement<'a> {
    /// A regular file.
    File(&'a [u8], Permissions),
    /// A symbolic link with this target.
    Link(&'a [u8]),
}

/// The mode of a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permissions {
    /// As a program would make a new file.
    New(Executable),
    /// Exactly these bits, which the replaced file had.
    Kept(u32),
}

impl Permissions {
    /// The permissions of what stands there, or those of a new file.
    pub(crate) fn of(found: Option<&Stat>) -> Self {
        found
            .filter(|found| is_regular(found))
            .map_or(Self::New(Executable::No), |found| {
                Self::Kept(found.st_mode & 0o7777)
            })
    }

    /// The same with another executable bit: who may read may execute.
    pub(crate) fn with(self, executable: Executable) -> Self {
        match (self, executable) {
            (Self::New(_), executable) => Self::New(executable),
            (Self::Kept(bits), Executable::Yes) => Self::Kept(bits | ((bits & 0o444) >> 2)),
            (Self::Kept(bits), Executable::No) => Self::Kept(bits & !0o111),
        }
    }
}

/// What may stand at the path already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing<'a> {
    /// Anything; it is replaced.
    Replace,
    /// Nothing.
    Refuse,
    /// A file or link with exactly this content; checked right before the step.
    Only(&'a [u8]),
}

impl Root {
    /// Opens the root.
    pub fn open(path: &Path) -> Result<Self> {
        let fd = rustix::fs::openat(
            CWD,
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
            Mode::empty(),
        )
        .map_err(|error| Error::io(format!("opening {}", path.display()), &error.into()))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// The directory itself.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens a regular file for reading; links that stay beneath the root are followed.
    pub fn open_file(&self, relative: &str) -> Result<File> {
        self.open_regular(relative, Links::Inside)
    }

    /// Reads a regular file of at most so many bytes; links that stay beneath the root are followed.
    pub fn read(&self, relative: &str, bytes_max: u64) -> Result<Vec<u8>> {
        read_limited(self.open_regular(relative, Links::Inside)?, relative, bytes_max)
    }

    /// Reads a regular file without following any link.
    pub(crate) fn read_exactly(&self, relative: &str, bytes_max: u64) -> Result<Vec<u8>> {
        read_limited(self.open_regular(relative, Links::Never)?, relative, bytes_max)
    }

    /// What stands at the path itself, if anything does.
    pub(crate) fn look(&self, relative: &str) -> Result<Option<Stat>> {
        check_path(relative)?;
        let (parent, name) = match self.parent(relative, Parents::MustExist) {
            Ok(found) => found,
            Err(error) if error.code == "noSuchFile" => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(failed(relative, error)),
        }
    }

    /// The target of the symbolic link at the path.
    pub(crate) fn read_link(&self, relative: &str) -> Result<Vec<u8>> {
        let (parent, name) = self.parent(relative, Parents::MustExist)?;
        let target = rustix::fs::readlinkat(&parent, name, Vec::with_capacity(LINK_BYTES_MAX))
            .map_err(|error| failed(relative, error))?;
        Ok(target.into_bytes())
    }

    /// The absolute path, checked: it and what it names lie beneath the root now. For programs that
    /// take a path; open the file with [`Root::open_file`] where that is possible.
    pub fn resolve(&self, relative: &str) -> Result<PathBuf> {
        check_path(relative)?;
        if self.look(relative).is_ok_and(|found| found.is_some()) {
            self.open_at(relative, OFlags::RDONLY | OFlags::NONBLOCK, Links::Inside)?;
        } else {
            self.parent(relative, Parents::MustExist)?;
        }
        Ok(self.path.join(relative))
    }

    /// Writes a file by temporary file and rename; missing folders are made, no link is followed.
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<()> {
        let permissions = Permissions::of(self.look(relative)?.as_ref());
        self.replace(relative, Replacement::File(bytes, permissions), Existing::Replace)
    }

    /// Removes a file or link.
    pub fn remove(&self, relative: &str) -> Result<()> {
        check_path(relative)?;
        let (parent, name) = self.parent(relative, Parents::MustExist)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(|error| failed(relative, error))
    }

    /// Removes the folders above a path as long as they are empty.
    pub(crate) fn remove_empty_parents(&self, relative: &str) {
        let mut path = relative;
        while let Some((folder, _)) = path.rsplit_once('/') {
            let removed = self
                .parent(folder, Parents::MustExist)
                .is_ok_and(|(parent, name)| rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).is_ok());
            if !removed {
                return;
            }
            path = folder;
        }
    }

    /// The bytes of a regular file or the target of a link, without following any; `None` when there
    /// is nothing.
    pub(crate) fn content(&self, relative: &str, bytes_max: u64) -> Result<Option<Vec<u8>>> {
        match self.look(relative)? {
            None => Ok(None),
            Some(found) if is_link(&found) => self.read_link(relative).map(Some),
            Some(_) => self.read_exactly(relative, bytes_max).map(Some),
        }
    }

    /// Puts this at the path in one step.
    pub(crate) fn replace(
        &self,
        relative: &str,
        with: Replacement<'_>,
        existing: Existing<'_>,
    ) -> Result<()> {
        check_path(relative)?;
        let (parent, name) = self.parent(relative, Parents::Make)?;
        let temporary = format!(".clode-{}.tmp", random_hex(TEMPORARY_NAME_BYTES)?);
        let put = || -> Result<()> {
            let io = |error: std::io::Error| Error::io(format!("writing {relative}"), &error);
            write_temporary(&parent, &temporary, with).map_err(io)?;
            if let Existing::Only(expected) = existing {
                self.demand(relative, expected)?;
            }
            match existing {
                Existing::Refuse => put_new(&parent, &temporary, name),
                _ => rustix::fs::renameat(&parent, &temporary, &parent, name),
            }
            .map_err(|error| match error {
                Errno::EXIST => changed_meanwhile(relative),
                other => io(other.into()),
            })?;
            // the rename itself is to survive a crash
            let _ = rustix::fs::fsync(&parent);
            Ok(())
        };
        put().inspect_err(|_| {
            let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
        })
    }

    /// Fails unless the path holds exactly this content.
    pub(crate) fn demand(&self, relative: &str, expected: &[u8]) -> Result<()> {
        let found = self.content(relative, expected.len() as u64).ok().flatten();
        if found.as_deref() == Some(expected) {
            Ok(())
        } else {
            Err(changed_meanwhile(relative))
        }
    }

    fn open_regular(&self, relative: &str, links: Links) -> Result<File> {
        check_path(relative)?;
        // NONBLOCK: a pipe put there meanwhile must not hold us up
        let fd = self.open_at(
            relative,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
            links,
        )?;
        let found = rustix::fs::fstat(&fd).map_err(|error| failed(relative, error))?;
        if !is_regular(&found) {
            return Err(Error::new(
                Kind::Conflict,
                "notAFile",
                format!("{relative} is not a regular file"),
            ));
        }
        Ok(File::from(fd))
    }

    fn open_at(&self, relative: &str, flags: OFlags, links: Links) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            let resolve = if links == Links::Never {
                resolve | ResolveFlags::NO_SYMLINKS
            } else {
                resolve
            };
            let mut opened = rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), resolve);
            for _ in 0..OPEN_TRIES {
                if !matches!(opened, Err(Errno::AGAIN)) {
                    break;
                }
                // a rename raced with the resolution
                opened = rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), resolve);
            }
            match opened {
                Ok(fd) => return Ok(fd),
                Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
                Err(error) => return Err(failed(relative, error)),
            }
        }
        self.open_step_by_step(relative, flags, links)
    }

    /// Without `openat2`: each component is opened by itself and no link is followed.
    fn open_step_by_step(&self, relative: &str, flags: OFlags, _links: Links) -> Result<OwnedFd> {
        let (parent, name) = self.parent_step_by_step(relative, Parents::MustExist)?;
        rustix::fs::openat(&parent, name, flags | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|error| failed(relative, error))
    }

    /// The folder that holds the path, and the name in it; no link is followed on the way.
    fn parent<'a>(&self, relative: &'a str, parents: Parents) -> Result<(OwnedFd, &'a str)> {
        let Some((folder, name)) = relative.rsplit_once('/') else {
            return self.parent_step_by_step(relative, parents);
        };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        match self.open_at(folder, flags, Links::Never) {
            Ok(fd) => Ok((fd, name)),
            Err(error) if error.code == "noSuchFile" && parents == Parents::Make => {
                self.parent_step_by_step(relative, parents)
            }
            Err(error) => Err(error),
        }
    }

    fn parent_step_by_step<'a>(&self, relative: &'a str, parents: Parents) -> Result<(OwnedFd, &'a str)> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = self.fd.try_clone().map_err(|error| Error::io(relative, &error))?;
        let (folders, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            let opened = match rustix::fs::openat(&folder, part, flags, Mode::empty()) {
                Err(Errno::NOENT) if parents == Parents::Make => {
                    match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => rustix::fs::openat(&folder, part, flags, Mode::empty()),
                        Err(error) => Err(error),
                    }
                }
                other => other,
            };
            folder = opened.map_err(|error| failed(relative, error))?;
        }
        Ok((folder, name))
    }
}

/// How often an open is repeated that raced with a rename.
#[cfg(target_os = "linux")]
const OPEN_TRIES: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parents {
    MustExist,
    Make,
}

/// The absolute path of `relative` beneath `root`, checked now. See [`Root::resolve`].
pub fn resolve_beneath(root: &Path, relative: &str) -> Result<PathBuf> {
    Root::open(root)?.resolve(relative)
}

pub(crate) fn is_regular(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

pub(crate) fn is_link(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Symlink
}

fn read_limited(file: File, relative: &str, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(format!("reading {relative}"), &error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(Error::new(
            Kind::Conflict,
            "fileTooLarge",
            format!("{relative} is larger than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Gives the temporary file its name, unless something has that name.
fn put_new(parent: &OwnedFd, temporary: &str, name: &str) -> rustix::io::Result<()> {
    rustix::fs::linkat(parent, temporary, parent, name, AtFlags::empty())?;
    rustix::fs::unlinkat(parent, temporary, AtFlags::empty())
}

fn changed_meanwhile(relative: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "changedMeanwhile",
        format!("{relative} changed while it was written"),
    )
    .hint("try again")
}

fn write_temporary(parent: &OwnedFd, name: &str, with: Replacement<'_>) -> std::io::Result<()> {
    match with {
        Replacement::Link(target) => {
            let target = super::vault::os_path(target);
            rustix::fs::symlinkat(Path::new(&target), parent, name)?;
        }
        Replacement::File(bytes, permissions) => {
            let mode = match permissions {
                Permissions::New(Executable::Yes) => 0o777,
                Permissions::New(Executable::No) => 0o666,
                Permissions::Kept(_) => 0o600,
            };
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(
                parent,
                name,
                flags,
                Mode::from_raw_mode(mode),
            )?);
            if let Permissions::Kept(bits) = permissions {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(bits))?;
            }
            file.write_all(bytes)?;
            file.sync_all()?;
        }
    }
    Ok(())
}

fn failed(relative: &str, error: Errno) -> Error {
    match error {
        Errno::NOENT => Error::new(Kind::Io, "noSuchFile", format!("{relative} does not exist")),
        Errno::XDEV | Errno::LOOP | Errno::MLINK | Errno::NOTDIR => Error::new(
            Kind::Conflict,
            "refusedPath",
            format!("the path {relative:?} is refused: a link or a file stands in its way"),
        ),
        other => Error::io(relative, &other.into()),
    }
}

#[cfg(test)]
mod tests;
