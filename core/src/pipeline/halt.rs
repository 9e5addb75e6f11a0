//! What keeps every run from going on until a person mends it: a full disk, a database that came back
//! from a backup. The run waits as if it had been paused; what was under way is begun again then.

use super::event::{Effect, RunEvent};
use super::state::Machine;
use super::step::StepStatus;
use crate::clock::Timestamp;
use crate::error::Error;

impl Machine {
    /// Waits until a person resumes it. An ended run has nothing to wait for.
    pub(super) fn halt(&mut self, at: Timestamp, reason: &Error, effects: &mut Vec<Effect>) {
        if self.ending.is_some() {
            return;
        }
        for step in &self.steps {
            if step.status == StepStatus::Running {
                let step = step.spec.id.clone();
                effects.push(Effect::AbortStep { step });
            }
        }
        self.recover(at, effects);
        self.paused = true;
        self.status_reason = Some(reason.message.clone());
        effects.push(Effect::Publish {
            event: RunEvent::Alert {
                code: reason.code.to_string(),
                message: reason.message.clone(),
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::id::{CommitId, TreeId};
    use crate::pipeline::tests::spec;
    use crate::pipeline::{Answerer, Event, Status, StepFailure};
    use crate::task::RunOptions;

    const NOW: Timestamp = Timestamp(1_795_500_000_000);

    fn full() -> Error {
        Error::new(Kind::Io, "diskFull", "only 3 MiB are free")
    }

    fn feed(machine: &mut Machine, event: Event) -> Vec<Effect> {
        machine.next(NOW, event).unwrap().effects
    }

    /// A run whose first step is under way.
    fn at_work() -> Machine {
        let mut machine = Machine::new(spec(RunOptions::default()));
        feed(&mut machine, Event::Admitted);
        let taken = Event::SnapshotTaken {
            commit: CommitId::new("base"),
            tree: TreeId::new("tree"),
            for_agents: None,
            withheld: Vec::new(),
        };
        feed(&mut machine, taken);
        machine
    }

    fn begun(effects: &[Effect]) -> Vec<u32> {
        let attempt = |effect: &Effect| match effect {
            Effect::RunStep { order } => Some(order.attempt),
            _ => None,
        };
        effects.iter().filter_map(attempt).collect()
    }

    #[test]
    fn a_step_that_finds_the_disk_full_makes_its_run_wait_and_is_begun_again_after_resume() {
        let mut machine = at_work();
        let step = machine.steps[0].spec.id.clone();

        let failed = Event::StepFailed {
            step,
            attempt: 1,
            failure: StepFailure::permanent(full()),
        };
        let effects = feed(&mut machine, failed.clone());

        assert_eq!(machine.status(), Status::Paused);
        assert_eq!(machine.status_reason.as_deref(), Some("only 3 MiB are free"));
        assert!(machine.error.is_none(), "it has not failed");
        let alerts = |effect: &Effect| matches!(effect, Effect::Publish { event: RunEvent::Alert { code, .. } } if code == "diskFull");
        assert_eq!(effects.iter().filter(|effect| alerts(effect)).count(), 1);
        assert_eq!(begun(&effects), [0; 0]);

        assert_eq!(begun(&feed(&mut machine, Event::Resumed)), [2]);
        feed(&mut machine, failed);
        assert_eq!(
            machine.status(),
            Status::Running,
            "late words of the first attempt change nothing"
        );
    }

    #[test]
    fn a_run_that_came_back_from_a_backup_waits_with_the_reason_whatever_was_under_way() {
        let mut machine = at_work();
        let reason = Error::new(Kind::Io, "storeRestored", "it came back from a backup");

        feed(
            &mut machine,
            Event::Halted {
                reason: reason.clone(),
            },
        );
        let status = (machine.status(), machine.status_reason.clone());
        assert_eq!(
            status,
            (Status::Paused, Some("it came back from a backup".to_owned()))
        );

        assert_eq!(begun(&feed(&mut machine, Event::Resumed)), [2]);
        let by = Answerer {
            surface: "commandLine".to_owned(),
            detail: String::new(),
        };
        feed(&mut machine, Event::Cancelled { by });
        assert_eq!(
            feed(&mut machine, Event::Halted { reason }),
            [],
            "an ended run waits for nothing"
        );
    }
}
