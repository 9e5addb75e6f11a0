//! The ways in which a call to a model provider goes wrong.

use super::script::Reply;

/// A way in which a call goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An HTTP status with the API's own error body.
    Status {
        /// The status.
        code: u16,
        /// Further headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The message of the error.
        message: String,
    },
    /// Half of the reply, then the connection breaks.
    CutMidStream(Reply),
    /// The connection is reset before anything was answered.
    ResetBeforeFirstByte,
    /// Accepts the request and never answers.
    NeverAnswers,
    /// Half of the reply, then silence.
    Stall(Reply),
    /// A stream whose data is no JSON.
    MalformedSse,
    /// Status 200, and an error as an event of the stream.
    InBandError {
        /// The API's name of the error, such as `overloaded_error`.
        kind: String,
        /// Its message.
        message: String,
    },
    /// Status 200 and a stream without an event.
    EmptyStream,
    /// Status 200 and a page of HTML, as a captive portal or a wrong proxy answers.
    Html,
}

impl Fault {
    /// This status, without further headers.
    #[must_use]
    pub fn status(code: u16, message: &str) -> Self {
        Self::Status {
            code,
            headers: Vec::new(),
            message: message.to_owned(),
        }
    }

    /// Adds a header to a status; other faults have none.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}
