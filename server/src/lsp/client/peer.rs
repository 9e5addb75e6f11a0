//! An editor made of channels, for tests of what talks to one.

use serde_json::{Value, json};

use super::{Client, connect};
use crate::lsp::frame::message::{AnswerError, Id};
use crate::lsp::pump::Drain;

/// The far end of a [`Client`].
pub(crate) struct Peer {
    client: Client,
    drain: Option<Drain>,
}

impl Peer {
    /// A client whose editor declared these capabilities.
    pub(crate) fn connect(capabilities: &Value) -> (Client, Self) {
        let (client, drain) = connect();
        client.open(json!({ "capabilities": capabilities }));
        (
            client.clone(),
            Self {
                client,
                drain: Some(drain),
            },
        )
    }

    /// The next message from the server, waiting for it.
    pub(crate) async fn next(&mut self) -> Value {
        let drain = self.drain.take().unwrap();
        let (drain, text) = tokio::task::spawn_blocking(move || {
            let text = drain.next_blocking();
            (drain, text)
        })
        .await
        .unwrap();
        self.drain = Some(drain);
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    /// A message that left already.
    pub(crate) fn next_now(&mut self) -> Option<Value> {
        let text = self.drain.as_ref().unwrap().next_now()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Answers a request that was received; whether somebody waited.
    pub(crate) fn answer(&self, request: &Value, result: Value) -> bool {
        self.client
            .accept(&Id::from_value(&request["id"]).unwrap(), Ok(result))
    }

    /// Answers a request with an error.
    pub(crate) fn refuse(&self, request: &Value, code: i64, message: &str) -> bool {
        let error = AnswerError {
            code,
            message: message.to_owned(),
        };
        self.client
            .accept(&Id::from_value(&request["id"]).unwrap(), Err(error))
    }
}
