//! Asks the step cache before a model is asked, and keeps what it said for the next time.
//!
//! A question is all that decides the answer: the agent, the models that are configured for it, the request,
//! and for an agent with tools what it may do with them. An answer to a question without tools holds for the
//! question. After tools it holds wherever they answer as they did ([`Record`]); after a command, which may
//! have read anything, only on the very same files.

use serde::{Deserialize, Serialize};

use super::answer::Spoken;
use super::tool_loop::{Conversation, Setting};
use super::toolbox::{Record, Repeated, Toolbox};
use crate::config::{Context, Sandbox};
use crate::engine::{Kept, StepContext};
use crate::error::{Error, Result};
use crate::id::{AgentId, CommitId, StepKey, TreeId};
use crate::money::Money;
use crate::pipeline::StepFailure;
use crate::provider::{Message, Request, SystemBlock, ToolSpec};
use crate::store::CacheEntry;
use crate::task::TestCommand;

/// Version of the tools' behaviour and of what is stored: results of another one are not used.
const FORM: u32 = 1;

/// A question, as it is hashed. Which of the configured models answers is chance and no part of it.
#[derive(Debug, Clone, Serialize)]
struct Asked<'a> {
    form: u32,
    agent: &'a AgentId,
    models: Vec<(String, String)>,
    system: &'a [SystemBlock],
    messages: &'a [Message],
    tools: &'a [ToolSpec],
    means: Option<Means<'a>>,
}

/// What an agent with tools may do.
#[derive(Debug, Clone, Serialize)]
struct Means<'a> {
    tests: &'a [TestCommand],
    context: &'a Context,
    sandbox: &'a Sandbox,
    /// Hash of what the person trusts of the repository.
    trust: Option<String>,
}

/// Under what an answer holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "holds")]
enum Grounds {
    /// Whenever the same is asked.
    Always,
    /// Where the tools answer as they did.
    Tools { record: Record },
    /// On these files; `files` are what became of them.
    Tree { tree: TreeId, files: CommitId },
}

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    text: String,
    provider: Option<String>,
    model: Option<String>,
}

impl Asked<'_> {
    fn key(&self) -> Result<StepKey> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::internal(format!("a question cannot be written: {error}")))?;
        Ok(StepKey::new(blake3::hash(&text).to_hex().to_string()))
    }
}

impl Grounds {
    /// Tells apart what the same question led to.
    fn variant(&self) -> Result<String> {
        Ok(match self {
            Self::Always => String::new(),
            Self::Tree { tree, .. } => tree.to_string(),
            Self::Tools { record } => blake3::hash(written(record)?.as_bytes()).to_hex().to_string(),
        })
    }
}

/// What the step cache calls the answer to this request.
pub(super) fn key_of_request(context: &StepContext, request: &Request) -> Result<StepKey> {
    let asked = Asked {
        form: FORM,
        agent: &context.order.agent,
        models: models(context),
        system: &request.system,
        messages: &request.messages,
        tools: &request.tools,
        means: None,
    };
    asked.key()
}

/// What it calls the end of a conversation that begins like this.
pub(super) async fn key_of_conversation(
    context: &StepContext,
    setting: &Setting,
    opening: &Message,
    tests: &[TestCommand],
) -> Result<StepKey> {
    // What cannot be looked at is not trusted.
    let configured = context.services().configurations.of(&context.repository).await;
    let trust = configured
        .ok()
        .and_then(|configured| configured.trust.hash().map(str::to_owned));
    let asked = Asked {
        form: FORM,
        agent: &context.order.agent,
        models: models(context),
        system: &setting.system,
        messages: std::slice::from_ref(opening),
        tools: &setting.tools,
        means: Some(Means {
            tests,
            context: &context.config.context,
            sandbox: &context.config.sandbox,
            trust,
        }),
    };
    asked.key()
}

fn models(context: &StepContext) -> Vec<(String, String)> {
    let routes = context.config.route(&context.order.agent).into_iter();
    routes.map(|route| (route.provider, route.model)).collect()
}

/// An earlier answer to a question without tools.
pub(super) async fn answer(context: &StepContext, key: &StepKey) -> Option<(String, Spoken)> {
    let earlier = context.earlier_results(key).await;
    for entry in earlier {
        if let Some((Grounds::Always, said)) = read(&entry) {
            return Some(taken(context, &entry, said).await);
        }
    }
    None
}

/// The end of an earlier conversation that holds here; the files are then as it left them, else untouched.
pub(super) async fn conversation(
    context: &StepContext,
    key: &StepKey,
    toolbox: &Toolbox,
) -> Result<Option<(String, Spoken)>, StepFailure> {
    let earlier = context.earlier_results(key).await;
    for entry in earlier {
        let Some((grounds, said)) = read(&entry) else {
            continue;
        };
        if holds(context, grounds, toolbox).await? {
            return Ok(Some(taken(context, &entry, said).await));
        }
    }
    Ok(None)
}

async fn holds(context: &StepContext, grounds: Grounds, toolbox: &Toolbox) -> Result<bool, StepFailure> {
    let changed = match grounds {
        Grounds::Always => return Ok(false),
        Grounds::Tree { tree, .. } if context.tree().await? != tree => return Ok(false),
        Grounds::Tree { files, .. } => match context.put_files(&files).await {
            Ok(()) => return Ok(true),
            Err(error) => {
                tracing::warn!(%error, "the files of an earlier result are gone");
                true
            }
        },
        Grounds::Tools { record } => {
            let (toolbox, changes) = (toolbox.clone(), record.changes());
            let repeated = tokio::task::spawn_blocking(move || toolbox.repeat(&record)).await;
            if matches!(repeated, Ok(Repeated::Same)) {
                return Ok(true);
            }
            changes
        }
    };
    if changed {
        context.put_files(&context.order.files).await?;
    }
    Ok(false)
}

async fn taken(context: &StepContext, entry: &CacheEntry, said: Said) -> (String, Spoken) {
    context.reuse(entry).await;
    let spoken = Spoken {
        provider: said.provider,
        model: said.model,
        key: Some(entry.key.clone()),
        saved: Some(entry.cost),
    };
    (said.text, spoken)
}

/// Keeps the answer to a question without tools.
pub(super) async fn keep_answer(
    context: &StepContext,
    key: StepKey,
    text: &str,
    spoken: &mut Spoken,
    cost: Money,
) {
    keep(context, key, &Grounds::Always, text, spoken, cost).await;
}

/// Keeps the end of a conversation, with all that its tools did.
pub(super) async fn keep_conversation(
    context: &StepContext,
    key: StepKey,
    text: &str,
    conversation: &mut Conversation<'_>,
) -> Result<(), StepFailure> {
    let transcript = &conversation.transcript;
    let grounds = if transcript.record.is_complete() {
        Grounds::Tools {
            record: transcript.record.clone(),
        }
    } else {
        Grounds::Tree {
            tree: context.tree().await?,
            files: context.collect().await?.commit,
        }
    };
    let cost = transcript.cost;
    keep(context, key, &grounds, text, &mut conversation.spoken, cost).await;
    Ok(())
}

async fn keep(
    context: &StepContext,
    key: StepKey,
    grounds: &Grounds,
    text: &str,
    spoken: &mut Spoken,
    cost: Money,
) {
    let said = Said {
        text: text.to_owned(),
        provider: spoken.provider.clone(),
        model: spoken.model.clone(),
    };
    let parts = || Ok::<_, Error>((grounds.variant()?, written(grounds)?, written(&said)?));
    match parts() {
        Ok((variant, grounds, answer)) => {
            spoken.key = Some(key.clone());
            context
                .keep(Kept {
                    key,
                    variant,
                    grounds,
                    answer,
                    cost,
                })
                .await;
        }
        Err(error) => tracing::warn!(%error, "a result is not kept in the step cache"),
    }
}

fn written(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("a result cannot be written: {error}")))
}

/// An entry that this version understands.
fn read(entry: &CacheEntry) -> Option<(Grounds, Said)> {
    let grounds = serde_json::from_str(&entry.grounds).ok()?;
    Some((grounds, serde_json::from_str(&entry.answer).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::SandboxMode;
    use crate::task::CommandOrigin;

    /// Everything that a question is made of.
    #[derive(Debug, Clone, PartialEq)]
    struct Parts {
        agent: AgentId,
        models: Vec<(String, String)>,
        system: Vec<SystemBlock>,
        messages: Vec<Message>,
        tools: Vec<ToolSpec>,
        tests: Vec<TestCommand>,
        context: Context,
        sandbox: Sandbox,
        trust: Option<String>,
    }

    impl Parts {
        fn key(&self) -> StepKey {
            let asked = Asked {
                form: FORM,
                agent: &self.agent,
                models: self.models.clone(),
                system: &self.system,
                messages: &self.messages,
                tools: &self.tools,
                means: Some(Means {
                    tests: &self.tests,
                    context: &self.context,
                    sandbox: &self.sandbox,
                    trust: self.trust.clone(),
                }),
            };
            asked.key().expect("a key")
        }
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let word = || "[ab]{0,2}";
        let words = || prop::collection::vec(word(), 0..3);
        let models = prop::collection::vec((word(), word()), 0..3);
        let conversation = (words(), words(), words(), words());
        let means = (words(), any::<bool>(), prop::option::of(word()));
        (word(), models, conversation, means).prop_map(|(agent, models, said, (exclude, off, trust))| {
            let (system, messages, tools, tests) = said;
            Parts {
                agent: AgentId::new(agent),
                models,
                system: system
                    .into_iter()
                    .map(|text| SystemBlock { text, cache: true })
                    .collect(),
                messages: messages.into_iter().map(Message::user).collect(),
                tools: tools
                    .into_iter()
                    .map(|name| ToolSpec {
                        name,
                        description: String::new(),
                        input_schema: json!({}),
                    })
                    .collect(),
                tests: tests
                    .into_iter()
                    .map(|command| TestCommand {
                        command,
                        success_regex: None,
                        timeout_ms: None,
                        origin: CommandOrigin::Person,
                    })
                    .collect(),
                context: Context {
                    exclude,
                    ..Context::default()
                },
                sandbox: Sandbox {
                    mode: if off {
                        SandboxMode::Off
                    } else {
                        SandboxMode::Required
                    },
                    ..Sandbox::default()
                },
                trust,
            }
        })
    }

    proptest! {
        #[test]
        fn two_questions_have_one_key_exactly_when_they_are_the_same(one in parts(), other in parts()) {
            prop_assert_eq!(one.key() == other.key(), one == other);
            prop_assert_eq!(one.key(), one.clone().key());
        }

        #[test]
        fn a_change_of_any_single_part_changes_the_key(parts in parts(), which in 0_usize..9) {
            let mut changed = parts.clone();
            match which {
                0 => changed.agent = AgentId::new(format!("{}x", parts.agent)),
                1 => changed.models.push(("x".to_owned(), "x".to_owned())),
                2 => changed.system.push(SystemBlock { text: "x".to_owned(), cache: true }),
                3 => changed.messages.push(Message::user("x")),
                4 => changed.tools.push(ToolSpec {
                    name: "x".to_owned(),
                    description: String::new(),
                    input_schema: json!({}),
                }),
                5 => changed.tests.push(TestCommand {
                    command: "x".to_owned(),
                    success_regex: None,
                    timeout_ms: None,
                    origin: CommandOrigin::Model,
                }),
                6 => changed.context.exclude.push("x".to_owned()),
                7 => changed.sandbox.readable.push("/x".into()),
                _ => changed.trust = Some("x".to_owned()),
            }
            prop_assert_ne!(parts.key(), changed.key());
        }
    }

    #[test]
    fn the_same_request_with_and_without_tools_at_hand_are_two_questions() {
        let agent = AgentId::new("architect");
        let without = Asked {
            form: FORM,
            agent: &agent,
            models: Vec::new(),
            system: &[],
            messages: &[],
            tools: &[],
            means: None,
        };
        let (context, sandbox) = (Context::default(), Sandbox::default());
        let with = Asked {
            means: Some(Means {
                tests: &[],
                context: &context,
                sandbox: &sandbox,
                trust: None,
            }),
            ..without.clone()
        };
        let newer = Asked {
            form: FORM + 1,
            ..without.clone()
        };
        assert_ne!(without.key().ok(), with.key().ok());
        assert_ne!(without.key().ok(), newer.key().ok());
    }
}
