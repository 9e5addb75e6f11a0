//! Where we keep things: state that must survive, a cache that may go, and the user's configuration.

use std::fs;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use crate::{Error, Kind, Result};

/// Name of our directory below the platform's.
const NAME: &str = "clode";
/// Owner only.
const MODE: u32 = 0o700;
/// Name of the user's file, and of the workspace's.
pub const FILE_NAME: &str = "providers.yaml";
/// Where a repository keeps its configuration, relative to the opened folder.
pub const WORKSPACE_FILE: &str = ".claude/agents/config/providers.yaml";

/// The three places of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// What must survive: runs, results, the ledger. Mode 0700, never on a network file system.
    pub state: PathBuf,
    /// Working directories; deleting it costs time, never work.
    pub cache: PathBuf,
    /// The user's configuration.
    pub config: PathBuf,
}

impl Directories {
    /// Where the environment or else the platform wants them. Makes the state and the cache
    /// directory, owner only, and proves that they can be written.
    pub fn from_environment(environment: &Environment) -> Result<Self> {
        let directories = Self::named_by(environment)?;
        refuse_network(&directories.state)?;
        make(&directories.state, "state", "CLODE_STATE_DIR")?;
        make(&directories.cache, "cache", "CLODE_CACHE_DIR")?;
        Ok(directories)
    }

    /// Only the names; touches nothing.
    pub fn named_by(environment: &Environment) -> Result<Self> {
        let choose = |own: &str, shared: &str, platform: fn(&Environment) -> Result<PathBuf>| {
            if let Some(path) = environment.path(own) {
                return absolute(path, own);
            }
            // A relative XDG path is to be ignored, says its specification.
            match environment.path(shared).filter(|path| path.is_absolute()) {
                Some(path) => Ok(path.join(NAME)),
                None => platform(environment),
            }
        };
        Ok(Self {
            state: choose("CLODE_STATE_DIR", "XDG_STATE_HOME", platform::state)?,
            cache: choose("CLODE_CACHE_DIR", "XDG_CACHE_HOME", platform::cache)?,
            config: choose("CLODE_CONFIG_DIR", "XDG_CONFIG_HOME", platform::config)?,
        })
    }

    /// The user's file.
    pub fn user_file(&self) -> PathBuf {
        self.config.join(FILE_NAME)
    }
}

fn absolute(path: PathBuf, variable: &str) -> Result<PathBuf> {
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("{variable} is the relative path `{}`", path.display());
    Err(Error::new(Kind::Config, "directoryRelative", message)
        .hint(format!("set {variable} to an absolute path")))
}

#[cfg(all(unix, not(target_os = "macos")))]
mod platform {
    use super::{Environment, Error, Kind, NAME, PathBuf, Result};

    pub(super) fn state(environment: &Environment) -> Result<PathBuf> {
        Ok(home(environment)?.join(".local/state").join(NAME))
    }

    pub(super) fn cache(environment: &Environment) -> Result<PathBuf> {
        Ok(home(environment)?.join(".cache").join(NAME))
    }

    pub(super) fn config(environment: &Environment) -> Result<PathBuf> {
        Ok(home(environment)?.join(".config").join(NAME))
    }

    fn home(environment: &Environment) -> Result<PathBuf> {
        environment
            .home()
            .or_else(|| etcetera::home_dir().ok())
            .filter(|home| home.is_absolute())
            .ok_or_else(|| {
                Error::new(Kind::Config, "homeUnknown", "there is no home directory")
                    .hint("set HOME, or CLODE_STATE_DIR, CLODE_CACHE_DIR and CLODE_CONFIG_DIR")
            })
    }
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
mod platform {
    use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};

    use super::{Environment, Error, Kind, NAME, PathBuf, Result};

    pub(super) fn state(_: &Environment) -> Result<PathBuf> {
        let native = native()?;
        Ok(native
            .state_dir()
            .unwrap_or_else(|| native.data_dir())
            .join(NAME)
            .join("state"))
    }

    pub(super) fn cache(_: &Environment) -> Result<PathBuf> {
        Ok(native()?.cache_dir().join(NAME))
    }

    pub(super) fn config(_: &Environment) -> Result<PathBuf> {
        Ok(native()?.config_dir().join(NAME))
    }

    fn native() -> Result<impl BaseStrategy> {
        choose_native_strategy().map_err(|_| {
            Error::new(Kind::Config, "homeUnknown", "there is no home directory")
                .hint("set CLODE_STATE_DIR, CLODE_CACHE_DIR and CLODE_CONFIG_DIR")
        })
    }
}

/// Makes the directory if it is not there, for its owner only, and proves that it can be written.
fn make(path: &Path, what: &str, variable: &str) -> Result<()> {
    let failed = |source: &std::io::Error| {
        let message = format!("the {what} directory {} cannot be used: {source}", path.display());
        Error::new(Kind::Io, "directoryUnusable", message)
            .hint(format!(
                "set {variable} to a directory on a local disk that you may write"
            ))
            .hint("check its owner and mode, and that the disk is not full or read-only")
    };
    make_private(path).map_err(|error| failed(&error))?;
    let probe = path.join(format!(".write-probe-{}", crate::id::random_hex(8)?));
    fs::File::create_new(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| failed(&error))
}

#[cfg(unix)]
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};

    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Err(std::io::ErrorKind::NotADirectory.into());
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            "it belongs to another user",
        ));
    }
    if metadata.mode() & 0o777 != MODE {
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)
}

/// SQLite's locks and our own are not to be trusted on a network file system.
fn refuse_network(path: &Path) -> Result<()> {
    let Some(kind) = network_kind(path) else {
        return Ok(());
    };
    let message = format!(
        "the state directory {} is on a network file system ({kind})",
        path.display()
    );
    Err(Error::new(Kind::Config, "stateOnNetwork", message)
        .hint("set CLODE_STATE_DIR to a directory on a local disk")
        .hint("locks on a network file system are not dependable: runs and budgets could be damaged"))
}

#[cfg(target_os = "linux")]
fn network_kind(path: &Path) -> Option<String> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let magic = rustix::fs::statfs(existing).ok()?.f_type;
    // The magic is a 32-bit number that some platforms sign-extend.
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "32 bits by definition"
    )]
    let magic = magic as u32;
    network_name(magic).map(str::to_owned).or_else(|| {
        const FUSE: u32 = 0x6573_5546;
        if magic != FUSE {
            return None;
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let kind = mount_type(&mounts, &fs::canonicalize(existing).ok()?)?;
        remote_fuse(&kind).then_some(kind)
    })
}

#[cfg(not(target_os = "linux"))]
fn network_kind(_: &Path) -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
fn network_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517B => Some("SMB"),
        0xFF53_4D42 => Some("CIFS"),
        0xFE53_4D42 => Some("SMB2"),
        0x0102_1997 => Some("9P"),
        0x5346_414F => Some("AFS"),
        0x00C3_6400 => Some("Ceph"),
        _ => None,
    }
}

/// FUSE file systems whose files are elsewhere; others (encrypted or foreign local disks) are fine.
#[cfg(target_os = "linux")]
fn remote_fuse(kind: &str) -> bool {
    const REMOTE: [&str; 9] = [
        "sshfs",
        "s3fs",
        "rclone",
        "gcsfuse",
        "goofys",
        "davfs",
        "curlftpfs",
        "glusterfs",
        "ceph",
    ];
    REMOTE.iter().any(|name| kind.contains(name))
}

/// The file system type of the mount that holds `path`, from the text of mountinfo.
#[cfg(target_os = "linux")]
fn mount_type(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let point = left.split(' ').nth(4)?.replace("\\040", " ");
            path.starts_with(&point).then(|| {
                (
                    point.len(),
                    right.split(' ').next().unwrap_or_default().to_owned(),
                )
            })
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn our_own_variable_wins_over_xdg_and_xdg_over_the_home_directory() {
        let both = [
            ("HOME", "/h"),
            ("CLODE_STATE_DIR", "/own"),
            ("XDG_STATE_HOME", "/xdg"),
            ("XDG_CACHE_HOME", "/c"),
        ];
        let named = Directories::named_by(&Environment::from_pairs(both)).unwrap();
        assert_eq!(named.state, Path::new("/own"));
        assert_eq!(named.cache, Path::new("/c/clode"));
        assert_eq!(named.config, Path::new("/h/.config/clode"));
        let relative = [("HOME", "/h"), ("XDG_STATE_HOME", "not/absolute")];
        let named = Directories::named_by(&Environment::from_pairs(relative)).unwrap();
        assert_eq!(named.state, Path::new("/h/.local/state/clode"));
    }

    #[test]
    fn a_relative_directory_of_ours_is_refused_with_a_hint() {
        let error =
            Directories::named_by(&Environment::from_pairs([("CLODE_STATE_DIR", "state")])).unwrap_err();
        assert_eq!(error.code, "directoryRelative");
        assert!(error.first_hint().unwrap().contains("CLODE_STATE_DIR"));
    }

    #[test]
    fn directories_are_made_for_their_owner_only_and_one_that_is_open_to_others_is_closed() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment::from_pairs([
            ("CLODE_STATE_DIR", root.path().join("a/state")),
            ("CLODE_CACHE_DIR", root.path().join("a/cache")),
            ("CLODE_CONFIG_DIR", root.path().join("config")),
        ]);
        let made = Directories::from_environment(&environment).unwrap();
        fs::set_permissions(&made.cache, fs::Permissions::from_mode(0o755)).unwrap();
        let again = Directories::from_environment(&environment).unwrap();
        assert_eq!(made, again);
        for path in [&made.state, &made.cache] {
            assert_eq!(
                fs::metadata(path).unwrap().mode() & 0o777,
                MODE,
                "{}",
                path.display()
            );
            assert_eq!(fs::read_dir(path).unwrap().count(), 0, "the probe is gone");
        }
        assert!(!made.config.exists(), "the user's directory is the user's");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_the_variable_to_set() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for place in [
            root.path().join("file"),
            root.path().join("file/below"),
            "/proc/clode-state".into(),
        ] {
            let environment = Environment::from_pairs([
                ("CLODE_STATE_DIR", place.clone()),
                ("CLODE_CACHE_DIR", root.path().join("cache")),
                ("CLODE_CONFIG_DIR", root.path().join("config")),
            ]);
            let error = Directories::from_environment(&environment).unwrap_err();
            assert_eq!(error.code, "directoryUnusable", "{error}");
            assert!(error.message.contains(place.to_str().unwrap()), "{error}");
            assert!(
                error.first_hint().unwrap().contains("CLODE_STATE_DIR"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn network_file_systems_are_known_by_their_magic_or_their_mount() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42), Some("CIFS"));
        assert_eq!(network_name(0x0102_1997), Some("9P"));
        assert_eq!(network_name(0xEF53), None, "ext4");
        let mounts = "22 1 0:20 / / rw - ext4 /dev/sda rw\n\
                      30 22 0:40 / /home/me/remote\\040disk rw shared:1 - fuse.sshfs host: rw\n\
                      31 22 0:41 / /home/me/vault rw - fuse.gocryptfs x rw\n";
        assert_eq!(
            mount_type(mounts, Path::new("/home/me/remote disk/state")).as_deref(),
            Some("fuse.sshfs")
        );
        assert!(remote_fuse("fuse.sshfs"));
        assert_eq!(
            mount_type(mounts, Path::new("/home/me/vault/state")).as_deref(),
            Some("fuse.gocryptfs")
        );
        assert!(!remote_fuse("fuse.gocryptfs"));
        assert_eq!(mount_type(mounts, Path::new("/home/me")).as_deref(), Some("ext4"));
    }
}
