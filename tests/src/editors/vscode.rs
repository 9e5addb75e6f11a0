//! VS Code in a browser without a screen.
