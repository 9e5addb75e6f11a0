//! The store on real files, with real processes, real locks and real full disks.

mod cache;
mod children;
mod damage;
mod disk;
mod memory;
mod money;
mod money_property;
mod opening;
mod owners;
mod processes;
mod runs;
mod support;
mod upkeep;
