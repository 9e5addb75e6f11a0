//! Which folders outside the system a program must read so that the user's toolchains work: found from
//! the search path, since version managers install into the home directory.
//!
//! Never a whole home directory, never a folder that contains what must stay unreadable: a landlock
//! rule covers everything beneath it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Entries of the search path that are looked at.
const ENTRIES_MAX: usize = 64;
/// Links of one entry that are followed.
const LINKS_MAX: usize = 512;
/// Names of folders of programs; their parent is an installation.
const PROGRAM_FOLDERS: [&str; 4] = ["bin", "sbin", "shims", "condabin"];
/// Cargo's home holds credentials beside the programs: these parts only.
const CARGO_PARTS: [&str; 6] = ["bin", "env", "config", "config.toml", "registry", "git"];
/// Where these are, it is somebody's home and no installation.
const SIGNS_OF_A_HOME: [&str; 8] = [
    ".ssh",
    ".gnupg",
    ".config",
    ".profile",
    ".bashrc",
    ".bash_history",
    ".zshrc",
    ".netrc",
];
/// What is readable anyway.
const SYSTEM: [&str; 9] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc",
    "/opt",
    "/nix/store",
    "/sys",
];
/// A folder directly beneath `/` is no installation.
const DEPTH_MIN: usize = 2;

/// Folders and files to make readable for this program with this search path.
pub(super) fn roots(program: &Path, search_path: &OsStr, protected: &[PathBuf]) -> BTreeSet<PathBuf> {
    let protected: Vec<PathBuf> = protected.iter().map(|path| real(path)).collect();
    let mut found = BTreeSet::new();
    for entry in std::env::split_paths(search_path)
        .filter(|entry| entry.is_absolute())
        .take(ENTRIES_MAX)
    {
        let entry = real(&entry);
        if is_system(&entry) || is_home(&entry) {
            continue;
        }
        found.insert(entry.clone());
        found.extend(installation(&entry));
        for target in link_targets(&entry) {
            add_program(&target, &mut found);
        }
    }
    let target = real(program);
    if !is_system(&target) {
        // Also where it is alone in somebody's home.
        found.insert(target.clone());
        add_program(&target, &mut found);
    }
    found.retain(|root| depth(root) >= DEPTH_MIN && !protected.iter().any(|path| path.starts_with(root)));
    found
}

/// A program that is only linked from the search path: its own installation, or at least its folder.
fn add_program(target: &Path, found: &mut BTreeSet<PathBuf>) {
    let folder = target.parent().unwrap_or(target);
    if is_system(target) || found.iter().any(|root| folder.starts_with(root)) {
        return;
    }
    found.extend(installation(folder));
    if !is_home(folder) {
        found.insert(folder.to_owned());
    }
}

/// What belongs to a folder of programs.
fn installation(programs: &Path) -> Vec<PathBuf> {
    let Some(parent) = programs.parent() else {
        return Vec::new();
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
    if !PROGRAM_FOLDERS.iter().any(|folder| name(programs) == *folder) {
        return Vec::new();
    }
    if name(parent) == ".cargo" {
        let mut parts: Vec<PathBuf> = CARGO_PARTS.iter().map(|part| parent.join(part)).collect();
        parts.push(parent.with_file_name(".rustup"));
        return parts.into_iter().filter(|part| part.exists()).collect();
    }
    if name(parent) == ".local" || is_home(parent) {
        return Vec::new();
    }
    vec![parent.to_owned()]
}

fn link_targets(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .take(LINKS_MAX)
        .filter_map(|entry| std::fs::canonicalize(entry.path()).ok())
        .filter(|target| !target.starts_with(folder))
        .collect()
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|root| path.starts_with(root))
}

fn is_home(folder: &Path) -> bool {
    SIGNS_OF_A_HOME.iter().any(|name| folder.join(name).exists())
}

fn depth(path: &Path) -> usize {
    path.components().count().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A home with a few toolchains and with things that must stay unreadable.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for folder in [
            ".ssh",
            ".local/bin",
            ".local/state/clode",
            ".cargo/bin",
            ".rustup",
            ".pyenv/shims",
            ".pyenv/versions/3.13/bin",
            "bin",
            "venv/bin",
            ".local/share/tool/versions/1",
        ] {
            std::fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        std::fs::write(home.path().join(".cargo/credentials.toml"), "").unwrap();
        home
    }

    fn readable(home: &Path, entries: &[&str], protected: &[&str]) -> BTreeSet<String> {
        let home = real(home);
        let path = std::env::join_paths(entries.iter().map(|entry| home.join(entry))).unwrap();
        let protected: Vec<PathBuf> = protected.iter().map(|path| home.join(path)).collect();
        roots(Path::new("/bin/sh"), &path, &protected)
            .into_iter()
            .map(|root| root.strip_prefix(&home).unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_installation_is_readable_beside_its_programs() {
        let home = home();
        assert_eq!(
            readable(home.path(), &[".pyenv/shims"], &[]),
            set(&[".pyenv", ".pyenv/shims"])
        );
    }

    #[test]
    fn cargo_is_readable_without_its_credentials() {
        let home = home();
        assert_eq!(
            readable(home.path(), &[".cargo/bin"], &[]),
            set(&[".cargo/bin", ".rustup"])
        );
    }

    #[test]
    fn a_folder_of_programs_in_a_home_does_not_open_the_home() {
        let home = home();
        assert_eq!(
            readable(home.path(), &["bin", ".local/bin"], &[]),
            set(&["bin", ".local/bin"])
        );
    }

    #[test]
    fn a_linked_program_brings_its_own_folder() {
        let home = home();
        let target = home.path().join(".local/share/tool/versions/1/tool");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, home.path().join(".local/bin/tool")).unwrap();
        let python = home.path().join(".pyenv/versions/3.13/bin/python");
        std::fs::write(&python, "").unwrap();
        std::os::unix::fs::symlink(&python, home.path().join("venv/bin/python")).unwrap();
        let found = readable(home.path(), &[".local/bin", "venv/bin"], &[]);
        assert_eq!(
            found,
            set(&[
                ".local/bin",
                ".local/share/tool/versions/1",
                "venv",
                "venv/bin",
                ".pyenv/versions/3.13",
                ".pyenv/versions/3.13/bin"
            ])
        );
    }

    #[test]
    fn the_program_itself_is_readable_wherever_it_lies() {
        let home = home();
        let home = real(home.path());
        std::fs::write(home.join("script"), "").unwrap();
        let found = roots(&home.join("script"), OsStr::new(""), &[]);
        assert_eq!(found, BTreeSet::from([home.join("script")]));
        let tool = home.join(".local/share/tool/versions/1/tool");
        std::fs::write(&tool, "").unwrap();
        let found = roots(&tool, home.as_os_str(), &[]);
        assert_eq!(found, BTreeSet::from([tool.parent().unwrap().to_owned(), tool]));
    }

    #[test]
    fn nothing_that_contains_a_protected_folder_is_readable() {
        let home = home();
        std::fs::create_dir_all(home.path().join("tools/bin")).unwrap();
        std::fs::create_dir_all(home.path().join("tools/state")).unwrap();
        assert_eq!(
            readable(home.path(), &["tools/bin"], &["tools/state"]),
            set(&["tools/bin"])
        );
        assert_eq!(
            readable(home.path(), &["tools/bin"], &[]),
            set(&["tools", "tools/bin"])
        );
    }

    #[test]
    fn the_system_and_relative_entries_add_nothing() {
        let search_path = OsStr::new("/usr/bin:/bin:bin:.:");
        assert!(roots(Path::new("/usr/bin/env"), search_path, &[]).is_empty());
    }
}
