use CommandOrigin::{Model, Person, Repository};
use SandboxMode::{Auto, Off, Required};

use super::*;

fn bench(place: &Path) -> Bench {
    let folder = place.join("work");
    std::fs::create_dir_all(&folder).expect("made");
    Bench {
        spawner: Spawner::new("/nowhere".into()),
        environment: Arc::new(Environment::from_pairs([
            ("PATH", "/usr/bin:/bin"),
            ("SECRET_TOKEN", "hunter2hunter2"),
        ])),
        cache: place.join("cache"),
        redactor: Arc::new(Redactor::new()),
        sandbox: Sandbox::default(),
        place: WorkingDirectory {
            root: folder.clone(),
            folder,
            git_dir: place.join("git"),
        },
    }
}

fn test(command: &str) -> TestCommand {
    TestCommand {
        command: command.to_owned(),
        success_regex: None,
        timeout_ms: None,
        origin: CommandOrigin::Person,
    }
}

async fn run(bench: &Bench, test: &TestCommand) -> Result<TestRun> {
    let private = PrivateFolder::make(&bench.cache)?;
    bench
        .run(test, Confinement::Direct, &private, &CancellationToken::new())
        .await
}

#[tokio::test]
async fn exit_code_and_expression_decide_and_both_outputs_are_kept_in_order() {
    let place = tempfile::tempdir().expect("a folder");
    let bench = bench(place.path());
    let ran = run(&bench, &test("echo one; echo two >&2; echo three # done"))
        .await
        .expect("ran");
    assert!(ran.passed && ran.exit_code == Some(0));
    assert_eq!(ran.output, "one\ntwo\nthree\n");
    assert!(!run(&bench, &test("exit 3")).await.expect("ran").passed);
    let wanted = |regex: &str| TestCommand {
        success_regex: Some(regex.to_owned()),
        ..test("echo 3 passed")
    };
    assert!(run(&bench, &wanted(r"^\d+ passed$")).await.expect("ran").passed);
    assert!(!run(&bench, &wanted("failed")).await.expect("ran").passed);
    assert_eq!(
        run(&bench, &wanted("(")).await.expect_err("no expression").code,
        "invalidSuccessRegex"
    );
}

#[tokio::test]
async fn a_command_sees_no_secret_and_a_home_that_is_gone_afterwards() {
    let place = tempfile::tempdir().expect("a folder");
    let bench = bench(place.path());
    let key = format!("sk-ant-api03-{}", "A1b2C3d4E5".repeat(9));
    let ran = run(
        &bench,
        &test(&format!(
            "env; touch $HOME/x $TMPDIR/y; printf '\\033[31mred\\033[0m {key}\\n'"
        )),
    )
    .await
    .expect("ran");
    assert!(!ran.output.contains("hunter2"), "{}", ran.output);
    assert!(
        ran.output.contains("\nred ") && !ran.output.contains(&key),
        "{}",
        ran.output
    );
    assert_eq!(
        std::fs::read_dir(bench.cache.join("private"))
            .expect("there")
            .count(),
        0
    );
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_stopped_and_has_failed() {
    let place = tempfile::tempdir().expect("a folder");
    let slow = TestCommand {
        timeout_ms: Some(200),
        ..test("echo begun; sleep 60")
    };
    let ran = run(&bench(place.path()), &slow).await.expect("ran");
    assert!(!ran.passed && ran.exit_code.is_none());
    assert!(
        ran.output.contains("begun") && ran.output.contains("longer than 1 s"),
        "{}",
        ran.output
    );
}

#[test]
fn who_wrote_a_command_decides_how_it_may_run() {
    let place = WorkingDirectory {
        root: "/w".into(),
        folder: "/w".into(),
        git_dir: "/g".into(),
    };
    let landlock = SandboxTier::Landlock { abi: 6 };
    let none = SandboxTier::None {
        reason: "old kernel".to_owned(),
    };
    let shown = |origin, tier: &SandboxTier, mode| {
        let sandbox = Sandbox {
            mode,
            ..Sandbox::default()
        };
        match permission(origin, tier, &sandbox, &place, Path::new("/p")) {
            Permission::Run(Confinement::Sandboxed(policy)) => {
                assert_eq!(
                    policy.writable,
                    [Path::new("/w"), Path::new("/g"), Path::new("/p")]
                );
                format!("sandboxed, {:?}", policy.network)
            }
            Permission::Run(Confinement::Supervised) => "supervised".to_owned(),
            Permission::AskThen(Confinement::Supervised) => "ask".to_owned(),
            Permission::Refuse(error) => error.code.into_owned(),
            other => format!("{other:?}"),
        }
    };
    for (origin, tier, mode, expected) in [
        (Person, &landlock, Auto, "sandboxed, Full"),
        (Person, &none, Auto, "supervised"),
        (Person, &landlock, Off, "supervised"),
        (Repository, &landlock, Auto, "sandboxed, None"),
        (Model, &landlock, Required, "sandboxed, None"),
        (Repository, &none, Auto, "ask"),
        (Model, &landlock, Off, "ask"),
        (Person, &none, Required, "sandboxRequired"),
    ] {
        assert_eq!(shown(origin, tier, mode), expected, "{origin:?} {tier} {mode:?}");
    }
}
