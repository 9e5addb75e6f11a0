//! One task owns each child: it sees the end, keeps the time limits and climbs the ladder from a polite
//! signal to the death of the whole tree, whether or not anybody polls the child.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::{mpsc, watch};

use super::command::{End, Limits};
use super::output::Activity;
use super::tree::{self, Held};
use crate::{Error, Result};

/// Between SIGTERM and the death of the tree.
pub(super) const GRACE: Duration = Duration::from_millis(1_500);
/// How long the shim may need to kill its tree before we do it ourselves.
const SHIM_KILL_LIMIT: Duration = Duration::from_secs(3);
/// How long a killed process may need to be gone.
const DEATH_LIMIT: Duration = Duration::from_secs(2);
/// Orders that wait; a caller that sends more has said it already.
pub(super) const ORDERS_MAX: usize = 16;

/// What the holder of a child asks its warden for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Send this signal to the program.
    Signal(Signal),
    /// SIGTERM, then, after the grace, everything.
    Stop,
    /// SIGKILL to the whole tree.
    Kill,
}

/// How a child is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It is the program itself, leader of its group.
    Direct,
    /// It is the shim, which passes signals on.
    Shim,
}

/// A running child that does not outlive this value.
#[derive(Debug)]
pub(super) struct Leash {
    child: tokio::process::Child,
    reach: Reach,
}

impl Leash {
    pub(super) fn new(child: tokio::process::Child, reach: Reach) -> Self {
        Self { child, reach }
    }

    pub(super) fn child(&mut self) -> &mut tokio::process::Child {
        &mut self.child
    }

    /// None once the end was seen: after that the number may be somebody else's.
    fn pid(&self) -> Option<Pid> {
        self.child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
    }

    /// A process that ended meanwhile cannot be signalled; its end is seen elsewhere.
    fn signal(&self, signal: Signal) {
        match (self.pid(), self.reach) {
            (Some(pid), Reach::Direct) => {
                let _ = kill_process_group(pid, signal);
            }
            (Some(pid), Reach::Shim) => {
                let _ = kill_process(pid, signal);
            }
            (None, _) => {}
        }
    }

    /// Ends the tree: the shim does it, or we do where there is none.
    fn kill_tree(&self) {
        match self.reach {
            Reach::Shim => self.signal(Signal::USR1),
            Reach::Direct => self.kill_by_hand(),
        }
    }

    /// Walks the tree ourselves.
    fn kill_by_hand(&self) {
        if let Some(pid) = self.pid() {
            tree::kill_descendants(pid);
            self.signal(Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.kill_tree();
    }
}

/// Waits until a warden has seen the end of its child.
pub(super) async fn end_of(end: &mut watch::Receiver<Option<End>>) -> Result<End> {
    let seen = end.wait_for(Option::is_some).await.map(|end| *end);
    // Only a runtime that shuts down takes the warden away; the child is killed then.
    seen.ok().flatten().ok_or_else(Error::cancelled)
}

/// Watches over the child until its end and makes that known.
pub(super) async fn guard(
    mut leash: Leash,
    limits: Limits,
    activity: Activity,
    mut orders: mpsc::Receiver<Order>,
    end: watch::Sender<Option<End>>,
) {
    let deadline = tokio::time::sleep(limits.timeout);
    tokio::pin!(deadline);
    let (reason, first) = loop {
        tokio::select! {
            status = leash.child.wait() => {
                let _ = end.send(Some(natural(status.ok())));
                return;
            }
            () = &mut deadline => break (End::TimedOut, Order::Stop),
            () = activity.silence(limits.idle) => break (End::TimedOut, Order::Stop),
            order = orders.recv() => match order {
                Some(Order::Signal(signal)) => leash.signal(signal),
                Some(order) => break (End::Cancelled, order),
                // Nobody holds the child any more.
                None => break (End::Cancelled, Order::Kill),
            },
        }
    };
    // Without a shim nobody adopts what the program leaves behind when it obeys the polite signal.
    let group = leash.pid().filter(|_| leash.reach == Reach::Direct);
    let held = group.map(Held::descendants_of).unwrap_or_default();
    if first == Order::Stop {
        leash.signal(Signal::TERM);
        ended_within(&mut leash, GRACE, Some(&mut orders)).await;
    }
    leash.kill_tree();
    held.kill();
    if let Some(group) = group {
        // The leader may be gone already; the number stays taken as long as its group has members.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if !ended_within(&mut leash, SHIM_KILL_LIMIT, None).await {
        leash.kill_by_hand();
        if !ended_within(&mut leash, DEATH_LIMIT, None).await {
            tracing::error!(pid = leash.child.id(), "a process does not die");
        }
    }
    let _ = end.send(Some(reason));
}

/// Waits so long for the end, or until an order to kill comes in.
async fn ended_within(
    leash: &mut Leash,
    limit: Duration,
    orders: Option<&mut mpsc::Receiver<Order>>,
) -> bool {
    let hurry = async {
        match orders {
            None => std::future::pending().await,
            Some(orders) => while !matches!(orders.recv().await, None | Some(Order::Kill)) {},
        }
    };
    tokio::select! {
        _ = leash.child.wait() => true,
        () = tokio::time::sleep(limit) => false,
        () = hurry => false,
    }
}

fn natural(status: Option<std::process::ExitStatus>) -> End {
    use std::os::unix::process::ExitStatusExt;
    // A status that cannot be had (somebody else reaped our child) is no success.
    status.map_or(End::Exited(-1), |status| {
        status
            .signal()
            .map_or_else(|| End::Exited(status.code().unwrap_or(-1)), End::Signalled)
    })
}
