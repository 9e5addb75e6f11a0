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
    waiting: BTreeMap<(Reverse<Priority>, u64), oneshot::Sender<Place>>,
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
        let given = match turn {
            Some(turn) => turn.await.ok(),
            None => None,
        };
        // The sender is dropped only with the whole engine; then the place does not matter.
        given.unwrap_or_else(|| self.place())
    }

    /// Takes a place without waiting.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        locked(&self.queue).working += 1;
        self.place()
    }

    /// One that is counted already.
    fn place(self: &Arc<Self>) -> Place {
        Place {
            admission: Arc::clone(self),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut queue = locked(&self.admission.queue);
            queue.working = queue.working.saturating_sub(1);
            let is_free = queue.working < self.admission.limit;
            let next = if is_free { queue.waiting.pop_first() } else { None };
            queue.working += usize::from(next.is_some());
            next
        };
        // Where nobody waits for it any more it is dropped, now or unseen in the channel: the next one gets it.
        if let Some((_, next)) = next {
            let _ = next.send(self.admission.place());
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
    async fn a_place_that_was_given_to_somebody_who_left_is_the_next_one_s() {
        let admission = Arc::new(Admission::new(1));
        let working = admission.admit(Priority::Medium).await;
        let mut unseen = Box::pin(admission.admit(Priority::High));
        let mut gone = Box::pin(admission.admit(Priority::Medium));
        let mut next = Box::pin(admission.admit(Priority::Low));
        for waiting in [&mut unseen, &mut gone, &mut next] {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(gone);
        drop(working);

        drop(unseen);

        assert!(next.as_mut().now_or_never().is_some());
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
