//! The queue behind the outbox: pure, told the time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::{MESSAGE_COST_MIN_BYTES, QUEUE_BYTES_MAX};

/// Messages in order, with the reports that wait for their turn.
#[derive(Debug)]
pub(super) struct Queue {
    items: BTreeMap<u64, Item>,
    next: u64,
    /// Where the report of a token stands that a newer one may still replace.
    replaceable: HashMap<String, u64>,
    /// Until when no report of a token may leave.
    cooling: HashMap<String, Instant>,
    interval: Duration,
    /// What the messages in line count together; reports count nothing, there is one a token.
    cost: usize,
    closed: bool,
}

#[derive(Debug)]
struct Item {
    text: String,
    cost: usize,
    /// Set for a report that nothing of the same token follows yet.
    replaceable_of: Option<String>,
}

/// What the queue has to give.
#[derive(Debug)]
pub(super) enum Next {
    Message(String),
    /// Only reports that may not leave before this time.
    At(Instant),
    Empty,
    Closed,
}

impl Queue {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            items: BTreeMap::new(),
            next: 0,
            replaceable: HashMap::new(),
            cooling: HashMap::new(),
            interval,
            cost: 0,
            closed: false,
        }
    }

    /// Whether senders should wait. Never once closed, nor for a queue whose reader is gone.
    pub(super) fn is_full(&self) -> bool {
        self.cost >= QUEUE_BYTES_MAX && !self.closed
    }

    pub(super) fn push(&mut self, text: String) {
        let cost = text.len().max(MESSAGE_COST_MIN_BYTES);
        self.append(Item {
            text,
            cost,
            replaceable_of: None,
        });
    }

    /// A report: the one of the same token that still waits is forgotten.
    pub(super) fn push_report(&mut self, token: String, text: String) {
        if let Some(older) = self.replaceable.remove(&token) {
            self.items.remove(&older);
        }
        let place = self.append(Item {
            text,
            cost: 0,
            replaceable_of: Some(token.clone()),
        });
        self.replaceable.insert(token, place);
    }

    /// Any other progress: a report of the same token that still waits leaves before it, without waiting longer.
    pub(super) fn push_progress(&mut self, token: &str, text: String, ends: bool) {
        if let Some(report) = self.replaceable.remove(token)
            && let Some(item) = self.items.get_mut(&report)
        {
            item.replaceable_of = None;
        }
        if ends {
            self.cooling.remove(token);
        }
        self.push(text);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.replaceable.clear();
        self.cost = 0;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes out the first message that may leave. After closing nothing waits any more.
    pub(super) fn pop(&mut self, now: Instant) -> Next {
        self.cooling.retain(|_, until| *until > now);
        let mut earliest: Option<Instant> = None;
        let mut place = None;
        for (&candidate, item) in &self.items {
            let until = item
                .replaceable_of
                .as_ref()
                .and_then(|token| self.cooling.get(token))
                .copied();
            match until {
                Some(until) if !self.closed => {
                    earliest = Some(earliest.map_or(until, |other| other.min(until)));
                }
                _ => {
                    place = Some(candidate);
                    break;
                }
            }
        }
        match (place.and_then(|place| self.items.remove(&place)), earliest) {
            (Some(item), _) => {
                self.cost -= item.cost;
                if let Some(token) = item.replaceable_of {
                    self.replaceable.remove(&token);
                    self.cooling.insert(token, now + self.interval);
                }
                Next::Message(item.text)
            }
            (None, Some(due)) => Next::At(due),
            (None, None) if self.closed => Next::Closed,
            (None, None) => Next::Empty,
        }
    }

    #[cfg(test)]
    pub(super) fn items_len(&self) -> usize {
        self.items.len()
    }

    fn append(&mut self, item: Item) -> u64 {
        let place = self.next;
        self.next += 1;
        self.cost += item.cost;
        self.items.insert(place, item);
        place
    }
}
