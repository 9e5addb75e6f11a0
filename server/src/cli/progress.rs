//! What a run does right now: a bar on a terminal, plain lines otherwise.

use std::time::Duration;

use clode_core::engine::Activity;
use clode_core::money::Money;
use clode_core::pipeline::{Machine, StepRecord};
use clode_core::redact::neutralise;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{Colour, Output};

/// How often the bar moves by itself.
const TICK: Duration = Duration::from_millis(120);

/// Picodollars in a cent.
const PER_CENT: i64 = 10_000_000_000;

/// Shows what a run does.
#[derive(Debug)]
pub(super) struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    pub(super) fn new(output: Output, is_terminal: bool) -> Self {
        let bar = is_terminal.then(|| new_bar(output.note_colour()));
        Self {
            output,
            bar,
            last: String::new(),
        }
    }

    /// Shows how the run stands. Plain lines come only when the words before the cost change.
    pub(super) fn show(&mut self, machine: &Machine, spent: Money, activity: Option<&Activity>) {
        let words = words(machine, spent, activity);
        if let Some(bar) = &self.bar {
            bar.set_position(u64::from(machine.progress()));
            let doing = activity
                .map(|activity| activity.text.as_str())
                .filter(|text| !text.is_empty());
            bar.set_message(match doing {
                Some(doing) => format!("{words} · {}", neutralise(doing)),
                None => words,
            });
            bar.tick();
            return;
        }
        let step = words
            .rsplit_once(" · ")
            .map_or(words.as_str(), |(step, _)| step)
            .to_owned();
        if step != self.last && !words.is_empty() {
            self.output.note(&words);
            self.last = step;
        }
    }

    /// A line above the bar.
    pub(super) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.note(text)),
            None => self.output.note(text),
        }
    }

    /// Takes the bar away, for questions and results.
    pub(super) fn pause(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Brings it back.
    pub(super) fn go_on(&mut self) {
        if self.bar.as_ref().is_some_and(ProgressBar::is_finished) {
            self.bar = Some(new_bar(self.output.note_colour()));
        }
    }
}

fn new_bar(colour: Colour) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
    let template = match colour {
        Colour::On => "{spinner:.cyan} [{bar:20.cyan/dim}] {pos:>3}% {wide_msg}",
        Colour::Off => "{spinner} [{bar:20}] {pos:>3}% {wide_msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// `Developer · claude-sonnet-5 · step 3/5 · $0.0421 of $5.00`.
pub(super) fn words(machine: &Machine, spent: Money, activity: Option<&Activity>) -> String {
    let cost = match machine.limit() {
        Some(limit) => format!("{spent} of {}", round(limit)),
        None => spent.to_string(),
    };
    if let Some(gate) = machine.open_gates().find(|gate| gate.kind.holds_the_run()) {
        return format!("Waiting: {} · {cost}", lower_first(&neutralise(&gate.title)));
    }
    let Some(step) = machine.current_step().filter(|_| machine.ending.is_none()) else {
        return String::new();
    };
    let number = machine
        .steps
        .iter()
        .position(|known| known.spec.id == step.spec.id)
        .unwrap_or(0)
        + 1;
    let model = activity
        .and_then(|activity| activity.model.clone())
        .filter(|_| machine.base.is_some());
    let parts = [
        Some(who(step)),
        model,
        Some(format!("step {number}/{}", machine.steps.len())),
        Some(cost),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// A limit in dollars and cents; one of less than cents with all that it has.
fn round(limit: Money) -> String {
    let shown = format!("${:.2}", limit.usd());
    if limit.pico() % PER_CENT == 0 {
        shown
    } else {
        limit.to_string()
    }
}

fn who(step: &StepRecord) -> String {
    let id = step.spec.agent.as_str();
    clode_core::agent::find(id).map_or_else(|| id.to_owned(), |agent| agent.title().to_owned())
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}

#[cfg(test)]
mod tests {
    use clode_core::id::CommitId;
    use clode_core::pipeline::{GateKind, StepStatus};

    use super::*;
    use crate::cli::tests::{gate, machine};

    #[test]
    fn progress_says_who_with_what_how_far_and_for_how_much() {
        let mut machine = machine();
        machine.base = Some(CommitId::new("c"));
        for (step, status) in machine
            .steps
            .iter_mut()
            .zip([StepStatus::Finished, StepStatus::Running])
        {
            step.status = status;
        }
        let activity = Activity {
            model: Some("claude-sonnet-5".to_owned()),
            text: String::new(),
        };
        let spent = Money::from_pico(42_100_000_000);
        assert_eq!(
            words(&machine, spent, Some(&activity)),
            "Developer · claude-sonnet-5 · step 2/2 · $0.0421 of $5.00"
        );
        assert_eq!(
            words(&machine, spent, None),
            "Developer · step 2/2 · $0.0421 of $5.00"
        );
    }

    #[test]
    fn a_run_that_waits_says_for_what() {
        let mut machine = machine();
        let mut plan = gate(GateKind::Plan);
        plan.title = "Approve the plan".to_owned();
        machine.gates = vec![plan];
        assert_eq!(
            words(&machine, Money::ZERO, None),
            "Waiting: approve the plan · $0.0000 of $5.00"
        );
    }

    #[test]
    fn a_limit_of_less_than_cents_is_not_shown_as_nothing() {
        assert_eq!(round(Money::from_dollars(5)), "$5.00");
        assert_eq!(round(Money::from_pico(100_000_000)), "$0.0001");
    }
}
