//! `clode.pipeline.editPlan`: the plan as a file that a person edits; saving it stores a draft.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clode_core::engine::Signal;
use clode_core::id::PipelineId;
use clode_core::pipeline::GateKind;
use clode_core::{Error, Result};
use futures::future::BoxFuture;
use lsp_types::MessageType;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use url::Url;

use super::{Invocation, arguments};
use crate::app::App;
use crate::lsp::client::ShowDocument;
use crate::lsp::session::Session;
use crate::lsp::{preview, review};

/// The folder of the files, below the state directory.
const FOLDER: &str = "plans";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    pipeline_id: Option<String>,
}

pub(super) fn run(session: &Session, invocation: Invocation) -> BoxFuture<'_, Result<Value>> {
    Box::pin(async move {
        let options: Options = arguments::read(invocation.options)?;
        let asks = |machine: &clode_core::pipeline::Machine| {
            machine.open_gates().any(|gate| gate.kind == GateKind::Plan)
        };
        let run = review::target(session, options.pipeline_id.as_deref(), asks).await?;
        invocation.subject.is(&run);
        let app = session.app().await?;
        let machine = app.engine.row(&run).await?.machine()?;
        if !asks(&machine) {
            return Err(Error::state(
                "noPlanGate",
                format!("the plan of `{run}` does not wait for an answer"),
            )
            .hint("`clode.pipeline.retry` plans again"));
        }
        let plan = machine.plan_draft.as_ref().or(machine.plan.as_ref());
        let text = app.engine.text(plan).await?.unwrap_or_default();
        let path = file(app, &run)?;
        preview::write_private(&path, text).await?;
        let uri = Url::from_file_path(&path)
            .map_err(|()| Error::internal(format!("{} is no absolute path", path.display())))?;
        session
            .client()
            .show_document(
                &uri,
                ShowDocument {
                    take_focus: true,
                    selection: None,
                },
            )
            .await;
        Ok(json!({ "uri": uri }))
    })
}

fn file(app: &App, run: &PipelineId) -> Result<PathBuf> {
    if !run
        .as_str()
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return Err(Error::internal(format!("`{run}` is no file name")));
    }
    Ok(app.directories.state.join(FOLDER).join(format!("{run}.md")))
}

/// Longest wait for drafts that are being stored.
const DRAFT_TIMEOUT: Duration = Duration::from_secs(5);

/// Drafts that were saved and are not stored yet: an answer that comes right after has to wait for them.
#[derive(Debug)]
pub(crate) struct Drafts {
    storing: Arc<watch::Sender<usize>>,
}

/// One draft on its way into the store.
#[derive(Debug)]
struct Storing(Arc<watch::Sender<usize>>);

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Drafts {
    pub(crate) fn new() -> Self {
        Self {
            storing: Arc::new(watch::Sender::new(0)),
        }
    }

    fn begin(&self) -> Storing {
        self.storing.send_modify(|count| *count += 1);
        Storing(Arc::clone(&self.storing))
    }

    /// Waits until every draft that was saved before is stored.
    pub(crate) async fn stored(&self) {
        let mut storing = self.storing.subscribe();
        let none = storing.wait_for(|count| *count == 0);
        if tokio::time::timeout(DRAFT_TIMEOUT, none).await.is_err() {
            tracing::warn!("a saved plan is still not stored");
        }
    }
}

/// A document was saved: when it is a plan of ours, its text becomes the draft. Returns at once.
pub(crate) fn saved(session: &Session, uri: &Url) {
    let Some(run) = plan_of(session, uri) else { return };
    let session = session.clone();
    let text = session.document(uri).map(|document| document.text());
    let path = uri.to_file_path().ok();
    let storing = session.drafts().begin();
    tokio::spawn(async move {
        let _storing = storing;
        let text = match (text, path) {
            (Some(text), _) => text,
            (None, Some(path)) => tokio::fs::read_to_string(path).await.unwrap_or_default(),
            (None, None) => return,
        };
        if let Err(error) = store(&session, &run, text).await {
            session
                .client()
                .show_message(
                    MessageType::Warning,
                    &format!("Clode: the plan was not taken over: {error}"),
                )
                .await;
        }
    });
}

async fn store(session: &Session, run: &PipelineId, text: String) -> Result<()> {
    session
        .engine()
        .await?
        .signal(run, Signal::Draft { plan: text })
        .await?;
    review::run_changed(session, run);
    Ok(())
}

/// The run whose plan this file is.
pub(crate) fn plan_of(session: &Session, uri: &Url) -> Option<PipelineId> {
    let plans = session.opened()?.directories.state.join(FOLDER);
    let path = uri.to_file_path().ok()?;
    let name = path.file_name()?.to_str()?.strip_suffix(".md")?;
    (path.parent()? == plans).then(|| PipelineId::new(name))
}
