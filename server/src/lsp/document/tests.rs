use proptest::prelude::*;
use serde_json::json;

use super::*;

fn uri() -> Url {
    Url::parse("file:///srv/a.rs").unwrap()
}

fn changes(changes: &serde_json::Value) -> Vec<Change> {
    serde_json::from_value(changes.clone()).unwrap()
}

fn opened(text: &str, encoding: PositionEncoding) -> Documents {
    let mut documents = Documents::new(encoding);
    documents.open(uri(), 1, text);
    documents
}

#[test]
fn changes_of_one_notification_are_applied_one_upon_the_other() {
    let mut documents = opened("one\ntwo\n", PositionEncoding::Utf16);
    let both = json!([
        { "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 3 } }, "text": "1\n1.5" },
        { "range": { "start": { "line": 2, "character": 0 }, "end": { "line": 2, "character": 3 } }, "rangeLength": 3, "text": "2" },
    ]);
    let document = documents.change(&uri(), 2, changes(&both)).unwrap();
    assert_eq!((document.text().as_str(), document.version), ("1\n1.5\n2\n", 2));
}

#[test]
fn a_change_without_range_replaces_the_whole_text() {
    let mut documents = opened("old", PositionEncoding::Utf8);
    for whole in [
        json!([{ "text": "new" }]),
        json!([{ "range": null, "text": "new" }]),
    ] {
        let document = documents.change(&uri(), 2, changes(&whole)).unwrap();
        assert_eq!(document.text(), "new");
    }
}

#[test]
fn ranges_count_in_the_negotiated_encoding() {
    for (encoding, end) in [
        (PositionEncoding::Utf8, 4),
        (PositionEncoding::Utf16, 2),
        (PositionEncoding::Utf32, 1),
    ] {
        let mut documents = opened("😀b", encoding);
        let smile = json!([{ "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": end } }, "text": ":)" }]);
        assert_eq!(
            documents.change(&uri(), 2, changes(&smile)).unwrap().text(),
            ":)b",
            "{encoding:?}"
        );
    }
}

#[test]
fn a_document_counts_as_its_client_does() {
    let documents = opened("a😀b", PositionEncoding::Utf16);
    let document = documents.get(&uri()).unwrap();
    assert_eq!(documents.encoding(), PositionEncoding::Utf16);
    assert_eq!(document.rope().len_chars(), 3);
    assert_eq!(document.byte_at(lsp_types::Position::new(0, 3)), 5);
    assert_eq!(document.position_at(5), lsp_types::Position::new(0, 3));
}

#[test]
fn a_snapshot_keeps_what_it_saw() {
    let mut documents = opened("before", PositionEncoding::Utf16);
    let snapshot = documents.snapshot();
    documents
        .change(&uri(), 2, changes(&json!([{ "text": "after" }])))
        .unwrap();
    assert_eq!(snapshot[0].text(), "before");
    assert_eq!(documents.get(&uri()).unwrap().text(), "after");
}

#[test]
fn a_document_that_is_not_open_cannot_be_changed() {
    let mut documents = opened("text", PositionEncoding::Utf16);
    assert_eq!(documents.close(&uri()).unwrap().text(), "text");
    assert_eq!(
        documents.change(&uri(), 2, Vec::new()).unwrap_err(),
        NotOpen(uri())
    );
    assert!(documents.close(&uri()).is_none());
}

#[test]
fn opening_again_starts_over() {
    let mut documents = opened("old", PositionEncoding::Utf16);
    documents.open(uri(), 1, "new");
    let document = documents.get(&uri()).unwrap();
    assert_eq!(document.text(), "new");
    assert_eq!(documents.iter().count(), 1);
}

proptest! {
    /// The editor sends what it replaced; both sides then hold the same text.
    #[test]
    fn incremental_changes_lead_to_the_text_of_the_editor(
        start in "[a\r\né😀\u{2028}]{0,30}",
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[b\r\n漢😀]{0,4}"), 0..12),
        encoding in prop::sample::select(vec![PositionEncoding::Utf8, PositionEncoding::Utf16, PositionEncoding::Utf32]),
    ) {
        let mut editor = start.clone();
        let mut documents = opened(&start, encoding);
        for (version, (one, other, text)) in (2..).zip(edits) {
            // Positions that an editor can name: character starts, never between \r and \n.
            let places: Vec<usize> = (0..=editor.len())
                .filter(|&byte| editor.is_char_boundary(byte))
                .filter(|&byte| !(byte > 0 && editor[..byte].ends_with('\r') && editor[byte..].starts_with('\n')))
                .collect();
            let (one, other) = (*one.get(&places), *other.get(&places));
            let bytes = one.min(other)..one.max(other);
            let range = documents.get(&uri()).unwrap().range_of(bytes.clone());
            editor.replace_range(bytes, &text);
            let change = changes(&json!([{ "range": range, "text": text }]));
            prop_assert_eq!(documents.change(&uri(), version, change).unwrap().text(), editor.as_str());
        }
    }
}
