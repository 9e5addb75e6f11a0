use proptest::prelude::*;

use super::*;

const ALL: [PositionEncoding; 3] = [
    PositionEncoding::Utf8,
    PositionEncoding::Utf16,
    PositionEncoding::Utf32,
];

/// Text with every kind of line end, and with characters that only look like one.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "bc", "é", "漢", "😀", "e\u{301}", "\t", "\n", "\r", "\r\n", "\u{2028}", "\u{2029}", "\u{85}",
        "\u{b}", "\u{c}",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The lines as the protocol cuts them: start byte, and text without the end.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find(['\n', '\r']) {
        let end = at + found;
        at = end + if text[end..].starts_with("\r\n") { 2 } else { 1 };
        lines.push((start, &text[start..end]));
        start = at;
    }
    lines.push((start, &text[start..]));
    lines
}

fn units(character: char, encoding: PositionEncoding) -> usize {
    match encoding {
        PositionEncoding::Utf8 => character.len_utf8(),
        PositionEncoding::Utf16 => character.len_utf16(),
        PositionEncoding::Utf32 => 1,
    }
}

fn plain_byte_at(text: &str, position: Position, encoding: PositionEncoding) -> usize {
    let Some(&(start, line)) = lines(text).get(position.line as usize) else {
        return text.len();
    };
    let mut counted = 0;
    for (byte, character) in line.char_indices() {
        counted += units(character, encoding);
        if counted > position.character as usize {
            return start + byte;
        }
    }
    start + line.len()
}

fn plain_position_at(text: &str, byte: usize, encoding: PositionEncoding) -> Position {
    let all = lines(text);
    let byte = byte.min(text.len());
    let line_number = all.iter().rposition(|&(start, _)| start <= byte).unwrap();
    let (start, line) = all[line_number];
    let before = line
        .char_indices()
        .filter(|(at, character)| start + at + character.len_utf8() <= byte);
    let character: usize = before.map(|(_, character)| units(character, encoding)).sum();
    Position::new(
        u32::try_from(line_number).unwrap(),
        u32::try_from(character).unwrap(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn positions_mean_the_same_bytes_as_in_the_plain_reading(text in text(), line in 0..45_u32, character in 0..60_u32) {
        let rope = Rope::from_str(&text);
        for encoding in ALL {
            let position = Position::new(line, character);
            prop_assert_eq!(byte_at(&rope, position, encoding), plain_byte_at(&text, position, encoding), "{:?}", encoding);
        }
    }

    #[test]
    fn bytes_have_the_same_positions_as_in_the_plain_reading(text in text(), byte in 0..200_usize) {
        let rope = Rope::from_str(&text);
        for encoding in ALL {
            prop_assert_eq!(position_at(&rope, byte, encoding), plain_position_at(&text, byte, encoding), "{:?}", encoding);
        }
    }

    #[test]
    fn there_and_back_again_is_where_it_began(text in text()) {
        let rope = Rope::from_str(&text);
        for (byte, _) in text.char_indices().chain([(text.len(), ' ')]) {
            if byte > 0 && text[..byte].ends_with('\r') && text[byte..].starts_with('\n') {
                continue; // no position lies between the two
            }
            for encoding in ALL {
                prop_assert_eq!(byte_at(&rope, position_at(&rope, byte, encoding), encoding), byte, "{:?}", encoding);
            }
        }
    }
}

#[test]
fn a_position_beyond_everything_is_the_end_of_the_document() {
    for text in ["", "a", "a\n", "a\r\nb", "😀"] {
        let rope = Rope::from_str(text);
        for encoding in ALL {
            assert_eq!(
                byte_at(&rope, Position::new(u32::MAX, u32::MAX), encoding),
                text.len(),
                "{text:?}"
            );
        }
    }
}

#[test]
fn the_cheapest_offered_encoding_is_chosen_and_utf_16_when_there_is_no_offer() {
    let choose = PositionEncoding::choose;
    assert_eq!(choose(&["utf-16", "utf-32", "utf-8"]), PositionEncoding::Utf8);
    assert_eq!(choose(&["utf-16", "utf-32"]), PositionEncoding::Utf32);
    assert_eq!(choose(&["utf-16"]), PositionEncoding::Utf16);
    assert_eq!(choose(&[]), PositionEncoding::Utf16);
    assert_eq!(choose(&["utf-7"]), PositionEncoding::Utf16);
}

#[test]
fn a_range_whose_ends_are_swapped_means_the_same_bytes() {
    let rope = Rope::from_str("hello");
    let range = lsp_types::Range {
        start: Position::new(0, 4),
        end: Position::new(0, 1),
    };
    assert_eq!(bytes_of(&rope, range, PositionEncoding::Utf16), 1..4);
}
