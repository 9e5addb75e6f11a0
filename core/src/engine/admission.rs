//! How many runs work at once; the others are queued, by priority and then by arrival. A run that waits for a
//! person takes no place; when it goes on it takes one at once, even above the limit, because what was begun
//! is not sent back into the queue.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::locked;
use crate::task::Priority;

/// A turnstile.
#[derive(Debug)]
pub(super) struct Admission {
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    working: usize,
    arrivals: u64,
    waiting: BTreeMap<(Reverse<Priority>, u64), oneshot::Sender<()>>,
}

/// A place among those that work; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
}

impl Admission {
    /// Lets so many work at once.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            queue: Mutex::default(),
        }
    }

    /// Waits for a place.
    pub(super) async fn admit(self: &Arc<Self>, priority: Priority) -> Place {
        let turn = {
            let mut queue = locked(&self.queue);
            if queue.working < self.limit {
                queue.working += 1;
                None
            } else {
                queue.arrivals += 1;
                let key = (Reverse(priority), queue.arrivals);
                let (turn, waits) = oneshot::channel();
                queue.waiting.insert(key, turn);
                Some(waits)
            }
        };
        if let Some(turn) = turn {
            // The sender is dropped only with the whole engine; then the place does not matter.
            let _ = turn.await;
        }
        Place {
            admission: Arc::clone(self),
        }
    }

    /// Takes a place without waiting.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        locked(&self.queue).working += 1;
        Place {
            admission: Arc::clone(self),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = locked(&self.admission.queue);
        queue.working = queue.working.saturating_sub(1);
        while queue.working < self.admission.limit {
            let Some((_, next)) = queue.waiting.pop_first() else {
                break;
            };
            if next.send(()).is_ok() {
                queue.working += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_more_urgent_goes_first_and_a_place_that_is_given_back_is_taken() {
        let admission = Arc::new(Admission::new(1));
        let working = admission.admit(Priority::Medium).await;
        let mut low = Box::pin(admission.admit(Priority::Low));
        let mut high = Box::pin(admission.admit(Priority::High));
        assert!(low.as_mut().now_or_never().is_none());
        assert!(high.as_mut().now_or_never().is_none());
        drop(working);
        let urgent = high.as_mut().now_or_never();
        assert!(urgent.is_some());
        assert!(low.as_mut().now_or_never().is_none());
        drop(urgent);
        assert!(low.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_goes_on_after_a_person_answered_does_not_wait() {
        let admission = Arc::new(Admission::new(1));
        let _working = admission.admit(Priority::Medium).await;
        let _above = admission.enter();
        let mut next = Box::pin(admission.admit(Priority::High));
        assert!(next.as_mut().now_or_never().is_none());
    }
}
