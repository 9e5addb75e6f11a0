//! What the end-to-end tests have in common.

pub mod lsp_client;
