use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use similar::TextMerge;

use super::*;
use crate::workspace::patch::{Patch, text_change};

type Decided = BTreeMap<HunkId, HunkState>;

fn ids(file: &FileChange) -> BTreeSet<HunkId> {
    file.hunks.iter().map(|hunk| hunk.id.clone()).collect()
}

fn states(file: &FileChange, decided: &Decided, current: &str) -> Vec<HunkState> {
    place(file, decided, Some(current))
        .into_iter()
        .map(|placed| placed.state)
        .collect()
}

fn take_all(file: &FileChange, current: &str) -> String {
    apply(
        current,
        &replacements(file, &Decided::new(), current, &ids(file)).unwrap(),
    )
}

/// What takes back these hunks of a file.
fn way_back(file: &FileChange, is_applied: impl Fn(&HunkId) -> bool) -> FileChange {
    let patch = Patch {
        base: crate::id::CommitId::new("base"),
        result: crate::id::CommitId::new("result"),
        files: vec![file.clone()],
    };
    patch.reversed(is_applied).files.remove(0)
}

fn take_back(file: &FileChange, current: &str) -> Result<String, Vec<Placed>> {
    let back = way_back(file, |_| true);
    replacements(&back, &Decided::new(), current, &ids(&back)).map(|found| apply(current, &found))
}

const BASE: &str = "a\nb\nc\nd\ne\nf\ng\nh\ni\n";
const RESULT: &str = "a\nB\nc\nd\ne\nf\ng\nh\nI\nj\n";

#[test]
fn hunks_follow_what_the_user_types() {
    let file = text_change(BASE, RESULT);
    let current = "typed\na\nb\nc\nd\ntyped too\ne\nf\ng\nh\ni\n";
    let placed = place(&file, &Decided::new(), Some(current));
    assert_eq!(
        placed
            .iter()
            .map(|placed| placed.lines.clone())
            .collect::<Vec<_>>(),
        [2..3, 10..11]
    );
    assert_eq!(&current[placed[0].bytes.clone()], "b\n");
    assert_eq!(
        take_all(&file, current),
        "typed\na\nB\nc\nd\ntyped too\ne\nf\ng\nh\nI\nj\n"
    );
}

#[test]
fn a_change_of_the_same_lines_is_a_conflict_and_touches_nothing() {
    let file = text_change(BASE, RESULT);
    let current = BASE.replace("b\n", "mine\n");
    let placed = place(&file, &Decided::new(), Some(&current));
    let expected = Conflict {
        base: "b\n".into(),
        mine: "mine\n".into(),
        theirs: "B\n".into(),
    };
    assert_eq!(
        (placed[0].state, placed[0].conflict.clone()),
        (HunkState::Conflict, Some(expected))
    );
    assert_eq!(placed[1].state, HunkState::Pending);
    let misfits = replacements(&file, &Decided::new(), &current, &ids(&file)).unwrap_err();
    assert_eq!(
        misfits.iter().map(|placed| placed.id.clone()).collect::<Vec<_>>(),
        [file.hunks[0].id.clone()]
    );
    assert_eq!(
        merged(&file, &Decided::new(), &current),
        "a\nmine\nc\nd\ne\nf\ng\nh\nI\nj\n"
    );
    let theirs = resolve(&file, &Decided::new(), &current, &file.hunks[0].id, Take::Theirs).unwrap();
    assert_eq!(apply(&current, &[theirs]), BASE.replace("b\n", "B\n"));
    let both = resolve(&file, &Decided::new(), &current, &file.hunks[0].id, Take::Both).unwrap();
    assert_eq!(apply(&current, &[both]), BASE.replace("b\n", "mine\nB\n"));
    assert_eq!(
        resolve(&file, &Decided::new(), &current, &file.hunks[0].id, Take::Mine),
        None
    );
}

#[test]
fn a_change_right_beside_a_hunk_is_a_conflict_as_in_git() {
    let file = text_change("a\nb\nc\n", "a\nB\nc\n");
    assert_eq!(states(&file, &Decided::new(), "A\nb\nc\n"), [HunkState::Conflict]);
    let insertion = text_change("a\nb\n", "a\nnew\nb\n");
    for current in ["A\nb\n", "a\nB\n", "a\ntyped\nb\n"] {
        assert_eq!(
            states(&insertion, &Decided::new(), current),
            [HunkState::Conflict],
            "{current:?}"
        );
    }
}

#[test]
fn what_is_there_already_is_applied() {
    let file = text_change(BASE, RESULT);
    assert_eq!(states(&file, &Decided::new(), RESULT), [HunkState::Applied; 2]);
    assert_eq!(take_all(&file, RESULT), RESULT);
    let one = BASE.replace("b\n", "B\n");
    assert_eq!(
        states(&file, &Decided::new(), &one),
        [HunkState::Applied, HunkState::Pending]
    );
}

#[test]
fn an_applied_hunk_that_is_undone_is_pending_again_and_one_that_is_edited_stays_applied() {
    let file = text_change(BASE, RESULT);
    let decided: Decided = ids(&file)
        .into_iter()
        .map(|id| (id, HunkState::Unconfirmed))
        .collect();
    assert_eq!(states(&file, &decided, RESULT), [HunkState::Applied; 2]);
    assert_eq!(states(&file, &decided, BASE), [HunkState::Pending; 2]);
    assert_eq!(
        states(&file, &decided, &RESULT.replace("B\n", "b\n")),
        [HunkState::Pending, HunkState::Applied]
    );
    let edited = RESULT.replace("B\n", "B edited\n");
    assert_eq!(states(&file, &decided, &edited), [HunkState::Applied; 2]);
    assert!(place(&file, &decided, Some(&edited))[0].reason.is_some());
    assert!(take_back(&file, &edited).is_err());
    let deletion = text_change(BASE, &BASE.replace("e\n", ""));
    let decided: Decided = ids(&deletion)
        .into_iter()
        .map(|id| (id, HunkState::Applied))
        .collect();
    assert_eq!(states(&deletion, &decided, BASE), [HunkState::Pending]);
}

#[test]
fn a_decision_of_a_person_stays() {
    let file = text_change(BASE, RESULT);
    for state in [HunkState::Rejected, HunkState::Superseded, HunkState::Reverted] {
        let decided: Decided = ids(&file).into_iter().map(|id| (id, state)).collect();
        for current in [BASE, RESULT, "something else\n"] {
            assert_eq!(states(&file, &decided, current), [state; 2]);
        }
    }
    let failed: Decided = ids(&file).into_iter().map(|id| (id, HunkState::Failed)).collect();
    assert_eq!(states(&file, &failed, BASE), [HunkState::Failed; 2]);
    assert_eq!(replacements(&file, &failed, BASE, &ids(&file)).unwrap().len(), 2);
}

#[test]
fn applied_hunks_can_be_taken_back_beside_what_was_typed() {
    let file = text_change(BASE, RESULT);
    let current = RESULT.replace("B\n", "B\ntyped beside\n");
    assert_eq!(
        take_back(&file, &current).unwrap(),
        BASE.replace("b\n", "b\ntyped beside\n")
    );
    let deletion = text_change(BASE, &BASE.replace("e\n", ""));
    let current = BASE.replace("e\n", "typed in its place\n");
    assert_eq!(
        take_back(&deletion, &current).unwrap(),
        BASE.replace("e\n", "typed in its place\ne\n")
    );
    assert_eq!(
        take_back(&deletion, BASE).unwrap(),
        BASE,
        "what is back already stays"
    );
}

#[test]
fn only_what_was_applied_is_taken_back_and_one_hunk_does_not_need_the_other() {
    let file = text_change(BASE, RESULT);
    let (first, second) = (&file.hunks[0].id, &file.hunks[1].id);
    let only = |applied: &HunkId| way_back(&file, |id| id == applied);
    let half = BASE.replace("b\n", "B\n");
    let back = only(first);
    assert_eq!(back.hunks.len(), 1);
    assert_eq!(take_all(&back, &half), BASE);
    let other_half = take_all(&way_back(&file, |id| id == first), RESULT);
    assert_eq!(other_half, RESULT.replace("B\n", "b\n"));
    assert_eq!(take_all(&only(second), &other_half), BASE);
}

#[test]
fn line_ends_and_the_final_line_end_stay_as_the_user_has_them() {
    let file = text_change("a\nb\nc\n", "a\nB\nc\nd\n");
    assert_eq!(take_all(&file, "a\r\nb\r\nc\r\n"), "a\r\nB\r\nc\r\nd\r\n");
    assert_eq!(take_all(&file, "a\nb\nc"), "a\nB\nc\nd");
    let last = text_change("a\nb", "a\nB");
    assert_eq!(take_all(&last, "a\nb\n"), "a\nB\n");
    let back = text_change("a\r\nb\r\n", "a\r\nB\r\n");
    assert_eq!(take_all(&back, "a\nb\n"), "a\nB\n");
}

#[test]
fn a_hunk_about_line_ends_is_taken_literally() {
    let crlf = text_change("a\r\nb\r\n", "a\nb\n");
    assert_eq!(states(&crlf, &Decided::new(), "a\r\nb\r\n"), [HunkState::Pending]);
    assert_eq!(take_all(&crlf, "a\r\nb\r\n"), "a\nb\n");
    assert_eq!(states(&crlf, &Decided::new(), "a\nb\n"), [HunkState::Applied]);
    let last = text_change("a\nb", "a\nb\n");
    assert_eq!(states(&last, &Decided::new(), "a\nb"), [HunkState::Pending]);
    assert_eq!(take_all(&last, "a\nb"), "a\nb\n");
    assert_eq!(states(&last, &Decided::new(), "a\nb\n"), [HunkState::Applied]);
}

#[test]
fn an_absent_file_is_a_conflict_with_a_reason() {
    let file = text_change(BASE, RESULT);
    let placed = place(&file, &Decided::new(), None);
    assert_eq!(placed[0].state, HunkState::Conflict);
    assert!(placed[0].reason.as_ref().unwrap().contains("file.txt"));
}

#[test]
fn an_unknown_hunk_is_refused() {
    let file = text_change(BASE, RESULT);
    let wanted = BTreeSet::from([HunkId::new("nope")]);
    assert_eq!(
        replacements(&file, &Decided::new(), BASE, &wanted).unwrap_err()[0].state,
        HunkState::Superseded
    );
}

#[test]
fn a_line_typed_between_two_changes_of_a_hunk_does_not_stop_it() {
    let file = text_change(BASE, &BASE.replace("c\n", "C\n").replace("f\n", "F\n"));
    assert_eq!(file.hunks.len(), 1);
    let current = BASE.replace("d\n", "d\ntyped\n");
    assert_eq!(states(&file, &Decided::new(), &current), [HunkState::Pending]);
    let after = take_all(&file, &current);
    assert_eq!(after, "a\nb\nC\nd\ntyped\ne\nF\ng\nh\ni\n");
    let decided: Decided = ids(&file)
        .into_iter()
        .map(|id| (id, HunkState::Applied))
        .collect();
    assert_eq!(states(&file, &decided, &after), [HunkState::Applied]);
    assert_eq!(take_back(&file, &after).unwrap(), current);
}

/// Texts whose lines are mostly different from each other, as in real ones.
fn base_lines() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![8 => "[a-z]{3,6}", 1 => Just("}".to_owned()), 1 => Just(String::new())];
    prop::collection::vec(line, 0..40).prop_map(|lines| {
        let number = |(number, line): (usize, String)| {
            if line.len() > 1 {
                format!("{line} {number}")
            } else {
                line
            }
        };
        let mut lines: Vec<String> = lines.into_iter().enumerate().map(number).collect();
        // which of several equal lines in a row somebody changed, no comparison can tell
        lines.dedup();
        lines
    })
}

/// How one side edits a text: at these places delete, replace or insert.
fn edits(mark: &'static str) -> impl Strategy<Value = Vec<(prop::sample::Index, u8, String)>> {
    let new = "[A-Z]{2,4}".prop_map(move |word| format!("{mark}{word}"));
    prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, new), 0..5)
}

fn edited(base: &[String], edits: &[(prop::sample::Index, u8, String)]) -> Vec<String> {
    let mut lines = base.to_vec();
    for (at, kind, new) in edits {
        let at = at.index(lines.len() + 1);
        match kind {
            0 if at < lines.len() => drop(lines.remove(at)),
            1 if at < lines.len() => lines[at].clone_from(new),
            _ => lines.insert(at, new.clone()),
        }
    }
    lines
}

fn text(lines: &[String], end: &str, last: bool) -> String {
    let mut text: String = lines.iter().flat_map(|line| [line, end]).collect();
    if !last && !lines.is_empty() {
        text.truncate(text.len() - end.len());
    }
    text
}

fn clean(file: &FileChange, current: &str) -> BTreeSet<HunkId> {
    let placed = place(file, &Decided::new(), Some(current));
    placed
        .into_iter()
        .filter(|placed| placed.state == HunkState::Pending)
        .map(|placed| placed.id)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_that_the_user_typed_is_kept(base in base_lines(), theirs in edits("t"), mine in edits("m"),
        crlf: bool, last: bool, my_last: bool) {
        let file = text_change(&text(&base, "\n", last), &text(&edited(&base, &theirs), "\n", last));
        let current = text(&edited(&base, &mine), if crlf { "\r\n" } else { "\n" }, my_last);
        let wanted = clean(&file, &current);
        let after = apply(&current, &replacements(&file, &Decided::new(), &current, &wanted).unwrap());
        let count = |text: &str| {
            let mut counted: BTreeMap<String, usize> = BTreeMap::new();
            for line in text.lines().filter(|line| line.starts_with('m') && line.bytes().skip(1).all(|byte| byte.is_ascii_uppercase())) {
                *counted.entry(line.to_owned()).or_default() += 1;
            }
            counted
        };
        prop_assert_eq!(count(&after), count(&current));
        if current.contains("\r\n") {
            prop_assert!(!after.replace("\r\n", "").contains('\n'));
        }
    }

    #[test]
    fn it_is_the_three_way_merge_whenever_that_is_clean(base in base_lines(), theirs in edits("t"), mine in edits("m")) {
        let (base_text, theirs, mine) =
            (text(&base, "\n", true), text(&edited(&base, &theirs), "\n", true), text(&edited(&base, &mine), "\n", true));
        let file = text_change(&base_text, &theirs);
        let reference = TextMerge::configure().algorithm(similar::Algorithm::Histogram).merge_lines(&base_text, &mine, &theirs);
        let wanted = ids(&file);
        if !reference.is_conflicted() {
            let found = replacements(&file, &Decided::new(), &mine, &wanted);
            prop_assert!(found.is_ok(), "{:?}", found);
            prop_assert_eq!(apply(&mine, &found.unwrap()), reference.to_string());
        }
    }

    #[test]
    fn one_by_one_in_any_order_is_all_at_once(base in base_lines(), theirs in edits("t"), mine in edits("m"), order: u64) {
        let file = text_change(&text(&base, "\n", true), &text(&edited(&base, &theirs), "\n", true));
        let current = text(&edited(&base, &mine), "\n", true);
        let wanted = clean(&file, &current);
        let at_once = apply(&current, &replacements(&file, &Decided::new(), &current, &wanted).unwrap());
        let mut rest: Vec<HunkId> = wanted.into_iter().collect();
        let (mut now, mut decided, mut order) = (current, Decided::new(), order);
        while !rest.is_empty() {
            let id = rest.swap_remove(usize::try_from(order % rest.len() as u64).unwrap());
            order = order.rotate_right(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let found = replacements(&file, &decided, &now, &BTreeSet::from([id.clone()]));
            now = apply(&now, &found.unwrap());
            decided.insert(id, HunkState::Applied);
        }
        prop_assert_eq!(now, at_once);
    }

    #[test]
    fn taking_everything_without_edits_gives_the_result_and_taking_it_back_the_base(base in base_lines(), theirs in edits("t"),
        last: bool, other: bool) {
        let (base, result) = (text(&base, "\n", last), text(&edited(&base, &theirs), "\n", other));
        let file = text_change(&base, &result);
        prop_assert_eq!(take_all(&file, &base), result.clone());
        if !file.hunks.is_empty() {
            prop_assert_eq!(take_back(&file, &result).unwrap(), base);
        }
    }

    #[test]
    fn taking_back_keeps_every_line_that_the_user_typed_since(base in base_lines(), theirs in edits("t"), mine in edits("m")) {
        let (base, result) = (text(&base, "\n", true), text(&edited(&base, &theirs), "\n", true));
        let file = text_change(&base, &result);
        if !file.hunks.is_empty() {
            let lines: Vec<String> = result.lines().map(str::to_owned).collect();
            let current = text(&edited(&lines, &mine), "\n", true);
            let back = way_back(&file, |_| true);
            let fits = clean(&back, &current);
            let found = replacements(&back, &Decided::new(), &current, &fits).unwrap();
            let after = apply(&current, &found);
            for typed in current.lines().filter(|line| line.starts_with('m')) {
                prop_assert!(after.lines().any(|line| line == typed), "{typed} of {current:?} is not in {after:?}");
            }
        }
    }

    #[test]
    fn states_never_change_a_text_and_bytes_fit_it(base in base_lines(), theirs in edits("t"), mine in edits("m")) {
        let file = text_change(&text(&base, "\n", true), &text(&edited(&base, &theirs), "\n", true));
        let current = text(&edited(&base, &mine), "\n", true);
        for placed in place(&file, &Decided::new(), Some(&current)) {
            let lines = lines::split(&current);
            let expected = lines[placed.lines.start as usize..placed.lines.end as usize].concat();
            prop_assert_eq!(&current[placed.bytes.clone()], expected);
            if let Some(conflict) = placed.conflict {
                prop_assert_eq!(&current[placed.bytes], conflict.mine);
            }
        }
    }
}
