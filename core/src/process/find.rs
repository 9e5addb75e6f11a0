//! Programs and toolchains, found once, by absolute path.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The absolute path of the program with this name. Relative entries of the search path are passed
/// over: a repository must not be able to bring its own `git`.
pub fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let as_path = Path::new(name);
    if as_path.is_absolute() {
        return is_executable(as_path).then(|| as_path.to_owned());
    }
    if name.is_empty() || name.contains('/') {
        return None;
    }
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// Whether this is a file with an executable bit.
pub(super) fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Version managers keep their state beside the programs and find it through the home directory. A
/// program that gets a private home needs these variables instead, read off the search path.
pub fn toolchain_environment(path: &OsStr) -> BTreeMap<OsString, OsString> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, folder: PathBuf| {
        if folder.is_dir() {
            found
                .entry(OsString::from(name))
                .or_insert_with(|| folder.into_os_string());
        }
    };
    for entry in std::env::split_paths(path).filter(|entry| entry.is_absolute()) {
        let Some(parent) = entry.parent() else { continue };
        match parent.file_name().and_then(OsStr::to_str) {
            Some(".cargo") => {
                add("CARGO_HOME", parent.to_owned());
                add("RUSTUP_HOME", parent.with_file_name(".rustup"));
            }
            Some(".pyenv") => add("PYENV_ROOT", parent.to_owned()),
            Some(".rbenv") => add("RBENV_ROOT", parent.to_owned()),
            Some(".volta") => add("VOLTA_HOME", parent.to_owned()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, name: &str, mode: u32) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join(name);
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn the_first_executable_file_of_an_absolute_entry_is_taken() {
        let place = tempfile::tempdir().unwrap();
        program(&place.path().join("a"), "tool", 0o644);
        let wanted = program(&place.path().join("b"), "tool", 0o755);
        program(&place.path().join("c"), "tool", 0o755);
        let path = std::env::join_paths(["a", "b", "c"].map(|name| place.path().join(name))).unwrap();
        assert_eq!(find_program("tool", &path), Some(wanted.clone()));
        assert_eq!(
            find_program(wanted.to_str().unwrap(), OsStr::new("")),
            Some(wanted)
        );
        assert_eq!(find_program("absent", &path), None);
    }

    #[test]
    fn relative_entries_and_names_with_a_slash_find_nothing() {
        // "src" and "." exist in the directory of this test.
        assert_eq!(find_program("lib.rs", OsStr::new("src:.:")), None);
        assert_eq!(find_program("./lib.rs", OsStr::new("/")), None);
        assert_eq!(find_program("../bin/sh", OsStr::new("/usr")), None);
        assert_eq!(find_program("", OsStr::new("/bin")), None);
    }

    #[test]
    fn a_cargo_entry_tells_where_both_homes_are() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join(".cargo/bin")).unwrap();
        std::fs::create_dir_all(place.path().join(".rustup")).unwrap();
        let found = toolchain_environment(place.path().join(".cargo/bin").as_os_str());
        assert_eq!(
            found.get(OsStr::new("CARGO_HOME")),
            Some(&place.path().join(".cargo").into_os_string())
        );
        assert_eq!(
            found.get(OsStr::new("RUSTUP_HOME")),
            Some(&place.path().join(".rustup").into_os_string())
        );
    }
}
