//! A thread that owns one connection. Work comes as closures and answers through a oneshot, so
//! no async task ever waits inside SQLite, and no lock is shared between tasks.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::{Failure, Outcome, busy, failed_before};
use crate::{Error, Result};

/// Longest wait for an answer.
pub(super) const ANSWER_MS_MAX: u64 = 30_000;
/// Work that waited longer than this is not begun any more: the rest of [`ANSWER_MS_MAX`] is left
/// for carrying it out, so that "busy" means "not done".
const QUEUE_MS_MAX: u64 = 20_000;
/// Pieces of work that may wait; more make their callers wait.
const QUEUE_LENGTH: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

enum Message {
    Work(Job),
    Stop(oneshot::Sender<()>),
}

/// The first failure after which nothing is written any more, shared by the threads of a store.
pub(super) type FirstFailure = Arc<OnceLock<Error>>;

/// Handle of a thread that owns a connection. The thread ends when the handle is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    sender: mpsc::Sender<Message>,
    path: PathBuf,
    first_failure: FirstFailure,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(
        name: &str,
        connection: Connection,
        path: PathBuf,
        first_failure: FirstFailure,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(connection, receiver))
            .map_err(|error| Error::io("starting a thread of the store", &error))?;
        Ok(Self {
            sender,
            path,
            first_failure,
        })
    }

    /// Runs `work` on the thread. Once handed over it is carried out even if the caller goes away.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Outcome<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let (path, first_failure) = (self.path.clone(), Arc::clone(&self.first_failure));
        let asked = Instant::now();
        let job = Box::new(move |connection: &mut Connection| {
            let result = if asked.elapsed() > Duration::from_millis(QUEUE_MS_MAX) {
                Err(busy(
                    "too much work waits for the store; this was not begun".to_owned(),
                ))
            } else {
                work(connection).map_err(|failure| conclude(failure, &path, &first_failure))
            };
            drop(answer.send(result));
        });
        let exchange = async {
            self.sender.send(Message::Work(job)).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())?
        };
        tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), exchange)
            .await
            .unwrap_or_else(|_| {
                Err(busy(format!(
                    "no answer within {} s; whether it was done is unknown",
                    ANSWER_MS_MAX / 1000
                )))
            })
    }

    /// Carries out what waits, closes the connection and ends the thread.
    pub(super) async fn stop(&self) {
        let (answer, answered) = oneshot::channel();
        if self.sender.send(Message::Stop(answer)).await.is_ok() {
            drop(tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), answered).await);
        }
    }
}

fn serve(mut connection: Connection, mut receiver: mpsc::Receiver<Message>) {
    while let Some(message) = receiver.blocking_recv() {
        match message {
            Message::Work(job) => job(&mut connection),
            Message::Stop(stopped) => {
                receiver.close();
                while let Some(Message::Work(job)) = receiver.blocking_recv() {
                    job(&mut connection);
                }
                drop(connection);
                let _ = stopped.send(());
                return;
            }
        }
    }
}

pub(super) fn conclude(failure: Failure, path: &std::path::Path, first_failure: &FirstFailure) -> Error {
    let fatal = failure.is_fatal();
    let error = failure.into_error(path);
    if fatal {
        tracing::error!(code = %error.code, "the store stops writing: {}", error.message);
        first_failure.get_or_init(|| error.clone());
    }
    error
}

/// Refuses when an earlier failure stopped the store.
pub(super) fn refuse_after(first_failure: &FirstFailure) -> Result<()> {
    first_failure
        .get()
        .map_or(Ok(()), |earlier| Err(failed_before(earlier)))
}

fn closed() -> Error {
    Error::state("storeClosed", "the store is closed").hint("start clode-ls again")
}
