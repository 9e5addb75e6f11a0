//! A skipped test says so where a person sees it.

use std::io::Write;

/// Says why a test, or the rest of it, does not run. Past the capture of the test harness, which shows
/// nothing of a test that ends well; `tests/run` counts these lines.
pub fn skipped(why: &str) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {why}");
}
