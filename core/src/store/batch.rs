//! Writes that wait at the same time share one transaction, and so one sync of the disk. Each
//! stays whole or undone by itself, and none is acknowledged before the transaction is on the disk.

use rusqlite::Connection;
use tokio::sync::oneshot;

#[cfg(debug_assertions)]
use super::failpoint;
use super::failure::{Failure, Outcome};
use super::guard::Guard;
use super::safety_log;
use super::scope::Scope;
use super::worker::{Asked, Health};
use crate::Result;

/// Most writes in one transaction: the last of them must not wait too long for the first.
pub(super) const WRITES_MAX: usize = 64;

/// A write that waits.
pub(super) trait Write: Send {
    /// Does it, inside the transaction. An error undoes this write alone.
    fn perform(&mut self, connection: &Connection, health: &Health) -> Result<()>;
    /// Tells the caller, now that the transaction has ended like this.
    fn answer(self: Box<Self>, transaction: &Result<()>);
}

/// Makes a closure a write.
pub(super) fn write<T, F>(work: F, asked: Asked, answer: oneshot::Sender<Result<T>>) -> Box<dyn Write>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
{
    Box::new(Waiting {
        work: Some(work),
        asked,
        result: None,
        answer,
    })
}

struct Waiting<T, F> {
    /// Taken when it is done.
    work: Option<F>,
    asked: Asked,
    result: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Write for Waiting<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
{
    fn perform(&mut self, connection: &Connection, health: &Health) -> Result<()> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let ready = health.check().and_then(|()| self.asked.check());
        let result = ready.and_then(|()| work(connection).map_err(|failure| health.conclude(failure)));
        let verdict = result.as_ref().map(|_| ()).map_err(Clone::clone);
        self.result = Some(result);
        verdict
    }

    fn answer(self: Box<Self>, transaction: &Result<()>) {
        let result = match (self.result, transaction) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(own)), _) => Err(own),
            (_, Err(common)) => Err(common.clone()),
            (None, Ok(())) => Err(crate::Error::internal("a write that was left out")),
        };
        drop(self.answer.send(result));
    }
}

/// Performs writes in one transaction and answers each.
pub(super) fn perform(
    connection: &Connection,
    mut writes: Vec<Box<dyn Write>>,
    health: &Health,
    guard: Option<&mut Guard>,
) {
    let transact = || transact(connection, &mut writes, health, guard);
    let ended = health
        .check()
        .and_then(|()| transact().map_err(|failure| health.conclude(failure)));
    for write in writes {
        write.answer(&ended);
    }
}

fn transact(
    connection: &Connection,
    writes: &mut [Box<dyn Write>],
    health: &Health,
    guard: Option<&mut Guard>,
) -> Outcome<()> {
    let Some(guard) = guard else {
        return transact_unguarded(connection, writes, health);
    };
    guard.during(|mut checked| {
        let transaction = Scope::transaction(connection)?;
        let log = checked.admit(connection)?;
        perform_each(connection, writes, health)?;
        checked.promise(log, &safety_log::take(connection)?)?;
        #[cfg(debug_assertions)]
        failpoint::reached(failpoint::Side::Before);
        transaction.keep()?;
        #[cfg(debug_assertions)]
        failpoint::reached(failpoint::Side::After);
        Ok(())
    })
}

/// In memory there is no file that could be replaced, and no log beside it.
fn transact_unguarded(
    connection: &Connection,
    writes: &mut [Box<dyn Write>],
    health: &Health,
) -> Outcome<()> {
    let transaction = Scope::transaction(connection)?;
    perform_each(connection, writes, health)?;
    safety_log::take(connection)?;
    transaction.keep()
}

fn perform_each(transaction: &Connection, writes: &mut [Box<dyn Write>], health: &Health) -> Outcome<()> {
    // What is alone is undone with the transaction.
    if let [only] = writes {
        return only.perform(transaction, health).map_err(Failure::Refused);
    }
    for write in writes {
        let part = Scope::part(transaction)?;
        match write.perform(transaction, health) {
            Ok(()) => part.keep()?,
            Err(error) => {
                // Dropping undoes this write alone, unless SQLite undid the whole transaction (a
                // full disk) or the disk is in doubt: then nobody's write may happen.
                drop(part);
                if transaction.is_autocommit() || health.check().is_err() {
                    return Err(Failure::Refused(error));
                }
            }
        }
    }
    Ok(())
}
