//! What was said so far, in a form that is stored and taken up again, kept within the model's window.

use serde::{Deserialize, Serialize};

use crate::agent::survey::tokens_of_bytes;
use crate::agent::toolbox::Record;
use crate::error::{Error, Result};
use crate::money::Money;
use crate::provider::{Content, Message, Role, SystemBlock};

/// Version of the stored form.
const VERSION: u32 = 1;
/// Stands for a result that was dropped.
const DROPPED: &str = "(left out to stay within the model's window; call the tool again if you need it)";
/// Results shorter than this are not worth dropping (bytes).
const DROPPED_BYTES_MIN: usize = 400;
/// Tokens kept free for what is not counted here, such as the tools.
const MARGIN_TOKENS: u64 = 6_000;
/// Messages at the end that are never touched.
const KEPT_MESSAGES: usize = 3;

/// The conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct Transcript {
    version: u32,
    /// Model calls made.
    pub(in crate::agent) turns: u32,
    /// What the model gets.
    pub(in crate::agent) messages: Vec<Message>,
    /// What the model did with its tools.
    #[serde(default = "Record::with_gaps")]
    pub(in crate::agent) record: Record,
    /// What its calls cost.
    #[serde(default)]
    pub(in crate::agent) cost: Money,
}

impl Transcript {
    /// Begins with this turn.
    pub(in crate::agent) fn new(opening: Message) -> Self {
        Self {
            version: VERSION,
            turns: 0,
            messages: vec![opening],
            record: Record::default(),
            cost: Money::ZERO,
        }
    }

    /// Takes up a stored one; none if it is of another form.
    pub(in crate::agent) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|found: &Self| found.version == VERSION && !found.messages.is_empty())
    }

    /// A new attempt at a conversation that ended for want of calls has them again.
    pub(in crate::agent) fn renew(&mut self, turns_max: u32) {
        if self.turns >= turns_max {
            self.turns = 0;
        }
    }

    /// Says something to the model, in the turn that is ours.
    pub(in crate::agent) fn tell(&mut self, words: &str) {
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User => last.content.push(Content::Text(words.to_owned())),
            _ => self.messages.push(Message::user(words)),
        }
    }

    /// As it is stored.
    pub(in crate::agent) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal(format!("a transcript cannot be written: {error}")))
    }

    /// Drops the oldest results of tools until the rest fits. When it has to, it drops more than it must,
    /// so that the prefix then stays the same for a while.
    pub(in crate::agent) fn fit(&mut self, window: u64, tokens_max: u32, system: &[SystemBlock]) {
        let system: usize = system.iter().map(|block| block.text.len()).sum();
        let room = window.saturating_sub(u64::from(tokens_max) + MARGIN_TOKENS + tokens_of_bytes(system));
        if self.tokens() <= room {
            return;
        }
        let target = room / 4 * 3;
        let until = self.messages.len().saturating_sub(KEPT_MESSAGES);
        let mut tokens = self.tokens();
        for message in self.messages.iter_mut().take(until) {
            for piece in &mut message.content {
                if tokens <= target {
                    return;
                }
                tokens = tokens.saturating_sub(drop_from(piece));
            }
        }
    }

    fn tokens(&self) -> u64 {
        let pieces = self.messages.iter().flat_map(|message| &message.content);
        pieces.map(|piece| tokens_of_bytes(bytes_of(piece))).sum()
    }
}

/// Drops what is long in a piece; answers how many tokens that saves.
fn drop_from(piece: &mut Content) -> u64 {
    let before = bytes_of(piece);
    match piece {
        Content::ToolResult { text, .. } if text.len() > DROPPED_BYTES_MIN => DROPPED.clone_into(text),
        Content::ToolUse { input, .. } => {
            for value in input
                .as_object_mut()
                .into_iter()
                .flat_map(|fields| fields.values_mut())
            {
                if value.as_str().is_some_and(|text| text.len() > DROPPED_BYTES_MIN) {
                    *value = DROPPED.into();
                }
            }
        }
        _ => {}
    }
    tokens_of_bytes(before.saturating_sub(bytes_of(piece)))
}

fn bytes_of(piece: &Content) -> usize {
    match piece {
        Content::Text(text) | Content::ToolResult { text, .. } => text.len(),
        Content::ToolUse { name, input, .. } => name.len() + input.to_string().len(),
        Content::Opaque { value, .. } => value.to_string().len(),
    }
}
