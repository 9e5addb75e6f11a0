//! Old runs, a clock that is told the time, and results that nobody applied.

mod world;

use super::{Expired, chosen, freed};
use crate::clock::Timestamp;
use crate::config::Retention;
use crate::id::{CommitId, OwnerId, PipelineId, StepId};
use crate::money::Money;
use crate::pipeline::{Ending, HunkState, StepOutput, StepStatus};
use crate::store::{Confirmation, Grant, Hold, Limits, Settlement, StoredRun, Usage, Weigh};
use world::{BEGIN, DAY_MS, World, hunk};

const A_MONTH: Retention = Retention {
    days: 30,
    max_bytes: u64::MAX,
};

fn gone(runs: usize, salvaged: usize) -> Expired {
    Expired {
        runs,
        salvaged,
        forgotten: 0,
    }
}

#[tokio::test]
async fn an_ended_run_goes_on_the_day_it_is_old_enough_and_not_before() {
    let world = World::new().await;
    let applied = world.ended("applied", HunkState::Applied).await;
    world.clock.advance_ms(30 * DAY_MS - 1);
    assert_eq!(world.expire(A_MONTH).await, gone(0, 0));
    assert!(world.is_there(&applied).await);
    world.clock.advance_ms(1);
    assert_eq!(world.expire(A_MONTH).await, gone(1, 0));
    assert!(!world.is_there(&applied).await);
    assert_eq!(world.salvaged().await, []);
    let store = &world.services.store;
    let records = store.audit_records(Some(applied), None, 10).await.expect("read");
    assert_eq!(records[0].record.action, "expired");
}

#[tokio::test]
async fn a_run_that_has_not_ended_never_goes() {
    let world = World::new().await;
    let alive = world.store(&world.machine("alive"), Vec::new()).await;
    world.clock.advance_ms(4_000 * DAY_MS);
    let nothing = Retention {
        days: 1,
        max_bytes: 0,
    };
    assert_eq!(world.expire(nothing).await, gone(0, 0));
    assert!(world.is_there(&alive).await);
}

#[tokio::test]
async fn a_result_that_is_in_nobodys_text_outlives_its_run_and_what_tidies() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for (name, state) in [
        ("conflict", HunkState::Conflict),
        ("failed", HunkState::Failed),
        ("pending", HunkState::Pending),
        ("rejected", HunkState::Rejected),
        ("reverted", HunkState::Reverted),
    ] {
        expected.push(world.ended(name, state).await);
    }
    world.ended("superseded", HunkState::Superseded).await;
    let mut cancelled = world.machine("with..dots");
    cancelled.ending = Some(Ending::Cancelled);
    expected.push(world.store(&cancelled, Vec::new()).await);
    world.clock.advance_ms(30 * DAY_MS);

    assert_eq!(world.expire(A_MONTH).await, gone(7, 6));

    assert_eq!(world.salvaged().await, expected);
    let workspaces = &world.services.workspaces;
    let needed = world.services.store.named_commits().await.expect("read");
    assert!(!needed.contains(&world.result), "no run names it any more");
    workspaces.tidy_thoroughly(Some(&needed)).await.expect("tidied");
    let kept = workspaces.salvaged().await.expect("listed");
    let patch = workspaces
        .patch(&world.repository, &kept[0].base, &kept[0].result)
        .await
        .expect("a patch");
    assert_eq!(patch.files[0].result_text.as_deref(), Some("two\n"));
    assert_eq!(kept[0].title, "Do conflict");

    world.clock.advance_ms(4 * 30 * DAY_MS);
    assert_eq!(world.expire(A_MONTH).await.forgotten, 0);
    world.clock.advance_ms(1);
    assert_eq!(world.expire(A_MONTH).await.forgotten, 6);
    assert_eq!(world.salvaged().await, []);
}

#[tokio::test]
async fn what_parts_had_done_that_was_never_merged_outlives_the_run_too() {
    let world = World::new().await;
    let mut machine = world.machine("parts");
    let (waiting, working) = (world.files("three\n").await, world.files("four\n").await);
    let part = |name: &str, status: StepStatus| {
        let mut step = machine.steps[0].clone();
        step.spec.id = StepId::new(format!("developer.{name}"));
        step.status = status;
        step.began_from = machine.base.clone();
        step
    };
    let (mut merging, stopped) = (
        part("merging", StepStatus::Merging),
        part("stopped", StepStatus::Cancelled),
    );
    merging.output = Some(StepOutput {
        files: Some(waiting.clone()),
        ..StepOutput::default()
    });
    let (merged, earlier) = (
        part("merged", StepStatus::Finished),
        part("earlier", StepStatus::Cancelled),
    );
    machine.steps.extend([merged, merging, stopped, earlier]);
    machine.round = 2;
    machine.ending = Some(Ending::Cancelled);
    let run = world.store(&machine, Vec::new()).await;
    // What is merged, and what was done in an earlier round, is a part of the result.
    for (step, round, files) in [
        ("merged", 2, &waiting),
        ("stopped", 2, &working),
        ("earlier", 1, &waiting),
    ] {
        world
            .checkpoint(&run, &format!("developer.{step}"), round, files)
            .await;
    }
    world.clock.advance_ms(30 * DAY_MS);

    assert_eq!(world.expire(A_MONTH).await, gone(1, 1));

    let workspaces = &world.services.workspaces;
    let needed = world.services.store.named_commits().await.expect("read");
    workspaces.tidy_thoroughly(Some(&needed)).await.expect("tidied");
    let kept = workspaces.salvaged().await.expect("listed").remove(0);
    assert_eq!(kept.result, world.result);
    let mut texts = Vec::new();
    for of in &kept.unmerged {
        let patch = workspaces.patch(&world.repository, &of.base, &of.result).await;
        let text = patch.expect("a patch").files[0].result_text.clone();
        texts.push((of.step.as_str(), text.unwrap_or_default()));
    }
    assert_eq!(
        texts,
        [
            ("developer.merging", "three\n".to_owned()),
            ("developer.stopped", "four\n".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_run_whose_result_cannot_be_kept_is_kept_itself() {
    let world = World::new().await;
    let mut machine = world.machine("lost");
    machine.result = Some(CommitId::new("0123456789012345678901234567890123456789"));
    machine.ending = Some(Ending::Failed);
    let lost = world.store(&machine, Vec::new()).await;
    world.clock.advance_ms(30 * DAY_MS);
    assert_eq!(world.expire(A_MONTH).await, gone(0, 0));
    assert!(world.is_there(&lost).await);
}

#[tokio::test]
async fn for_want_of_space_the_oldest_go_until_the_rest_fits_and_none_of_the_last_day() {
    let world = World::new().await;
    let mut runs = Vec::new();
    for name in ["first", "second", "third"] {
        let mut machine = world.machine(name);
        machine.hunks = vec![hunk(HunkState::Applied)];
        machine.patch = Some("patch".into());
        machine.ending = Some(Ending::Completed);
        let content = name.repeat(100_000).into_bytes();
        runs.push(world.store(&machine, vec![content]).await);
        world.clock.advance_ms(DAY_MS);
    }
    let young = world.ended("young", HunkState::Applied).await;
    let all = world.size().await;
    let most = |max_bytes| Retention { days: 30, max_bytes };
    assert_eq!(world.expire(most(all)).await, gone(0, 0), "all of it fits");

    assert_eq!(world.expire(most(all - 5_000)).await, gone(1, 0));
    assert!(!world.is_there(&runs[0]).await && world.is_there(&runs[1]).await);
    assert_eq!(
        world.expire(most(0)).await,
        gone(0, 0),
        "what went is not free yet: it is not looked for twice"
    );
    freed(&world.services).await.expect("noted");
    assert_eq!(world.expire(most(0)).await, gone(2, 0));
    assert!(world.is_there(&young).await);
}

#[tokio::test]
async fn a_content_of_two_runs_counts_for_the_one_that_goes_last() {
    let world = World::new().await;
    let shared = b"shared".repeat(50_000);
    for name in ["older", "newer"] {
        let mut machine = world.machine(name);
        machine.ending = Some(Ending::Completed);
        world.store(&machine, vec![shared.clone()]).await;
    }
    let stored = world.services.store.stored_runs(Weigh::Yes).await.expect("read");
    assert_eq!(stored[0].id.as_str(), "pipeline-newer-1");
    assert!(stored[0].bytes >= shared.len() as u64);
    assert!(stored[1].bytes < shared.len() as u64);
}

#[tokio::test]
async fn what_was_paid_stays_when_its_run_goes() {
    let world = World::new().await;
    let run = world.ended("paid", HunkState::Applied).await;
    let ledger = world.services.store.ledger();
    let hold = Hold {
        intent: "intent".into(),
        run: run.clone(),
        step: "developer".into(),
        agent: "developer".into(),
        provider: "anthropic".to_owned(),
        model: "claude-sonnet-5".to_owned(),
        repository: world.repository.id.clone(),
        owner: "owner".into(),
        amount: Money::from_dollars(2),
        caps: Vec::new(),
        day: "2026-11-24".to_owned(),
        at: BEGIN,
    };
    assert_eq!(ledger.reserve(hold).await.expect("reserved"), Grant::Granted);
    let settlement = Settlement {
        cost: Money::from_dollars(1),
        usage: Usage::default(),
        confirmed: Confirmation::Confirmed,
        at: BEGIN,
    };
    ledger
        .settle(&"intent".into(), settlement)
        .await
        .expect("settled");
    world.clock.advance_ms(30 * DAY_MS);
    assert_eq!(world.expire(A_MONTH).await, gone(1, 0));
    let totals = ledger.run_totals(&run).await.expect("read");
    assert_eq!(totals.cost, Money::from_dollars(1));
}

#[tokio::test]
async fn a_run_that_was_taken_up_since_it_was_looked_at_stays() {
    let world = World::new().await;
    let run = world.ended("taken", HunkState::Applied).await;
    let store = &world.services.store;
    let seen = store.stored_runs(Weigh::No).await.expect("read");
    store
        .adopt(&run, seen[0].fence, &OwnerId::new("somebody"))
        .await
        .expect("adopted");
    assert!(!store.expire_run(&run, seen[0].fence).await.expect("asked"));
    assert!(world.is_there(&run).await);
}

#[test]
fn a_clock_that_goes_back_makes_nothing_old() {
    let run = |name: &str, day: i64| StoredRun {
        id: PipelineId::new(name),
        repository: "repository".into(),
        fence: 1,
        finished: true,
        updated_at: Timestamp(day * DAY_MS),
        bytes: 10,
    };
    let runs = [run("later", 50), run("earlier", 10)];
    let went = |day: i64, excess: u64| -> Vec<&str> {
        chosen(&runs, Timestamp(day * DAY_MS), A_MONTH, excess)
            .iter()
            .map(|run| run.id.as_str())
            .collect()
    };
    assert!(went(0, u64::MAX).is_empty());
    assert_eq!(went(40, 0), ["earlier"]);
    assert_eq!(went(52, 10), ["earlier"]);
    assert_eq!(went(52, 11), ["earlier", "later"]);
}
