//! How many runs work at once; the others are queued, by priority and then by arrival.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::oneshot;

use super::locked;
use crate::task::Priority;

/// Runs that work at the same time in one process unless the configuration says otherwise.
pub(super) const CONCURRENT_RUNS_DEFAULT: usize = 4;

/// A turnstile: a place is given back when its [`Place`] is dropped.
#[derive(Debug, Default)]
pub(super) struct Admission {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    working: usize,
    arrivals: u64,
    waiting: BTreeMap<(Reverse<Priority>, u64), oneshot::Sender<()>>,
}

/// A place among those that work.
#[derive(Debug)]
pub(super) struct Place {
    owner: std::sync::Arc<super::Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = locked(&self.owner.admission.queue);
        queue.working = queue.working.saturating_sub(1);
        while let Some((_, next)) = queue.waiting.pop_first() {
            if next.send(()).is_ok() {
                queue.working += 1;
                break;
            }
        }
    }
}

/// Waits for a place.
pub(super) async fn admit(shared: &std::sync::Arc<super::Shared>, priority: Priority) -> Place {
    let turn = {
        let mut queue = locked(&shared.admission.queue);
        if queue.working < CONCURRENT_RUNS_DEFAULT {
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
        owner: std::sync::Arc::clone(shared),
    }
}
