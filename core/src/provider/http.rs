//! The way out: one shared client, a deadline for each phase, bodies with a size limit, and keys
//! that follow no redirect and show in no error.

mod stream;

use std::fmt;
use std::sync::Once;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::failure::{CallFailure, FailureClass, Sent};
use super::settings::{Deadlines, ProviderSettings};
use super::wire;
use crate::error::{Error, Kind, Result};
pub(super) use stream::Stream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Most bytes that are read of an error answer, and how long that may take.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The clients that all providers share. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Http {
    /// For the world; honours the proxy settings of the system.
    world: reqwest::Client,
    /// For this machine; never through a proxy.
    loopback: reqwest::Client,
}

impl Http {
    /// Opens no connection yet.
    pub fn new() -> Result<Self> {
        static TLS: Once = Once::new();
        TLS.call_once(|| {
            if rustls::crypto::ring::default_provider()
                .install_default()
                .is_err()
            {
                tracing::debug!("a TLS provider was installed before");
            }
        });
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("clode-ls/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .tcp_nodelay(true)
                .http2_adaptive_window(true)
        };
        let failed = |error: reqwest::Error| {
            Error::new(
                Kind::Provider,
                "tlsUnavailable",
                format!("no HTTP client can be made: {}", explain(error)),
            )
            .hint("install the system's CA certificates (package ca-certificates)")
        };
        Ok(Self {
            world: builder().build().map_err(failed)?,
            loopback: builder().no_proxy().build().map_err(failed)?,
        })
    }

    fn client_for(&self, url: &Url) -> &reqwest::Client {
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if is_loopback { &self.loopback } else { &self.world }
    }
}

/// How a wire wants its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyHeader {
    /// `x-api-key: <key>`
    ApiKey,
    /// `authorization: Bearer <key>`
    Bearer,
}

/// One address that takes requests, with everything that each of them carries.
pub(super) struct Endpoint {
    pub(super) provider: String,
    url: Url,
    headers: HeaderMap,
    key: Option<SecretString>,
    key_name: Option<String>,
    deadlines: Deadlines,
    http: Http,
}

/// Without headers and key.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("provider", &self.provider)
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// `path` comes after the version, as in `messages`.
    pub(super) fn new(
        settings: &ProviderSettings,
        http: &Http,
        path: &str,
        key_header: KeyHeader,
    ) -> Result<Self> {
        let default = super::roster(settings.kind).map_or("", |line| line.base_url);
        let base = settings
            .base_url
            .as_deref()
            .filter(|base| !base.trim().is_empty())
            .unwrap_or(default);
        let url = join(base, path).ok_or_else(|| {
            Error::new(
                Kind::Config,
                "baseUrl",
                format!(
                    "`baseUrl` of provider `{}` is not an http(s) address",
                    settings.id
                ),
            )
            .hint("write it as https://host/v1")
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &settings.api_key {
            let (name, text) = match key_header {
                KeyHeader::ApiKey => (
                    HeaderName::from_static("x-api-key"),
                    key.expose_secret().trim().to_owned(),
                ),
                KeyHeader::Bearer => (
                    reqwest::header::AUTHORIZATION,
                    format!("Bearer {}", key.expose_secret().trim()),
                ),
            };
            let mut value = HeaderValue::from_str(&text).map_err(|_| unusable_key(settings))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self {
            provider: settings.id.clone(),
            url,
            headers,
            key: settings.api_key.clone(),
            key_name: settings.api_key_env.clone(),
            deadlines: settings.deadlines,
            http: http.clone(),
        })
    }

    /// A header of the wire itself.
    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// The headers of the configuration; they come last and so may replace ours.
    pub(super) fn with_configured_headers(mut self, settings: &ProviderSettings) -> Result<Self> {
        for (name, value) in &settings.headers {
            let header = HeaderName::try_from(name.as_str())
                .ok()
                .zip(HeaderValue::try_from(value.as_str()).ok());
            let (header_name, mut header_value) = header.ok_or_else(|| {
                Error::new(
                    Kind::Config,
                    "header",
                    format!("provider `{}`: `{name}` is not a usable header", settings.id),
                )
            })?;
            header_value.set_sensitive(true);
            self.headers.insert(header_name, header_value);
        }
        Ok(self)
    }

    /// Sends the request and reads the headers of the answer; anything but success is a failure.
    pub(super) async fn open<'a>(
        &'a self,
        body: Vec<u8>,
        cancel: &'a CancellationToken,
    ) -> Result<Stream<'a>, CallFailure> {
        if cancel.is_cancelled() {
            return Err(CallFailure::cancelled(Sent::Nothing));
        }
        let sent_at = Instant::now();
        let request = self
            .http
            .client_for(&self.url)
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(body);
        let deadline = sent_at + self.deadlines.headers.min(self.deadlines.total);
        let response = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CallFailure::cancelled(Sent::Unknown)),
            answer = tokio::time::timeout_at(deadline, request.send()) => match answer {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(self.unreachable(error)),
                Err(_) => return Err(self.too_slow("sent no response headers", self.deadlines.headers, Sent::Unknown)),
            },
        };
        if !response.status().is_success() {
            return Err(self.refused(response, cancel).await);
        }
        let is_plain = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if is_plain {
            // A proxy that does not stream, or an error in the clothes of success.
            let failure = self.refused(response, cancel).await;
            return Err(CallFailure {
                sent: Sent::Started,
                ..failure
            }
            .hint("the answer is no event stream: check `baseUrl`"));
        }
        Ok(Stream::new(self, response, sent_at, cancel))
    }

    fn unreachable(&self, error: reqwest::Error) -> CallFailure {
        let sent = if error.is_connect() || error.is_builder() {
            Sent::Nothing
        } else {
            Sent::Unknown
        };
        let message = format!(
            "provider `{}` cannot be reached: {}",
            self.provider,
            self.scrub(&explain(error))
        );
        let failure =
            CallFailure::new(FailureClass::Transient, sent, message).with_code("providerUnreachable");
        failure.hint(format!(
            "check the network, the proxy settings and `baseUrl` ({})",
            self.origin()
        ))
    }

    fn too_slow(&self, what: &str, limit: Duration, sent: Sent) -> CallFailure {
        let message = format!("provider `{}` {what} within {:?}", self.provider, limit);
        CallFailure::new(FailureClass::Transient, sent, message).with_code("providerTimeout")
    }

    async fn refused(&self, mut response: reqwest::Response, cancel: &CancellationToken) -> CallFailure {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = ERROR_BODY_BYTES_MAX.saturating_sub(body.len());
                body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
                if body.len() >= ERROR_BODY_BYTES_MAX {
                    break;
                }
            }
        };
        // Whatever came of it by then is enough: the status alone says what to do.
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(ERROR_BODY_TIMEOUT) => {}
            () = reading => {}
        }
        let failure = wire::refusal(self, status, &headers, &body);
        CallFailure {
            status: Some(status),
            ..failure
        }
    }

    /// The text without the key, should the other side have echoed it.
    pub(super) fn scrub(&self, text: &str) -> String {
        match self.key.as_ref().map(|key| key.expose_secret().trim()) {
            Some(key) if !key.is_empty() => text.replace(key, "«key»"),
            _ => text.to_owned(),
        }
    }

    /// What to look at when the key is refused.
    pub(super) fn key_hint(&self) -> String {
        match &self.key_name {
            Some(name) if self.key.is_some() => format!("check {name}"),
            Some(name) => format!("set {name}"),
            None => format!("check `apiKeyEnv` of provider `{}`", self.provider),
        }
    }

    /// Scheme, host and port: what may be shown of an address.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

fn unusable_key(settings: &ProviderSettings) -> Error {
    let name = settings.api_key_env.as_deref().unwrap_or("the configured key");
    Error::new(
        Kind::Config,
        "keyUnusable",
        format!(
            "the key of provider `{}` holds characters that no header may hold",
            settings.id
        ),
    )
    .hint(format!("check {name} for line breaks and quotes"))
}

/// The address of `path` below a base that may or may not end with its version.
fn join(base: &str, path: &str) -> Option<Url> {
    let mut url = Url::parse(base.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    let is_version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let has_version = url.path_segments().is_some_and(|mut parts| parts.any(is_version));
    {
        let mut parts = url.path_segments_mut().ok()?;
        parts.pop_if_empty();
        if !has_version {
            parts.push("v1");
        }
        parts.extend(path.split('/'));
    }
    Some(url)
}

/// What a client error says, with its causes and without the address (which may hold a secret).
fn explain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_works_with_and_without_its_version() {
        let cases = [
            (
                "https://api.anthropic.com",
                "https://api.anthropic.com/v1/messages",
            ),
            (
                "https://api.anthropic.com/",
                "https://api.anthropic.com/v1/messages",
            ),
            (
                "https://api.anthropic.com/v1",
                "https://api.anthropic.com/v1/messages",
            ),
            (
                "https://api.anthropic.com/v1/",
                "https://api.anthropic.com/v1/messages",
            ),
            ("https://host/api", "https://host/api/v1/messages"),
            (
                "https://host/v1beta/openai/",
                "https://host/v1beta/openai/messages",
            ),
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/messages"),
        ];
        for (base, expected) in cases {
            assert_eq!(
                join(base, "messages").map(String::from).as_deref(),
                Some(expected),
                "{base}"
            );
        }
        for base in ["", "api.anthropic.com", "ftp://host", "file:///etc/passwd"] {
            assert_eq!(join(base, "messages"), None, "{base}");
        }
    }

    #[test]
    fn settings_and_endpoint_show_no_key() {
        let mut settings = ProviderSettings::new("anthropic", crate::provider::ProviderKind::Anthropic);
        settings.api_key = Some(SecretString::from("sk-ant-very-secret"));
        settings
            .headers
            .insert("x-team".to_owned(), "header-secret".to_owned());
        let http = Http::new().expect("client");
        let endpoint = Endpoint::new(&settings, &http, "messages", KeyHeader::ApiKey)
            .and_then(|endpoint| endpoint.with_configured_headers(&settings))
            .expect("endpoint");
        let shown = format!("{settings:?} {endpoint:?} {:?}", endpoint.headers);
        assert!(
            !shown.contains("very-secret") && !shown.contains("header-secret"),
            "{shown}"
        );
        assert_eq!(endpoint.scrub("bad key sk-ant-very-secret!"), "bad key «key»!");
    }

    #[test]
    fn a_key_with_a_line_break_is_refused_without_being_shown() {
        let mut settings = ProviderSettings::new("anthropic", crate::provider::ProviderKind::Anthropic);
        settings.api_key = Some(SecretString::from("sk-ant\nsecret"));
        let error = Endpoint::new(
            &settings,
            &Http::new().expect("client"),
            "messages",
            KeyHeader::ApiKey,
        )
        .expect_err("refused");
        assert_eq!(error.code, "keyUnusable");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
