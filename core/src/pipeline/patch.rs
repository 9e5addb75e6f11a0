//! What was decided about each hunk of the patch. Where a hunk lies in a buffer is not known here.

use serde::{Deserialize, Serialize};

use crate::id::{BlobId, CommitId, HunkId};

/// What was decided about a hunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HunkState {
    /// Nothing yet.
    Pending,
    /// It is in the user's text.
    Applied,
    /// The editor says that it is in the user's text; that could not be checked yet.
    Unconfirmed,
    /// It could not be brought in; may be tried again.
    Failed,
    /// A person does not want it.
    Rejected,
    /// What it changes was changed meanwhile.
    Conflict,
    /// A later round replaced it.
    Superseded,
    /// It was in the user's text and is not any more.
    Reverted,
}

/// A hunk and what was decided about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HunkRecord {
    /// Its name.
    pub id: HunkId,
    /// The file, relative to the top level.
    pub path: String,
    /// The decision.
    pub state: HunkState,
    /// The round that brought it.
    pub round: u32,
    /// Whether a person must decide even where patches are applied directly.
    pub ask: bool,
    /// A person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Why it is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl HunkRecord {
    /// Whether nobody needs to decide about it any more.
    pub const fn is_decided(&self) -> bool {
        matches!(
            self.state,
            HunkState::Applied | HunkState::Rejected | HunkState::Superseded | HunkState::Reverted
        )
    }
}

/// What became of a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HunkOutcome {
    /// Which.
    pub id: HunkId,
    /// Its new state.
    pub state: HunkState,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A patch as it was computed, ready for review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedPatch {
    /// The stored patch (JSON of `workspace::Patch`).
    pub patch: BlobId,
    /// What it leads to.
    pub result: CommitId,
    /// Its hunks; states are ignored except for `ask`.
    pub hunks: Vec<HunkRecord>,
}

/// Where the patch stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PatchStage {
    /// There is nothing to show yet.
    #[default]
    None,
    /// It is being computed.
    Preparing,
    /// It was computed; nothing has been decided about applying it.
    Ready,
    /// It is being applied without asking.
    Applying,
    /// A person decides.
    Review,
    /// Every hunk is decided, or nothing is to be applied.
    Settled,
}

mod transitions {
    use super::super::answer::{non_blank, resolved};
    use super::super::event::{Effect, RunEvent};
    use super::super::gate::{Answer, Answerer, GateKind, Resolution};
    use super::super::spec::StepRole;
    use super::super::state::Machine;
    use super::{HunkOutcome, HunkRecord, HunkState, PatchStage, PreparedPatch};
    use crate::clock::Timestamp;
    use crate::error::{Error, Result};

    impl Machine {
        /// Takes a new patch: a hunk that was there before keeps its state, one that is gone is superseded.
        pub(in super::super) fn patch_prepared(
            &mut self,
            _at: Timestamp,
            prepared: PreparedPatch,
            effects: &mut Vec<Effect>,
        ) {
            if self.patch_stage != PatchStage::Preparing {
                return;
            }
            let round = self.round;
            let mut hunks: Vec<HunkRecord> = prepared
                .hunks
                .into_iter()
                .map(|new| {
                    self.hunks
                        .iter()
                        .find(|old| old.id == new.id && old.state != HunkState::Superseded)
                        .cloned()
                        .unwrap_or(HunkRecord {
                            state: HunkState::Pending,
                            round,
                            ..new
                        })
                })
                .collect();
            let files: std::collections::BTreeSet<&str> =
                hunks.iter().map(|hunk| hunk.path.as_str()).collect();
            effects.push(Effect::Publish {
                event: RunEvent::PatchReady {
                    round,
                    hunks: hunks.len(),
                    files: files.len(),
                },
            });
            let gone: Vec<HunkRecord> = self
                .hunks
                .iter()
                .filter(|old| !hunks.iter().any(|new| new.id == old.id))
                .map(|old| HunkRecord {
                    state: if old.state == HunkState::Applied {
                        HunkState::Applied
                    } else {
                        HunkState::Superseded
                    },
                    ..old.clone()
                })
                .collect();
            hunks.extend(gone);
            self.hunks = hunks;
            self.patch = Some(prepared.patch);
            self.patch_stage = PatchStage::Ready;
        }

        pub(in super::super) fn patch_answered(
            &mut self,
            _at: Timestamp,
            answer: &Answer,
            by: &Answerer,
            effects: &mut Vec<Effect>,
        ) {
            if answer.approved {
                self.patch_stage = PatchStage::Applying;
                effects.push(Effect::ApplyPatch);
            } else if let Some(comment) = non_blank(answer.comment.as_deref()) {
                self.another_round(comment);
            } else {
                for hunk in self.hunks.iter_mut().filter(|hunk| !hunk.is_decided()) {
                    hunk.state = HunkState::Rejected;
                    hunk.reason = Some(format!("rejected by {}", by.surface));
                }
                self.patch_stage = PatchStage::Settled;
            }
        }

        fn another_round(&mut self, comment: &str) {
            self.round += 1;
            self.patch_stage = PatchStage::None;
            let Some(change) = self
                .step_with_role(StepRole::Change)
                .map(|step| step.spec.id.clone())
            else {
                return;
            };
            for id in self.downstream(&change) {
                if let Some(step) = self.step_mut(&id) {
                    step.reset();
                }
            }
            if let Some(step) = self.step_mut(&change) {
                step.comment = Some(comment.to_owned());
            }
        }

        pub(in super::super) fn hunks_decided(
            &mut self,
            at: Timestamp,
            outcomes: Vec<HunkOutcome>,
            comment: Option<&str>,
            by: &Answerer,
            effects: &mut Vec<Effect>,
        ) -> Result<()> {
            if let Some(unknown) = outcomes
                .iter()
                .find(|outcome| !self.hunks.iter().any(|hunk| hunk.id == outcome.id))
            {
                return Err(
                    Error::usage("unknownHunk", format!("there is no hunk `{}`", unknown.id))
                        .hint("`clode.pipeline.get` lists the hunks"),
                );
            }
            self.record(outcomes, comment);
            self.close_patch_gate_if_decided(at, by, effects);
            Ok(())
        }

        pub(in super::super) fn apply_finished(
            &mut self,
            at: Timestamp,
            outcomes: Vec<HunkOutcome>,
            effects: &mut Vec<Effect>,
        ) {
            self.record(outcomes, None);
            if self.patch_stage != PatchStage::Applying || self.ending.is_some() {
                return;
            }
            if self.hunks.iter().all(HunkRecord::is_decided) {
                self.patch_stage = PatchStage::Settled;
            } else {
                self.open_patch_gate(at, effects);
            }
        }

        fn record(&mut self, outcomes: Vec<HunkOutcome>, comment: Option<&str>) {
            for outcome in outcomes {
                if let Some(hunk) = self
                    .hunks
                    .iter_mut()
                    .find(|hunk| hunk.id == outcome.id && hunk.state != HunkState::Superseded)
                {
                    hunk.state = outcome.state;
                    hunk.reason = outcome.reason;
                    if let Some(comment) = non_blank(comment) {
                        hunk.comment = Some(comment.to_owned());
                    }
                }
            }
        }

        fn close_patch_gate_if_decided(&mut self, at: Timestamp, by: &Answerer, effects: &mut Vec<Effect>) {
            if self.patch_stage != PatchStage::Review || !self.hunks.iter().all(HunkRecord::is_decided) {
                return;
            }
            let applied = self.hunks.iter().any(|hunk| hunk.state == HunkState::Applied);
            for gate in self
                .gates
                .iter_mut()
                .filter(|gate| gate.kind == GateKind::Patch && gate.resolution.is_none())
            {
                effects.push(resolved(gate, applied, by));
                gate.resolution = Some(Resolution {
                    answer: Answer {
                        approved: applied,
                        ..Answer::default()
                    },
                    by: by.clone(),
                    at,
                });
            }
            self.patch_stage = PatchStage::Settled;
        }
    }
}
