//! The Developer by the program Claude Code: its sessions, their money, their checkpoints.

mod account;
mod host;
mod policy;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::account::Contract;
use self::host::SessionHost;
use super::{NUDGE, Report, changes_nothing, host::note};
use crate::agent::answer::Spoken;
use crate::agent::assignment::Assignment;
use crate::agent::claude::launch::{self, Account, DEVELOPER_TOOLS, Launch, SystemPrompt, Talk};
use crate::agent::claude::meter::{ANSWER_TOKENS_MAX, Meter};
use crate::agent::claude::outcome::Outcome;
use crate::agent::claude::session::{self, Ended};
use crate::agent::detect;
use crate::agent::private::private_folder;
use crate::agent::prompt::Prompt;
use crate::agent::survey::Depth;
use crate::agent::task_master::look;
use crate::config::SandboxMode;
use crate::engine::{StepContext, WorkingDirectory};
use crate::error::{Error, Kind};
use crate::money::Money;
use crate::pipeline::{StepFailure, StepFailureClass};
use crate::process::{Confinement, Network, SandboxPolicy};
use crate::provider::{Content, Message};

/// Most processes of one step: each raised limit of money takes another.
const PROCESSES_MAX: usize = 64;
/// Most model calls of one step, when nothing is configured.
const TURNS_MAX_DEFAULT: u32 = 80;
/// How often the program repeats a failed model call by itself.
const RETRIES: u32 = 2;
/// What a checkpoint of this kind is called.
const FORM: &str = "claude-code";
/// Said to a session that was stopped between two calls.
const GO_ON: &str = "Go on where you stopped. If your last tool call was not carried out, look at the file first and repeat it if it is still needed.";

/// What is stored beside the files: the conversation itself is the program's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    session: String,
}

pub(super) async fn work(context: &StepContext, assignment: &Assignment) -> Result<Report, StepFailure> {
    let contract = Contract::find(context)?;
    let folder = SessionFolder::make(context)?;
    let done = in_folder(context, assignment, &contract, &folder).await;
    // A later attempt takes the conversation up from there; nobody else needs it.
    let is_kept = matches!(&done, Err(failure) if !matches!(failure.class, StepFailureClass::Permanent | StepFailureClass::Cancelled));
    if !is_kept {
        folder.remove();
    }
    done
}

async fn in_folder(
    context: &StepContext,
    assignment: &Assignment,
    contract: &Contract,
    folder: &SessionFolder,
) -> Result<Report, StepFailure> {
    context.say("prepares Claude Code");
    let services = context.services();
    let environment = &services.environment;
    let version = launch::check_version(
        &services.spawner,
        &contract.program,
        environment,
        &folder.path.join("home"),
        &context.cancel,
    )
    .await?;
    tracing::info!(run = %context.run, version, "the Developer works by Claude Code");
    let seen = look(context, assignment, Depth::Overview).await?;
    let tests = assignment.tests(&context.config.tests, &detect::commands(&seen.offers));
    let opening = words(&super::sdk::opening(seen.text, assignment, &tests));
    let place = context.working_directory().await?;
    let confinement = confinement(context, contract, &place, folder).await?;
    let host = SessionHost::new(context, contract, &place, tests)?;
    let stored = context
        .resume_point()
        .await?
        .filter(|point| point.note == note(context, FORM));
    let stored: Option<Stored> = stored.and_then(|point| serde_json::from_slice(&point.transcript).ok());
    let mut sessions = Sessions {
        context,
        contract,
        folder,
        place: &place,
        confinement,
        host: &host,
        system: folder.system_prompt(&system_prompt(context))?,
        talk: stored.map_or_else(new_talk, |stored| Ok(Talk::Resume(stored.session)))?,
        opening,
        next: contract.next_at_most(&Meter::default()),
    };
    let mut text = sessions.until_done(None).await?;
    if context.collect().await?.changed == 0 && !changes_nothing(assignment) {
        text = sessions.until_done(Some(NUDGE)).await?;
    }
    let spoken = Spoken {
        provider: Some(contract.provider.clone()),
        model: host.model(),
        ..Spoken::default()
    };
    Ok(Report {
        note: text
            .is_none()
            .then(|| "Claude Code used up its turns before it said that it was done.".to_owned()),
        text: text.unwrap_or_else(|| "The work may be unfinished.".to_owned()),
        spoken,
    })
}

fn new_talk() -> Result<Talk, Error> {
    Ok(Talk::New(session::new_id()?))
}

fn system_prompt(context: &StepContext) -> String {
    let prompt = Prompt::DeveloperByClaudeCode;
    prompt.text()
        + &prompt
            .further(&context.config)
            .map(|further| format!("\n{further}"))
            .unwrap_or_default()
}

/// A turn as one text.
fn words(message: &Message) -> String {
    let texts = message.content.iter().filter_map(|piece| match piece {
        Content::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// What keeps the program from the rest of the machine. With the user's own login it needs the user's
/// home, so that only its tools are confined, by asking.
async fn confinement(
    context: &StepContext,
    contract: &Contract,
    place: &WorkingDirectory,
    folder: &SessionFolder,
) -> Result<Confinement, StepFailure> {
    let sandbox = &context.config.sandbox;
    let tier = context.services().spawner.probe().await;
    let confines = tier.confines_files()
        && sandbox.mode != SandboxMode::Off
        && matches!(contract.program.account, Account::Key(_));
    if !confines && sandbox.mode == SandboxMode::Required {
        let message = format!(
            "Claude Code cannot be confined here ({tier}, or by its own login), and `sandbox.mode: required` is set"
        );
        return Err(StepFailure::permanent(
            Error::new(Kind::State, "modeUnavailable", message).hint("use `agents.developer.mode: sdk`"),
        ));
    }
    if !confines {
        return Ok(Confinement::Supervised);
    }
    let mut writable = vec![place.root.clone(), place.git_dir.clone(), folder.path.clone()];
    writable.extend(sandbox.writable.iter().filter(|path| path.exists()).cloned());
    let mut readable = sandbox.readable.clone();
    let real =
        std::fs::canonicalize(&contract.program.path).unwrap_or_else(|_| contract.program.path.clone());
    readable.extend([contract.program.path.clone(), real.clone()]);
    readable.extend(real.parent().map(std::path::Path::to_path_buf));
    Ok(Confinement::Sandboxed(SandboxPolicy {
        writable,
        readable,
        network: Network::Full,
    }))
}

/// The folder of a step's conversation: the same for each of its attempts.
#[derive(Debug)]
struct SessionFolder {
    path: PathBuf,
}

impl SessionFolder {
    fn make(context: &StepContext) -> Result<Self, Error> {
        let name = blake3::hash(
            format!("{}/{}/{}", context.run, context.order.step, context.order.round).as_bytes(),
        )
        .to_hex();
        let path = context
            .services()
            .cache
            .join("claude")
            .join(name.get(..16).unwrap_or_default());
        for folder in [
            path.clone(),
            path.join("home"),
            path.join("config"),
            path.join("tmp"),
        ] {
            private_folder(&folder)?;
        }
        Ok(Self { path })
    }

    fn system_prompt(&self, text: &str) -> Result<SystemPrompt, Error> {
        let file = self.path.join("system.md");
        std::fs::write(&file, text)
            .map_err(|error| Error::io(format!("writing {}", file.display()), &error))?;
        Ok(SystemPrompt::Appended(file))
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "the folder of a session stays");
        }
    }
}

/// The processes that one conversation takes.
struct Sessions<'a> {
    context: &'a StepContext,
    contract: &'a Contract,
    folder: &'a SessionFolder,
    place: &'a WorkingDirectory,
    confinement: Confinement,
    host: &'a SessionHost<'a>,
    system: SystemPrompt,
    talk: Talk,
    opening: String,
    /// The most that its next call can cost.
    next: Money,
}

impl Sessions<'_> {
    /// Talks until the program says that it is done; none when its turns are used up.
    async fn until_done(&mut self, first: Option<&str>) -> Result<Option<String>, StepFailure> {
        let mut message = match (first, &self.talk) {
            (Some(first), _) => first.to_owned(),
            (None, Talk::Resume(_)) => GO_ON.to_owned(),
            (None, Talk::New(_)) => self.opening.clone(),
        };
        for _ in 0..PROCESSES_MAX {
            let ended = self.one_process(&message).await?;
            if self.context.cancel.is_cancelled() {
                return Err(StepFailure::cancelled());
            }
            match ended.outcome {
                Outcome::Done(text) => return Ok(Some(text)),
                Outcome::OutOfTurns => return self.out_of_turns().await,
                Outcome::OutOfMoney => GO_ON.clone_into(&mut message),
                Outcome::SessionLost => {
                    self.talk = new_talk()?;
                    message.clone_from(&self.opening);
                }
                Outcome::Interrupted(error) => return Err(StepFailure::transient(error)),
                Outcome::Failed(error) => return Err(StepFailure::permanent(error)),
            }
        }
        Err(StepFailure::permanent(Error::new(
            Kind::State,
            "maxTurns",
            format!("Claude Code was stopped {PROCESSES_MAX} times and is still not done"),
        )))
    }

    async fn out_of_turns(&self) -> Result<Option<String>, StepFailure> {
        if self.context.collect().await?.changed > 0 {
            return Ok(None);
        }
        let error = Error::new(
            Kind::State,
            "maxTurns",
            "Claude Code used up its turns and changed nothing",
        );
        Err(StepFailure::permanent(error.hint(
            "raise `agents.developer.maxTurns`, or make the task smaller",
        )))
    }

    /// One process under one reservation.
    async fn one_process(&mut self, message: &str) -> Result<Ended, StepFailure> {
        let amount = self.contract.amount(self.context, self.next).await?;
        let model = self
            .contract
            .model
            .as_deref()
            .unwrap_or(crate::config::roster::CLAUDE_CODE_MODEL);
        let intent = self
            .context
            .reserve(&self.contract.provider, model, amount)
            .await?;
        self.host.granted(amount);
        self.context.say("Claude Code works");
        let ended = self.process(message, amount).await;
        let (cost, usage, confirmed) = match &ended {
            Ok(ended) => self.contract.bill(ended),
            Err(_) => Contract::nothing(),
        };
        let model = ended
            .as_ref()
            .ok()
            .and_then(|ended| ended.meter.model().map(str::to_owned))
            .unwrap_or_else(|| model.to_owned());
        self.context
            .settle(&intent, &self.contract.provider, &model, usage, cost, confirmed)
            .await?;
        let ended = ended?;
        self.next = self.next.max(self.contract.next_at_most(&ended.meter));
        if ended.begun
            && let Talk::New(id) = &self.talk
        {
            self.talk = Talk::Resume(id.clone());
        }
        Ok(ended)
    }

    async fn process(&self, message: &str, amount: Money) -> Result<Ended, Error> {
        let services = self.context.services();
        let agent = self.context.config.agents.get(&self.context.order.agent);
        let launch = Launch {
            program: &self.contract.program,
            environment: &services.environment,
            cwd: &self.place.folder,
            private: &self.folder.path,
            confinement: self.confinement.clone(),
            talk: &self.talk,
            system: &self.system,
            tools: DEVELOPER_TOOLS,
            model: self.contract.model.as_deref(),
            turns_max: agent.map_or(TURNS_MAX_DEFAULT, |agent| agent.max_turns),
            budget: Contract::own_budget(amount, self.next),
            answer_tokens_max: ANSWER_TOKENS_MAX,
            retries: RETRIES,
        };
        let child = services
            .spawner
            .spawn(launch.command())
            .await
            .map_err(|error| launch::missing(&error.message))?;
        session::converse(child, message, self.host, &self.context.cancel).await
    }
}
