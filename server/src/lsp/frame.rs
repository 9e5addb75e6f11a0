//! Frames of the base protocol, read from hostile bytes: a pure codec over [`BufRead`].
//!
//! No input ends the stream except its end, or a place where no header follows within
//! [`Limits::resync`]. Memory grows with what arrived, never with what was announced. How the
//! bytes are split into reads makes no difference.

pub(crate) mod message;
mod source;

use std::io::{self, BufRead};

use source::{Line, Source};

/// Longest header block.
const HEADER_BYTES_MAX: usize = 8 << 10;
/// Longest body that is kept.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// How far to look for the next header after a bad one.
const RESYNC_BYTES_MAX: u64 = 1 << 20;
/// Longest body that is believed and read away to its end; beyond it the length is taken for a bad header.
const SKIP_BYTES_MAX: u64 = 1 << 30;

/// The limits of a [`FrameReader`], in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) header: usize,
    pub(crate) body: u64,
    pub(crate) resync: u64,
    pub(crate) skip: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: HEADER_BYTES_MAX,
            body: BODY_BYTES_MAX,
            resync: RESYNC_BYTES_MAX,
            skip: SKIP_BYTES_MAX,
        }
    }
}

/// What the input held next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A body of the announced length; not yet looked at.
    Body(Vec<u8>),
    /// A body over the limit. It is skipped when the next frame is asked for.
    TooLong { announced: u64 },
    /// A header block that announces no usable length. The next header is looked for afterwards.
    BadHeader,
    /// Nothing comes any more.
    End(EndOfInput),
}

/// Why the input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOfInput {
    /// Closed between two messages.
    Closed,
    /// Closed inside a header or a body.
    Truncated,
    /// No header was found within the limit after a bad one.
    Lost,
}

/// What has to be done before the next header can be read.
#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Seek { bytes_max: u64, or: AfterSeek },
    Ended(EndOfInput),
}

/// What it means when no header turned up within the bytes looked through.
#[derive(Debug, Clone, Copy)]
enum AfterSeek {
    /// The bytes were a body: the next header follows.
    Continue,
    /// The stream cannot be understood any more.
    GiveUp,
}

/// Reads frames one after the other.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    source: Source<R>,
    limits: Limits,
    state: State,
}

impl<R: BufRead> FrameReader<R> {
    pub(crate) fn new(input: R, limits: Limits) -> Self {
        Self {
            source: Source::new(input),
            limits,
            state: State::Header,
        }
    }

    /// The next frame; after an `End` always that end again.
    pub(crate) fn next_frame(&mut self) -> io::Result<Frame> {
        if let State::Seek { bytes_max, or } = self.state {
            self.state = match (self.source.seek_header(bytes_max)?, or) {
                (source::Seek::Found, _) | (source::Seek::Exhausted, AfterSeek::Continue) => State::Header,
                (source::Seek::Exhausted, AfterSeek::GiveUp) => State::Ended(EndOfInput::Lost),
                (source::Seek::End, _) => State::Ended(EndOfInput::Truncated),
            };
        }
        if let State::Ended(reason) = self.state {
            return Ok(Frame::End(reason));
        }
        match self.read_header()? {
            Header::Length(announced) if announced > self.limits.body => Ok(self.too_long(announced)),
            Header::Length(announced) => self.read_body(announced),
            Header::Bad => {
                self.state = State::Seek {
                    bytes_max: self.limits.resync,
                    or: AfterSeek::GiveUp,
                };
                Ok(Frame::BadHeader)
            }
            Header::End(reason) => {
                self.state = State::Ended(reason);
                Ok(Frame::End(reason))
            }
        }
    }

    fn too_long(&mut self, announced: u64) -> Frame {
        self.state = if announced > self.limits.skip {
            State::Seek {
                bytes_max: self.limits.resync,
                or: AfterSeek::GiveUp,
            }
        } else {
            State::Seek {
                bytes_max: announced,
                or: AfterSeek::Continue,
            }
        };
        Frame::TooLong { announced }
    }

    /// Reads a body, as it arrives. A length that was too large swallows the next header: no valid JSON text can hold
    /// one (a string holds no line end), so the body ends there.
    fn read_body(&mut self, announced: u64) -> io::Result<Frame> {
        let mut body = Vec::new();
        while (body.len() as u64) < announced {
            let line = body.len();
            let left = announced - line as u64;
            if self.source.take(left).read_until(b'\n', &mut body)? == 0 {
                self.state = State::Ended(EndOfInput::Truncated);
                return Ok(Frame::End(EndOfInput::Truncated));
            }
            if let Some(start) = source::find_header(body.get(line..).unwrap_or_default()) {
                self.source
                    .give_back(body.get(line + start..).unwrap_or_default());
                body.truncate(line + start);
                break;
            }
        }
        Ok(Frame::Body(body))
    }

    /// Reads one header block. What of a bad block may be the start of a good one is given back to the source.
    fn read_header(&mut self) -> io::Result<Header> {
        let mut block = Vec::new();
        let mut length = Length::Missing;
        loop {
            let start = block.len();
            let room = self.limits.header - start;
            match self.source.read_line(&mut block, room)? {
                Line::End if block.is_empty() => return Ok(Header::End(EndOfInput::Closed)),
                Line::End => return Ok(Header::End(EndOfInput::Truncated)),
                Line::TooLong => {
                    self.reconsider(&block, length);
                    return Ok(Header::Bad);
                }
                Line::Complete => {}
            }
            let line = block.get(start..).unwrap_or_default().trim_ascii();
            if !line.is_empty() {
                length = length.and(line);
            } else if start == 0 {
                block.clear(); // blank lines between messages
            } else {
                break;
            }
        }
        match length {
            Length::Known(length) => Ok(Header::Length(length)),
            Length::Missing | Length::Contradictory => {
                self.reconsider(&block, length);
                Ok(Header::Bad)
            }
        }
    }

    /// Gives back what of a bad block may be the start of a good one.
    fn reconsider(&mut self, block: &[u8], length: Length) {
        // A length that was too small leaves the rest of its body in front of the next header. A block that did
        // announce a length has had its turn, though: giving it back would never end.
        let header = if matches!(length, Length::Missing) {
            source::find_header(block)
        } else {
            None
        };
        // A block that was cut off in the middle of a line may end with the first half of a header.
        let start = header.unwrap_or_else(|| {
            let line = block
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |newline| newline + 1);
            line.max(block.len().saturating_sub(source::HEADER_LINE_BYTES_MAX))
        });
        self.source.give_back(block.get(start..).unwrap_or_default());
    }
}

enum Header {
    Length(u64),
    Bad,
    End(EndOfInput),
}

/// The announced length, as far as the block has been read.
#[derive(Debug, Clone, Copy)]
enum Length {
    Missing,
    Known(u64),
    Contradictory,
}

impl Length {
    /// Takes another header line into account; lines that are none, and unknown names, change nothing.
    fn and(self, line: &[u8]) -> Self {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return self;
        };
        let (name, value) = line.split_at(colon);
        if !name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            return self;
        }
        match (self, digits(value.get(1..).unwrap_or_default().trim_ascii())) {
            (Self::Missing, Some(length)) => Self::Known(length),
            (Self::Known(before), Some(length)) if before == length => self,
            (Self::Missing, None) => Self::Missing,
            _ => Self::Contradictory,
        }
    }
}

/// A decimal number without sign; one that does not fit is as good as infinite.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(text).ok()?.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
