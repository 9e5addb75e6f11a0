//! The port that the ledger serves; it is the router's.

pub use crate::provider::Usage;
pub use crate::router::{BudgetRefusal, BudgetScope, Cap, Confirmation, Grant, Hold, Limits, Settlement};
