//! What `git diff-tree --raw` prints.

use super::FileMode;
use crate::{Error, Kind, Result};

/// One line of `git diff-tree --raw`.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) old_mode: Option<FileMode>,
    pub(super) mode: Option<FileMode>,
    pub(super) old_blob: Option<String>,
    pub(super) blob: Option<String>,
    pub(super) status: char,
    pub(super) similarity: Option<u8>,
    pub(super) old_path: Option<String>,
    pub(super) path: String,
}

/// A file that becomes a link, or the other way round, goes and comes.
pub(super) fn split_type_change(raw: Raw) -> (Raw, Raw) {
    let gone = Raw {
        old_mode: raw.old_mode,
        mode: None,
        old_blob: raw.old_blob,
        blob: None,
        status: 'D',
        similarity: None,
        old_path: None,
        path: raw.path.clone(),
    };
    (
        gone,
        Raw {
            old_mode: None,
            old_blob: None,
            status: 'A',
            ..raw
        },
    )
}

pub(super) fn parse_raw(printed: &[u8]) -> Result<Vec<Raw>> {
    let odd = || Error::internal("git diff-tree answered something unexpected");
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            Error::new(
                Kind::Git,
                "unsupportedPath",
                "a changed file has a name that is not UTF-8",
            )
        })
    };
    let mut fields = printed.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let mut raws = Vec::new();
    while let Some(head) = fields.next() {
        let head = text(head)?;
        let mut words = head.trim_start_matches(':').split(' ');
        let mut word = || words.next().ok_or_else(odd);
        let (old_mode, mode, old_blob, blob, status) = (word()?, word()?, word()?, word()?, word()?);
        let first = text(fields.next().ok_or_else(odd)?)?;
        let kind = status.chars().next().ok_or_else(odd)?;
        let (old_path, path) = match kind {
            'R' => (Some(first), text(fields.next().ok_or_else(odd)?)?),
            _ => (None, first),
        };
        if old_mode == "160000" || mode == "160000" {
            return Err(Error::new(
                Kind::Conflict,
                "refusedPath",
                format!("{path} is a submodule, which agents cannot change"),
            ));
        }
        let present = |blob: &str| blob.bytes().any(|byte| byte != b'0').then(|| blob.to_owned());
        raws.push(Raw {
            old_mode: FileMode::from_octal(old_mode),
            mode: FileMode::from_octal(mode),
            old_blob: present(old_blob),
            blob: present(blob),
            similarity: status.get(1..).and_then(|score| score.parse().ok()),
            status: kind,
            old_path,
            path,
        });
    }
    Ok(raws)
}
