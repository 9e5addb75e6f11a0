//! What must hold after every schedule: the books of the store against what really happened.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;

use super::house::House;
use super::process::Process;
use super::world::World;
use crate::engine::signal::Outcome;
use crate::id::{PipelineId, StepId};
use crate::money::Money;
use crate::pipeline::{Effect, Event, GatePolicy, Machine, StepStatus};
use crate::store::{JournalRow, ROWS_MAX, RunFilter, RunRow, Store, Totals};

/// While processes live and nothing is under way: nobody who lives holds money.
pub(super) fn check_idle(world: &World, house: &House, processes: &[Process]) {
    let sends = house.memory.sends().unwrap_or_default();
    for (hold, settlement) in sends {
        let lives = processes.iter().any(|process| process.owner == hold.owner);
        world.check(settlement.is_some() || !lives, || {
            format!(
                "`{}` is still reserved although its owner lives and is idle",
                hold.intent
            )
        });
    }
}

/// After the last process that opened the store has settled what the dead left.
pub(super) fn check(world: &World, house: &House, store: &Store) {
    let rows = read(world, store.runs(RunFilter::default())).unwrap_or_default();
    let mut journals = BTreeMap::new();
    for row in &rows {
        let journal = read(world, store.journal(&row.id, 0, ROWS_MAX)).unwrap_or_default();
        check_run(world, house, store, row, &journal);
        journals.insert(row.id.clone(), journal);
    }
    check_money(world, house, store, &rows);
    check_acknowledged(world, &journals);
}

fn read<T>(world: &World, looking: impl Future<Output = crate::Result<T>>) -> Option<T> {
    match looking.now_or_never() {
        Some(Ok(found)) => Some(found),
        Some(Err(error)) => {
            world.violate(format!("the store cannot be read: {error}"));
            None
        }
        None => {
            world.violate("the store does not answer");
            None
        }
    }
}

fn check_run(world: &World, house: &House, store: &Store, row: &RunRow, journal: &[JournalRow]) {
    let run = &row.id;
    let mut fence = 0;
    for entry in journal {
        world.check(entry.fence >= fence, || {
            format!(
                "an old owner wrote to `{run}` (fence {} after {fence})",
                entry.fence
            )
        });
        fence = entry.fence;
    }
    let Some(first) = world.facts(|facts| facts.first_states.get(run).cloned()) else {
        return world.violate(format!("`{run}` was never started"));
    };
    if let Some(machine) = replay(world, first, journal, row) {
        check_gates(world, row, machine);
    }
    check_controls(world, house, run, journal);
    check_told(world, store, run);
}

/// The journal alone leads to the stored state, which is the answer, and what was begun was durable before.
fn replay(world: &World, mut machine: Machine, journal: &[JournalRow], row: &RunRow) -> Option<Machine> {
    let run = &row.id;
    let mut ordered: BTreeSet<(StepId, u32)> = BTreeSet::new();
    for entry in journal {
        let Ok(event) = serde_json::from_str::<Event>(&entry.body) else {
            continue;
        };
        let begins_again = matches!(
            event,
            Event::StepFinished { .. } | Event::Answered { .. } | Event::Retried { .. }
        );
        let finished = finished_steps(&machine);
        let effects = match machine.next(entry.at, event) {
            Ok(transitioned) => transitioned.effects,
            Err(error) => {
                let message = format!("the journal of `{run}` has an event that is rejected: {error}");
                world.violate(message);
                return None;
            }
        };
        for effect in effects {
            let Effect::RunStep { order } = effect else {
                continue;
            };
            world.check(!finished.contains(&order.step) || begins_again, || {
                format!("the finished step `{}` of `{run}` ran again", order.step)
            });
            ordered.insert((order.step.clone(), order.attempt));
        }
    }
    let replayed = serde_json::to_string(&machine).unwrap_or_default();
    world.check(replayed == row.state, || {
        format!(
            "the journal of `{run}` leads to another state than the stored one:\n{replayed}\n{}",
            row.state
        )
    });
    let begun: Vec<(StepId, u32)> = world.facts(|facts| {
        let of_run = facts.begun.iter().filter(|(of, ..)| of == run);
        of_run
            .map(|(_, step, attempt)| (step.clone(), *attempt))
            .collect()
    });
    for (step, attempt) in begun {
        world.check(ordered.contains(&(step.clone(), attempt)), || {
            format!("attempt {attempt} of step `{step}` of `{run}` began, but that is not in the journal")
        });
    }
    Some(machine)
}

fn finished_steps(machine: &Machine) -> BTreeSet<StepId> {
    let steps = machine.steps.iter();
    let finished = steps.filter(|step| step.status == StepStatus::Finished);
    finished.map(|step| step.spec.id.clone()).collect()
}

/// Every control that was accepted is in the journal once, and nothing else is.
fn check_controls(world: &World, house: &House, run: &PipelineId, journal: &[JournalRow]) {
    const KINDS: [(&str, &str); 7] = [
        ("answer", "answered"),
        ("draft", "planDrafted"),
        ("decide", "hunksDecided"),
        ("pause", "paused"),
        ("resume", "resumed"),
        ("cancel", "cancelled"),
        ("retry", "retried"),
    ];
    /// Of anything that says what it is.
    #[derive(serde::Deserialize, Default)]
    struct Kind {
        #[serde(rename = "type")]
        name: String,
    }
    let kind = |text: &str| serde_json::from_str::<Kind>(text).unwrap_or_default().name;
    let mut accepted: BTreeMap<String, i64> = BTreeMap::new();
    for (payload, outcome) in house.memory.signals(run).unwrap_or_default() {
        let outcome = outcome.and_then(|text| serde_json::from_str(&text).ok());
        if matches!(outcome, Some(Outcome::Accepted)) {
            *accepted.entry(kind(&payload)).or_default() += 1;
        }
    }
    for entry in journal {
        let kind = kind(&entry.body);
        if let Some((signal, _)) = KINDS.iter().find(|(_, event)| *event == kind) {
            *accepted.entry((*signal).to_owned()).or_default() -= 1;
        }
    }
    for (kind, difference) in accepted {
        world.check(difference == 0, || {
            format!("`{run}`: of kind `{kind}` {difference} more controls were accepted than taken in")
        });
    }
}

fn check_gates(world: &World, row: &RunRow, machine: Machine) {
    for gate in machine.gates {
        let Some(resolution) = gate.resolution else {
            continue;
        };
        let by_policy = resolution.by.surface == "policy" && machine.spec.plan_gate == GatePolicy::Skip;
        let detail = resolution.by.detail.clone();
        let by_person = world.facts(|facts| facts.sent.contains(&detail));
        world.check(by_policy || by_person, || {
            format!("nobody answered gate `{}` of `{}`", gate.id, row.id)
        });
    }
}

/// What listeners were told is what is stored.
fn check_told(world: &World, store: &Store, run: &PipelineId) {
    let events = read(world, store.events(run, 0, ROWS_MAX)).unwrap_or_default();
    let stored: BTreeMap<u64, String> = events.into_iter().map(|event| (event.seq, event.body)).collect();
    let told: Vec<(u64, String)> = world.facts(|facts| {
        let of_run = facts.told.iter().filter(|((of, _), _)| of == run);
        of_run.map(|((_, seq), body)| (*seq, body.clone())).collect()
    });
    for (seq, body) in told {
        world.check(stored.get(&seq) == Some(&body), || {
            format!("event {seq} of `{run}` was told and is not in the store")
        });
    }
}

fn check_money(world: &World, house: &House, store: &Store, rows: &[RunRow]) {
    let sends = house.memory.sends().unwrap_or_default();
    let bills = world.facts(|facts| facts.bills.clone());
    for (intent, amount) in &bills {
        let written = sends.iter().find(|(hold, _)| hold.intent == *intent);
        let cost = written
            .and_then(|(_, settlement)| settlement.as_ref())
            .map(|settlement| settlement.cost);
        world.check(cost.is_some_and(|cost| cost >= *amount), || {
            format!("`{intent}` is on the provider's bill with {amount} and in our books with {cost:?}")
        });
    }
    for (hold, settlement) in &sends {
        world.check(settlement.is_some(), || {
            format!("`{}` is still reserved although nobody lives", hold.intent)
        });
    }
    for row in rows {
        let totals: Totals = read(world, store.ledger().run_totals(&row.id)).unwrap_or_default();
        let costs = sends
            .iter()
            .filter(|(hold, _)| hold.run == row.id)
            .filter_map(|(_, settlement)| settlement.as_ref())
            .map(|settlement| settlement.cost);
        let sum: Money = costs.sum();
        world.check(totals.reserved == Money::ZERO && totals.cost == sum, || {
            format!(
                "the sums of `{}` are wrong: {totals:?}, its sends come to {sum}",
                row.id
            )
        });
    }
}

/// What a person was told is done is in the journal.
fn check_acknowledged(world: &World, journals: &BTreeMap<PipelineId, Vec<JournalRow>>) {
    let acknowledged = world.facts(|facts| facts.acknowledged.clone());
    for (run, tag) in acknowledged {
        // Pauses, resumptions and retries carry no name; they are counted.
        if !world.facts(|facts| facts.named.contains(&tag)) {
            continue;
        }
        let quoted = format!("\"{tag}\"");
        let journal = journals.get(&run).map(Vec::as_slice).unwrap_or_default();
        let times = journal
            .iter()
            .filter(|entry| entry.body.contains(&quoted))
            .count();
        world.check(times == 1, || {
            format!("`{tag}` for `{run}` was acknowledged, and is {times} times in the journal")
        });
    }
}
