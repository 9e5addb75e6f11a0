//! Reads the files of the configuration. A file that is not there is nothing; one that cannot be
//! read, or that a link leads out of the repository, is a [`ConfigError`] and counts as not there.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::directories::{Directories, WORKSPACE_FILE};
use super::problem::{ConfigError, Problem};
use super::yaml::FILE_BYTES_MAX;
use super::{SourceText, Sources};

/// A folder that is opened, and the top level of its repository (the same folder where there is none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The top level.
    pub top_level: PathBuf,
    /// The opened folder, at or below it.
    pub folder: PathBuf,
}

impl Opened {
    /// Where its files are, the weaker first.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.top_level.join(WORKSPACE_FILE)];
        if self.folder != self.top_level {
            files.push(self.folder.join(WORKSPACE_FILE));
        }
        files
    }
}

impl Sources {
    /// The user's file and those of the opened folder, and what kept one from being read. What the
    /// client says, and the trust, are the caller's to add.
    pub fn read(directories: &Directories, opened: Option<&Opened>) -> (Self, Vec<ConfigError>) {
        let mut sources = Self::default();
        let mut errors = Vec::new();
        let mut take = |path: &Path, within: Option<&Path>| {
            read(path, within).unwrap_or_else(|why| {
                let problem = Problem::new("unreadable", format!("the file cannot be read: {why}"));
                let expected = "a file of UTF-8 text that you may read";
                errors.push(problem.expected(expected).in_file(Some(path.to_owned())));
                None
            })
        };
        sources.user = take(&directories.user_file(), None);
        for path in opened.iter().flat_map(|opened| opened.files()) {
            let within = opened.map(|opened| opened.top_level.as_path());
            sources.workspace.extend(take(&path, within));
        }
        (sources, errors)
    }
}

/// Reads one file, beneath `within` when that is given; else says why not.
fn read(path: &Path, within: Option<&Path>) -> Result<Option<SourceText>, String> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if let Some(within) = within {
        let stays = fs::canonicalize(within).and_then(|root| Ok(fs::canonicalize(path)?.starts_with(root)));
        if !stays.is_ok_and(|stays| stays) {
            return Err("a link leads out of the repository".to_owned());
        }
    }
    // One byte more than is allowed, so that the parser can say that it is too large.
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let read = fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        // A character that the limit cut in two.
        Err(error) if error.as_bytes().len() > FILE_BYTES_MAX => {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }
        Err(_) => return Err("it is not UTF-8 text".to_owned()),
    };
    Ok(Some(SourceText {
        path: path.to_owned(),
        text,
    }))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn places(root: &Path) -> (Directories, Opened) {
        let directories = Directories {
            state: root.join("state"),
            cache: root.join("cache"),
            config: root.join("config"),
        };
        (
            directories,
            Opened {
                top_level: root.join("repo"),
                folder: root.join("repo/app"),
            },
        )
    }

    #[test]
    fn files_that_are_not_there_are_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (directories, opened) = places(root.path());
        let (sources, errors) = Sources::read(&directories, Some(&opened));
        assert!(sources.user.is_none() && sources.workspace.is_empty() && errors.is_empty());
    }

    #[test]
    fn the_top_level_comes_before_the_folder_and_each_file_once() {
        let root = tempfile::tempdir().unwrap();
        let (directories, opened) = places(root.path());
        write(&directories.user_file(), b"version: 1\n");
        write(&opened.top_level.join(WORKSPACE_FILE), b"# top\n");
        write(&opened.folder.join(WORKSPACE_FILE), b"# folder\n");
        let (sources, errors) = Sources::read(&directories, Some(&opened));
        assert_eq!(errors, []);
        assert_eq!(sources.user.unwrap().text, "version: 1\n");
        let texts: Vec<String> = sources.workspace.into_iter().map(|source| source.text).collect();
        assert_eq!(texts, ["# top\n", "# folder\n"]);
        let top = Opened {
            folder: opened.top_level.clone(),
            ..opened
        };
        assert_eq!(Sources::read(&directories, Some(&top)).0.workspace.len(), 1);
    }

    #[test]
    fn a_link_out_of_the_repository_a_pipe_and_binary_data_are_errors_and_nothing_hangs() {
        let root = tempfile::tempdir().unwrap();
        let (directories, opened) = places(root.path());
        write(&directories.user_file(), &[0xff, 0xfe, 0x00]);
        write(&root.path().join("outside.yaml"), b"version: 1\n");
        let top = opened.top_level.join(WORKSPACE_FILE);
        fs::create_dir_all(top.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(root.path().join("outside.yaml"), &top).unwrap();
        let pipe = opened.folder.join(WORKSPACE_FILE);
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let (sources, errors) = Sources::read(&directories, Some(&opened));
        assert!(sources.user.is_none() && sources.workspace.is_empty());
        let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the file cannot be read: it is not UTF-8 text",
                "the file cannot be read: a link leads out of the repository",
                "the file cannot be read: it is not a regular file",
            ]
        );
    }

    #[test]
    fn a_huge_file_is_not_read_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        let (directories, _) = places(root.path());
        write(&directories.user_file(), "ä".repeat(FILE_BYTES_MAX).as_bytes());
        let (sources, errors) = Sources::read(&directories, None);
        assert_eq!(errors, []);
        assert!(sources.user.as_ref().unwrap().text.len() <= FILE_BYTES_MAX + 3);
        let loaded = crate::config::load(
            &crate::config::Environment::default(),
            &crate::config::FoundAgents::default(),
            &sources,
        );
        assert_eq!(loaded.errors[0].code, "fileTooLarge");
    }
}
