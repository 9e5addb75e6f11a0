//! Which provider and model a call takes, what it may cost, and what happens when it fails.

mod limits;
mod settings;
mod stub;
pub use limits::*;
pub use settings::*;
pub use stub::*;
