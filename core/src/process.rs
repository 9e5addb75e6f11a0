//! Everything that we start, and its end.
//!
//! An agent's tool starts a shell that starts a build that starts a daemon in a session of its own;
//! nothing of that may outlive the run, the server or a `kill -9`. So whatever is not a short program
//! of our own is started through the [`shim`]: our own executable in a second mode, which becomes the
//! reaper of the whole tree, watches us, confines the program and kills what is left.
//!
//! * [`Spawner::run`] starts a program and waits for its end; [`Spawner::spawn`] hands out a [`Child`]
//!   to talk to, line by line.
//! * A *warden* task owns each child: time limits and the ladder from SIGTERM to the death of the whole
//!   tree work even when nobody polls the child, and a dropped child is a killed one.
//! * What a program writes is drained at once and kept within bounds (head and tail).

mod child;
mod command;
mod find;
mod output;
mod probe;
mod shim;
mod spawner;
mod tree;
mod warden;
mod wire;

pub use child::{Child, ChildControl, ChildInput, ChildLines, LINE_BYTES_MAX, Line};
pub use command::{
    Command, Confinement, End, Limits, Network, Output, SandboxPolicy, SandboxTier, SecretDescriptor, Stdin,
};
pub use find::{find_program, toolchain_environment};
pub use shim::{SHIM_ARGUMENT, harden_self, shim_main};
pub use spawner::Spawner;
