//! Hunks that concern a file as a whole: it comes, goes or moves.

use crate::workspace::lines;
use crate::workspace::merge::{Merge, Piece, Place};
use crate::workspace::patch::{FileChange, Hunk, HunkKind};

/// What a hunk that concerns the file as a whole meets.
pub(super) enum Whole {
    /// It fits; for text the text afterwards.
    Fits(Option<String>),
    /// It is as the hunk would make it.
    Done,
    /// It does not fit, and why.
    Clashes(String),
}

pub(super) fn whole_file(file: &FileChange, hunk: &Hunk, current: &str) -> Whole {
    let same = |text: Option<&str>| text.is_some_and(|text| same_text(text, current));
    match hunk.kind {
        HunkKind::Text | HunkKind::Mode | HunkKind::Binary => Whole::Fits(None),
        HunkKind::Create if same(file.result_text.as_deref()) => Whole::Done,
        HunkKind::Create if current.is_empty() => Whole::Fits(file.result_text.clone()),
        HunkKind::Create => Whole::Clashes("a file of that name is there already".to_owned()),
        HunkKind::Delete if file.binary || same(file.base_text.as_deref()) => Whole::Fits(None),
        HunkKind::Delete => Whole::Clashes("you changed the file that would be deleted".to_owned()),
        HunkKind::Rename if file.binary => Whole::Fits(None),
        HunkKind::Rename => merge_whole(file, current),
    }
}

/// Merges all changes of a renamed file onto the current text.
fn merge_whole(file: &FileChange, current: &str) -> Whole {
    let (base, result) = (
        file.base_text.as_deref().unwrap_or_default(),
        file.result_text.as_deref().unwrap_or_default(),
    );
    let (base_lines, result_lines) = (lines::split(base), lines::split(result));
    let edits = lines::edits(&base_lines, &result_lines);
    let pieces: Vec<Piece> = edits
        .into_iter()
        .map(|edit| Piece {
            base: edit.old,
            new_text: result_lines.get(edit.new).unwrap_or_default().concat(),
        })
        .collect();
    let merge = Merge::new(base, current, &pieces, file.direction);
    let (mut text, mut at) = (String::new(), 0);
    let placement = merge.places(|_| false);
    for (number, place) in placement.places.iter().enumerate() {
        let (lines, brings) = match place {
            Place::Free(lines) => (lines, Some(merge.bring(number, lines, placement.end))),
            Place::Present(lines) | Place::Beside(lines) => (lines, None),
            Place::Taken(_) => {
                return Whole::Clashes(
                    "you changed the same lines of the file that would be moved".to_owned(),
                );
            }
        };
        text.extend(
            merge
                .current()
                .get(at..lines.start)
                .unwrap_or_default()
                .iter()
                .copied(),
        );
        match brings {
            Some(brings) => text.push_str(&brings),
            None => text.extend(
                merge
                    .current()
                    .get(lines.clone())
                    .unwrap_or_default()
                    .iter()
                    .copied(),
            ),
        }
        at = lines.end;
    }
    text.extend(merge.current().get(at..).unwrap_or_default().iter().copied());
    Whole::Fits(Some(text))
}

/// The same but for line ends and the final line end.
pub(crate) fn same_text(a: &str, b: &str) -> bool {
    let contents = |text: &str| {
        lines::split(text)
            .into_iter()
            .map(|line| lines::content(line).to_owned())
            .collect::<Vec<_>>()
    };
    a == b || contents(a) == contents(b)
}
