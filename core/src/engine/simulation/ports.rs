//! What one simulated process reaches the world through. Once it is dead none of its requests is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::world::{Defect, World};
use crate::store::simulated::{Access, Fate, Fates};

/// See the module; clones are the same process.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    pub(super) world: Arc<World>,
    pub(super) process: u32,
    is_dead: Arc<AtomicBool>,
    reached: Arc<AtomicU64>,
}

impl Ports {
    pub(super) fn new(world: Arc<World>, process: u32) -> Self {
        Self {
            world,
            process,
            is_dead: Arc::default(),
            reached: Arc::default(),
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// How often it reached outside so far.
    pub(super) fn reached(&self) -> u64 {
        self.reached.load(Ordering::SeqCst)
    }

    /// Killed: from here on it changes nothing.
    pub(super) fn die(&self, wherein: &str) {
        self.is_dead.store(true, Ordering::SeqCst);
        self.world
            .note(|| format!("process {} dies: {wherein}", self.process));
    }

    /// A place where the process may die; does not return then.
    pub(super) async fn boundary(&self, wherein: &str) {
        self.reached.fetch_add(1, Ordering::SeqCst);
        if !self.is_dead() && self.world.dies() {
            self.die(wherein);
        }
        self.while_alive().await;
    }

    /// Does not return in a dead process.
    pub(super) async fn while_alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.world.defect == Some(defect) && !self.world.is_calm()
    }
}

impl Fates for Ports {
    fn next(&self, access: Access) -> Fate {
        self.reached.fetch_add(1, Ordering::SeqCst);
        if self.is_dead() {
            return Fate::DiesBefore;
        }
        let fate = self.world.fate(access);
        match fate {
            Fate::Done => {}
            Fate::DiesBefore | Fate::DiesAfter => self.die(&format!("{access:?} {fate:?}")),
            other => self
                .world
                .note(|| format!("process {}: {access:?} {other:?}", self.process)),
        }
        fate
    }

    fn is_slow(&self) -> bool {
        self.world.disk_is_slow()
    }
}
