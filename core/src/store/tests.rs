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
mod power;
mod processes;
mod restore;
mod runs;
mod safety_log;
mod support;
mod upkeep;
