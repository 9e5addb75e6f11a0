//! Cuts text into what is searched at once: a line, or a private key with all its lines. Where a cut is
//! depends on the text alone, never on how it arrived.

/// A longer line is cut, so that a stream without line ends cannot fill the memory.
pub(super) const LINE_BYTES_MAX: usize = 1024 * 1024;
/// A private key that does not end by then is none.
const KEY_BYTES_MAX: usize = 64 * 1024;
/// How far back a long line is searched for a place where nothing is torn apart.
const CUT_SEARCH_BYTES: usize = 8 * 1024;

/// The first line of a private key, and its last.
pub(super) const KEY_BEGIN: &str = "-----BEGIN ";
pub(super) const KEY_NAME: &str = "PRIVATE KEY";
pub(super) const KEY_END: &str = "-----END ";

/// Whether more may come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Open,
    Ended,
}

/// The length of the first unit; none without bytes, or if more bytes decide.
pub(super) fn first(bytes: &[u8], stream: Stream) -> Option<usize> {
    let line = line(bytes, stream)?;
    let text = bytes.get(..line)?;
    match begins_key(text) {
        Some(begin) if !ends_key(text.get(begin..)?) => key(bytes, line, stream),
        _ => Some(line),
    }
}

fn line(bytes: &[u8], stream: Stream) -> Option<usize> {
    let within = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    if let Some(end) = memchr::memchr(b'\n', within) {
        return Some(end + 1);
    }
    if within.len() == LINE_BYTES_MAX {
        return Some(cut(within));
    }
    (stream == Stream::Ended && !bytes.is_empty()).then_some(bytes.len())
}

/// Behind the last space near the end, else between two characters.
fn cut(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(CUT_SEARCH_BYTES);
    let tail = bytes.get(from..).unwrap_or_default();
    if let Some(space) = memchr::memrchr2(b' ', b',', tail) {
        return from + space + 1;
    }
    let torn = tail
        .iter()
        .rev()
        .take_while(|byte| (0x80..0xc0).contains(*byte))
        .count();
    if torn > 0 && torn < 4 {
        bytes.len() - torn - 1
    } else {
        trim_start_byte(bytes)
    }
}

/// A first byte of a character must not be the last one before a cut.
fn trim_start_byte(bytes: &[u8]) -> usize {
    match bytes.last() {
        Some(byte) if *byte >= 0xc0 => bytes.len() - 1,
        _ => bytes.len(),
    }
}

/// Up to the end of the line where the key ends.
fn key(bytes: &[u8], first_line: usize, stream: Stream) -> Option<usize> {
    let within = bytes.get(..KEY_BYTES_MAX.max(first_line)).unwrap_or(bytes);
    let mut at = first_line;
    loop {
        let rest = within.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map(|end| at + end + 1);
        let text = within.get(at..end.unwrap_or(within.len())).unwrap_or_default();
        match end {
            Some(end) if ends_key(text) => return Some(end),
            Some(end) => at = end,
            // Too long: what is complete is one unit, the rest is looked at anew.
            None if within.len() >= KEY_BYTES_MAX => return Some(at),
            None => return (stream == Stream::Ended).then_some(within.len()),
        }
    }
}

/// Where a private key begins in this line.
fn begins_key(line: &[u8]) -> Option<usize> {
    let begin = memchr::memmem::rfind(line, KEY_BEGIN.as_bytes())?;
    memchr::memmem::find(line.get(begin..)?, KEY_NAME.as_bytes()).map(|_| begin)
}

fn ends_key(text: &[u8]) -> bool {
    memchr::memmem::find(text, KEY_END.as_bytes()).is_some()
}
