//! The hands of a simulated process: agents that work, ask, fail and finish, snapshots and patches without git,
//! and an editor that takes hunks.

use std::sync::Weak;
use std::time::Duration;

use futures::future::BoxFuture;

use super::money;
use super::ports::Ports;
use super::world::Defect;
use crate::agent::{AGENTS, Agent};
use crate::engine::effects::Snapshots;
use crate::engine::hands::Hands;
use crate::engine::{Editor, Engine, Files, Services, Shared, StepContext};
use crate::error::{Error, Kind, Result};
use crate::id::{BlobId, CommitId, HunkId, PipelineId, TreeId};
use crate::pipeline::{
    GateRequest, HunkOutcome, HunkRecord, HunkState, KnowledgeEntry, PermissionAsk, PreparedPatch, RunEvent,
    StepFailure, StepOutput, StepRole, Verdict,
};
use crate::plan::Plan;
use crate::workspace::{Combined, Repository, Snapshot};

/// A plan as an architect writes it.
const PLAN: &str = "# Plan: it\n## Goal\nIt.\n## Steps\n### step-1: It\n- agent: developer\n";
/// A plan whose steps several Developers carry out at once.
const PLAN_IN_PARTS: &str = "# Plan: it\n## Goal\nIt.\n## Steps\n\
    ### step-1: It\n- agent: developer\n- touches: src/a.rs\n\
    ### step-2: That\n- agent: developer\n- touches: src/b.rs\n\
    ### step-3: Both\n- agent: developer\n- touches: src/c.rs\n- needs: step-1\n";

/// See the module.
#[derive(Debug)]
pub(super) struct Team {
    ports: Ports,
    members: Vec<Member>,
}

impl Team {
    pub(super) fn new(ports: &Ports) -> Self {
        let member = |real: &&'static dyn Agent| Member {
            real: *real,
            ports: ports.clone(),
        };
        Self {
            ports: ports.clone(),
            members: AGENTS.iter().map(member).collect(),
        }
    }
}

impl Hands for Team {
    fn agent(&self, id: &str) -> Option<&dyn Agent> {
        let member = self.members.iter().find(|member| member.id() == id)?;
        Some(member)
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a Services,
        _: &'a Repository,
        _: Option<BlobId>,
    ) -> BoxFuture<'a, Result<Snapshots>> {
        Box::pin(async move {
            let ports = &self.ports;
            ports.boundary("before a snapshot").await;
            tokio::time::sleep(Duration::from_millis(ports.world.below(100))).await;
            ports.boundary("after a snapshot").await;
            if !ports.world.is_calm() && ports.world.happens(10) {
                return Err(Error::new(
                    Kind::Git,
                    "snapshotFailed",
                    "the simulated files moved",
                ));
            }
            Ok(Snapshots {
                shown: Snapshot {
                    commit: CommitId::new("base"),
                    tree: TreeId::new("tree"),
                    head: None,
                    withheld: Vec::new(),
                    unreadable: Vec::new(),
                },
                for_agents: None,
            })
        })
    }

    fn patch<'a>(
        &'a self,
        services: &'a Services,
        _: &'a Repository,
        _: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, Result<PreparedPatch>> {
        Box::pin(async move {
            let ports = &self.ports;
            ports.boundary("before a patch").await;
            let hunks = (0..ports.world.below(4)).map(|_| {
                let name = ["a", "b", "c", "d", "e"][usize::try_from(ports.world.below(5)).unwrap_or(0)];
                HunkRecord {
                    id: HunkId::new(name),
                    path: format!("src/{name}.rs"),
                    state: HunkState::Pending,
                    round: 0,
                    ask: ports.world.happens(100),
                    comment: None,
                    reason: None,
                }
            });
            let mut hunks: Vec<HunkRecord> = hunks.collect();
            hunks.sort_by(|one, other| one.id.cmp(&other.id));
            hunks.dedup_by(|one, other| one.id == other.id);
            let patch = services
                .store
                .put_blob(result.as_str().as_bytes().to_vec())
                .await?;
            Ok(PreparedPatch {
                patch,
                result: result.clone(),
                hunks,
            })
        })
    }

    fn combine<'a>(
        &'a self,
        _: &'a Services,
        _: &'a Repository,
        _: &'a CommitId,
        onto: &'a CommitId,
        result: &'a CommitId,
    ) -> BoxFuture<'a, Result<Combined>> {
        Box::pin(async move {
            let ports = &self.ports;
            ports.boundary("before a merge").await;
            tokio::time::sleep(Duration::from_millis(ports.world.below(100))).await;
            ports.boundary("after a merge").await;
            if !ports.world.is_calm() && ports.world.happens(20) {
                return Err(Error::new(Kind::Git, "mergeFailed", "the simulated git failed"));
            }
            if ports.world.happens(150) {
                return Ok(Combined::Collision(vec!["src/a.rs".to_owned()]));
            }
            Ok(Combined::Files(CommitId::new(format!("{onto}+{result}"))))
        })
    }
}

/// An agent.
#[derive(Debug)]
struct Member {
    real: &'static dyn Agent,
    ports: Ports,
}

impl Agent for Member {
    fn id(&self) -> &'static str {
        self.real.id()
    }

    fn title(&self) -> &'static str {
        self.real.title()
    }

    fn step_id(&self) -> &'static str {
        self.real.step_id()
    }

    fn role(&self) -> StepRole {
        self.real.role()
    }

    fn run<'a>(
        &'a self,
        context: &'a StepContext,
    ) -> BoxFuture<'a, std::result::Result<StepOutput, StepFailure>> {
        Box::pin(self.work(context))
    }
}

impl Member {
    async fn work(&self, context: &StepContext) -> std::result::Result<StepOutput, StepFailure> {
        let (ports, world, order) = (&self.ports, &self.ports.world, &context.order);
        ports.boundary("before an agent begins").await;
        world.note(|| {
            format!(
                "process {}: {}/{} begins",
                ports.process, order.step, order.attempt
            )
        });
        world.begun(&context.run, &order.step, order.attempt);
        if ports.has(Defect::AgentTwice) && world.happens(50) {
            world.begun(&context.run, &order.step, order.attempt);
        }
        ports.boundary("an agent has begun").await;
        let round = format!("{}/{}", order.round, order.files);
        let newest = world.newest_checkpoint(&context.run, &order.step);
        let resumed = context.resume_point().await.map_err(StepFailure::transient)?;
        let transcript = resumed.map(|point| String::from_utf8_lossy(&point.transcript).into_owned());
        world.resumes(&context.run, &order.step, &round, newest, transcript.as_deref());
        for turn in 0..self.turns() {
            self.turn(context, turn, &round).await?;
            if context.cancel.is_cancelled() {
                return Err(StepFailure::cancelled());
            }
            ports.boundary("between two turns").await;
        }
        self.end(context).await
    }

    /// Once nothing goes wrong any more, work is done at once: it would show nothing.
    fn turns(&self) -> u64 {
        let world = &self.ports.world;
        if world.is_calm() { 0 } else { world.below(4) }
    }

    async fn turn(
        &self,
        context: &StepContext,
        turn: u64,
        round: &str,
    ) -> std::result::Result<(), StepFailure> {
        let (world, order) = (&self.ports.world, &context.order);
        let attempt = format!("{}/{}/{}/", context.run, order.step, order.attempt);
        match world.below(10) {
            0 => {
                let told = RunEvent::Alert {
                    code: "working".to_owned(),
                    message: format!("turn {turn}"),
                };
                context.tell(told).await;
            }
            1 => {
                let seconds = if !world.is_calm() && world.happens(30) {
                    7_200
                } else {
                    world.below(20)
                };
                let pause = tokio::time::sleep(Duration::from_secs(seconds));
                context.cancel.run_until_cancelled(pause).await;
            }
            2..7 => {
                context.call(money::request(&attempt)).await?;
            }
            7 => {
                let request = if world.happens(500) {
                    GateRequest::Question {
                        text: format!("which, in turn {turn}?"),
                    }
                } else {
                    GateRequest::Permission(PermissionAsk {
                        tool: "Bash".to_owned(),
                        command: Some("make".to_owned()),
                        paths: Vec::new(),
                    })
                };
                context.ask(request).await?;
            }
            _ => {
                let transcript = format!("{attempt}{turn}");
                world.checkpoint(&context.run, &order.step, round, &transcript);
                let kept = context
                    .checkpoint(transcript.clone().into_bytes(), Files::Changed, "")
                    .await;
                kept.map_err(StepFailure::transient)?;
                world.checkpoint_acknowledged(&context.run, &order.step, &transcript);
            }
        }
        Ok(())
    }

    async fn end(&self, context: &StepContext) -> std::result::Result<StepOutput, StepFailure> {
        let (world, order) = (&self.ports.world, &context.order);
        if !world.is_calm() {
            let error = || Error::new(Kind::Provider, "simulated", "it went wrong");
            match world.below(100) {
                0..8 => return Err(StepFailure::transient(error())),
                8..10 => return Err(StepFailure::permanent(error())),
                _ => {}
            }
        }
        let role = self.role();
        let text = match role {
            StepRole::Plan if world.happens(400) => PLAN_IN_PARTS.to_owned(),
            StepRole::Plan => PLAN.to_owned(),
            _ => format!("{} {}", order.step, order.attempt),
        };
        let document = context.put_text(&text).await.map_err(StepFailure::transient)?;
        let parts = match role {
            StepRole::Plan => Plan::parse(&text, &|_| true).map(|plan| plan.parts()),
            _ => Ok(Vec::new()),
        };
        let is_bad = role == StepRole::Verify && world.happens(150);
        let lesson = KnowledgeEntry {
            id: "lesson".to_owned(),
            claim: "It works.".to_owned(),
            scope: "repository".to_owned(),
            evidence: String::new(),
        };
        Ok(StepOutput {
            summary: "done".to_owned(),
            document: Some(document),
            files: (role == StepRole::Change)
                .then(|| CommitId::new(format!("{}-{}", order.step, order.attempt))),
            verdict: (role == StepRole::Verify).then_some(if is_bad {
                Verdict::Failed
            } else {
                Verdict::Passed
            }),
            parts: parts.unwrap_or_default(),
            knowledge: if role == StepRole::Learn && world.happens(500) {
                vec![lesson]
            } else {
                Vec::new()
            },
            ..StepOutput::default()
        })
    }
}

/// The editor of a simulated process.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) ports: Ports,
    /// Weak: the engine holds its editor.
    pub(super) shared: Weak<Shared>,
}

impl Editor for Screen {
    fn apply_pending<'a>(&'a self, run: &'a PipelineId) -> BoxFuture<'a, Vec<HunkOutcome>> {
        Box::pin(async move {
            let ports = &self.ports;
            ports.boundary("before a patch is applied").await;
            let Some(shared) = self.shared.upgrade() else {
                return Vec::new();
            };
            let row = Engine { shared }.row(run).await;
            let machine = row.and_then(|row| row.machine());
            let hunks = machine.map(|machine| machine.hunks).unwrap_or_default();
            let mut outcomes = Vec::new();
            for hunk in hunks.into_iter().filter(|hunk| !hunk.is_decided() && !hunk.ask) {
                let is_lucky = ports.world.is_calm() || ports.world.happens(900);
                if is_lucky {
                    ports
                        .world
                        .facts(|facts| facts.applied.insert((run.clone(), hunk.id.clone())));
                }
                outcomes.push(HunkOutcome {
                    id: hunk.id,
                    state: if is_lucky {
                        HunkState::Applied
                    } else {
                        HunkState::Conflict
                    },
                    reason: None,
                });
            }
            ports.boundary("after a patch was applied").await;
            if !ports.world.is_calm() && ports.world.happens(30) {
                return Vec::new();
            }
            outcomes
        })
    }
}
