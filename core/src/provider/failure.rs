//! A call that did not end in an answer: its class decides what the router does next.

use std::time::Duration;

use super::message::Usage;
use crate::error::{Error, Kind};

/// What kind of failure, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Too many requests, or overloaded: another provider, or wait.
    Throttled {
        /// As the provider asked for, bounded.
        retry_after: Option<Duration>,
    },
    /// May go better the next time.
    Transient,
    /// The key was refused.
    Auth,
    /// No credit, or a spend limit of the account.
    Billing,
    /// No such model (or address).
    NotFound,
    /// Too long for this model.
    ContextOverflow,
    /// A policy of the provider's.
    ContentPolicy,
    /// The request itself is wrong.
    Invalid,
    /// Somebody asked to stop.
    Cancelled,
    /// The stream ended before the answer did.
    Truncated,
}

impl FailureClass {
    /// Its stable name, for audit and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Transient => "transient",
            Self::Auth => "auth",
            Self::Billing => "billing",
            Self::NotFound => "notFound",
            Self::ContextOverflow => "contextOverflow",
            Self::ContentPolicy => "contentPolicy",
            Self::Invalid => "invalid",
            Self::Cancelled => "cancelled",
            Self::Truncated => "truncated",
        }
    }

    /// The code of the [`Error`] that a person sees.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Throttled { .. } => "rateLimited",
            Self::Transient => "providerUnavailable",
            Self::Auth => "keyRejected",
            Self::Billing => "providerBilling",
            Self::NotFound => "modelNotFound",
            Self::ContextOverflow => "contextOverflow",
            Self::ContentPolicy => "contentPolicy",
            Self::Invalid => "providerRefusedRequest",
            Self::Cancelled => "cancelled",
            Self::Truncated => "streamTruncated",
        }
    }
}

/// How far a send came, and so whether it may have cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing left this machine: it cost nothing.
    Nothing,
    /// Sent, and no answer: it may have cost anything up to the whole.
    Unknown,
    /// The provider answered with an error before any work: it cost nothing.
    Refused,
    /// The answer had begun: it cost what was seen.
    Started,
}

/// A call that did not end in an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct CallFailure {
    /// What to do about it.
    pub class: FailureClass,
    /// What a person sees.
    pub error: Box<Error>,
    /// What was used as far as was seen; output that was streamed but not yet reported is estimated.
    pub usage_seen: Usage,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// Whether it may have cost something.
    pub sent: Sent,
}

impl CallFailure {
    /// A failure of this class with its own code.
    pub fn new(class: FailureClass, sent: Sent, message: impl Into<String>) -> Self {
        let kind = if class == FailureClass::Cancelled {
            Kind::Cancelled
        } else {
            Kind::Provider
        };
        let error = Box::new(Error::new(kind, class.code(), message));
        Self {
            class,
            error,
            usage_seen: Usage::default(),
            status: None,
            sent,
        }
    }

    /// Somebody asked to stop.
    pub fn cancelled(sent: Sent) -> Self {
        Self::new(FailureClass::Cancelled, sent, "the model call was cancelled")
    }

    /// With a code that is more exact than that of the class.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.error.code = code.into();
        self
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hints.push(hint.into());
        self
    }

    /// With what was used until then.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage_seen = usage;
        self
    }
}
