//! The person of a schedule: answers, pauses, decides by chance; once all is calm, wants the runs done.

use super::schedule::Schedule;
use crate::engine::Signal;
use crate::id::PipelineId;
use crate::money::Money;
use crate::pipeline::{Answer, Answerer, Gate, GateKind, HunkOutcome, HunkState, Machine, PatchStage};
use crate::store::RunRow;

impl Schedule<'_> {
    pub(super) fn person(&mut self) -> Answerer {
        self.wishes += 1;
        Answerer {
            surface: "person".to_owned(),
            detail: format!("wish-{}", self.wishes),
        }
    }

    pub(super) fn wish(&mut self, run: &PipelineId, by: &Answerer, signal: Signal) {
        if let Some(index) = self.some_process() {
            self.processes[index].wish(run, signal, &by.detail);
        }
    }

    pub(super) fn a_person_acts(&mut self) {
        let known: Vec<PipelineId> = self
            .world
            .facts(|facts| facts.first_states.keys().cloned().collect());
        let Some(run) = self.world.pick(&known) else {
            return;
        };
        let by = self.person();
        match self.world.below(100) {
            0..60 => self.answer_some_gate(run, by),
            60..68 => self.wish(run, &by, Signal::Pause),
            68..80 => self.wish(run, &by, Signal::Resume),
            80..83 => self.wish(run, &by.clone(), Signal::Cancel { by }),
            83..90 => {
                let retry = Signal::Retry {
                    from: None,
                    pipeline: None,
                };
                self.wish(run, &by, retry);
            }
            _ => self.decide_some_hunk(run, &by),
        }
    }

    /// A run as the person sees it, if it came to be.
    fn shown(&self, run: &PipelineId) -> Option<Machine> {
        let machine = self.row(run)?.machine();
        if machine.is_err() {
            self.world.violate(format!("the state of `{run}` cannot be read"));
        }
        machine.ok()
    }

    fn answer_some_gate(&mut self, run: &PipelineId, by: Answerer) {
        let Some(machine) = self.shown(run) else { return };
        let gates: Vec<Gate> = if self.world.happens(850) {
            machine.open_gates().cloned().collect()
        } else {
            machine.gates
        };
        let Some(gate) = self.world.pick(&gates).cloned() else {
            return;
        };
        let mut answer = yes(&gate);
        if self.world.happens(200) {
            answer = Answer {
                approved: false,
                comment: self.world.happens(500).then(|| "otherwise".to_owned()),
                ..Answer::default()
            };
        }
        let times = if self.world.happens(100) { 2 } else { 1 };
        let mut by = by;
        for _ in 0..times {
            let signal = Signal::Answer {
                approval: Some(gate.id.clone()),
                gate: None,
                answer: answer.clone(),
                by: by.clone(),
            };
            self.wish(run, &by, signal);
            by = self.person();
        }
    }

    fn decide_some_hunk(&mut self, run: &PipelineId, by: &Answerer) {
        let Some(machine) = self.shown(run) else { return };
        let states = [
            HunkState::Applied,
            HunkState::Rejected,
            HunkState::Conflict,
            HunkState::Unconfirmed,
        ];
        let Some(hunk) = self.world.pick(&machine.hunks) else {
            return;
        };
        let outcomes = vec![HunkOutcome {
            id: hunk.id.clone(),
            state: *self.world.pick(&states).unwrap_or(&HunkState::Applied),
            reason: None,
        }];
        let decide = Signal::Decide {
            outcomes,
            comment: None,
            by: by.clone(),
        };
        self.wish(run, by, decide);
    }

    /// A person who wants the run done.
    pub(super) fn help(&mut self, row: &RunRow) {
        let Ok(machine) = row.machine() else {
            return self
                .world
                .violate(format!("the state of `{}` cannot be read", row.id));
        };
        let is_driven = row
            .owner
            .as_ref()
            .is_some_and(|owner| self.outside.is_alive(owner));
        if machine.paused {
            let by = self.person();
            return self.wish(&row.id, &by, Signal::Resume);
        }
        if !is_driven && let Some(index) = self.some_process() {
            self.processes[index].adopt(&row.id);
        }
        let gates: Vec<Gate> = machine.open_gates().cloned().collect();
        for gate in gates {
            let by = self.person();
            let signal = Signal::Answer {
                approval: Some(gate.id.clone()),
                gate: None,
                answer: yes(&gate),
                by: by.clone(),
            };
            self.wish(&row.id, &by, signal);
        }
        let undecided = machine.hunks.iter().filter(|hunk| !hunk.is_decided());
        let outcomes: Vec<HunkOutcome> = undecided
            .map(|hunk| HunkOutcome {
                id: hunk.id.clone(),
                state: HunkState::Rejected,
                reason: None,
            })
            .collect();
        if machine.patch_stage == PatchStage::Review && !outcomes.is_empty() && self.world.happens(500) {
            let by = self.person();
            let decide = Signal::Decide {
                outcomes,
                comment: None,
                by: by.clone(),
            };
            self.wish(&row.id, &by, decide);
        }
    }
}

fn yes(gate: &Gate) -> Answer {
    Answer {
        approved: true,
        comment: (gate.kind == GateKind::Question).then(|| "this".to_owned()),
        max_cost: (gate.kind == GateKind::Budget).then(|| Money::from_dollars(100)),
        ..Answer::default()
    }
}
