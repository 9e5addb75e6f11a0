//! Files that another editor holds with unsaved text: nothing is brought into them from here.

use std::path::PathBuf;

use clode_core::Result;
use clode_core::engine::{Elsewhere, Engine, OPEN_ELSEWHERE};

use super::result::FileResult;
use super::select::Work;
use crate::lsp::review::RunReview;

/// Takes out the works whose files are held so; answers what can be done, and what is refused.
pub(super) async fn split(
    engine: &Engine,
    review: &RunReview,
    works: Vec<Work>,
) -> Result<(Vec<Work>, Vec<FileResult>)> {
    let paths: Vec<PathBuf> = works.iter().flat_map(|work| paths_of(review, work)).collect();
    let held = engine.held_elsewhere(&paths).await?;
    let (mut free, mut refused) = (Vec::new(), Vec::new());
    for work in works {
        let touched = paths_of(review, &work);
        match held.iter().find(|held| touched.contains(&held.path)) {
            None => free.push(work),
            Some(held) => refused.push(
                work.result("failed")
                    .code(OPEN_ELSEWHERE)
                    .because(held.message())
                    .hint(Elsewhere::hint()),
            ),
        }
    }
    Ok((free, refused))
}

/// The files that a work touches: where it is, and where it was.
fn paths_of(review: &RunReview, work: &Work) -> Vec<PathBuf> {
    let names = std::iter::once(&work.file.path).chain(work.file.old_path.as_ref());
    names.map(|name| review.top_level.join(name)).collect()
}
