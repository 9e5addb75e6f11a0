//! The names that configuration knows without being told.

/// The agents that are built in, in the order in which they work.
pub const BUILT_IN: [&str; 5] = ["taskMaster", "architect", "developer", "qa", "kbBuilder"];
/// The agent that changes files.
pub const DEVELOPER: &str = "developer";
/// As a model: the Developer by Claude Code.
pub const CLAUDE_CODE_MODEL: &str = "claude-code";

/// Whether this agent is built in.
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
}
