//! The Developer by the program Claude Code.

use super::Report;
use crate::agent::assignment::Assignment;
use crate::engine::StepContext;
use crate::pipeline::StepFailure;

pub(super) async fn work(_context: &StepContext, _assignment: &Assignment) -> Result<Report, StepFailure> {
    Err(super::unavailable())
}
