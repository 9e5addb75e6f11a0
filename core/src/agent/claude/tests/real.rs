//! With the real program, where `CLODE_TEST_CLAUDE` names it, behind the real shim and sandbox.

use serde_json::json;

use super::scripted::{Api, Say};
use super::*;
use crate::agent::claude::launch::{
    Account, DEVELOPER_TOOLS, Launch, Program, SystemPrompt, Talk, check_version,
};
use crate::agent::claude::meter::ANSWER_TOKENS_MAX;
use crate::agent::claude::session::new_id;
use crate::agent::private::private_folder;
use crate::config::Environment;
use crate::process::{Network, SandboxPolicy};

const KEY: &str = "sk-ant-api03-test-key-of-the-driver";

struct World {
    place: tempfile::TempDir,
    spawner: Spawner,
    environment: Environment,
    program: Program,
    confinement: Confinement,
}

async fn world(address: &str) -> Option<World> {
    let (shim, claude) = found()?;
    let place = tempfile::tempdir().expect("a folder");
    for folder in ["work", "private", "private/home", "private/config", "private/tmp"] {
        private_folder(&place.path().join(folder)).expect("made");
    }
    std::fs::write(place.path().join("work/a.txt"), "one\n").expect("written");
    std::fs::write(place.path().join("work/CLAUDE.md"), "MARKER-OF-THE-REPOSITORY\n").expect("written");
    std::fs::write(place.path().join("private/system.md"), "clode-agent: developer\n").expect("written");
    let spawner = Spawner::new(shim);
    let confinement = if spawner.probe().await.confines_files() {
        let readable = claude.parent().map(Path::to_path_buf).into_iter().collect();
        let writable = vec![place.path().join("work"), place.path().join("private")];
        Confinement::Sandboxed(SandboxPolicy {
            writable,
            readable,
            network: Network::Full,
        })
    } else {
        Confinement::Supervised
    };
    Some(World {
        place,
        spawner,
        environment: Environment::from_pairs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")]),
        program: Program {
            path: claude,
            first_args: Vec::new(),
            account: Account::Key(KEY.to_owned().into()),
            base_url: Some(address.to_owned()),
        },
        confinement,
    })
}

impl World {
    async fn run(&self, talk: &Talk, message: &str, rule: &Rule, cancel: &CancellationToken) -> Ended {
        let (work, private) = (self.place.path().join("work"), self.place.path().join("private"));
        let launch = Launch {
            program: &self.program,
            environment: &self.environment,
            cwd: &work,
            private: &private,
            confinement: self.confinement.clone(),
            talk,
            system: &SystemPrompt::Appended(private.join("system.md")),
            tools: DEVELOPER_TOOLS,
            model: Some("claude-sonnet-5"),
            turns_max: 10,
            budget: crate::money::Money::from_usd(5.0),
            answer_tokens_max: ANSWER_TOKENS_MAX,
            retries: 2,
        };
        let child = self.spawner.spawn(launch.command()).await.expect("started");
        converse(child, message, rule, cancel).await.expect("an end")
    }

    fn path(&self, name: &str) -> String {
        self.place
            .path()
            .join("work")
            .join(name)
            .to_string_lossy()
            .into_owned()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }
}

fn new_talk() -> Talk {
    Talk::New(new_id().expect("random"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_program_edits_under_our_policy_and_is_metered() {
    let Some(probe) = world("http://127.0.0.1:9").await else {
        return;
    };
    let script = vec![
        Say::Tools(vec![("Read", json!({ "file_path": probe.path("a.txt") }))]),
        Say::Tools(vec![(
            "Edit",
            json!({ "file_path": probe.path("a.txt"), "old_string": "one", "new_string": "two" }),
        )]),
        Say::Tools(vec![(
            "Bash",
            json!({ "command": "env", "description": "looks" }),
        )]),
        Say::Tools(vec![(
            "Bash",
            json!({ "command": "echo out > denied.txt", "description": "x" }),
        )]),
        Say::Text("All done."),
    ];
    let (api, address) = Api::serve(script).await;
    let world = World {
        program: Program {
            base_url: Some(address),
            ..probe.program.clone()
        },
        ..probe
    };
    let home = world.place.path().join("private/home");
    let version = check_version(
        &world.spawner,
        &world.program,
        &world.environment,
        &home,
        &CancellationToken::new(),
    )
    .await;
    assert!(version.expect("new enough").contains("Claude Code"));

    let rule = Rule::new(|call| {
        let denied = call.input["command"]
            .as_str()
            .is_some_and(|command| command.contains("denied"));
        if denied {
            Verdict::Deny("not this".to_owned())
        } else {
            Verdict::Allow
        }
    });
    let ended = world
        .run(
            &new_talk(),
            "Change one to two. @a.txt /help",
            &rule,
            &CancellationToken::new(),
        )
        .await;
    assert_eq!(ended.outcome, Outcome::Done("All done.".to_owned()));
    assert_eq!(rule.tools(), ["Read", "Edit", "Bash", "Bash"]);
    assert_eq!(world.read("a.txt"), "two\n");
    assert!(!world.place.path().join("work/denied.txt").exists());
    assert_eq!(
        (
            ended.meter.usage().input_tokens,
            ended.meter.usage().output_tokens
        ),
        (5_000, 500)
    );
    assert!(
        ended
            .reported
            .is_some_and(|cost| cost > crate::money::Money::ZERO)
    );

    let requests = api.requests.lock().expect("free");
    assert_eq!(
        requests[0].0.get("x-api-key").and_then(|key| key.to_str().ok()),
        Some(KEY)
    );
    assert_eq!(
        requests[0].1["max_tokens"], 32_000,
        "the program heeds our limit of output"
    );
    let everything = requests
        .iter()
        .map(|(_, body)| body.to_string())
        .collect::<String>();
    assert!(
        everything.contains("clode-agent: developer") && !everything.contains("MARKER-OF-THE-REPOSITORY")
    );
    assert!(everything.contains("Change one to two. @a.txt /help"));
    assert!(
        !everything.contains(KEY),
        "the key was in the environment of a tool"
    );
    assert!(everything.contains("not this"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_stopped_for_money_is_resumed_where_it_was() {
    let Some(probe) = world("http://127.0.0.1:9").await else {
        return;
    };
    let write = |text: &str| {
        Say::Tools(vec![(
            "Write",
            json!({ "file_path": probe.path("b.txt"), "content": text }),
        )])
    };
    let (api, address) = Api::serve(vec![write("first"), write("second"), Say::Text("Done.")]).await;
    let world = World {
        program: Program {
            base_url: Some(address),
            ..probe.program.clone()
        },
        ..probe
    };
    let Talk::New(id) = new_talk() else {
        panic!("a new talk")
    };
    let stop = Rule::new(|_| Verdict::Stop("no money".to_owned()));
    let ended = world
        .run(
            &Talk::New(id.clone()),
            "Write b.txt.",
            &stop,
            &CancellationToken::new(),
        )
        .await;
    assert_eq!(ended.outcome, Outcome::OutOfMoney);
    let first_cost = ended.reported.expect("it reports what a call costs");
    assert!(ended.begun && !world.place.path().join("work/b.txt").exists());
    assert_eq!(api.count(), 1, "nothing more was asked of the model");

    let allow = Rule::new(|_| Verdict::Allow);
    let ended = world
        .run(&Talk::Resume(id), "Go on.", &allow, &CancellationToken::new())
        .await;
    assert_eq!(ended.outcome, Outcome::Done("Done.".to_owned()));
    assert_eq!(world.read("b.txt"), "second");
    assert_eq!(
        ended.meter.usage().output_tokens,
        200,
        "only what this process used"
    );
    assert_eq!(
        ended.reported,
        Some(first_cost.times(2)),
        "two calls, without the one of the process before"
    );
    let own = ended.meter.cost(&|_| {
        Some(crate::config::Price {
            output: crate::money::Money::from_pico(1),
            ..Default::default()
        })
    });
    assert_eq!(own.pico(), 200);
    let requests = api.requests.lock().expect("free");
    assert!(
        requests[1].1.to_string().contains("Write b.txt."),
        "the conversation is the same"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_the_real_program_are_told_apart() {
    let (_, address) = Api::serve(vec![Say::Status(401); 20]).await;
    let Some(world) = world(&address).await else {
        return;
    };
    let rule = Rule::new(|_| Verdict::Allow);
    let ended = world
        .run(&new_talk(), "x", &rule, &CancellationToken::new())
        .await;
    let Outcome::Failed(error) = ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert_eq!(error.code, "keyRejected");

    let lost = Talk::Resume(new_id().expect("random"));
    let ended = world.run(&lost, "x", &rule, &CancellationToken::new()).await;
    assert_eq!(ended.outcome, Outcome::SessionLost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_session_of_the_real_program_takes_its_children_with_it() {
    let sleep = Say::Tools(vec![(
        "Bash",
        json!({ "command": "touch begun; sleep 3517", "description": "x" }),
    )]);
    let (_, address) = Api::serve(vec![sleep]).await;
    let Some(world) = world(&address).await else {
        return;
    };
    let rule = Rule::new(|_| Verdict::Allow);
    let cancel = CancellationToken::new();
    let begun = world.place.path().join("work/begun");
    let stopping = async {
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
    };
    let talk = new_talk();
    let (ended, ()) = tokio::join!(world.run(&talk, "x", &rule, &cancel), stopping);
    assert!(
        matches!(&ended.outcome, Outcome::Interrupted(error) if error.code == "cancelled"),
        "{:?}",
        ended.outcome
    );
    let sleeping = std::fs::read_dir("/proc").expect("there").flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.windows(10).any(|part| part == b"sleep\x003517")
    });
    assert!(!sleeping);
}
