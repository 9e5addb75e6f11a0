//! Other processes: this test binary, started again with a role.
//!
//! A child gets its role and its state directory through the environment and runs the one test
//! `a_child_plays_its_role`, which does nothing when nobody gave it a role.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::support::{create, hold, named_run, new_run, settlement, transition, wait_until};
use futures::future::join_all;

use crate::id::{OwnerId, PipelineId};
use crate::money::Money;
use crate::store::{Created, Grant, Limits, Store};

const ROLE: &str = "CLODE_TEST_STORE_ROLE";
const STATE: &str = "CLODE_TEST_STORE_STATE";
const NAME: &str = "CLODE_TEST_STORE_NAME";
const ENTRY: &str = "store::tests::children::a_child_plays_its_role";

/// Reservations that a spender tries.
pub(super) const SPENDER_TRIES: usize = 30;
/// The cap that all spenders share, in dollars; each reservation is one dollar.
pub(super) const SPENDER_CAP: i64 = 25;
/// Bytes of the state that a committer writes each time.
const COMMITTER_STATE_BYTES: usize = 2_000;

/// Runs of a crowd.
pub(super) const CROWD: usize = 8;

/// A child that is killed with the test.
pub(super) struct Kin(Child);

impl Kin {
    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.0.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    pub(super) fn must_succeed(&mut self) {
        let status = self.0.wait().unwrap();
        assert!(status.success(), "a child failed: {status}");
    }
}

impl Drop for Kin {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a child in this role. `before` is a shell command that runs in its process first.
pub(super) fn start(role: &str, name: &str, state: &Path, before: &str) -> Kin {
    let program = std::env::current_exe().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a second process is what these tests are about"
    )]
    let mut command = Command::new("sh");
    let child = command
        .args([
            "-c",
            &format!("{before}\nexec \"$0\" --exact {ENTRY} --nocapture --test-threads=1"),
        ])
        .arg(program)
        .env(ROLE, role)
        .env(NAME, name)
        .env(STATE, state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Kin(child)
}

/// What a child reported, one line each.
pub(super) fn reports(state: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(report_path(state, name)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// Lets all children begin that wait for it.
pub(super) fn give_the_start(state: &Path) {
    File::create(beside(state, "go")).unwrap();
}

fn beside(state: &Path, name: &str) -> PathBuf {
    state.parent().unwrap().join(name)
}

fn report_path(state: &Path, name: &str) -> PathBuf {
    beside(state, &format!("{name}.report"))
}

struct Scene {
    state: PathBuf,
    name: String,
    report: File,
}

impl Scene {
    fn report(&mut self, line: impl Display) {
        self.report.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn wait_for_the_start(&mut self) {
        self.report("ready");
        let go = beside(&self.state, "go");
        wait_until("the start", || go.exists());
    }
}

#[tokio::test]
async fn a_child_plays_its_role() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the role reaches the child through its environment"
    )]
    let given = |key| std::env::var(key);
    let (Ok(role), Ok(state), Ok(name)) = (given(ROLE), given(STATE), given(NAME)) else {
        return;
    };
    let state = PathBuf::from(state);
    let report = OpenOptions::new()
        .create(true)
        .append(true)
        .open(report_path(&state, &name))
        .unwrap();
    let mut scene = Scene { state, name, report };
    match role.as_str() {
        "spender" => spend(&mut scene).await,
        "committer" => commit_for_ever(&mut scene).await,
        "crowd" => commit_side_by_side(&mut scene).await,
        "holder" => hold_for_ever(&mut scene).await,
        "opener" => open_at_once(&mut scene).await,
        "payer" => pay_for_ever(&mut scene).await,
        "limited" => write_until_it_fails(&mut scene).await,
        other => panic!("there is no role {other}"),
    }
}

/// Reserves dollar by dollar under the common cap and settles every second one.
async fn spend(scene: &mut Scene) {
    let store = Store::open(&scene.state).await.unwrap();
    let ledger = store.ledger();
    scene.wait_for_the_start();
    for number in 0..SPENDER_TRIES {
        let wish = hold(&format!("{}/{number}", scene.name), 1, SPENDER_CAP);
        let intent = wish.intent.clone();
        if ledger.reserve(wish).await.unwrap() == Grant::Granted {
            scene.report("granted");
            if number % 2 == 0 {
                ledger
                    .settle(&intent, settlement(Money::from_dollars(1)))
                    .await
                    .unwrap();
            }
        }
    }
}

/// Writes transitions and reports each that was acknowledged, until it is killed.
async fn commit_for_ever(scene: &mut Scene) {
    let store = Store::open(&scene.state).await.unwrap();
    let run = create(&store, new_run(&scene.name)).await;
    for number in 1_u64.. {
        let state = format!(
            "{{\"number\":{number},\"filler\":\"{}\"}}",
            "x".repeat(COMMITTER_STATE_BYTES)
        );
        let committed = store.commit(transition(&run, 1, &state)).await.unwrap();
        assert_eq!(committed.seqs, [number]);
        scene.report(number);
    }
}

/// Pays a dollar and writes a transition, and reports both together, until it is killed.
async fn pay_for_ever(scene: &mut Scene) {
    let store = Store::open(&scene.state).await.unwrap();
    let (ledger, run) = (store.ledger(), create(&store, new_run(&scene.name)).await);
    for number in 1_u64.. {
        let mut wish = hold(&format!("{}/{number}", scene.name), 1, 100_000);
        wish.run = run.clone();
        let intent = wish.intent.clone();
        assert_eq!(ledger.reserve(wish).await.unwrap(), Grant::Granted);
        let outcome = settlement(Money::from_dollars(1));
        ledger.settle(&intent, outcome).await.unwrap();
        store.commit(transition(&run, 1, "{}")).await.unwrap();
        scene.report(number);
    }
}

/// As above for several runs at the same time, whose writes share transactions.
async fn commit_side_by_side(scene: &mut Scene) {
    let store = Store::open(&scene.state).await.unwrap();
    let mut runs = Vec::new();
    for number in 0..CROWD {
        runs.push(create(&store, new_run(&format!("{}-{number}", scene.name))).await);
    }
    for number in 1_u64.. {
        let writes = runs.iter().map(|run| store.commit(transition(run, 1, "{}")));
        for committed in join_all(writes).await {
            assert_eq!(committed.unwrap().seqs, [number]);
        }
        scene.report(number);
    }
}

/// Holds money and its owner lock until it is killed.
async fn hold_for_ever(scene: &mut Scene) {
    let store = Store::open(&scene.state).await.unwrap();
    let owner = OwnerId::new(scene.name.clone());
    let lock = store.register_owner(&owner, "a child").unwrap();
    for number in 0..3 {
        let mut wish = hold(&format!("{owner}/{number}"), 2, 100);
        wish.owner = owner.clone();
        assert_eq!(store.ledger().reserve(wish).await.unwrap(), Grant::Granted);
    }
    scene.report("holding");
    wait_until("the kill", || false);
    drop(lock);
}

/// Opens a store that does not exist yet, at the same moment as others, and uses it.
async fn open_at_once(scene: &mut Scene) {
    scene.wait_for_the_start();
    let store = Store::open(&scene.state).await.unwrap();
    create(&store, new_run(&scene.name)).await;
    let same = named_run(&format!("{}-named", scene.name), "task", "identity");
    let created = matches!(store.create_run(same).await.unwrap(), Created::New { .. });
    scene.report(if created { "new" } else { "existing" });
}

/// Writes until the system refuses, then shows that the store stays closed for writing.
async fn write_until_it_fails(scene: &mut Scene) {
    let store = Store::open(&scene.state).await.unwrap();
    let run = PipelineId::new("run");
    let state = format!("\"{}\"", "x".repeat(50_000));
    let first = loop {
        match store.commit(transition(&run, 1, &state)).await {
            Ok(_) => scene.report("written"),
            Err(error) => break error,
        }
    };
    scene.report(first.code);
    let later = store.commit(transition(&run, 1, "{}")).await.unwrap_err();
    scene.report(later.code);
    let paid = store.ledger().reserve(hold("paid", 1, 100)).await.unwrap_err();
    scene.report(paid.code);
    let seen = store.run(&run).await.unwrap().map_or(0, |row| row.state.len());
    scene.report(seen);
}
