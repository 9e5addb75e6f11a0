//! The time of work that is awaited.

use std::time::{Duration, Instant};

/// How long it took, and what came out of it.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let result = work.await;
    (begun.elapsed(), result)
}
