//! A thread that owns one connection. Work comes as closures and answers through a oneshot, so
//! no async task ever waits inside SQLite, and no lock is shared between tasks.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::batch::{self, Write};
use super::failure::{Failure, Outcome, busy, failed_before};
use super::guard::Guard;
use super::restore;
use super::space::Space;
use crate::{Error, Result};

/// Longest wait for an answer.
const ANSWER_MS_MAX: u64 = 30_000;
/// Work that waited longer than this is not begun any more: the rest of [`ANSWER_MS_MAX`] is left
/// for carrying it out, so that "busy" means "not done".
const QUEUE_MS_MAX: u64 = 20_000;
/// Pieces of work that may wait; more make their callers wait.
const QUEUE_LENGTH: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

enum Message {
    /// Something that is done by itself.
    Alone(Job),
    /// A write that may share a transaction with the writes behind it.
    Write(Box<dyn Write>),
    Stop(oneshot::Sender<()>),
}

/// The first failure after which nothing is written any more, shared by the threads of a store.
#[derive(Debug, Clone)]
pub(super) struct Health {
    path: PathBuf,
    space: Space,
    first_failure: Arc<OnceLock<Error>>,
}

impl Health {
    pub(super) fn new(path: PathBuf, space: Space) -> Self {
        Self {
            path,
            space,
            first_failure: Arc::default(),
        }
    }

    /// The error for a person. A failure that leaves the disk in doubt is remembered; a full disk
    /// takes the reserve.
    pub(super) fn conclude(&self, failure: Failure) -> Error {
        let (fatal, damage) = (failure.is_fatal(), failure.is_damage());
        if failure.is_full() {
            self.space.give_up();
        }
        let error = failure.into_error(&self.path);
        if fatal {
            tracing::error!(code = %error.code, "the store stops writing: {}", error.message);
            self.first_failure.get_or_init(|| error.clone());
            if damage && let Some(state) = self.path.parent() {
                restore::suspect(state, &error);
            }
        }
        error
    }

    /// Refuses when an earlier failure stopped the store.
    pub(super) fn check(&self) -> Result<()> {
        self.first_failure
            .get()
            .map_or(Ok(()), |earlier| Err(failed_before(earlier)))
    }

    /// The database.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// When a piece of work was asked for: what waited too long is not begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(Instant);

impl Asked {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    /// Refuses when the caller will not wait for the end of it.
    pub(super) fn check(self) -> Result<()> {
        if self.0.elapsed() <= Duration::from_millis(QUEUE_MS_MAX) {
            return Ok(());
        }
        Err(busy(
            "too much work waits for the store; this was not begun".to_owned(),
        ))
    }
}

/// Handle of a thread that owns a connection. The thread ends when the handle is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    place: Place,
    health: Health,
}

/// Where the work is done.
#[derive(Debug)]
enum Place {
    Thread(mpsc::Sender<Message>),
    /// Where it is asked for, by a disk that is simulated.
    #[cfg(test)]
    Here(super::simulated::Disk),
}

impl Worker {
    /// Starts the thread. Without a guard nothing is looked at before a write.
    pub(super) fn start(
        name: &str,
        connection: Connection,
        health: Health,
        guard: Option<Guard>,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        let of_thread = health.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(connection, receiver, &of_thread, guard))
            .map_err(|error| Error::io("starting a thread of the store", &error))?;
        Ok(Self {
            place: Place::Thread(sender),
            health,
        })
    }

    /// Without a thread.
    #[cfg(test)]
    pub(super) fn here(disk: super::simulated::Disk, health: Health) -> Self {
        Self {
            place: Place::Here(disk),
            health,
        }
    }

    /// Runs `work` by itself. Once handed over it is carried out even if the caller goes away.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Outcome<T> + Send + 'static,
    {
        #[cfg(test)]
        if let Place::Here(disk) = &self.place {
            return disk.run(work, &self.health).await;
        }
        let (answer, answered) = oneshot::channel();
        let (health, asked) = (self.health.clone(), Asked::now());
        let job = Box::new(move |connection: &mut Connection| {
            let result = asked
                .check()
                .and_then(|()| work(connection).map_err(|failure| health.conclude(failure)));
            drop(answer.send(result));
        });
        self.exchange(Message::Alone(job), answered).await
    }

    /// Runs `work` inside a transaction that holds the write lock; answers when it is on the disk.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        #[cfg(test)]
        if let Place::Here(disk) = &self.place {
            return disk.write(work, &self.health).await;
        }
        let (answer, answered) = oneshot::channel();
        self.exchange(Message::Write(batch::write(work, Asked::now(), answer)), answered)
            .await
    }

    async fn exchange<T>(&self, message: Message, answered: oneshot::Receiver<Result<T>>) -> Result<T> {
        let exchange = async {
            match &self.place {
                Place::Thread(sender) => sender.send(message).await.map_err(|_| closed())?,
                #[cfg(test)]
                Place::Here(_) => return Err(closed()),
            }
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
        match &self.place {
            Place::Thread(sender) => {
                if sender.send(Message::Stop(answer)).await.is_ok() {
                    drop(tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), answered).await);
                }
            }
            #[cfg(test)]
            Place::Here(_) => {}
        }
    }
}

fn serve(
    mut connection: Connection,
    mut receiver: mpsc::Receiver<Message>,
    health: &Health,
    mut guard: Option<Guard>,
) {
    let mut stopped = Vec::new();
    let mut next = receiver.blocking_recv();
    while let Some(message) = next.take() {
        match message {
            Message::Alone(job) => job(&mut connection),
            Message::Write(first) => {
                let mut writes = vec![first];
                while writes.len() < batch::WRITES_MAX {
                    match receiver.try_recv() {
                        Ok(Message::Write(write)) => writes.push(write),
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                batch::perform(&connection, writes, health, guard.as_mut());
            }
            Message::Stop(answer) => {
                receiver.close();
                stopped.push(answer);
            }
        }
        if next.is_none() {
            next = receiver.blocking_recv();
        }
    }
    drop((connection, guard));
    for answer in stopped {
        let _ = answer.send(());
    }
}

fn closed() -> Error {
    Error::state("storeClosed", "the store is closed").hint("start clode-ls again")
}
