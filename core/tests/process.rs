//! Real children, real trees, a real sandbox. This executable is also the shim (as the server is), a
//! server that gets killed, and the program that tries to get out.

#![cfg(target_os = "linux")]
#![expect(
    clippy::print_stdout,
    reason = "the report of the scenarios and the words of the helpers"
)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the helpers are programs of their own")]

use std::ffi::OsString;
use std::future::Future;
use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clode_core::process::{
    Command, Confinement, End, Limits, Line, Network, SHIM_ARGUMENT, SandboxTier, SecretDescriptor, Spawner,
    Stdin, find_program, shim_main, toolchain_environment,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::programs::{harden_and_probe, server_to_be_killed, tell_the_key, try_the_network};
use crate::world::{
    LONG, Marker, OUTPUT_MAX, Place, every_confinement, hiding, own_path, parent_of, run, sandboxed, shell,
    spawner, text, tried,
};

#[path = "process/programs.rs"]
mod programs;
#[path = "process/world.rs"]
mod world;

/// The promise: whatever happens, the tree is gone after so long.
const GONE_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    match words.as_slice() {
        [SHIM_ARGUMENT, ..] => shim_main(),
        ["__server", script] => server_to_be_killed(script),
        ["__network", port] => try_the_network(port.parse().unwrap()),
        ["__key"] => tell_the_key(),
        ["__hardened", file] => harden_and_probe(file),
        words => run_scenarios(words),
    }
}

// ---- the scenarios ---------------------------------------------------------------------------------

async fn exit_code_output_and_input_are_the_programs() {
    for confinement in every_confinement() {
        let input = "line\n".repeat(100_000);
        let command = shell("cat; echo done >&2; exit 7", confinement.clone())
            .stdin(Stdin::Bytes(input.clone().into_bytes()));
        let command = Command {
            limits: Limits::new(LONG, 1_000_000),
            ..command
        };
        let output = run(command).await.unwrap();
        assert_eq!(output.end, End::Exited(7), "{confinement:?}");
        assert!(
            output.stdout == input.as_bytes(),
            "{confinement:?}: {} bytes",
            output.stdout.len()
        );
        assert_eq!(output.stderr_text(), "done\n", "{confinement:?}");
    }
}

async fn a_signal_is_told_as_a_signal() {
    for confinement in every_confinement() {
        for (name, number) in [
            ("KILL", 9),
            ("TERM", 15),
            ("SEGV", 11),
            ("USR1", 10),
            ("PIPE", 13),
        ] {
            let output = run(shell(&format!("kill -{name} $$"), confinement.clone()))
                .await
                .unwrap();
            assert_eq!(output.end, End::Signalled(number), "{confinement:?}");
        }
    }
}

async fn nothing_is_inherited() {
    // A descriptor that would be inherited, as editors leave them.
    let place = Place::new();
    let leak = std::fs::File::create(place.path().join("leak")).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    for confinement in every_confinement() {
        let direct = matches!(confinement, Confinement::Direct);
        let script = "env; grep -E 'SigIgn|SigBlk' /proc/self/status; exec ls -l /proc/self/fd";
        let output = run(shell(script, confinement).env("ONLY", "this")).await.unwrap();
        let text = output.stdout_text().into_owned();
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|pair| pair.0)
            .collect();
        assert!(names.contains(&"ONLY"), "{text}");
        assert!(
            names
                .iter()
                .all(|name| ["ONLY", "PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)),
            "{text}"
        );
        if !direct {
            // Beside the three there is the folder that `ls` itself has open.
            let open = text
                .lines()
                .filter(|line| line.contains(" -> ") && !line.ends_with("/fd"));
            assert_eq!(open.count(), 3, "{text}");
            for set in text.lines().filter_map(|line| line.strip_prefix("Sig")) {
                let set = u64::from_str_radix(set.split_ascii_whitespace().last().unwrap(), 16).unwrap();
                // The C library keeps two numbers above for itself.
                assert_eq!(set & 0x7fff_ffff, 0, "{text}");
            }
        }
    }
    drop(leak);
}

async fn what_cannot_be_started_is_an_error_that_says_so() {
    let place = Place::new();
    let script = place.program("script", "#!/no/such/interpreter\n");
    let text = place.file("text", "no program");
    for confinement in every_confinement() {
        for program in [Path::new("/no/such/program"), &text, &script] {
            let command = Command::new(program, "/", confinement.clone(), Limits::new(LONG, OUTPUT_MAX));
            let error = run(command.clone()).await.unwrap_err();
            assert_eq!(error.code, "programNotStarted", "{error}");
            assert!(error.message.contains(program.to_str().unwrap()), "{error}");
            if let Ok(mut child) = spawner().spawn(command).await {
                assert_eq!(child.next_line().await.unwrap(), None);
                assert_eq!(child.wait().await.unwrap_err().code, "programNotStarted");
            }
        }
        let nowhere = Command {
            cwd: "/no/such/folder".into(),
            ..shell("true", confinement)
        };
        assert_eq!(run(nowhere).await.unwrap_err().code, "programNotStarted");
    }
}

async fn a_program_that_writes_the_words_of_the_shim_is_not_believed() {
    let forged = r#"printf '\0\0\0\0{"failed":{"code":"x","message":"y"}}' >&2; exit 125"#;
    assert_eq!(
        run(shell(forged, Confinement::Supervised)).await.unwrap().end,
        End::Exited(125)
    );
}

async fn a_flood_of_output_is_capped() {
    let command = shell(
        "echo first; yes | head -c 50000000; echo last",
        Confinement::Supervised,
    );
    let output = run(command).await.unwrap();
    assert!(output.end.success());
    assert!(output.truncated);
    assert!(output.stdout.len() < OUTPUT_MAX + 100, "{}", output.stdout.len());
    assert!(output.stdout.starts_with(b"first\ny\n") && output.stdout.ends_with(b"y\nlast\n"));
}

async fn a_hang_ends_by_the_time_limit_with_its_whole_tree() {
    for confinement in every_confinement() {
        let marker = Marker::new();
        let command = shell(
            &format!("sleep {marker} & sh -c 'sleep {marker}' & sleep {marker}"),
            confinement,
        );
        let command = Command {
            limits: Limits::new(Duration::from_millis(700), OUTPUT_MAX),
            ..command
        };
        let begun = Instant::now();
        let output = run(command).await.unwrap();
        assert_eq!(output.end, End::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        marker.gone_within(Duration::ZERO);
    }
}

async fn a_program_that_ignores_every_polite_signal_ends_all_the_same() {
    for confinement in every_confinement() {
        let marker = Marker::new();
        let script =
            format!("trap '' TERM INT HUP USR1; setsid sleep {marker} & while :; do sleep {marker}; done");
        let command = shell(&script, confinement);
        let command = Command {
            limits: Limits::new(Duration::from_millis(500), OUTPUT_MAX),
            ..command
        };
        assert_eq!(run(command).await.unwrap().end, End::TimedOut);
        marker.gone_within(Duration::ZERO);
    }
}

async fn silence_is_another_limit_than_time() {
    let limits = Limits {
        idle: Some(Duration::from_millis(800)),
        ..Limits::new(LONG, OUTPUT_MAX)
    };
    let talking = shell(
        "for i in 1 2 3 4 5 6 7 8; do sleep 0.2; echo $i; done",
        Confinement::Supervised,
    );
    assert!(run(Command { limits, ..talking }).await.unwrap().end.success());
    let silent = shell("echo once; sleep 60", Confinement::Supervised);
    let output = run(Command { limits, ..silent }).await.unwrap();
    assert_eq!(
        (output.end, output.stdout_text().as_ref()),
        (End::TimedOut, "once\n")
    );
}

async fn a_cancelled_program_ends_with_its_whole_tree() {
    for confinement in every_confinement() {
        let marker = Marker::new();
        let cancel = CancellationToken::new();
        let command = shell(&format!("setsid sleep {marker} & sleep {marker}"), confinement);
        let running = tokio::spawn({
            let cancel = cancel.clone();
            async move { spawner().run(command, &cancel).await }
        });
        marker.present(2).await;
        cancel.cancel();
        assert_eq!(running.await.unwrap().unwrap().end, End::Cancelled);
        marker.gone_within(Duration::ZERO);
    }
}

async fn a_program_that_obeys_the_polite_signal_may_clean_up() {
    let place = Place::new();
    let script = format!(
        "trap 'echo bye > {}/note; exit 0' TERM; echo up; while :; do sleep 0.05; done",
        place.text()
    );
    let mut child = spawner()
        .spawn(shell(&script, Confinement::Supervised))
        .await
        .unwrap();
    assert_eq!(text(child.next_line().await.unwrap()), "up");
    assert_eq!(child.stop().await.unwrap(), End::Cancelled);
    assert_eq!(
        std::fs::read_to_string(place.path().join("note")).unwrap(),
        "bye\n"
    );
}

async fn grandchildren_that_hide_die_with_the_program() {
    for confinement in [Confinement::Supervised, sandboxed(&[], Network::None)] {
        let marker = Marker::new();
        let output = run(shell(&hiding(&marker), confinement)).await.unwrap();
        assert!(output.end.success(), "{output:?}");
        marker.gone_within(Duration::ZERO);
    }
}

async fn a_fork_bomb_is_cleaned_up() {
    let marker = Marker::new();
    // Fifty that start each other anew as long as they live.
    let script = format!(
        "i=0; while [ $i -lt 50 ]; do i=$((i+1)); setsid sh -c 'while :; do sh -c \"sleep 0.01\" {marker} & wait; done' {marker} & done; sleep 0.5; echo up"
    );
    let begun = Instant::now();
    let output = run(shell(&script, Confinement::Supervised)).await.unwrap();
    assert_eq!(output.stdout_text(), "up\n");
    println!(
        "    fifty processes: {:?} with half a second of their own",
        begun.elapsed()
    );
    marker.gone_within(Duration::ZERO);
}

async fn the_tree_dies_when_the_server_is_killed() {
    let marker = Marker::new();
    let script = format!("{} sleep {marker}", hiding(&marker));
    let mut server = std::process::Command::new(own_path())
        .args(["__server", &script])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    std::io::BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    assert_eq!(ready, "ready\n");
    marker.present(4).await;
    server.kill().unwrap();
    server.wait().unwrap();
    println!("    gone after {:?}", marker.gone_within(GONE_WITHIN));
}

async fn the_tree_dies_when_its_holder_drops_it() {
    for confinement in every_confinement() {
        let marker = Marker::new();
        let script = format!("setsid sleep {marker} & sleep {marker}");
        let child = spawner().spawn(shell(&script, confinement)).await.unwrap();
        marker.present(2).await;
        drop(child);
        marker.gone_after(GONE_WITHIN).await;
    }
}

async fn whoever_holds_the_pipe_after_the_end_is_not_waited_for() {
    let marker = Marker::new();
    // Without the shim nobody kills this one.
    let command = shell(&format!("setsid sleep {marker} & echo out"), Confinement::Direct);
    let begun = Instant::now();
    let output = run(command).await.unwrap();
    assert_eq!(
        (output.end, output.stdout_text().as_ref()),
        (End::Exited(0), "out\n")
    );
    assert!(output.held_open);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    marker.kill();
}

async fn a_conversation_line_by_line() {
    for confinement in every_confinement() {
        let script =
            "while read line; do echo \"got $line\"; done; head -c 9000000 /dev/zero; echo; echo end";
        let mut child = spawner()
            .spawn(shell(script, confinement).stdin(Stdin::Piped))
            .await
            .unwrap();
        for word in ["one", "two"] {
            child.write_line(word).await.unwrap();
            assert_eq!(text(child.next_line().await.unwrap()), format!("got {word}"));
        }
        child.close_stdin();
        assert_eq!(
            child.next_line().await.unwrap(),
            Some(Line::TooLong { bytes: 9_000_000 })
        );
        assert_eq!(text(child.next_line().await.unwrap()), "end");
        assert_eq!(child.next_line().await.unwrap(), None);
        assert_eq!(child.wait().await.unwrap(), End::Exited(0));
        assert_eq!(child.write_line("late").await.unwrap_err().code, "programInput");
    }
}

async fn an_interrupt_reaches_the_program() {
    // A shell that runs the tests in the background ignores interrupts, and children inherit that. With
    // a handler, as the command line has one, they begin with the default action.
    let _handler = signal(SignalKind::interrupt()).unwrap();
    for confinement in every_confinement() {
        let script = "trap 'echo interrupted; exit 3' INT; echo up; while :; do sleep 0.05; done";
        let mut child = spawner().spawn(shell(script, confinement)).await.unwrap();
        assert_eq!(text(child.next_line().await.unwrap()), "up");
        child.interrupt();
        assert_eq!(text(child.next_line().await.unwrap()), "interrupted");
        assert_eq!(child.wait().await.unwrap(), End::Exited(3));
    }
}

async fn the_key_comes_by_descriptor_and_is_nowhere_else() {
    let key = "sk-test-0123456789abcdef";
    for confinement in [Confinement::Supervised, sandboxed(&[], Network::None)] {
        let limits = Limits::new(LONG, OUTPUT_MAX);
        let mut command = Command::new(own_path(), "/", confinement, limits)
            .arg("__key")
            .stdin(Stdin::Piped);
        command.secret = Some(SecretDescriptor {
            env_name: "KEY_DESCRIPTOR".to_owned(),
            value: key.into(),
        });
        assert!(!format!("{command:?}").contains(key));
        let mut child = spawner().spawn(command).await.unwrap();
        let pid: u32 = text(child.next_line().await.unwrap()).parse().unwrap();
        let shim = parent_of(pid);
        for process in [pid, shim] {
            for file in ["environ", "cmdline"] {
                let bytes = match std::fs::read(format!("/proc/{process}/{file}")) {
                    // Unless we are root, the supervisor cannot even be asked.
                    Err(error) if process == shim && error.kind() == std::io::ErrorKind::PermissionDenied => {
                        continue;
                    }
                    bytes => bytes.unwrap(),
                };
                assert!(
                    !String::from_utf8_lossy(&bytes).contains("sk-test"),
                    "{process}/{file}"
                );
            }
        }
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        assert!(environment.starts_with("KEY_DESCRIPTOR="), "{environment}");
        child.write_line("go on").await.unwrap();
        assert_eq!(text(child.next_line().await.unwrap()), key);
        assert!(child.wait().await.unwrap().success());
    }
}

async fn a_sandboxed_program_changes_only_what_it_may() {
    let place = Place::new();
    let (inside, outside) = (place.folder("inside"), place.folder("outside"));
    std::fs::write(outside.join("private"), "private").unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    let attempts = format!(
        "echo x > {inside}/new && echo wrote inside
         mkdir {inside}/d && mv {inside}/new {inside}/d/ && rm -r {inside}/d && echo changed inside
         echo x > /dev/null && echo wrote null
         (echo x > {outside}/new) 2>/dev/null || echo not outside
         (echo x > {inside}/link/new) 2>/dev/null || echo not through a link
         (echo x > /etc/clode-test) 2>/dev/null || echo not to the system
         cat {outside}/private 2>/dev/null || echo not read
         ls {outside} 2>/dev/null || echo not listed
         ls /tmp >/dev/null 2>&1 || echo not the common folder
         ls /usr/bin >/dev/null && cat /proc/self/stat >/dev/null && echo the system is readable
         cat /proc/{pid}/environ >/dev/null 2>&1 || echo not another environment
         grep -q 'NoNewPrivs:.1' /proc/self/status && echo no new privileges
         kill -0 {pid} 2>/dev/null || echo no signal to outside
         kill -9 $PPID 2>/dev/null || echo no signal to the supervisor
         kill -0 -1 2>/dev/null || echo no signal to all
         unshare -U true 2>/dev/null || echo no other view
         mount -t tmpfs none {inside} 2>/dev/null || echo no mount",
        inside = inside.display(),
        outside = outside.display(),
        pid = std::process::id(),
    );
    let output = run(shell(&attempts, sandboxed(&[&inside], Network::None)))
        .await
        .unwrap();
    let expected = "wrote inside\nchanged inside\nwrote null\nnot outside\nnot through a link\nnot to the system\n\
        not read\nnot listed\nnot the common folder\nthe system is readable\nnot another environment\n\
        no new privileges\nno signal to outside\nno signal to the supervisor\nno signal to all\nno other view\nno mount\n";
    assert_eq!(output.stdout_text(), expected, "stderr: {}", output.stderr_text());
    assert!(!outside.join("new").exists());
}

async fn the_same_program_without_a_sandbox_may() {
    // The counterpart: what is refused above is refused by the sandbox and nothing else.
    let place = Place::new();
    let outside = place.folder("outside");
    let script = format!(
        "echo x > {o}/new && cat {o}/new && kill -0 {pid} && ls /tmp >/dev/null",
        o = outside.display(),
        pid = std::process::id()
    );
    assert!(
        run(shell(&script, Confinement::Supervised))
            .await
            .unwrap()
            .end
            .success()
    );
}

async fn what_a_policy_names_must_be_there_to_be_written() {
    let missing = sandboxed(&[Path::new("/no/such/folder")], Network::None);
    let error = run(shell("true", missing)).await.unwrap_err();
    assert_eq!(error.code, "sandboxFailed");
    assert!(error.message.contains("/no/such/folder"), "{error}");
}

async fn the_network_is_as_wide_as_the_policy() {
    let gateway = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = gateway.local_addr().unwrap().port();
    let cases = [
        (
            Network::None,
            "connect: no, other: no, listen: no, datagram: no, unix: no, pair: yes",
        ),
        (
            Network::Loopback { port },
            "connect: yes, other: no, listen: no, datagram: no, unix: no, pair: yes",
        ),
        (
            Network::Full,
            "connect: yes, other: yes, listen: yes, datagram: yes, unix: no, pair: yes",
        ),
    ];
    for (network, expected) in cases {
        assert_eq!(
            tried(sandboxed(&[], network), port).await,
            expected,
            "{network:?}"
        );
    }
    let free = tried(Confinement::Supervised, port).await;
    assert_eq!(
        free,
        "connect: yes, other: yes, listen: yes, datagram: yes, unix: yes, pair: yes"
    );
}

async fn the_probe_finds_out_what_the_sandbox_is_worth() {
    let spawner = spawner();
    let begun = Instant::now();
    let tier = spawner.probe().await;
    println!("    {tier} after {:?}", begun.elapsed());
    assert!(
        matches!(tier, SandboxTier::Landlock { abi } if abi >= 1),
        "{tier}"
    );
    let begun = Instant::now();
    assert_eq!(spawner.clone().probe().await, tier);
    assert!(begun.elapsed() < Duration::from_millis(5), "it is remembered");
    let broken = Spawner::new("/bin/true".into()).probe().await;
    assert!(!broken.confines_files(), "{broken}");
    let absent = Spawner::new("/no/such/shim".into()).probe().await;
    assert!(absent.to_string().starts_with("none: "), "{absent}");
}

async fn ordinary_programs_work_inside() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let gateway = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = gateway.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = gateway.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
    });
    let node = format!("fetch('http://127.0.0.1:{port}/').then(r => r.text()).then(t => console.log(t))");
    let python = "import multiprocessing as m; p = m.Pool(2); print(sum(p.map(abs, [-1, 2])))";
    let git = "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git log --format=%s";
    let cargo =
        "cargo init -q --offline --vcs none --name inside && cargo check -q --offline && echo checked";
    let mut asked = false;
    for (program, arguments, expected) in [
        ("node", ["-e", node.as_str()], "ok"),
        ("python3", ["-c", python], "3"),
        ("sh", ["-c", git], "x"),
        ("sh", ["-c", cargo], "checked"),
    ] {
        let wanted = if arguments[1] == cargo { "cargo" } else { program };
        if find_program(wanted, &path).is_none() {
            println!("    no {wanted} here");
            continue;
        }
        asked |= program == "node";
        let place = Place::new();
        let (home, slot) = (place.folder("home"), place.folder("slot"));
        let confinement = sandboxed(&[&home, &slot], Network::Loopback { port });
        let limits = Limits::new(LONG, OUTPUT_MAX);
        let mut command = Command::new(find_program(program, &path).unwrap(), &slot, confinement, limits)
            .args(arguments)
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env("PATH", &path);
        command.env.extend(toolchain_environment(&path));
        let output = run(command).await.unwrap();
        assert_eq!(
            output.stdout_text().trim(),
            expected,
            "{program}: {}",
            output.stderr_text()
        );
    }
    if asked {
        answering.join().unwrap();
    }
}

async fn a_hardened_server_is_its_own_shim_even_without_its_file() {
    let place = Place::new();
    let copy = place.path().join("server");
    std::fs::copy(own_path(), &copy).unwrap();
    let limits = Limits::new(LONG, OUTPUT_MAX);
    let command = Command::new(&copy, "/", Confinement::Direct, limits)
        .arg("__hardened")
        .arg(&copy);
    let output = run(command).await.unwrap();
    assert!(output.stdout_text().starts_with("landlock (ABI "), "{output:?}");
    assert!(!copy.exists());
}

/// An editor that ignores the ends of its children passes that on to the server that it starts.
async fn a_server_that_was_born_ignoring_the_ends_of_children_hears_of_them() {
    let place = Place::new();
    let copy = place.path().join("server");
    std::fs::copy(own_path(), &copy).unwrap();
    let limits = Limits::new(LONG, OUTPUT_MAX);
    let command = Command::new("/usr/bin/env", "/", Confinement::Direct, limits)
        .arg("--ignore-signal=CHLD")
        .arg(&copy)
        .arg("__hardened")
        .arg(&copy);
    let output = run(command).await.unwrap();
    assert!(output.stdout_text().starts_with("landlock (ABI "), "{output:?}");
}

async fn many_at_once_do_not_disturb_each_other() {
    let marker = Marker::new();
    let runs = (0..24).map(|number| {
        let confinement = every_confinement()[number % 3].clone();
        let command = shell(
            &format!("cat; setsid sleep {marker} >/dev/null 2>&1 & exit {number}"),
            confinement,
        )
        .stdin(Stdin::Bytes(vec![b'a'; 100_000]));
        let command = Command {
            limits: Limits::new(LONG, 200_000),
            ..command
        };
        async move { (number, run(command).await.unwrap()) }
    });
    for (number, output) in futures::future::join_all(runs).await {
        assert_eq!(output.end, End::Exited(i32::try_from(number).unwrap()));
        assert_eq!(output.stdout.len(), 100_000, "{number}");
    }
    // Only those without a supervisor leave something behind.
    assert!(marker.alive().len() <= 8, "{:?}", marker.alive());
    marker.kill();
}

async fn what_it_costs() {
    let mut figures = Vec::new();
    for (name, confinement) in [
        ("direct", Confinement::Direct),
        ("supervised", Confinement::Supervised),
        ("sandboxed", sandboxed(&[], Network::None)),
    ] {
        let mut times = Vec::new();
        for _ in 0..15 {
            let begun = Instant::now();
            let command = Command::new(
                "/bin/true",
                "/",
                confinement.clone(),
                Limits::new(LONG, OUTPUT_MAX),
            );
            assert!(run(command).await.unwrap().end.success());
            times.push(begun.elapsed());
        }
        times.sort();
        figures.push(format!(
            "{name} {:.1} ms",
            times[times.len() / 2].as_secs_f64() * 1000.0
        ));
    }
    println!("    median: {}", figures.join(", "));
}

// ---- the runner ------------------------------------------------------------------------------------

type Scenario = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        const SCENARIOS: &[(&str, Scenario)] = &[$((stringify!($name), || Box::pin($name()))),*];
    };
}

scenarios![
    exit_code_output_and_input_are_the_programs,
    a_signal_is_told_as_a_signal,
    nothing_is_inherited,
    what_cannot_be_started_is_an_error_that_says_so,
    a_program_that_writes_the_words_of_the_shim_is_not_believed,
    a_flood_of_output_is_capped,
    a_hang_ends_by_the_time_limit_with_its_whole_tree,
    a_program_that_ignores_every_polite_signal_ends_all_the_same,
    silence_is_another_limit_than_time,
    a_cancelled_program_ends_with_its_whole_tree,
    a_program_that_obeys_the_polite_signal_may_clean_up,
    grandchildren_that_hide_die_with_the_program,
    a_fork_bomb_is_cleaned_up,
    the_tree_dies_when_the_server_is_killed,
    the_tree_dies_when_its_holder_drops_it,
    whoever_holds_the_pipe_after_the_end_is_not_waited_for,
    a_conversation_line_by_line,
    an_interrupt_reaches_the_program,
    the_key_comes_by_descriptor_and_is_nowhere_else,
    a_sandboxed_program_changes_only_what_it_may,
    the_same_program_without_a_sandbox_may,
    what_a_policy_names_must_be_there_to_be_written,
    the_network_is_as_wide_as_the_policy,
    the_probe_finds_out_what_the_sandbox_is_worth,
    ordinary_programs_work_inside,
    a_hardened_server_is_its_own_shim_even_without_its_file,
    a_server_that_was_born_ignoring_the_ends_of_children_hears_of_them,
    many_at_once_do_not_disturb_each_other,
    what_it_costs,
];

fn run_scenarios(words: &[&str]) -> ExitCode {
    if words.contains(&"--list") {
        for (name, _) in SCENARIOS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let mut failed = Vec::new();
    let wanted = SCENARIOS
        .iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(**filter)));
    let mut count = 0;
    for (name, scenario) in wanted {
        count += 1;
        let begun = Instant::now();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let outcome = std::panic::catch_unwind(|| runtime.block_on(scenario()));
        println!(
            "{} {name} ({:?})",
            if outcome.is_ok() { "ok    " } else { "FAILED" },
            begun.elapsed()
        );
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    // The words of the usual harness, so that whoever counts tests counts these.
    let outcome = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {outcome}. {} passed; {} failed; {failed:?}",
        count - failed.len(),
        failed.len()
    );
    let _ = std::io::stdout().flush();
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
