//! Real editors, driven as a person drives them.
//!
//! Each runs a small driver script of `tests/editors/`, which does what it is told line by line and tells what
//! it sees. What was said both ways is kept under `target/test-artifacts/`, with the pictures.

mod driver;
pub mod neovim;
pub mod subject;
pub mod vscode;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli;

/// Where a test leaves what a person may want to look at afterwards.
#[must_use]
pub fn artifacts() -> PathBuf {
    let binary = cli::binary();
    let target = binary
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "target"))
        .map_or_else(|| source("target"), Path::to_owned);
    let folder = target.join("test-artifacts");
    fs::create_dir_all(&folder).expect("the directory of the artifacts");
    folder
}

/// A path of this repository.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
