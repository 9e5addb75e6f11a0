//! Work that goes on to its end although whoever asked for it has left: an editor takes a request back, and its
//! handler is dropped at any await. Between "it is stored" and "somebody drives it" nothing may be dropped.

use std::future::Future;

use tracing::Instrument;

/// Does the work in a task of its own and waits for it. Dropping the wait leaves the work alone; a panic in it is
/// the caller's. Ends with the runtime.
pub async fn to_its_end<T>(work: impl Future<Output = T> + Send + 'static) -> T
where
    T: Send + 'static,
{
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only a runtime that shuts down takes such a task away.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::sync::Notify;

    use super::to_its_end;

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_is_finished_although_nobody_waits_for_it() {
        let (go_on, finished) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (second_half, end) = (Arc::clone(&go_on), Arc::clone(&finished));
        let mut asked = Box::pin(to_its_end(async move {
            second_half.notified().await;
            end.notify_one();
        }));
        assert!(asked.as_mut().now_or_never().is_none());

        drop(asked);
        go_on.notify_one();

        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, finished.notified()).await.unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "broken")]
    async fn a_panic_is_the_callers() {
        to_its_end(async { panic!("broken") }).await;
    }
}
