//! The protocol edge: frames and their order, and every message that goes out to the editor.
//!
//! `serve` reads, orders and answers; what it calls into is a `LanguageServer`. Everything that
//! leaves goes through one [`pump::Outbox`], so that "progress ended" is on the wire before the
//! answer of the same command. Requests to the editor start in [`client::Client`] only.

pub(crate) mod backend;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session and the commands come on top")
)]
pub(crate) mod capabilities;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session and the commands come on top")
)]
pub(crate) mod client;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session and the commands come on top")
)]
pub(crate) mod document;
pub(crate) mod encoding;
pub(crate) mod frame;
pub(crate) mod parent;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session and the commands come on top")
)]
pub(crate) mod progress;
pub(crate) mod pump;
pub(crate) mod serve;
