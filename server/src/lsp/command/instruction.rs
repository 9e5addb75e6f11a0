//! A person's own words for a gate: from the editor's input box where it announced one, else from a file that is
//! opened in the editor and sent when it is saved. Saved without words it is called off.
//!
//! The name of the file says what the words are for, so that a restart in between loses nothing.

use std::path::PathBuf;

use clode_core::engine::Engine;
use clode_core::id::{ApprovalId, PipelineId};
use clode_core::pipeline::{Answer, Gate, GateKind};
use clode_core::{Error, Result};
use lsp_types::MessageType;
use serde_json::{Value, json};
use url::Url;

use super::pipeline::approve::give;
use crate::app::App;
use crate::lsp::client::{Outcome, Patience, ShowDocument};
use crate::lsp::preview::write_private;
use crate::lsp::session::Session;

/// The folder of the files, below the state directory.
const FOLDER: &str = "instructions";
/// Stands between the parts of a name; ids hold none.
const BETWEEN: char = '~';
/// Longest instruction.
const INSTRUCTION_BYTES_MAX: usize = 64 * 1024;

/// What the words of a person are for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Purpose {
    run: PipelineId,
    approval: ApprovalId,
}

/// Lets the person write an answer; it is given when it is written. Answers the file that was opened, if it is one.
pub(crate) async fn ask(
    session: &Session,
    engine: &Engine,
    run: &PipelineId,
    gate: &Gate,
) -> Result<Option<Url>> {
    if !takes_words(gate.kind) {
        return Err(Error::usage(
            "invalidParams",
            format!("ask: gate `{}` is not answered in words", gate.kind.as_str()),
        ));
    }
    let capabilities = session.capabilities();
    if capabilities.clode.is_some_and(|clode| clode.input) {
        let (session, engine, run, gate) = (session.clone(), engine.clone(), run.clone(), gate.clone());
        tokio::spawn(async move {
            if let Some(words) = typed(&session, &gate).await {
                send(&session, &engine, &run, &gate, &words).await;
            }
        });
        return Ok(None);
    }
    open_file(session, run, gate).await.map(Some)
}

/// Whether an answer in words means something to this gate.
pub(crate) const fn takes_words(gate: GateKind) -> bool {
    matches!(gate, GateKind::Plan | GateKind::Patch | GateKind::Question)
}

async fn typed(session: &Session, gate: &Gate) -> Option<String> {
    let params = json!({ "title": heading(gate), "multiline": true });
    let answer = session
        .client()
        .custom_request("clode/input", &params, Patience::Until(session.stop()))
        .await
        .ok()?;
    let text = answer.get("value").and_then(Value::as_str)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

async fn open_file(session: &Session, run: &PipelineId, gate: &Gate) -> Result<Url> {
    let no_way = || {
        Error::state(
            "noInput",
            "this editor can neither ask for text nor show a file of ours",
        )
        .hint(
            "give `comment` with the command, or write a comment line `clode: <text>` and choose its action",
        )
    };
    if !session.capabilities().show_document {
        return Err(no_way());
    }
    let purpose = Purpose {
        run: run.clone(),
        approval: gate.id.clone(),
    };
    let path = purpose.path(session.app().await?)?;
    // What was written and not sent yet is kept.
    if tokio::fs::metadata(&path).await.is_err() {
        write_private(&path, template(gate)).await?;
    }
    let uri = Url::from_file_path(&path)
        .map_err(|()| Error::internal(format!("{} is no absolute path", path.display())))?;
    let how = ShowDocument {
        take_focus: true,
        selection: None,
    };
    match session.client().show_document(&uri, how).await {
        Outcome::Yes => Ok(uri),
        _ => Err(no_way()),
    }
}

fn heading(gate: &Gate) -> String {
    match gate.kind {
        GateKind::Question => gate.summary.clone(),
        GateKind::Plan => "What should be different in the plan?".to_owned(),
        _ => "What should be different in the patch?".to_owned(),
    }
}

fn template(gate: &Gate) -> String {
    let heading = heading(gate).replace("-->", "-- >");
    format!(
        "<!-- {heading} -->\n<!-- Write below and save to send it; saved without words it is called off. -->\n\n"
    )
}

/// The words without the lines that we put there.
fn words(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once("<!--") {
        kept.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept.trim().to_owned()
}

impl Purpose {
    fn path(&self, app: &App) -> Result<PathBuf> {
        let plain = |id: &str| {
            id.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if !plain(self.run.as_str()) || !plain(self.approval.as_str()) {
            return Err(Error::internal(format!("`{}` is no file name", self.approval)));
        }
        let name = format!("{}{BETWEEN}{}.md", self.run, self.approval);
        Ok(app.directories.state.join(FOLDER).join(name))
    }

    fn of(session: &Session, uri: &Url) -> Option<Self> {
        let folder = session.opened()?.directories.state.join(FOLDER);
        let path = uri.to_file_path().ok()?;
        let (run, approval) = path
            .file_name()?
            .to_str()?
            .strip_suffix(".md")?
            .split_once(BETWEEN)?;
        (path.parent()? == folder).then(|| Self {
            run: PipelineId::new(run),
            approval: ApprovalId::new(approval),
        })
    }
}

/// A document was saved: when it is an instruction, it is sent. Returns at once.
pub(crate) fn saved(session: &Session, uri: &Url) {
    let Some(purpose) = Purpose::of(session, uri) else {
        return;
    };
    let text = session.document(uri).map(|document| document.text());
    let (session, path) = (session.clone(), uri.to_file_path().ok());
    tokio::spawn(async move {
        let text = match (text, &path) {
            (Some(text), _) => text,
            (None, Some(path)) => tokio::fs::read_to_string(path).await.unwrap_or_default(),
            (None, None) => return,
        };
        let words = words(&text);
        if words.is_empty() {
            forget(path).await;
            let message = "Clode: called off, nothing was sent.";
            return session.client().show_message(MessageType::Info, message).await;
        }
        let gate = async {
            let engine = session.engine().await?;
            let gate = engine
                .open_gate(&purpose.run, Some(&purpose.approval), None)
                .await?;
            Ok::<_, Error>((engine, gate))
        };
        match gate.await {
            Ok((engine, gate)) => {
                if send(&session, engine, &purpose.run, &gate, &words).await {
                    forget(path).await;
                }
            }
            Err(error) => say_why(&session, &error).await,
        }
    });
}

/// Gives the answer; a refusal is told, and the words stay where they are.
async fn send(session: &Session, engine: &Engine, run: &PipelineId, gate: &Gate, words: &str) -> bool {
    if words.len() > INSTRUCTION_BYTES_MAX {
        let error = Error::usage(
            "invalidParams",
            format!("an instruction of {} bytes is too long", words.len()),
        );
        say_why(session, &error).await;
        return false;
    }
    let answer = Answer {
        approved: gate.kind == GateKind::Question,
        comment: Some(words.to_owned()),
        ..Answer::default()
    };
    match give(session, engine, run, gate, answer).await {
        Ok(()) => {
            session
                .client()
                .show_message(MessageType::Info, "Clode: sent.")
                .await;
            true
        }
        Err(error) => {
            say_why(session, &error).await;
            false
        }
    }
}

async fn say_why(session: &Session, error: &Error) {
    let hint = error
        .first_hint()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default();
    let message = format!("Clode: not sent: {}{hint}", error.message);
    session
        .client()
        .show_message(MessageType::Warning, &message)
        .await;
}

async fn forget(path: Option<PathBuf>) {
    if let Some(path) = path
        && let Err(error) = tokio::fs::remove_file(&path).await
    {
        tracing::debug!(%error, "an instruction that is done with stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_person_wrote_is_sent() {
        assert_eq!(words("<!-- Which? -->\n<!-- Write below. -->\n\n"), "");
        assert_eq!(words("<!-- Which? -->\n\nThe first one.\n"), "The first one.");
        assert_eq!(words("<!-- Which?\n a line -->one <!-- note --> two"), "one  two");
        assert_eq!(words("no marks"), "no marks");
        assert_eq!(words("<!-- never closed"), "");
    }
}
