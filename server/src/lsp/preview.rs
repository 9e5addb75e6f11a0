//! Virtual documents: plans, patches, costs, steps, and the files of a patch before, after and merged.

mod page;

use std::path::{Path, PathBuf};

use clode_core::engine::Engine;
use clode_core::id::PipelineId;
use clode_core::pipeline::Machine;
use clode_core::store::RunRow;
use clode_core::workspace;
use clode_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::client::{Outcome, ShowDocument};
use super::command::arguments;
use super::review::RunReview;
use super::session::Session;
use crate::review::{self, address};

/// Records of one audit document.
const AUDIT_RECORDS_MAX: usize = 10_000;
/// The folder of documents that are shown as files, below the state directory.
const FOLDER: &str = "documents";

/// A document as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) language: &'static str,
}

/// Answers `workspace/textDocumentContent`.
pub(crate) async fn content(session: &Session, params: Value) -> Result<Value> {
    #[derive(Deserialize)]
    struct Params {
        uri: Url,
    }
    let params: Params = arguments::read(params)?;
    let document = document(session, &params.uri).await?;
    session.reviews().fetched(&params.uri);
    Ok(json!({ "text": document.text }))
}

/// The document of a `clode:` address.
pub(crate) async fn document(session: &Session, uri: &Url) -> Result<Document> {
    let (run, name) = address::parse(uri).ok_or_else(|| unknown(uri))?;
    let engine = session.engine().await?;
    let row = engine.row(&run).await?;
    let machine = row.machine()?;
    let of = Of {
        session,
        engine,
        row: &row,
        machine: &machine,
    };
    let text = match name.as_str() {
        "plan.md" => of.plan().await?,
        "patch.diff" => of.patch().await?,
        "cost.md" => page::costs(
            &machine,
            &engine.services().store.ledger().step_totals(&run).await?,
        ),
        "audit.jsonl" => of.audit().await?,
        _ => match name.split_once('/') {
            Some(("steps", file)) => of.step(file).await?.ok_or_else(|| unknown(uri))?,
            Some(("base", path)) => of.side(Side::Base, path).await?.ok_or_else(|| unknown(uri))?,
            Some(("result", path)) => of.side(Side::Result, path).await?.ok_or_else(|| unknown(uri))?,
            Some(("merged", path)) => of.merged(path).await?.ok_or_else(|| unknown(uri))?,
            _ => return Err(unknown(uri)),
        },
    };
    Ok(Document {
        text,
        language: page::language(&name),
    })
}

fn unknown(uri: &Url) -> Error {
    Error::usage("unknownDocument", format!("uri: there is no document {uri}"))
        .hint("there are: clode://pipeline/<id>/plan.md, patch.diff, cost.md, audit.jsonl, steps/<step>.md, base/<path>, result/<path>, merged/<path>")
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Base,
    Result,
}

struct Of<'a> {
    session: &'a Session,
    engine: &'a Engine,
    row: &'a RunRow,
    machine: &'a Machine,
}

impl Of<'_> {
    async fn plan(&self) -> Result<String> {
        let plan = self.machine.plan_draft.as_ref().or(self.machine.plan.as_ref());
        Ok(self
            .engine
            .text(plan)
            .await?
            .unwrap_or_else(|| format!("# {}\n\nThere is no plan yet.\n", self.machine.spec.shown_title())))
    }

    async fn patch(&self) -> Result<String> {
        Ok(self
            .engine
            .patch(self.machine)
            .await?
            .map(|patch| patch.to_unified())
            .unwrap_or_default())
    }

    async fn audit(&self) -> Result<String> {
        let records = self
            .engine
            .services()
            .store
            .audit_records(Some(self.row.id.clone()), None, AUDIT_RECORDS_MAX)
            .await?;
        let mut text = String::new();
        for record in records {
            text.push_str(
                &serde_json::to_string(&record)
                    .map_err(|error| Error::internal(format!("a record cannot be written: {error}")))?,
            );
            text.push('\n');
        }
        Ok(text)
    }

    async fn step(&self, file: &str) -> Result<Option<String>> {
        let Some(step) = file
            .strip_suffix(".md")
            .and_then(|id| self.machine.steps.iter().find(|step| step.spec.id.as_str() == id))
        else {
            return Ok(None);
        };
        let document = self
            .engine
            .text(step.output.as_ref().and_then(|output| output.document.as_ref()))
            .await?;
        let status = self.machine.shown_status(step);
        Ok(Some(page::step(step, status, document.as_deref())))
    }

    /// A file as it was, or as the agents left it. One that is not there is empty, so that both sides of a diff open.
    async fn side(&self, side: Side, path: &str) -> Result<Option<String>> {
        let whole = self.engine.patch(self.machine).await?;
        let file = whole.as_ref().and_then(|patch| {
            patch
                .files
                .iter()
                .find(|file| file.path == path || file.old_path.as_deref() == Some(path))
        });
        if let Some(file) = file.filter(|file| !file.binary) {
            let text = match side {
                Side::Base => &file.base_text,
                Side::Result => &file.result_text,
            };
            return Ok(Some(text.clone().unwrap_or_default()));
        }
        let commit = match side {
            Side::Base => self.machine.base.as_ref(),
            Side::Result => self.machine.result.as_ref(),
        };
        let Some(commit) = commit else { return Ok(None) };
        let repository = self.engine.repository(Path::new(&self.row.folder)).await?;
        let bytes = self
            .engine
            .services()
            .workspaces
            .file_at(&repository, commit, path)
            .await?;
        Ok(match bytes {
            Some(bytes) => {
                Some(String::from_utf8(bytes).unwrap_or_else(|_| "This file is no text.\n".to_owned()))
            }
            None => file.map(|_| String::new()),
        })
    }

    /// The text of now with everything in it that still waits and fits.
    async fn merged(&self, path: &str) -> Result<Option<String>> {
        let review = match RunReview::load(self.session, self.engine, self.row).await? {
            Some(review) => review,
            None => RunReview::load_elsewhere(self.session, self.engine, self.row).await?,
        };
        let found = review.files.iter().find_map(|file| {
            Some((
                file,
                review
                    .change(file)
                    .filter(|change| change.path == path || change.old_path.as_deref() == Some(path))?,
            ))
        });
        let Some((file, change)) = found else {
            return Ok(None);
        };
        let decided = review::decided(&review.machine, change);
        Ok(Some(match (change.change, file.now.shown(change).text()) {
            (workspace::Change::Deleted, _) => String::new(),
            (_, Some(current)) => workspace::review::merged(change, &decided, current),
            (_, None) => change.result_text.clone().unwrap_or_default(),
        }))
    }
}

/// Shows a document: itself where the client can open it, else as a file.
pub(crate) async fn show(session: &Session, uri: &Url, document: &Document) -> Result<bool> {
    let how = ShowDocument {
        take_focus: true,
        selection: None,
    };
    if opens_virtual(session) && session.client().show_document(uri, how).await == Outcome::Yes {
        return Ok(true);
    }
    let Some((run, name)) = address::parse(uri) else {
        return Ok(false);
    };
    let file = as_file(session, &run, &name.replace('/', "-"), document.text.clone()).await?;
    Ok(session.client().show_document(&file, how).await == Outcome::Yes)
}

/// Whether the client fetches `clode:` documents when they are opened.
pub(crate) fn opens_virtual(session: &Session) -> bool {
    let capabilities = session.capabilities();
    capabilities.text_document_content || capabilities.clode.is_some_and(|clode| clode.documents)
}

/// The same text as a file under the state directory, for clients that open nothing else.
pub(crate) async fn as_file(session: &Session, run: &PipelineId, name: &str, text: String) -> Result<Url> {
    let folder: String = run
        .as_str()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect();
    let path = session
        .app()
        .await?
        .directories
        .state
        .join(FOLDER)
        .join(folder)
        .join(name);
    write_private(&path, text).await?;
    address::file(&path).ok_or_else(|| Error::internal(format!("{} is no absolute path", path.display())))
}

/// Writes a file that only this user can read, whole or not at all.
pub(crate) async fn write_private(path: &Path, text: String) -> Result<()> {
    let path: PathBuf = path.to_path_buf();
    let write = move || -> std::io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let draft = path.with_extension("writing");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&draft, &path)
    };
    let written = tokio::task::spawn_blocking(write)
        .await
        .map_err(|error| Error::internal(error.to_string()))?;
    written.map_err(|error| Error::io("writing a document of ours", &error))
}
