//! How many tokens a request has before anybody counted them: bytes by a ratio that each answer
//! corrects.

use crate::provider::{Content, Request};

/// Bytes of a thousand tokens, to begin with. Models of the newer tokenizer make about 30 % more
/// tokens of the same text.
const BYTES_PER_1000_TOKENS: u64 = 3_500;
const BYTES_PER_1000_TOKENS_NEWER: u64 = 2_700;
const NEWER: &[&str] = &[
    "opus-4-7", "opus-4-8", "opus-4-9", "opus-5", "sonnet-5", "haiku-5", "fable", "mythos",
];
/// No text is denser or thinner than this.
const BYTES_MIN: u64 = 1_500;
const BYTES_MAX: u64 = 6_000;
/// Tokens of the frame around each turn, tool and system block.
const TOKENS_PER_PART: u64 = 8;
/// Requests with less say little about the ratio.
const CALIBRATION_BYTES_MIN: u64 = 2_000;

/// What one model makes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ratio(u64);

/// The size of a request, independent of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    bytes: u64,
    parts: u64,
}

impl Size {
    pub(super) fn of(request: &Request) -> Self {
        let mut size = Self { bytes: 0, parts: 0 };
        for block in &request.system {
            size.add(block.text.len());
        }
        for tool in &request.tools {
            size.add(tool.name.len() + tool.description.len() + json_length(&tool.input_schema));
        }
        for content in request.messages.iter().flat_map(|message| &message.content) {
            size.add(match content {
                Content::Text(text) | Content::ToolResult { text, .. } => text.len(),
                Content::ToolUse { name, input, .. } => name.len() + json_length(input),
                Content::Opaque { value, .. } => json_length(value),
            });
        }
        size
    }

    fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.parts = self.parts.saturating_add(1);
    }
}

/// The length as JSON, without writing it down.
fn json_length(value: &serde_json::Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

impl Ratio {
    pub(super) fn of_model(model: &str) -> Self {
        let is_newer = NEWER.iter().any(|part| model.contains(part));
        Self(if is_newer {
            BYTES_PER_1000_TOKENS_NEWER
        } else {
            BYTES_PER_1000_TOKENS
        })
    }

    /// Input tokens of a request of this size.
    pub(super) fn tokens(self, size: Size) -> u64 {
        let of_bytes = size.bytes.saturating_mul(1_000).div_ceil(self.0);
        of_bytes.saturating_add(size.parts.saturating_mul(TOKENS_PER_PART))
    }

    /// A provider counted: move an eighth of the way.
    pub(super) fn learn(&mut self, size: Size, counted: u64) {
        let counted = counted.saturating_sub(size.parts.saturating_mul(TOKENS_PER_PART));
        if size.bytes < CALIBRATION_BYTES_MIN || counted == 0 {
            return;
        }
        let seen = (size.bytes.saturating_mul(1_000) / counted).clamp(BYTES_MIN, BYTES_MAX);
        self.0 = (self.0 * 7 + seen) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Message;

    fn size(bytes: usize) -> Size {
        Size::of(&Request {
            messages: vec![Message::user("x".repeat(bytes))],
            ..Request::default()
        })
    }

    #[test]
    fn newer_tokenizers_are_expected_to_make_more_tokens() {
        assert_eq!(Ratio::of_model("claude-sonnet-4-6").tokens(size(35_000)), 10_008);
        assert_eq!(Ratio::of_model("claude-opus-4-8").tokens(size(27_000)), 10_008);
    }

    #[test]
    fn each_answer_moves_the_ratio_towards_what_was_counted_within_bounds() {
        let mut ratio = Ratio::of_model("m");
        (0..60).for_each(|_| ratio.learn(size(35_000), 17_508));
        assert!(
            (17_000..=17_600).contains(&ratio.tokens(size(35_000))),
            "{ratio:?}"
        );
        (0..60).for_each(|_| ratio.learn(size(35_000), 9));
        assert_eq!(
            ratio.tokens(size(60_000)) / 100,
            100,
            "never thinner than six bytes a token"
        );
        let before = ratio;
        ratio.learn(size(10), 500);
        assert_eq!(ratio, before, "a short request teaches nothing");
    }
}
