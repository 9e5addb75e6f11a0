//! What no editor can be asked for, done on the disk after approval: modes, bytes, links, and files that come, go or
//! move where the client declares no resource operations.

use std::time::Duration;

use clode_core::engine::Engine;
use clode_core::workspace::{Applied, Change, FileOutcome, HunkKind};
use clode_core::{Error, Result};
use tokio::time::Instant;

use super::build;
use super::land::Landed;
use super::operation::{finished, roll_back};
use super::result::FileResult;
use super::select::Work;
use crate::lsp::review::{RunReview, open_document};
use crate::lsp::session::Session;
use crate::review::observe::{self, Expect};

/// Longest time for one file.
const WRITE_LIMIT_MS: u64 = 10_000;

/// Writes one file. Its text hunks, if it has any, are in the editor already.
pub(crate) async fn carry_out(
    session: &Session,
    engine: &Engine,
    review: &RunReview,
    landed: Landed,
    deadline: Instant,
) -> Vec<FileResult> {
    let is_modified_text = landed.work.file.change == Change::Modified && build::is_text(&landed.work.file);
    let Landed { work, text } = landed;
    let mut results = Vec::new();
    let work = if is_modified_text {
        if let Some(part) = work.part(|hunk| hunk.kind != HunkKind::Mode) {
            results.push(finished(&Landed {
                work: part,
                text: text.clone(),
            }));
        }
        let Some(mode) = work.part(|hunk| hunk.kind == HunkKind::Mode) else {
            return results;
        };
        mode
    } else {
        work
    };
    if !is_modified_text && let Some(path) = unsaved(session, review, &work) {
        let refused = work
            .result("failed")
            .code("unsavedText")
            .because(format!("{path} is open with text that is not saved"))
            .hint("save it, then apply again");
        results.push(roll_back(session, review, &work, text, refused, deadline).await);
        return results;
    }
    let limit = Duration::from_millis(WRITE_LIMIT_MS);
    let written = tokio::time::timeout(limit, write(engine, review, &work)).await;
    let written =
        written.unwrap_or_else(|_| Err(Error::state("diskTimedOut", "the disk did not answer in time")));
    results.push(match written {
        Ok(outcome) => of_outcome(&work, outcome),
        Err(error) => work
            .result("failed")
            .code(error.code.to_string())
            .because(error.message),
    });
    results
}

async fn write(engine: &Engine, review: &RunReview, work: &Work) -> Result<FileOutcome> {
    let repository = engine.repository(&review.folder).await?;
    let decided = build::undecided(review, work);
    engine
        .services()
        .workspaces
        .apply_to_disk(&repository, &work.file, &decided, &work.wanted)
        .await
}

fn of_outcome(work: &Work, outcome: FileOutcome) -> FileResult {
    let result = work.result(match outcome.result {
        Applied::Applied => "applied",
        Applied::Conflict => "conflict",
        Applied::Failed => "failed",
    });
    let result = outcome.code.into_iter().fold(result, FileResult::code);
    outcome.message.into_iter().fold(result, FileResult::because)
}

/// The path of the file if the editor holds other text of it than the disk.
fn unsaved(session: &Session, review: &RunReview, work: &Work) -> Option<String> {
    let path = work.file.old_path.as_deref().unwrap_or(&work.file.path);
    let document = open_document(session, &review.top_level, &review.root, path)?;
    let seen = observe::on_disk(&review.top_level, path, Expect::File);
    let differs = seen.text().is_some_and(|text| document.text() != *text);
    differs.then(|| path.to_owned())
}
