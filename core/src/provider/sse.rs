//! Server-sent events, read incrementally: each byte is looked at once, memory is bounded, and any
//! split of the input gives the same events.

use memchr::{memchr, memchr2};

/// Most bytes of one event (and of one line) before the stream is given up.
pub const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty when there is none.
    pub name: String,
    /// The `data` fields, joined by line feeds.
    pub data: Vec<u8>,
}

/// An event grew beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// The limit in bytes.
    pub limit: usize,
}

/// Turns bytes into events.
#[derive(Debug)]
pub struct Parser {
    bytes_max: usize,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// The last byte was a carriage return: a line feed right after it belongs to the same end.
    after_return: bool,
    at_start: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(EVENT_BYTES_MAX)
    }
}

impl Parser {
    /// A parser that gives up at events of more than `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            line: Vec::new(),
            event: Event::default(),
            has_data: false,
            after_return: false,
            at_start: true,
        }
    }

    /// Takes the next bytes and hands every event that they complete to `sink`.
    pub fn push(&mut self, mut bytes: &[u8], mut sink: impl FnMut(Event)) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) && bytes.first() == Some(&b'\n') {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.line.extend_from_slice(bytes);
                return self.check_size();
            };
            let (head, rest) = bytes.split_at(end);
            self.after_return = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.take_line(head, &mut sink);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                self.take_line(&line, &mut sink);
                line.clear();
                self.line = line;
            }
            self.check_size()?;
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), TooLong> {
        let held = self
            .line
            .len()
            .saturating_add(self.event.data.len())
            .saturating_add(self.event.name.len());
        if held > self.bytes_max {
            Err(TooLong {
                limit: self.bytes_max,
            })
        } else {
            Ok(())
        }
    }

    fn take_line(&mut self, line: &[u8], sink: &mut impl FnMut(Event)) {
        let mut line = line;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                sink(event);
            }
            return;
        }
        let (field, value) = match memchr(b':', line) {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser
                .push(chunk, |event| {
                    events.push((event.name, String::from_utf8_lossy(&event.data).into_owned()));
                })
                .expect("small events");
        }
        events
    }

    #[test]
    fn fields_comments_and_line_ends_follow_the_specification() {
        let text = b"\xef\xbb\xbfevent: a\ndata: one\ndata:two\n: a comment\nid: 7\n\ndata\r\n\r\nevent: nothing\r\rdata:  x\r\r";
        let expected = [("a", "one\ntwo"), ("", ""), ("", " x")];
        assert_eq!(
            parse(&[text]),
            expected.map(|(name, data)| (name.to_owned(), data.to_owned()))
        );
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_an_event() {
        assert!(parse(&[b"data: cut"]).is_empty());
        assert!(parse(&[b"data: cut\n"]).is_empty());
    }

    #[test]
    fn an_event_beyond_the_limit_ends_the_stream_whether_in_one_line_or_many() {
        let mut one = Parser::new(100);
        assert_eq!(one.push(&[b'x'; 101], |_| {}), Err(TooLong { limit: 100 }));
        let mut many = Parser::new(100);
        let result = (0..20).try_for_each(|_| many.push(b"data: 0123456789\n", |_| {}));
        assert_eq!(result, Err(TooLong { limit: 100 }));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            lines in prop::collection::vec(prop_oneof![
                Just(String::new()), Just("data: {\"a\":1}".to_owned()), Just("event: ping".to_owned()),
                Just(": c".to_owned()), "data:[ a-zé:]{0,12}", "[a-z:]{0,8}",
            ], 0..30),
            ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 30),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text: String = lines.iter().zip(ends.iter().cycle()).flat_map(|(line, end)| [line.as_str(), end]).collect();
            let bytes = text.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.sort_unstable();
            let mut chunks = Vec::new();
            let mut rest = bytes;
            let mut taken = 0;
            for place in places {
                let (head, tail) = rest.split_at(place - taken);
                chunks.push(head);
                rest = tail;
                taken = place;
            }
            chunks.push(rest);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(parse(&chunks), parse(&[bytes]));
            prop_assert_eq!(parse(&single), parse(&[bytes]));
        }
    }
}
