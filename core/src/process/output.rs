//! What a program writes, drained at once and kept within bounds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Read at once from a pipe.
const CHUNK_BYTES: usize = 32 * 1024;

/// The head and the tail of a stream; a flood leaves out the middle.
#[derive(Debug)]
pub(super) struct HeadTail {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_bytes_max: usize,
    tail_bytes_max: usize,
    left_out: u64,
}

impl HeadTail {
    pub(super) fn new(bytes_max: usize) -> Self {
        let tail_bytes_max = bytes_max / 2;
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_bytes_max: bytes_max - tail_bytes_max,
            tail_bytes_max,
            left_out: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let to_head = bytes
            .len()
            .min(self.head_bytes_max.saturating_sub(self.head.len()));
        let (head, rest) = bytes.split_at(to_head);
        self.head.extend_from_slice(head);
        let skipped = rest.len().saturating_sub(self.tail_bytes_max);
        let rest = rest.get(skipped..).unwrap_or_default();
        let overflow = (self.tail.len() + rest.len()).saturating_sub(self.tail_bytes_max);
        self.tail.drain(..overflow);
        self.tail.extend(rest);
        self.left_out = self
            .left_out
            .saturating_add(u64::try_from(skipped + overflow).unwrap_or(u64::MAX));
    }

    pub(super) fn truncated(&self) -> bool {
        self.left_out > 0
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Everything that was kept; a line says what was left out.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if self.truncated() {
            bytes.extend_from_slice(format!("\n… {} bytes left out …\n", self.left_out).as_bytes());
        }
        let (first, second) = self.tail.as_slices();
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        bytes
    }

    /// The same without a copy of what may be large; nothing is kept afterwards.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if self.truncated() || !self.tail.is_empty() {
            return self.bytes();
        }
        std::mem::take(&mut self.head)
    }
}

/// Bytes that a draining task writes and others look at.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<HeadTail>>);

impl Shared {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(HeadTail::new(bytes_max))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HeadTail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a program last made a sound.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Ends when there was silence for so long; never without a limit.
    pub(super) async fn silence(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let rest = limit.saturating_sub(last.elapsed());
            if rest.is_zero() {
                return;
            }
            tokio::time::sleep(rest).await;
        }
    }
}

/// Drains a pipe into `kept` until its end.
pub(super) fn drain(
    mut pipe: impl AsyncRead + Unpin + Send + 'static,
    kept: Shared,
    activity: Activity,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut chunk = vec![0_u8; CHUNK_BYTES];
        loop {
            match pipe.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    activity.touch();
                    kept.lock().push(chunk.get(..count).unwrap_or_default());
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_split_of_the_stream_keeps_the_same_bytes(
            stream in proptest::collection::vec(any::<u8>(), 0..400),
            bytes_max in 0_usize..64,
            sizes in proptest::collection::vec(1_usize..40, 1..60),
        ) {
            let mut whole = HeadTail::new(bytes_max);
            whole.push(&stream);
            let mut pieces = HeadTail::new(bytes_max);
            let mut rest = stream.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*size));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(whole.bytes(), pieces.bytes());
            prop_assert!(whole.head.len() + whole.tail.len() <= bytes_max);
            prop_assert_eq!(whole.truncated(), stream.len() > bytes_max);
        }
    }

    #[test]
    fn a_flood_keeps_its_first_and_its_last_words() {
        let mut kept = HeadTail::new(8);
        kept.push(b"first");
        kept.push(&[b'.'; 1000]);
        kept.push(b"last");
        let text = String::from_utf8(kept.bytes()).unwrap();
        assert_eq!(text, "firs\n… 1001 bytes left out …\nlast");
    }
}
