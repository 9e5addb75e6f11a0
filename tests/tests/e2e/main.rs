//! End-to-end tests: the built binary and real programs, over their outside surfaces only.

mod budget;
mod cli;
mod crash;
mod damage;
mod disk;
mod docs;
mod elsewhere;
mod failpoints;
mod folders;
mod framing;
mod gates;
mod hostile;
mod left_behind;
mod loop_api;
mod loop_claude;
mod loop_demo;
mod neovim;
mod retention;
mod rig_api;
mod rig_claude;
mod rig_fixture;
mod step_cache;
mod taken_back;
mod upgrade;
mod vscode;
mod words;
