//! The program Claude Code as a provider of plain answers, for machines where nothing else is set up.
//!
//! One call is one process without tools. What it costs is counted by the router like any other call;
//! tools that a request offers are left out, so an agent that needs them is not served by it.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::launch::{self, Account, Launch, Program, SystemPrompt, Talk};
use super::meter::Meter;
use super::outcome::Outcome;
use super::session::{self, Ended, Host, ToolCall, Verdict};
use crate::agent::private::{PrivateFolder, private_folder};
use crate::config::{Environment, SandboxMode};
use crate::error::{Error, Result};
use crate::process::{Confinement, Network, SandboxPolicy, Spawner};
use crate::provider::message::{Content, Delta, Message, Request, Response, Role, Stop};
use crate::provider::{CallFailure, Events, FailureClass, Provider, Sent};

/// As in the configuration.
const KIND: &str = "claude-code";
/// Model calls of one process.
const TURNS_MAX: u32 = 2;

/// What it is built from.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// Starts it.
    pub(crate) spawner: Spawner,
    /// The process environment.
    pub(crate) environment: Arc<Environment>,
    /// For the private folder of each call.
    pub(crate) cache: PathBuf,
    /// Whether it is confined.
    pub(crate) sandbox: SandboxMode,
    /// The program, by absolute path.
    pub(crate) program: PathBuf,
    /// Arguments before ours.
    pub(crate) first_args: Vec<String>,
    /// The key; the user's own login without one.
    pub(crate) key: Option<SecretString>,
    /// Where it sends to, if not to the usual address.
    pub(crate) base_url: Option<String>,
}

/// The provider.
#[derive(Debug)]
pub(crate) struct ClaudeCode {
    parts: Parts,
    program: Program,
    /// Asked once.
    version: OnceCell<String>,
}

impl ClaudeCode {
    /// Starts nothing yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let program = Program {
            path: parts.program.clone(),
            first_args: parts.first_args.clone(),
            account: parts.key.clone().map_or(Account::Login, Account::Key),
            base_url: parts.base_url.clone(),
        };
        Self {
            parts,
            program,
            version: OnceCell::new(),
        }
    }

    async fn send(&self, request: &Request, cancel: &CancellationToken) -> Result<Ended> {
        let private = PrivateFolder::make(&self.parts.cache)?;
        for name in ["config", "work"] {
            private_folder(&private.path().join(name))?;
        }
        let (spawner, environment) = (&self.parts.spawner, &self.parts.environment);
        let home = private.home();
        let checked = launch::check_version(spawner, &self.program, environment, &home, cancel);
        self.version.get_or_try_init(|| checked).await?;
        let file = private.path().join("system.md");
        let system: Vec<&str> = request.system.iter().map(|block| block.text.as_str()).collect();
        std::fs::write(&file, system.join("\n"))
            .map_err(|error| Error::io(format!("writing {}", file.display()), &error))?;
        let launch = Launch {
            program: &self.program,
            environment: &self.parts.environment,
            cwd: &private.path().join("work"),
            private: private.path(),
            confinement: self.confinement(&private).await,
            talk: &Talk::New(session::new_id()?),
            system: &SystemPrompt::Replaced(file),
            tools: "",
            model: Some(request.model.as_str()).filter(|model| !model.is_empty()),
            turns_max: TURNS_MAX,
            budget: None,
            answer_tokens_max: u64::from(request.max_tokens),
            retries: 0,
        };
        let child = self
            .parts
            .spawner
            .spawn(launch.command())
            .await
            .map_err(|error| launch::missing(&error.message))?;
        session::converse(child, &as_text(&request.messages), &NoTools, cancel).await
    }

    async fn confinement(&self, private: &PrivateFolder) -> Confinement {
        let confines = self.parts.spawner.probe().await.confines_files()
            && self.parts.sandbox != SandboxMode::Off
            && self.parts.key.is_some();
        if !confines {
            return Confinement::Supervised;
        }
        Confinement::Sandboxed(SandboxPolicy {
            writable: vec![private.path().to_path_buf()],
            readable: self.program.folders(),
            network: Network::Full,
        })
    }
}

impl Provider for ClaudeCode {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn call<'a>(
        &'a self,
        request: &'a Request,
        events: Events<'a>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Response, CallFailure>> {
        Box::pin(async move {
            let ended = match self.send(request, cancel).await {
                Ok(ended) => ended,
                Err(_) if cancel.is_cancelled() => return Err(CallFailure::cancelled(Sent::Nothing)),
                Err(error) => return Err(failure(error, Sent::Nothing)),
            };
            let sent = if ended.meter.usage().is_empty() {
                Sent::Unknown
            } else {
                Sent::Started
            };
            let usage = ended.meter.usage();
            match ended.outcome {
                Outcome::Done(text) => {
                    events(Delta::Text(text.clone()));
                    let model = ended.meter.model().unwrap_or(&request.model).to_owned();
                    let content = vec![Content::Text(text)];
                    Ok(Response {
                        content,
                        stop: Stop::EndTurn,
                        usage,
                        model,
                        request_id: None,
                    })
                }
                Outcome::Interrupted(_) if cancel.is_cancelled() => {
                    Err(CallFailure::cancelled(sent).with_usage(usage))
                }
                Outcome::Interrupted(error) | Outcome::Failed(error) => {
                    Err(failure(error, sent).with_usage(usage))
                }
                Outcome::OutOfMoney | Outcome::OutOfTurns | Outcome::SessionLost => {
                    let failure = CallFailure::new(
                        FailureClass::Truncated,
                        sent,
                        "Claude Code ended before its answer did",
                    );
                    Err(failure.with_usage(usage))
                }
            }
        })
    }
}

/// A failure, by the code of its error.
fn failure(error: Error, sent: Sent) -> CallFailure {
    let class = match error.code.as_ref() {
        "keyRejected" | "claudeNotLoggedIn" => FailureClass::Auth,
        "providerBilling" => FailureClass::Billing,
        "modelNotFound" | "claudeMissing" | "claudeTooOld" => FailureClass::NotFound,
        "contextOverflow" => FailureClass::ContextOverflow,
        "providerUnavailable" | "claudeInterrupted" => FailureClass::Transient,
        _ => FailureClass::Invalid,
    };
    let mut failure = CallFailure::new(class, sent, "");
    failure.error = Box::new(error);
    failure
}

/// A conversation as one message.
fn as_text(messages: &[Message]) -> String {
    let words = |message: &Message| {
        let texts = message.content.iter().filter_map(|piece| match piece {
            Content::Text(text) | Content::ToolResult { text, .. } => Some(text.as_str()),
            Content::ToolUse { .. } | Content::Opaque { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    };
    if let [only] = messages {
        return words(only);
    }
    let turns = messages.iter().map(|message| match message.role {
        Role::User => format!("# You were told\n{}\n", words(message)),
        Role::Assistant => format!("# You answered\n{}\n", words(message)),
    });
    turns.collect::<Vec<_>>().join("\n")
}

/// Has no tools, so nothing to decide.
struct NoTools;

impl Host for NoTools {
    fn before_tool(&self, _call: ToolCall, _meter: Meter, _results_came: bool) -> BoxFuture<'_, Verdict> {
        Box::pin(async { Verdict::Deny("there are no tools here: answer in words".to_owned()) })
    }

    fn begun(&self, _session: &str) {}

    fn say(&self, _words: String) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::claude::tests::scripted::{Api, Say};

    #[test]
    fn a_conversation_becomes_one_text_in_its_order() {
        assert_eq!(as_text(&[Message::user("alone")]), "alone");
        let turns = [
            Message::user("a"),
            Message::assistant(vec![Content::Text("b".to_owned())]),
            Message::user("c"),
        ];
        assert_eq!(
            as_text(&turns),
            "# You were told\na\n\n# You answered\nb\n\n# You were told\nc\n"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_real_program_answers_in_words_with_our_prompt_alone() {
        let Some((shim, claude)) = crate::agent::claude::tests::found() else {
            return;
        };
        let (api, address) = Api::serve(vec![Say::Text("A brief."), Say::Status(401)]).await;
        let place = tempfile::tempdir().expect("a folder");
        let provider = ClaudeCode::new(Parts {
            spawner: Spawner::new(shim),
            environment: Arc::new(Environment::from_pairs([(
                "PATH",
                "/usr/local/bin:/usr/bin:/bin",
            )])),
            cache: place.path().to_path_buf(),
            sandbox: SandboxMode::Auto,
            program: claude,
            first_args: Vec::new(),
            key: Some("sk-ant-api03-test".to_owned().into()),
            base_url: Some(address),
        });
        let request = Request {
            model: "claude-sonnet-5".to_owned(),
            system: vec![crate::provider::SystemBlock {
                text: "clode-agent: taskMaster\nYou orient.".to_owned(),
                cache: true,
            }],
            messages: vec![Message::user("The task.")],
            tools: Vec::new(),
            max_tokens: 1_234,
        };
        let cancel = CancellationToken::new();
        let response = provider
            .call(&request, &mut |_| {}, &cancel)
            .await
            .expect("answers");
        assert_eq!(
            (response.text().as_str(), response.usage.output_tokens),
            ("A brief.", 100)
        );
        {
            let requests = api.requests.lock().expect("free");
            let body = requests[0].1.to_string();
            assert!(
                body.contains("clode-agent: taskMaster") && body.contains("The task."),
                "{body}"
            );
            assert!(
                requests[0].1["tools"].as_array().is_none_or(Vec::is_empty),
                "{body}"
            );
            assert_eq!(requests[0].1["max_tokens"], 1_234);
        }
        let failure = provider
            .call(&request, &mut |_| {}, &cancel)
            .await
            .expect_err("the key is refused");
        assert_eq!(failure.class, FailureClass::Auth, "{failure:?}");
        assert_eq!(
            std::fs::read_dir(place.path().join("private"))
                .expect("there")
                .count(),
            0
        );
    }
}
