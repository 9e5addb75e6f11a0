use std::io::{BufReader, Read};

use proptest::prelude::*;

use super::*;

/// Gives the input in pieces of the sizes asked for, over and over.
struct Pieces<'a> {
    left: &'a [u8],
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()]
            .min(into.len())
            .min(self.left.len());
        self.turn += 1;
        let (now, later) = self.left.split_at(size);
        into[..size].copy_from_slice(now);
        self.left = later;
        Ok(size)
    }
}

const SMALL: Limits = Limits {
    header: 256,
    body: 300,
    resync: 2000,
    skip: 5000,
};

fn frames_within(limits: Limits, input: &[u8], sizes: Vec<usize>) -> Vec<Frame> {
    let pieces = Pieces {
        left: input,
        sizes,
        turn: 0,
    };
    let mut reader = FrameReader::new(BufReader::with_capacity(32, pieces), limits);
    let mut frames = Vec::new();
    loop {
        let frame = reader.next_frame().unwrap();
        let ended = matches!(frame, Frame::End(_));
        frames.push(frame);
        if ended {
            return frames;
        }
        assert!(
            frames.len() <= input.len() + 2,
            "the reader makes no progress: {frames:?}"
        );
    }
}

fn frames(input: impl AsRef<[u8]>) -> Vec<Frame> {
    frames_within(Limits::default(), input.as_ref(), vec![7])
}

fn body(text: &str) -> Frame {
    Frame::Body(text.as_bytes().to_vec())
}

fn framed(text: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{text}", text.len())
}

const CLOSED: Frame = Frame::End(EndOfInput::Closed);
const TRUNCATED: Frame = Frame::End(EndOfInput::Truncated);

#[test]
fn names_in_any_case_other_headers_and_missing_spaces_are_fine() {
    let input = "content-LENGTH:2\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\nX-Other: 1\r\n\r\n{}\
                 Content-Length :  2 \n\n[]";
    assert_eq!(frames(input), [body("{}"), body("[]"), CLOSED]);
}

#[test]
fn blank_lines_between_messages_are_skipped() {
    let input = format!("\r\n\n  \r\n{}\r\n\r\n{}\n", framed("{}"), framed("[]"));
    assert_eq!(frames(input), [body("{}"), body("[]"), CLOSED]);
}

#[test]
fn an_empty_body_is_a_body() {
    assert_eq!(frames("Content-Length: 0\r\n\r\n"), [body(""), CLOSED]);
}

#[test]
fn a_header_without_usable_length_is_reported_and_the_next_one_found() {
    for bad in [
        "Content-Type: x\r\n\r\n",
        "Content-Length: abc\r\n\r\n{}",
        "Content-Length:\r\n\r\n{}",
        "Content-Length: -5\r\n\r\n{}",
        "Content-Length: +5\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "what is this\r\n\r\nno idea ",
    ] {
        assert_eq!(
            frames(format!("{bad}{}", framed("[1]"))),
            [Frame::BadHeader, body("[1]"), CLOSED],
            "{bad:?}"
        );
    }
}

#[test]
fn a_repeated_equal_length_is_no_contradiction() {
    assert_eq!(
        frames("Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
        [body("{}"), CLOSED]
    );
}

#[test]
fn a_length_that_is_too_small_costs_only_its_own_message() {
    let input = format!("Content-Length: 5\r\n\r\n{{\"a\":1}}{}", framed("[1]"));
    assert_eq!(
        frames(input),
        [body("{\"a\":"), Frame::BadHeader, body("[1]"), CLOSED]
    );
}

#[test]
fn a_length_that_is_too_large_costs_nothing_once_the_next_header_is_seen() {
    for announced in [21, 22, 26, 30, 2000] {
        let input = format!(
            "Content-Length: {announced}\r\n\r\n{{}}{}{}",
            framed("[1]"),
            framed("[2]")
        );
        assert_eq!(
            frames(input),
            [body("{}"), body("[1]"), body("[2]"), CLOSED],
            "{announced}"
        );
    }
}

#[test]
fn a_length_that_cuts_the_next_header_in_two_costs_that_message_only() {
    let input = format!("Content-Length: 12\r\n\r\n{{}}{}{}", framed("[1]"), framed("[2]"));
    assert_eq!(
        frames(input),
        [body("{}Content-Le"), Frame::BadHeader, body("[2]"), CLOSED]
    );
}

#[test]
fn a_header_block_over_the_limit_does_not_end_the_stream() {
    let flood = "X-Padding: yes\r\n".repeat(1000);
    assert_eq!(
        frames(format!("{flood}\r\n{}", framed("[1]"))),
        [Frame::BadHeader, body("[1]"), CLOSED]
    );
    let one_line = "x".repeat(20_000);
    assert_eq!(
        frames(format!("{one_line}{}", framed("[1]"))),
        [Frame::BadHeader, body("[1]"), CLOSED]
    );
    for padding in 8_150..8_200 {
        let cut_anywhere = "x".repeat(padding);
        assert_eq!(
            frames(format!("{cut_anywhere}{}", framed("[1]")))[1..],
            [body("[1]"), CLOSED],
            "{padding}"
        );
    }
}

#[test]
fn a_stream_without_any_header_is_given_up_after_the_limit() {
    let garbage = vec![b'x'; 3 << 20];
    assert_eq!(frames(garbage), [Frame::BadHeader, Frame::End(EndOfInput::Lost)]);
}

#[test]
fn a_long_body_is_skipped_and_the_next_message_read() {
    let long = format!("[{}]", "1,\n".repeat(1000));
    let input = format!("{}{}", framed(&long), framed("[1]"));
    assert_eq!(
        frames_within(SMALL, input.as_bytes(), vec![11]),
        [
            Frame::TooLong {
                announced: long.len() as u64
            },
            body("[1]"),
            CLOSED
        ]
    );
}

#[test]
fn a_lie_about_a_huge_body_is_found_out_by_the_next_header() {
    for announced in ["400", "4999", "999999999999", "99999999999999999999999999"] {
        let input = format!("Content-Length: {announced}\r\n\r\n{{}}{}", framed("[1]"));
        let frames = frames_within(SMALL, input.as_bytes(), vec![3]);
        assert!(matches!(frames[0], Frame::TooLong { .. }));
        assert_eq!(frames[1..], [body("[1]"), CLOSED], "{announced}");
    }
}

#[test]
fn an_end_inside_a_message_is_told_from_an_end_between_two() {
    assert_eq!(frames(""), [CLOSED]);
    assert_eq!(frames("\r\n"), [CLOSED]);
    assert_eq!(frames("Content-Le"), [TRUNCATED]);
    assert_eq!(frames("Content-Length: 5\r\n"), [TRUNCATED]);
    assert_eq!(frames("Content-Length: 5\r\n\r\n{}"), [TRUNCATED]);
    assert_eq!(
        frames("Content-Length: 9999999999\r\n\r\n{}"),
        [
            Frame::TooLong {
                announced: 9_999_999_999
            },
            TRUNCATED
        ]
    );
}

#[test]
fn what_is_announced_is_not_allocated() {
    let input = format!("Content-Length: {}\r\n\r\n{{}}", 60 << 20);
    let mut reader = FrameReader::new(input.as_bytes(), Limits::default());
    assert_eq!(reader.next_frame().unwrap(), TRUNCATED);
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z{}\\[\\]\": ]{0,40}".prop_map(|text| framed(&text)),
        (0..700_usize).prop_map(|length| framed(&"y".repeat(length))),
        (0..6000_u64).prop_map(|length| format!("Content-Length: {length}\r\n\r\n{{}}")),
        (0..60_u64).prop_map(|length| format!("Content-Length: {length}\r\n\r\n{{}}")),
        Just("\r\n".to_owned()),
        Just("Content-Length: nonsense\r\n\r\n".to_owned()),
        Just("Content-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned()),
        Just("content-length:".to_owned()),
        "[A-Za-z0-9:\r\n -]{0,60}",
        (0..600_usize).prop_map(|length| "z".repeat(length)),
    ]
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_frames(
        fragments in prop::collection::vec(fragment(), 0..12),
        sizes in prop::collection::vec(1..40_usize, 1..6),
    ) {
        let input = fragments.concat();
        let whole = frames_within(SMALL, input.as_bytes(), vec![usize::MAX]);
        prop_assert_eq!(frames_within(SMALL, input.as_bytes(), sizes), whole.clone());
        prop_assert_eq!(frames_within(SMALL, input.as_bytes(), vec![1]), whole);
    }

    #[test]
    fn any_bytes_come_to_an_end(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        frames_within(SMALL, &input, vec![13]);
    }

    #[test]
    fn good_messages_all_arrive(bodies in prop::collection::vec("[ -~\n\r\u{e9}]{0,60}", 0..10)) {
        let input: String = bodies.iter().map(|text| framed(text)).collect();
        let mut expected: Vec<Frame> = bodies.iter().map(|text| body(text)).collect();
        expected.push(CLOSED);
        prop_assert_eq!(frames_within(SMALL, input.as_bytes(), vec![5]), expected);
    }
}
