//! Drives a run in the foreground: shows what it does, answers its gates, and stops where it ends or
//! waits. Events come from the store, numbered, so that none is missed and none comes twice.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clode_core::engine::{Engine, Notice, Orphan, PipelineDetail};
use clode_core::id::{ApprovalId, PipelineId};
use clode_core::pipeline::{Gate, GateKind, Machine, Status};
use clode_core::store::ROWS_MAX;
use clode_core::{Error, Result};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::desk::{Caller, by_command_line};
use super::disk::{Consent, Disk};
use super::gate::{Approvals, Case, Decision, Gatekeeper, Tried};
use super::progress::Progress;
use super::terminal::Terminal;
use super::{Exit, apply, render, report};
use crate::lsp::encoding::PositionEncoding;
use crate::review::{Reviewed, observe};

/// How often a run is looked at even if it tells nothing: another process may drive it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two looks, however much a run tells.
const LOOK_PAUSE: Duration = Duration::from_millis(40);

/// Where a run was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is over.
    Ended,
    /// It waits for a person, or is paused.
    Waits,
    /// A person interrupted us.
    Interrupted,
}

/// From which event on a run is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// All of it.
    Beginning,
    /// What comes.
    Now,
}

/// Whether events are results of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// With `--json` each is a line.
    Lines,
    /// The command answers with one document.
    Quietly,
}

/// A run in the foreground.
#[derive(Debug)]
pub(super) struct Drive<'a> {
    caller: &'a Caller,
    engine: &'a Engine,
    run: &'a PipelineId,
    gatekeeper: Gatekeeper,
    progress: Progress,
    notices: Receiver<Notice>,
    seq: u64,
    telling: Telling,
    left: BTreeSet<ApprovalId>,
    tried: BTreeSet<ApprovalId>,
}

impl<'a> Drive<'a> {
    /// Takes its place beside a run. The disk becomes this process's editor.
    pub(super) async fn new(
        caller: &'a Caller,
        engine: &'a Engine,
        run: &'a PipelineId,
        approvals: Approvals,
        since: Since,
    ) -> Result<Self> {
        Disk::take_over(engine);
        let notices = engine.notices();
        let seq = match since {
            Since::Beginning => 0,
            Since::Now => engine
                .services()
                .store
                .events(run, 0, ROWS_MAX)
                .await?
                .last()
                .map_or(0, |event| event.seq),
        };
        Ok(Self {
            caller,
            engine,
            run,
            gatekeeper: Gatekeeper {
                approvals,
                terminal: Terminal::here(),
            },
            progress: Progress::new(caller.output.clone(), std::io::stderr().is_terminal()),
            notices,
            seq,
            telling: Telling::Lines,
            left: BTreeSet::new(),
            tried: BTreeSet::new(),
        })
    }

    /// Prints no events as results.
    pub(super) fn quiet(self) -> Self {
        Self {
            telling: Telling::Quietly,
            ..self
        }
    }

    /// Goes along until the run ends or waits, then parks it where it is durable.
    pub(super) async fn follow_through(mut self) -> Result<Settled> {
        let settled = self.follow().await;
        self.progress.pause();
        if matches!(settled, Ok(Settled::Interrupted)) {
            self.progress
                .note("Interrupted: parking the pipeline (again: at once) ...");
        }
        self.engine.shutdown().await;
        settled
    }

    async fn follow(&mut self) -> Result<Settled> {
        loop {
            let machine = self.look().await?;
            match machine.status() {
                status if status.is_ended() => {
                    self.lessons(&machine).await?;
                    return Ok(Settled::Ended);
                }
                Status::Paused => return Ok(Settled::Waits),
                status => match self.next_gate(&machine) {
                    Some(gate) => {
                        if self.at_gate(&machine, &gate).await? == Settled::Interrupted {
                            return Ok(Settled::Interrupted);
                        }
                        continue;
                    }
                    None if status == Status::AwaitingApproval => return Ok(Settled::Waits),
                    None => {}
                },
            }
            if self.wait().await? == Settled::Interrupted {
                return Ok(Settled::Interrupted);
            }
        }
    }

    /// Tells what is new; answers how the run stands.
    async fn look(&mut self) -> Result<Machine> {
        if let Some(error) = self.engine.halted(self.run) {
            return Err(error);
        }
        let store = &self.engine.services().store;
        let row = self.engine.row(self.run).await?;
        let machine = row.machine()?;
        for event in store.events(self.run, self.seq, ROWS_MAX).await? {
            self.seq = event.seq;
            if self.telling == Telling::Lines && self.caller.output.is_json() {
                self.caller.output.line(&report::wire(self.run, &event));
            }
            if let Some(line) = report::line(&event, self.caller.output.note_colour()) {
                self.progress.note(&line);
            }
        }
        let totals = store.ledger().run_totals(self.run).await?;
        let activity = self.engine.activity(self.run);
        self.progress.show(&machine, totals.cost, activity.as_ref());
        Ok(machine)
    }

    async fn wait(&mut self) -> Result<Settled> {
        tokio::select! {
            () = self.caller.interrupt.happened() => return Ok(Settled::Interrupted),
            () = changed(&mut self.notices, self.run) => tokio::time::sleep(LOOK_PAUSE).await,
            () = tokio::time::sleep(LOOK_INTERVAL) => {
                if !self.engine.is_driven(self.run).await? && !self.engine.row(self.run).await?.finished {
                    return Err(Error::state("notDriven", format!("pipeline `{}` is not driven any more", self.run))
                        .hint(format!("look at the log, then go on with `clode-ls pipelines resume {}`", self.run)));
                }
            }
        }
        Ok(Settled::Waits)
    }

    /// The oldest gate that somebody here may answer.
    fn next_gate(&self, machine: &Machine) -> Option<Gate> {
        machine
            .open_gates()
            .find(|gate| gate.kind.holds_the_run() && !self.left.contains(&gate.id))
            .cloned()
    }

    /// Answers a gate, unless somebody else does so first.
    async fn at_gate(&mut self, machine: &Machine, gate: &Gate) -> Result<Settled> {
        self.progress.pause();
        let tried = if self.tried.contains(&gate.id) {
            Tried::Yes
        } else {
            Tried::No
        };
        let case = Case {
            caller: self.caller,
            engine: self.engine,
            run: self.run,
            machine,
            gate,
            tried,
        };
        let decision = tokio::select! {
            decision = self.gatekeeper.decide(&case) => decision?,
            () = self.caller.interrupt.happened() => return Ok(Settled::Interrupted),
            () = closed_elsewhere(self.engine, &mut self.notices, self.run, &gate.id) => {
                self.progress.note("\nAnswered elsewhere.");
                return Ok(Settled::Waits);
            }
        };
        match decision {
            Decision::Say(answer) => {
                if let Err(error) = self
                    .engine
                    .answer(self.run, gate, answer, by_command_line())
                    .await
                {
                    self.progress
                        .note(&render::error(&error, self.caller.output.note_colour()));
                    if self.gatekeeper.terminal.is_none() {
                        self.left.insert(gate.id.clone());
                    }
                }
            }
            Decision::Apply(consent) => self.apply(gate, consent).await?,
            Decision::Leave => {
                self.left.insert(gate.id.clone());
            }
        }
        self.progress.go_on();
        Ok(Settled::Waits)
    }

    async fn apply(&mut self, gate: &Gate, consent: Consent) -> Result<()> {
        let report = apply::accept(self.engine, self.run, gate, consent, Orphan::Adopt).await?;
        self.progress.note(&apply::lines(&report));
        if !apply::is_whole(&report) || report.files.is_empty() {
            self.tried.insert(gate.id.clone());
        }
        Ok(())
    }

    /// Lessons wait for a yes of their own; a person at the terminal is asked once.
    async fn lessons(&mut self, machine: &Machine) -> Result<()> {
        let Some(gate) = machine.open_gates().find(|gate| gate.kind == GateKind::Knowledge) else {
            return Ok(());
        };
        if self.gatekeeper.approvals != Approvals::Ask || self.gatekeeper.terminal.is_none() {
            return Ok(());
        }
        let gate = gate.clone();
        self.at_gate(machine, &gate).await.map(|_| ())
    }
}

/// Until something of this run changed; what was missed counts as a change.
async fn changed(notices: &mut Receiver<Notice>, run: &PipelineId) {
    loop {
        let of = match notices.recv().await {
            Ok(Notice::Changed(of) | Notice::Event { run: of, .. } | Notice::Activity { run: of, .. }) => of,
            Ok(Notice::Orphaned { .. }) => continue,
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        };
        if of == *run {
            return;
        }
    }
}

async fn closed_elsewhere(
    engine: &Engine,
    notices: &mut Receiver<Notice>,
    run: &PipelineId,
    gate: &ApprovalId,
) {
    loop {
        changed(notices, run).await;
        let machine = engine.row(run).await.and_then(|row| row.machine());
        if machine.is_ok_and(|machine| !machine.open_gates().any(|open| open.id == *gate)) {
            return;
        }
    }
}

/// Says how the run was left, and gives the exit code.
pub(super) async fn conclude(
    caller: &Caller,
    engine: &Engine,
    run: &PipelineId,
    settled: Settled,
) -> Result<Exit> {
    let machine = engine.row(run).await?.machine()?;
    let detail = detail(engine, run).await?;
    if caller.output.is_json() {
        caller.output.line(&result_line(&detail));
    } else {
        caller
            .output
            .say(&render::summary(&detail, caller.output.colour()));
    }
    if settled != Settled::Ended {
        caller.output.note(&how_to_go_on(run, &machine));
    }
    Ok(if settled == Settled::Interrupted {
        Exit::Interrupted
    } else {
        Exit::of(&machine)
    })
}

/// A run with everything, its files as they lie on the disk now.
pub(super) async fn detail(engine: &Engine, run: &PipelineId) -> Result<PipelineDetail> {
    let row = engine.row(run).await?;
    let machine = row.machine()?;
    let mut detail = engine.detail(run).await?;
    if let Some(patch) = engine.patch(&machine).await? {
        let root = Path::new(&row.top_level);
        let reviewed = Reviewed {
            run,
            machine: &machine,
            patch: &patch,
            root,
            encoding: PositionEncoding::Utf16,
        };
        let files = reviewed.files(|file| observe::file_on_disk(root, file));
        detail.files = files.iter().map(|file| json!(file)).collect();
    }
    Ok(detail)
}

/// `{"type": "result", ...PipelineDetail}`.
fn result_line(detail: &PipelineDetail) -> Value {
    let mut line = Map::from_iter([("type".to_owned(), json!("result"))]);
    if let Value::Object(fields) = json!(detail) {
        line.extend(fields);
    }
    Value::Object(line)
}

/// The commands that go on with a run that waits.
pub(super) fn how_to_go_on(run: &PipelineId, machine: &Machine) -> String {
    let mut lines = Vec::new();
    if machine.paused {
        lines.push(format!("Paused. Go on with:\n  clode-ls pipelines resume {run}"));
    }
    for gate in machine.open_gates().filter(|gate| gate.kind.holds_the_run()) {
        let id = &gate.id;
        let (more, no) = match gate.kind {
            GateKind::Budget => (" --max-cost USD", "stop it"),
            GateKind::Permission => (" --choice once", "deny it"),
            GateKind::Question => (" --comment ANSWER", "let the agent decide"),
            _ => ("", "say no"),
        };
        let look = match gate.kind {
            GateKind::Plan => format!("  clode-ls pipelines show {run}\n"),
            GateKind::Patch => format!("  clode-ls pipelines patch {run}\n"),
            _ => String::new(),
        };
        lines.push(format!(
            "Waiting: {}\n{look}  clode-ls pipelines approve {run} --approval {id}{more}\n  clode-ls pipelines reject {run} --approval {id}   # {no}",
            clode_core::redact::neutralise(&gate.title)
        ));
    }
    if lines.is_empty() && machine.ending.is_none() {
        lines.push(format!(
            "Parked. Nothing is lost; go on with:\n  clode-ls pipelines resume {run}"
        ));
    }
    lines.join("\n")
}
