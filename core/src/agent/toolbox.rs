//! The tools that our own loop offers a model. All of them act on files beneath one root; a path that
//! leaves it, by whatever way, is an error that the model reads, never one that ends the step.

mod change;
mod look;
mod record;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobSet;
use serde_json::Value;

pub(super) use record::{Record, Repeated};

use super::survey;
use crate::config::Context;
use crate::provider::ToolSpec;
use crate::redact::Redactor;
use crate::workspace::{Root, check_path};
use crate::{Error, Result};

/// Most of a file that is read for a tool.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 48 * 1024;

/// What the model may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Look.
    Read,
    /// Look, change files, and run the tests.
    Change,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolAnswer {
    pub(super) text: String,
    pub(super) is_error: bool,
}

impl ToolAnswer {
    pub(super) fn fine(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_error: false,
        }
    }

    pub(super) fn error(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_error: true,
        }
    }
}

/// The tools of one step. A clone is cheap.
#[derive(Debug, Clone)]
pub(super) struct Toolbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: Root,
    path: PathBuf,
    exclude: GlobSet,
    redactor: Arc<Redactor>,
    access: Access,
}

impl Toolbox {
    /// Tools for the files beneath `root`.
    pub(super) fn open(
        root: &Path,
        limits: &Context,
        redactor: &Arc<Redactor>,
        access: Access,
    ) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            root: Root::open(root)?,
            path: root.to_owned(),
            exclude: survey::excluded(&limits.exclude),
            redactor: Arc::clone(redactor),
            access,
        })))
    }

    /// What is offered; `allowed` are the names that the configuration leaves, if it names any.
    pub(super) fn specs(&self, allowed: Option<&[String]>) -> Vec<ToolSpec> {
        let names = |spec: &ToolSpec| allowed.is_none_or(|allowed| allowed.contains(&spec.name));
        schema::specs(self.0.access).into_iter().filter(names).collect()
    }

    /// Carries out one call of a tool on files. Blocking.
    pub(super) fn run(&self, name: &str, input: &Value) -> ToolAnswer {
        let inner = &self.0;
        let changes = inner.access == Access::Change;
        let answered = match name {
            "list_files" => inner.list_files(input),
            "search" => inner.search(input),
            "read_file" => inner.read_file(input),
            "write_file" if changes => inner.write_file(input),
            "edit_file" if changes => inner.edit_file(input),
            "delete_file" if changes => inner.delete_file(input),
            other => Err(Error::usage("unknownTool", format!("there is no tool `{other}`"))),
        };
        match answered {
            Ok(text) => ToolAnswer::fine(capped(text)),
            Err(error) => {
                let hint = error
                    .first_hint()
                    .map(|hint| format!(" ({hint})"))
                    .unwrap_or_default();
                ToolAnswer::error(format!("{error}{hint}"))
            }
        }
    }
}

impl Inner {
    /// A path that the model named, relative to the root; an absolute one beneath it is understood.
    fn path(&self, input: &Value) -> Result<String> {
        let path = text(input, "path")?;
        let relative = Path::new(path)
            .strip_prefix(&self.path)
            .ok()
            .and_then(Path::to_str)
            .unwrap_or(path);
        let relative = relative
            .strip_prefix("./")
            .unwrap_or(relative)
            .trim_end_matches('/');
        check_path(relative)?;
        if self.exclude.is_match(relative) {
            return Err(Error::state(
                "excluded",
                format!("{relative} is excluded from what agents may see, by configuration"),
            ));
        }
        Ok(relative.to_owned())
    }

    /// The folder that the model named; the top without one.
    fn folder(&self, input: &Value) -> Result<String> {
        match input.get("path").and_then(Value::as_str).map(str::trim) {
            None | Some("" | "." | "./" | "/") => Ok(String::new()),
            Some(path) if Path::new(path) == self.path => Ok(String::new()),
            Some(_) => {
                let folder = self.path(input)?;
                self.root.resolve(&folder)?;
                Ok(folder)
            }
        }
    }

    fn read_text(&self, path: &str) -> Result<String> {
        let bytes = self.root.read(path, FILE_BYTES_MAX)?;
        if bytes.contains(&0) {
            return Err(Error::state("notText", format!("{path} is not text")));
        }
        String::from_utf8(bytes).map_err(|_| Error::state("notText", format!("{path} is not UTF-8 text")))
    }
}

fn text<'v>(input: &'v Value, name: &str) -> Result<&'v str> {
    input.get(name).and_then(Value::as_str).ok_or_else(|| {
        Error::usage(
            "invalidToolInput",
            format!("the argument `{name}` is missing or is not text"),
        )
    })
}

fn number(input: &Value, name: &str) -> Result<Option<usize>> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value
                .as_u64()
                .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
            let number = number.and_then(|number| usize::try_from(number).ok());
            let wrong = || {
                Error::usage(
                    "invalidToolInput",
                    format!("the argument `{name}` must be a whole number from 1"),
                )
            };
            number.filter(|number| *number > 0).map(Some).ok_or_else(wrong)
        }
    }
}

fn capped(mut text: String) -> String {
    if text.len() > ANSWER_BYTES_MAX {
        let end = super::briefing::cut(&text, ANSWER_BYTES_MAX).len();
        text.truncate(end);
        text.push_str("(cut here: ask for less at a time)\n");
    }
    text
}

#[cfg(test)]
mod tests;
