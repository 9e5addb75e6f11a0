//! What becomes of one frame: the lifecycle, the order of handlers, the limits, and exactly one answer a request.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::Service;
use tower_lsp::jsonrpc::{Error, Id as ServiceId, Request, Response};
use tower_lsp::{LanguageServer, LspService};

use super::{faults, typed_initialize_params};
use crate::lsp::client::Client;
use crate::lsp::frame::Frame;
use crate::lsp::frame::message::{self, Defect, Id, Message};

/// Requests that are being worked on.
const IN_FLIGHT_MAX: usize = 256;
/// Requests that are being worked on, and answers that wait for the editor to read.
const JOBS_MAX: usize = 2 * IN_FLIGHT_MAX;
/// How long an editor may send without reading anything.
const STALL_LIMIT_MS: u64 = 30_000;
/// A notification is posted, never worked on: one that takes longer is a defect and is dropped.
const NOTIFICATION_LIMIT_MS: u64 = 5_000;
const INITIALIZE_LIMIT_MS: u64 = 30_000;
/// Editors kill a server that takes longer.
const SHUTDOWN_LIMIT_MS: u64 = 2_000;

/// How the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Exit { after_shutdown: bool },
    Stalled,
}

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    BeforeInitialize,
    Working,
    AfterShutdown,
}

/// What a handler came to.
enum Outcome {
    Answer(Result<Value, Error>),
    /// The service had nothing to say.
    Nothing,
    Panicked,
}

type Call = BoxFuture<'static, Outcome>;

/// Takes frames and calls the service.
pub(super) struct Dispatcher<S, W> {
    service: LspService<S>,
    client: Client,
    watch_parent: W,
    phase: Phase,
    in_flight: Arc<InFlight>,
    jobs: JoinSet<()>,
    next_service_id: i64,
}

/// Requests without an answer yet: the editor's id → the id under which the service knows it. Ids of our own keep a
/// panicked handler, which the service never forgets, from blocking an id of the editor's.
#[derive(Debug, Default)]
struct InFlight {
    requests: Mutex<HashMap<Id, i64>>,
    panicked: Mutex<Vec<i64>>,
}

impl<S: LanguageServer, W: FnMut(i64)> Dispatcher<S, W> {
    pub(super) fn new(service: LspService<S>, client: Client, watch_parent: W) -> Self {
        Self {
            service,
            client,
            watch_parent,
            phase: Phase::BeforeInitialize,
            in_flight: Arc::default(),
            jobs: JoinSet::new(),
            next_service_id: 0,
        }
    }

    /// Takes one frame; returns when the next one may be taken.
    pub(super) async fn take(&mut self, frame: Frame) -> Flow {
        while self.jobs.try_join_next().is_some() {}
        self.forget_panicked().await;
        let stall_limit = Duration::from_millis(STALL_LIMIT_MS);
        while self.jobs.len() >= JOBS_MAX {
            if tokio::time::timeout(stall_limit, self.jobs.join_next())
                .await
                .is_err()
            {
                return Flow::Stalled;
            }
        }
        let body = match frame {
            Frame::Body(body) => body,
            Frame::TooLong { announced } => {
                tracing::warn!(announced, "a message is too long");
                self.reply(None, faults::invalid("the message is too long"));
                return Flow::Continue;
            }
            Frame::BadHeader => {
                tracing::warn!("a header announces no usable length; looking for the next one");
                self.reply(
                    None,
                    faults::unreadable("the header has no usable Content-Length"),
                );
                return Flow::Continue;
            }
            Frame::End(_) => return Flow::Continue,
        };
        match message::parse(&body) {
            Ok(Message::Notification { method, params }) => return self.notification(method, params).await,
            Ok(Message::Request { id, method, params }) => self.request(id, method, params).await,
            Ok(Message::Answer { id, outcome }) => {
                if !self.client.accept(&id, outcome) {
                    tracing::debug!(?id, "an answer that nobody waits for");
                }
            }
            Err(Defect::StrayAnswer) => tracing::debug!("an answer without a usable id"),
            Err(Defect::Hollow(id)) => {
                if !self.client.accept(&id, Ok(Value::Null)) {
                    self.reply(None, faults::invalid("neither `method` nor `result` nor `error`"));
                }
            }
            Err(Defect::NoMessage(why)) => {
                tracing::warn!(why, bytes = body.len(), "a body is no message");
                self.reply(None, faults::invalid(why));
            }
            Err(Defect::Unreadable(why)) => {
                tracing::warn!(why, bytes = body.len(), "a body cannot be read");
                self.reply(None, faults::unreadable(why));
            }
        }
        Flow::Continue
    }

    /// Drops what is being worked on.
    pub(super) async fn abandon(mut self, grace: Duration) {
        self.jobs.abort_all();
        let _ = tokio::time::timeout(grace, async { while self.jobs.join_next().await.is_some() {} }).await;
    }

    async fn notification(&mut self, method: String, params: Option<Value>) -> Flow {
        match method.as_str() {
            "exit" => {
                return Flow::Exit {
                    after_shutdown: self.phase == Phase::AfterShutdown,
                };
            }
            "$/cancelRequest" => self.cancel(params.as_ref()).await,
            // Requests; without an id there is nobody to answer.
            "initialize" | "shutdown" => tracing::debug!(method, "ignored: not a notification"),
            _ if self.phase == Phase::BeforeInitialize => {
                tracing::debug!(method, "ignored before initialize");
            }
            _ => {
                let call = self.call(None, method.clone(), params);
                match tokio::time::timeout(Duration::from_millis(NOTIFICATION_LIMIT_MS), call).await {
                    Ok(Outcome::Panicked) => {
                        tracing::error!(method, "the handler of a notification panicked");
                    }
                    Ok(_) => {}
                    Err(_) => tracing::error!(method, "the handler of a notification took too long"),
                }
            }
        }
        Flow::Continue
    }

    async fn request(&mut self, id: Id, method: String, params: Option<Value>) {
        match self.admit(&id, &method) {
            Err(error) => self.reply(Some(&id), error),
            Ok(()) if method == "initialize" => self.initialize(&id, params).await,
            Ok(()) if method == "shutdown" => self.shutdown(&id).await,
            Ok(()) => self.start(id, method, params),
        }
    }

    /// Whether this request may be worked on.
    fn admit(&self, id: &Id, method: &str) -> Result<(), Error> {
        match (self.phase, method) {
            (Phase::BeforeInitialize, "initialize") | (Phase::Working, "shutdown") => return Ok(()),
            (Phase::BeforeInitialize, _) => return Err(faults::not_initialized()),
            (Phase::AfterShutdown, _) => return Err(faults::invalid("the server has been shut down")),
            (Phase::Working, "initialize") => {
                return Err(faults::invalid("the server is initialized already"));
            }
            (Phase::Working, "exit") => return Err(faults::invalid("`exit` is a notification")),

            (Phase::Working, method) if method.starts_with("$/") => {
                return Err(faults::unknown_method(method));
            }
            (Phase::Working, _) => {}
        }
        let requests = self.in_flight.requests();
        if requests.contains_key(id) {
            return Err(faults::invalid("a request with this id is being worked on"));
        }
        if requests.len() >= IN_FLIGHT_MAX {
            return Err(faults::too_many_requests(IN_FLIGHT_MAX));
        }
        Ok(())
    }

    async fn initialize(&mut self, id: &Id, params: Option<Value>) {
        let params = match params {
            Some(Value::Array(items)) if items.is_empty() => json!({}), // what Lua makes of an empty object
            Some(params @ Value::Object(_)) => params,
            _ => {
                return self.reply(
                    Some(id),
                    faults::invalid_params("the parameters of `initialize` are no object"),
                );
            }
        };
        if let Some(process_id) = params.get("processId").and_then(Value::as_i64) {
            (self.watch_parent)(process_id);
        }
        self.client.open(params);
        let limit = Duration::from_millis(INITIALIZE_LIMIT_MS);
        let answer = self
            .await_answer("initialize", Some(typed_initialize_params()), limit)
            .await;
        if answer.is_ok() {
            self.phase = Phase::Working;
        }
        self.send(response(Some(id), answer));
    }

    async fn shutdown(&mut self, id: &Id) {
        self.phase = Phase::AfterShutdown;
        let answer = self
            .await_answer("shutdown", None, Duration::from_millis(SHUTDOWN_LIMIT_MS))
            .await;
        self.send(response(Some(id), answer));
    }

    /// Calls a method of the lifecycle, while which nothing else happens.
    async fn await_answer(
        &mut self,
        method: &'static str,
        params: Option<Value>,
        limit: Duration,
    ) -> Result<Value, Error> {
        let service_id = self.service_id();
        let call = self.call(Some(service_id), method.to_owned(), params);
        let outcome = tokio::time::timeout(limit, call).await;
        if let Ok(Outcome::Answer(answer)) = outcome {
            return answer;
        }
        self.in_flight.has_panicked(service_id); // or was dropped, which comes to the same
        Err(if outcome.is_err() {
            faults::timed_out(method)
        } else {
            faults::internal(method)
        })
    }

    /// Polls the handler once, here, and lets it run by itself if it is not ready.
    fn start(&mut self, id: Id, method: String, params: Option<Value>) {
        let service_id = self.service_id();
        self.in_flight.requests().insert(id.clone(), service_id);
        let call = self.call(Some(service_id), method.clone(), params);
        let (in_flight, outbox) = (Arc::clone(&self.in_flight), self.client.outbox().clone());
        let mut job = Box::pin(async move {
            let answer = match call.await {
                Outcome::Answer(answer) => answer,
                Outcome::Nothing => Err(faults::unknown_method(&method)),
                Outcome::Panicked => {
                    tracing::error!(method, "the handler of a request panicked");
                    in_flight.has_panicked(service_id);
                    Err(faults::internal(&method))
                }
            };
            // The editor may use the id again as soon as it has the answer.
            in_flight.requests().remove(&id);
            let _ = outbox.send(&response(Some(&id), answer)).await;
        });
        if job.as_mut().now_or_never().is_none() {
            self.jobs.spawn(job);
        }
    }

    /// Calls the service; what it does panics inside only.
    fn call(&mut self, service_id: Option<i64>, method: String, params: Option<Value>) -> Call {
        let mut request = Request::build(method);
        if let Some(service_id) = service_id {
            request = request.id(service_id);
        }
        if let Some(params) = params {
            request = request.params(params);
        }
        let request = request.finish();
        let Ok(call) = catch_unwind(AssertUnwindSafe(|| self.service.call(request))) else {
            return std::future::ready(Outcome::Panicked).boxed();
        };
        AssertUnwindSafe(call)
            .catch_unwind()
            .map(|caught| match caught {
                Ok(Ok(Some(response))) => Outcome::Answer(response.into_parts().1),
                Ok(Ok(None) | Err(_)) => Outcome::Nothing,
                Err(_) => Outcome::Panicked,
            })
            .boxed()
    }

    async fn cancel(&mut self, params: Option<&Value>) {
        let id = params
            .and_then(|params| params.get("id"))
            .and_then(Id::from_value);
        let service_id = id.and_then(|id| self.in_flight.requests().get(&id).copied());
        if let Some(service_id) = service_id {
            self.cancel_service_id(service_id).await;
        } else {
            tracing::debug!("nothing to cancel: the request is answered already or never came");
        }
    }

    async fn cancel_service_id(&mut self, service_id: i64) {
        self.call(
            None,
            "$/cancelRequest".to_owned(),
            Some(json!({ "id": service_id })),
        )
        .await;
    }

    /// The service keeps the ids of handlers that panicked until they are cancelled.
    async fn forget_panicked(&mut self) {
        let panicked = std::mem::take(&mut *self.in_flight.panicked());
        for service_id in panicked {
            self.cancel_service_id(service_id).await;
        }
    }

    fn service_id(&mut self) -> i64 {
        // The typed form of a cancellation knows 31 bits.
        self.next_service_id = (self.next_service_id + 1) % i64::from(i32::MAX);
        self.next_service_id
    }

    /// Answers with an error; without an id to the editor at large.
    fn reply(&mut self, id: Option<&Id>, error: Error) {
        self.send(response(id, Err(error)));
    }

    /// Sends an answer without ever waiting here. It is in line when this returns.
    fn send(&mut self, response: Response) {
        let outbox = self.client.outbox().clone();
        let mut sending = Box::pin(async move {
            let _ = outbox.send(&response).await;
        });
        if sending.as_mut().now_or_never().is_none() {
            self.jobs.spawn(sending);
        }
    }
}

impl InFlight {
    fn requests(&self) -> MutexGuard<'_, HashMap<Id, i64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn panicked(&self) -> MutexGuard<'_, Vec<i64>> {
        self.panicked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_panicked(&self, service_id: i64) {
        self.panicked().push(service_id);
    }
}

fn response(id: Option<&Id>, answer: Result<Value, Error>) -> Response {
    let id = match id {
        Some(Id::Number(number)) => ServiceId::Number(*number),
        Some(Id::Text(text)) => ServiceId::String(text.clone()),
        None => ServiceId::Null,
    };
    Response::from_parts(id, answer)
}
