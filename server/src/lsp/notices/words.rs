//! The words of a progress: who works, with what, how far, for how much.

use clode_core::agent;
use clode_core::money::Money;
use clode_core::pipeline::{GateKind, Machine, Status};

/// Whether the run works, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// It works: this message, this percentage.
    Working { message: String, percentage: u32 },
    /// It does not: last words.
    Idle { message: String },
}

/// What a progress says about a run now.
pub(super) fn shown(machine: &Machine, model: Option<&str>, cost: Money) -> Shown {
    let status = machine.status();
    if status == Status::Running {
        return Shown::Working {
            message: working(machine, model, cost),
            percentage: u32::from(machine.progress()),
        };
    }
    let message = match status {
        Status::AwaitingApproval => {
            let gate = machine.open_gates().find(|gate| gate.kind.holds_the_run());
            format!(
                "Waiting: {}",
                gate.map_or("for a person", |gate| waits_for(gate.kind))
            )
        }
        Status::Paused => "Paused".to_owned(),
        Status::Completed => format!("Completed · {cost}"),
        Status::Cancelled => "Cancelled".to_owned(),
        Status::Failed => {
            let why = machine
                .error
                .as_ref()
                .map(|error| format!(": {}", error.message))
                .unwrap_or_default();
            format!("Failed{why}")
        }
        Status::Queued | Status::Running => "Queued".to_owned(),
    };
    Shown::Idle { message }
}

/// What a gate wants of a person.
pub(crate) const fn waits_for(gate: GateKind) -> &'static str {
    match gate {
        GateKind::Plan => "approve plan",
        GateKind::Patch => "approve patch",
        GateKind::Budget => "approve budget",
        GateKind::Permission => "approve permission",
        GateKind::Question => "answer question",
        GateKind::Knowledge => "approve knowledge",
    }
}

/// `Developer · claude-sonnet-5 · step 3/5 · $0.0421 of $5.00`.
fn working(machine: &Machine, model: Option<&str>, cost: Money) -> String {
    let mut parts = Vec::new();
    if let Some(step) = machine.current_step() {
        let title =
            agent::find(step.spec.agent.as_str()).map_or(step.spec.agent.as_str(), |agent| agent.title());
        parts.push(title.to_owned());
        parts.extend(model.map(str::to_owned));
        let position = machine
            .steps
            .iter()
            .position(|other| other.spec.id == step.spec.id)
            .unwrap_or_default();
        parts.push(format!("step {}/{}", position + 1, machine.steps.len()));
    } else {
        parts.push("Finishing".to_owned());
    }
    let of = machine
        .limit()
        .map(|limit| format!(" of {}", whole_cents(limit)))
        .unwrap_or_default();
    parts.push(format!("{cost}{of}"));
    parts.join(" · ")
}

/// A limit as people write it: `$5.00`.
fn whole_cents(amount: Money) -> String {
    let four_digits = amount.to_string();
    four_digits
        .strip_suffix("00")
        .map_or_else(|| four_digits.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_shows_cents_and_more_only_where_it_has_more() {
        assert_eq!(whole_cents(Money::from_dollars(5)), "$5.00");
        assert_eq!(whole_cents(Money::from_usd(0.125).unwrap_or_default()), "$0.1250");
    }
}
