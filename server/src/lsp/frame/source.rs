//! A [`BufRead`] that takes bytes back, and finds the next header in it.

use std::io::{self, BufRead, Read};

/// Longest `Content-Length: …` line that is recognised amid garbage.
pub(super) const HEADER_LINE_BYTES_MAX: usize = 128;
/// Bytes looked at in one go while searching.
const PIECE_BYTES_MAX: u64 = 8 << 10;
const NAME: &[u8] = b"content-length:";

/// Input with a memory for what was given back.
#[derive(Debug)]
pub(super) struct Source<R> {
    carry: Vec<u8>,
    carry_read: usize,
    input: R,
}

/// How reading a line ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Complete,
    TooLong,
    End,
}

/// How the search for a header ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seek {
    /// The next byte is the first of a `Content-Length:` line.
    Found,
    /// There was none in the bytes that were allowed.
    Exhausted,
    End,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            carry: Vec::new(),
            carry_read: 0,
            input,
        }
    }

    /// These bytes are read next, again.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        let mut carry = bytes.to_vec();
        carry.extend_from_slice(self.carry.get(self.carry_read..).unwrap_or_default());
        self.carry = carry;
        self.carry_read = 0;
    }

    /// Appends one line with its end, at most `bytes_max` bytes.
    pub(super) fn read_line(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<Line> {
        let read = self.take(bytes_max as u64).read_until(b'\n', into)?;
        Ok(if read > 0 && into.ends_with(b"\n") {
            Line::Complete
        } else if read == bytes_max {
            Line::TooLong
        } else {
            Line::End
        })
    }

    /// Skips at most `bytes_max` bytes, up to a `Content-Length:` line.
    pub(super) fn seek_header(&mut self, bytes_max: u64) -> io::Result<Seek> {
        let mut left = bytes_max;
        let mut line = Vec::new();
        while left > 0 {
            let read = self
                .take(left.min(PIECE_BYTES_MAX))
                .read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                return Ok(Seek::End);
            }
            left -= read;
            if let Some(start) = find_header(&line) {
                self.give_back(line.get(start..).unwrap_or_default());
                return Ok(Seek::Found);
            }
            if line.ends_with(b"\n") {
                line.clear();
            } else {
                line.drain(..line.len().saturating_sub(HEADER_LINE_BYTES_MAX));
            }
        }
        Ok(Seek::Exhausted)
    }

    /// At most so many of the next bytes.
    pub(super) fn take(&mut self, bytes_max: u64) -> io::Take<&mut Self> {
        Read::take(self, bytes_max)
    }
}

/// Where the first complete `Content-Length: <digits>` line begins, be it in the middle of a line.
pub(super) fn find_header(block: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    for line in block.split_inclusive(|&byte| byte == b'\n') {
        if let Some(start) = header_in_line(line) {
            return Some(line_start + start);
        }
        line_start += line.len();
    }
    None
}

fn header_in_line(line: &[u8]) -> Option<usize> {
    let text = line.strip_suffix(b"\n")?.trim_ascii_end();
    let name = text
        .iter()
        .rposition(|&byte| byte == b':')?
        .checked_add(1)?
        .checked_sub(NAME.len())?;
    let (name_found, value) = text.get(name..)?.split_at(NAME.len());
    (name_found.eq_ignore_ascii_case(NAME) && super::digits(value.trim_ascii()).is_some()).then_some(name)
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.carry_read < self.carry.len() {
            return Ok(self.carry.get(self.carry_read..).unwrap_or_default());
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if self.carry_read < self.carry.len() {
            self.carry_read += amount;
        } else {
            self.input.consume(amount);
        }
    }
}
