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
        Self { output, bar, last: String::new() }
    }

    /// Shows how the run stands. Plain lines come only when the words before the cost change.
    pub(super) fn show(&mut self, machine: &Machine, spent: Money, activity: Option<&Activity>) {
        let words = words(machine, spent, activity);
        if let Some(bar) = &self.bar {
            bar.set_position(u64::from(machine.progress()));
            let doing = activity.map(|activity| activity.text.as_str()).filter(|text| !text.is_empty());
            bar.set_message(match doing {
                Some(doing) => format!("{words} · {}", neutralise(doing)),
                None => words,
            });
            bar.tick();
            return;
        }
        let step = words.rsplit_once(" · ").map_or(words.as_str(), |(step, _)| step).to_owned();
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
        Some(limit) => format!("{spent} of ${:.2}", limit.usd()),
        None => spent.to_string(),
    };
    if let Some(gate) = machine.open_gates().find(|gate| gate.kind.holds_the_run()) {
        return format!("Waiting: {} · {cost}", lower_first(&neutralise(&gate.title)));
    }
    let Some(step) = machine.current_step().filter(|_| machine.ending.is_none()) else { return String::new() };
    let number = machine.steps.iter().position(|known| known.spec.id == step.spec.id).unwrap_or(0) + 1;
    let model = activity.and_then(|activity| activity.model.clone()).filter(|_| machine.base.is_some());
    let parts = [Some(who(step)), model, Some(format!("step {number}/{}", machine.steps.len())), Some(cost)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn who(step: &StepRecord) -> String {
    let id = step.spec.agent.as_str();
    clode_core::agent::find(id).map_or_else(|| id.to_owned(), |agent| agent.title().to_owned())
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
