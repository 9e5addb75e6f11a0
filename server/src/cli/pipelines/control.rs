//! What changes a pipeline: signals to whoever drives it, and driving it here where nobody does.

use std::path::Path;
use std::time::Duration;

use clode_core::engine::{Orphan, Signal};
use clode_core::id::PipelineId;
use clode_core::pipeline::{Answer, Gate, GateKind, Status};
use clode_core::store::RunRow;
use clode_core::{Error, Result};

use super::{Approve, Chosen, Driven, Operation, Reject, Retry, approval, hunks, step};
use crate::app::App;
use crate::cli::desk::{Caller, by_command_line};
use crate::cli::disk::{Consent, Disk, Report, Wanted};
use crate::cli::drive::{self, Drive, Since};
use crate::cli::gate::Approvals;
use crate::cli::{Exit, apply, render};

/// How long the outcome of an operation that drives nothing is awaited.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is looked for.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// Carries operations out.
#[derive(Debug)]
pub(super) struct Control<'a> {
    pub(super) caller: &'a Caller,
    pub(super) app: &'a App,
}

impl Control<'_> {
    pub(super) async fn carry_out(&self, operation: Operation) -> Result<Exit> {
        match operation {
            Operation::Resume(driven) => self.drive(&driven, Signal::Resume).await,
            Operation::Retry(retry) => self.retry(&retry).await,
            Operation::Approve(approve) => self.approve(&approve).await,
            Operation::Reject(reject) => self.reject(&reject).await,
            Operation::Pause(one) => {
                self.signal(&one.pipeline(), Signal::Pause, |status| status != Status::Running)
                    .await
            }
            Operation::Cancel(one) => {
                let cancel = Signal::Cancel {
                    by: by_command_line(),
                };
                self.signal(&one.pipeline(), cancel, Status::is_ended).await
            }
            Operation::Apply(hunks) => self.apply(&hunks).await,
            Operation::Revert(hunks) => self.revert(&hunks).await,
            Operation::Delete(one) => self.delete(&one.pipeline()).await,
            Operation::List(_) | Operation::Show(_) | Operation::Patch(_) => {
                Err(Error::internal("looking is no control"))
            }
        }
    }

    async fn retry(&self, retry: &Retry) -> Result<Exit> {
        let signal = Signal::Retry {
            from: step(retry.from.as_ref()),
            pipeline: retry.pipeline.clone(),
        };
        self.drive(&retry.driven, signal).await
    }

    async fn approve(&self, approve: &Approve) -> Result<Exit> {
        let run = approve.driven.pipeline();
        let gate = self
            .app
            .engine
            .open_gate(&run, approval(approve.approval.as_ref()).as_ref(), None)
            .await?;
        if gate.kind == GateKind::Patch {
            return self.approve_patch(approve, &run, &gate).await;
        }
        let answer = Answer {
            approved: true,
            comment: approve.comment.clone(),
            plan: approve.plan.as_deref().map(|file| self.plan(file)).transpose()?,
            choice: approve.choice.clone(),
            max_cost: approve.max_cost,
            entries: None,
        };
        self.answer(&approve.driven, &gate, answer).await
    }

    fn plan(&self, file: &Path) -> Result<String> {
        std::fs::read_to_string(self.caller.folder.join(file)).map_err(|error| {
            Error::usage(
                "invalidParams",
                format!("--plan {}: cannot be read: {error}", file.display()),
            )
        })
    }

    /// The person's yes covers the whole patch; it goes to the disk here and now.
    async fn approve_patch(&self, approve: &Approve, run: &PipelineId, gate: &Gate) -> Result<Exit> {
        let engine = &self.app.engine;
        let orphan = if approve.driven.no_wait {
            Orphan::Leave
        } else {
            Orphan::Adopt
        };
        let was_driven = engine.is_driven(run).await?;
        Disk::take_over(engine);
        let report = apply::accept(engine, run, gate, Consent::Person, orphan).await?;
        self.caller.output.note(&apply::lines(&report));
        if !apply::is_whole(&report) {
            self.caller.output.note(&format!(
                "Not everything could be applied; the gate stays open.\n\
                 hint: settle the conflicts and approve again, or `clode-ls pipelines reject {run}` for the rest"
            ));
            self.tell(run, |_| true).await?;
            return Ok(Exit::Waiting);
        }
        if was_driven || approve.driven.no_wait {
            return self.tell(run, |_| true).await;
        }
        self.follow(run).await
    }

    async fn reject(&self, reject: &Reject) -> Result<Exit> {
        let gate = self
            .app
            .engine
            .open_gate(
                &reject.driven.pipeline(),
                approval(reject.approval.as_ref()).as_ref(),
                None,
            )
            .await?;
        self.answer(
            &reject.driven,
            &gate,
            Answer {
                comment: reject.comment.clone(),
                ..Answer::default()
            },
        )
        .await
    }

    /// Answers a gate; drives the pipeline here if nobody does.
    async fn answer(&self, driven: &Driven, gate: &Gate, answer: Answer) -> Result<Exit> {
        let (engine, run) = (&self.app.engine, driven.pipeline());
        if driven.no_wait && !engine.is_driven(&run).await? {
            let signal = Signal::Answer {
                approval: Some(gate.id.clone()),
                gate: None,
                answer,
                by: by_command_line(),
            };
            engine.signal_with(&run, signal, Orphan::Leave).await?;
            return self.tell(&run, |_| true).await;
        }
        let was_driven = engine.is_driven(&run).await?;
        Disk::take_over(engine);
        engine.answer(&run, gate, answer, by_command_line()).await?;
        if was_driven {
            return self.tell(&run, |_| true).await;
        }
        self.follow(&run).await
    }

    /// Sends a control; drives the pipeline here if nobody does.
    async fn drive(&self, driven: &Driven, signal: Signal) -> Result<Exit> {
        let (engine, run) = (&self.app.engine, driven.pipeline());
        if driven.no_wait {
            engine.signal_with(&run, signal, Orphan::Leave).await?;
            return self.tell(&run, |_| true).await;
        }
        let was_driven = engine.is_driven(&run).await?;
        Disk::take_over(engine);
        engine.signal(&run, signal).await?;
        if was_driven {
            return self.tell(&run, |_| true).await;
        }
        self.follow(&run).await
    }

    async fn follow(&self, run: &PipelineId) -> Result<Exit> {
        let engine = &self.app.engine;
        let drive = Drive::new(self.caller, engine, run, Approvals::Leave, Since::Now).await?;
        let settled = drive.quiet().follow_through().await?;
        let machine = engine.row(run).await?.machine()?;
        if self.caller.output.is_json() {
            self.caller.output.document(&engine.summary(run).await?);
        } else {
            self.caller.output.print(&render::summary(
                &engine.detail(run).await?,
                self.caller.output.colour(),
            ));
        }
        if settled != drive::Settled::Ended {
            self.caller.output.note(&drive::how_to_go_on(run, &machine));
        }
        Ok(if settled == drive::Settled::Interrupted {
            Exit::Interrupted
        } else {
            Exit::of(&machine)
        })
    }

    /// Sends a control that starts no work.
    async fn signal(&self, run: &PipelineId, signal: Signal, done: impl Fn(Status) -> bool) -> Result<Exit> {
        // Where nobody drives it no work is begun just to be ended.
        self.app.engine.signal_with(run, signal, Orphan::Leave).await?;
        self.tell(run, done).await
    }

    /// Says how the pipeline stands, once it does as it was told.
    async fn tell(&self, run: &PipelineId, done: impl Fn(Status) -> bool) -> Result<Exit> {
        let engine = &self.app.engine;
        let deadline = tokio::time::Instant::now() + SETTLE_TIMEOUT;
        let mut summary = engine.summary(run).await?;
        while !done(summary.status) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(SETTLE_POLL).await;
            summary = engine.summary(run).await?;
        }
        engine.shutdown().await;
        if self.caller.output.is_json() {
            self.caller.output.document(&summary);
        } else {
            self.caller.output.print(&render::table(&[super::row(&summary)]));
        }
        Ok(Exit::Done)
    }

    async fn apply(&self, named: &Chosen) -> Result<Exit> {
        let (run, row, wanted) = self.meant(named).await?;
        let engine = &self.app.engine;
        let report = apply::decide(engine, &run, &wanted, Consent::Person, Orphan::Adopt).await?;
        engine.shutdown().await;
        Ok(self.report(&report, &row, "Nothing is pending."))
    }

    async fn revert(&self, named: &Chosen) -> Result<Exit> {
        let (run, row, wanted) = self.meant(named).await?;
        let engine = &self.app.engine;
        let report = apply::revert(engine, &run, &wanted).await?;
        engine.shutdown().await;
        Ok(self.report(&report, &row, "Nothing of it is in the files."))
    }

    /// The run and the hunks of it that were named; unknown ones are the caller's mistake.
    async fn meant(&self, named: &Chosen) -> Result<(PipelineId, RunRow, Wanted)> {
        let (engine, run) = (&self.app.engine, PipelineId::new(named.id.as_str()));
        let row = engine.row(&run).await?;
        let machine = row.machine()?;
        let patch = engine
            .patch(&machine)
            .await?
            .ok_or_else(|| Error::state("noPatch", format!("pipeline `{run}` has no patch yet")))?;
        if let Some(unknown) = named.files.iter().find(|path| patch.file(path).is_none()) {
            return Err(Error::usage(
                "unknownFile",
                format!("the patch does not change `{unknown}`"),
            ));
        }
        if let Some(unknown) = hunks(&named.hunks).iter().find(|id| patch.hunk(id).is_none()) {
            return Err(
                Error::usage("unknownHunk", format!("there is no hunk `{unknown}`"))
                    .hint(format!("`clode-ls pipelines show {run} --json` lists them")),
            );
        }
        let wanted = Wanted {
            files: named.files.clone(),
            hunks: hunks(&named.hunks),
        };
        Ok((run, row, wanted))
    }

    /// Says what became of each file.
    fn report(&self, report: &Report, row: &RunRow, nothing: &str) -> Exit {
        if self.caller.output.is_json() {
            self.caller
                .output
                .document(&apply::json(report, Path::new(&row.top_level)));
        } else if report.files.is_empty() && report.left.is_empty() {
            self.caller.output.note(nothing);
        } else {
            self.caller.output.print(&apply::lines(report));
        }
        if apply::is_whole(report) {
            Exit::Done
        } else {
            Exit::Failed
        }
    }

    async fn delete(&self, run: &PipelineId) -> Result<Exit> {
        let engine = &self.app.engine;
        let summary = engine.summary(run).await?;
        engine.services().store.delete_run(run).await?;
        engine.shutdown().await;
        if self.caller.output.is_json() {
            self.caller.output.document(&summary);
        } else {
            self.caller.output.note(&format!("Deleted {run}."));
        }
        Ok(Exit::Done)
    }
}
