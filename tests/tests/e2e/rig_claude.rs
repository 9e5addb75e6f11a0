//! The real Claude Code, driven without `clode-ls`: what its protocol does is what the driver relies on.
//!
//! Each test is one measured trait. When a new version of Claude Code breaks one of them, the driver has
//! to be looked at, and this file says where.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clode_tests::component::Component;
use clode_tests::fixture::{Home, Repo};
use clode_tests::processes;
use clode_tests::scripted_api::{DUMMY_KEY, Fault, Reply, Script, ScriptedApi, Steps};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const LINE_LIMIT: Duration = Duration::from_secs(60);
const SESSION: &str = "00000000-0000-4000-8000-000000000001";

/// How the hook answers a tool call.
type Policy = fn(tool: &str) -> Value;

/// One Claude Code process, spoken to line by line.
struct Claude {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    hooks: Vec<String>,
    permissions: Vec<String>,
    seen: Vec<Value>,
    said: u32,
}

struct Stage {
    claude: PathBuf,
    home: Home,
    repo: Repo,
    api: ScriptedApi,
}

impl Stage {
    /// None where Claude Code is not installed: the test is skipped, loudly.
    fn with(steps: impl FnOnce(Steps) -> Steps) -> Option<Self> {
        let claude = Component::Claude.find()?;
        let api = ScriptedApi::start(Script::new().claude_code(steps));
        let mut home = Home::new();
        for (variable, value) in [
            ("ANTHROPIC_BASE_URL", api.url().as_str()),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
            ("CLAUDE_CODE_MAX_RETRIES", "0"),
            ("CLAUDE_ENABLE_BYTE_WATCHDOG", "1"),
            ("CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS", "60000"),
            ("API_TIMEOUT_MS", "120000"),
        ] {
            home.set(variable, value);
        }
        std::fs::write(
            home.path("system.md"),
            "clode-agent: developer\nWork on the task.\n",
        )
        .expect("a file");
        Some(Self {
            claude,
            home,
            repo: Repo::with_a_bug(),
            api,
        })
    }

    async fn begin(&self) -> Claude {
        self.start(&["--session-id", SESSION]).await
    }

    async fn resume(&self) -> Claude {
        self.start(&["--resume", SESSION]).await
    }

    /// Starts it with the driver's whole command line, and initializes it.
    #[expect(clippy::disallowed_methods, reason = "the rig starts the real program")]
    async fn start(&self, session: &[&str]) -> Claude {
        let system = self.home.path("system.md").to_string_lossy().into_owned();
        let key = key_pipe();
        let mut child = Command::new(&self.claude)
            .args([
                "-p",
                "--input-format",
                "stream-json",
                "--output-format",
                "stream-json",
                "--verbose",
            ])
            .args(["--include-partial-messages", "--permission-prompt-tool", "stdio"])
            .args(["--permission-mode", "acceptEdits", "--await-initialize"])
            .args(["--setting-sources", "", "--strict-mcp-config", "--restricted"])
            .args([
                "--tools",
                "Read,Edit,Write,Bash,Grep,Glob",
                "--model",
                "claude-sonnet-5",
            ])
            .args([
                "--max-turns",
                "20",
                "--max-budget-usd",
                "5",
                "--append-system-prompt-file",
                &system,
            ])
            .args(session)
            .current_dir(self.repo.path())
            .env_clear()
            .envs(self.home.environment())
            .env("CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR", key.as_raw_fd().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Claude Code starts");
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut claude = Claude {
            child,
            stdin,
            lines,
            hooks: Vec::new(),
            permissions: Vec::new(),
            seen: Vec::new(),
            said: 0,
        };
        claude
            .send(&json!({"type": "control_request", "request_id": "begin", "request": {
                "subtype": "initialize",
                "hooks": {"PreToolUse": [{"matcher": "", "hookCallbackIds": ["every-tool"], "timeout": 60}]},
            }}))
            .await;
        let reply = claude
            .until(allow, |line| line["type"] == "control_response")
            .await;
        assert_eq!(reply["response"]["subtype"], "success", "{reply}");
        assert_eq!(reply["response"]["response"]["hooks_applied"], true);
        claude
    }
}

/// A pipe that holds the key and is already at its end; only the reading side is inherited.
fn key_pipe() -> OwnedFd {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    rustix::io::write(&write, DUMMY_KEY.as_bytes()).expect("a pipe takes a few bytes");
    rustix::io::fcntl_setfd(&read, rustix::io::FdFlags::empty()).expect("a descriptor takes flags");
    read
}

impl Claude {
    async fn send(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin
            .write_all(format!("{message}\n").as_bytes())
            .await
            .expect("it reads");
    }

    async fn say(&mut self, text: &str) {
        // A message whose id was seen before would be passed over in silence.
        self.said += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", self.said);
        self.send(&json!({
            "type": "user", "uuid": id, "client_composed": true,
            "message": {"role": "user", "content": [{"type": "text", "text": text}]},
            "parent_tool_use_id": null, "session_id": "",
        }))
        .await;
    }

    /// Reads on, answering hooks by the policy and permissions with yes, to a line of interest.
    async fn until(&mut self, policy: Policy, interesting: fn(&Value) -> bool) -> Value {
        loop {
            let line = tokio::time::timeout(LINE_LIMIT, self.lines.next_line())
                .await
                .expect("it says something in time")
                .expect("its stdout can be read")
                .unwrap_or_else(|| panic!("it ended early after {:#?}", self.seen.last()));
            let line: Value = serde_json::from_str(&line).expect("each line is JSON");
            if line["type"] == "control_request" {
                self.answer(&line, policy).await;
            }
            if line["type"] != "stream_event" {
                self.seen.push(line.clone());
            }
            if interesting(&line) {
                return line;
            }
        }
    }

    async fn answer(&mut self, line: &Value, policy: Policy) {
        let request = &line["request"];
        let response = match request["subtype"].as_str() {
            Some("hook_callback") => {
                let tool = request["input"]["tool_name"].as_str().unwrap_or_default();
                self.hooks.push(tool.to_owned());
                policy(tool)
            }
            Some("can_use_tool") => {
                self.permissions
                    .push(request["tool_name"].as_str().unwrap_or_default().to_owned());
                json!({"behavior": "allow"})
            }
            other => panic!("an unexpected control request: {other:?}"),
        };
        let id = &line["request_id"];
        let answer = if response == json!("error") {
            json!({"subtype": "error", "request_id": id, "error": "broken"})
        } else {
            json!({"subtype": "success", "request_id": id, "response": response})
        };
        self.send(&json!({"type": "control_response", "response": answer}))
            .await;
    }

    async fn result(&mut self, policy: Policy) -> Value {
        self.until(policy, |line| line["type"] == "result").await
    }

    /// Closes stdin and waits for the exit code.
    async fn end(mut self) -> Option<i32> {
        drop(self.stdin.take());
        let status = tokio::time::timeout(LINE_LIMIT, self.child.wait())
            .await
            .expect("it ends in time");
        status.expect("its end can be waited for").code()
    }

    /// The tool results, in their order: whether an error, and the text.
    fn tool_results(&self) -> Vec<(bool, String)> {
        let blocks = self.seen.iter().filter(|line| line["type"] == "user");
        blocks
            .flat_map(|line| line["message"]["content"].as_array().cloned().unwrap_or_default())
            .filter(|block| block["type"] == "tool_result")
            .map(|block| {
                (
                    block["is_error"] == true,
                    block["content"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect()
    }
}

fn decision(decision: &str) -> Value {
    json!({"hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": "the test says so",
    }})
}

fn allow(_: &str) -> Value {
    decision("allow")
}

fn no_opinion(_: &str) -> Value {
    json!({})
}

fn read() -> (&'static str, Value) {
    ("Read", json!({"file_path": "{cwd}/calc.py"}))
}

fn edit() -> (&'static str, Value) {
    (
        "Edit",
        json!({"file_path": "{cwd}/calc.py", "old_string": "a - b", "new_string": "a + b"}),
    )
}

fn test_run() -> (&'static str, Value) {
    (
        "Bash",
        json!({"command": "python3 test_calc.py", "description": "run the test"}),
    )
}

fn call(steps: Steps, (tool, input): (&str, Value)) -> Steps {
    steps.calls(tool, input)
}

#[tokio::test]
async fn the_whole_command_line_reads_edits_tests_and_ends() {
    let Some(stage) = Stage::with(|s| call(call(call(s, read()), edit()), test_run()).says("Fixed.")) else {
        return;
    };

    let mut claude = stage.begin().await;
    claude.say("Fix add.").await;
    let result = claude.result(no_opinion).await;

    assert_eq!(result["subtype"], "success", "{result}");
    assert_eq!(result["is_error"], false);
    assert_eq!(result["terminal_reason"], "completed");
    assert_eq!(result["result"], "Fixed.");
    assert_eq!(result["usage"]["input_tokens"], 4_000);
    assert_eq!(result["usage"]["output_tokens"], 200);
    assert_eq!(
        claude.hooks,
        ["Read", "Edit", "Bash"],
        "the catch-all hook sees every tool"
    );
    assert_eq!(
        claude.permissions,
        ["Bash"],
        "reading and editing inside are allowed by the mode"
    );
    let init = claude
        .seen
        .iter()
        .find(|line| line["subtype"] == "init")
        .expect("an init line");
    assert_eq!(
        init["tools"],
        json!(["Bash", "Edit", "Glob", "Grep", "Read", "Write"])
    );
    assert_eq!(init["permissionMode"], "acceptEdits");
    assert_eq!(
        claude.tool_results().last(),
        Some(&(false, "1 passed".to_owned()))
    );
    assert_eq!(claude.end().await, Some(0));
    assert_eq!(stage.repo.read("calc.py"), "def add(a, b):\n    return a + b\n");
    let first = &stage.api.requests_of("claude-code")[0];
    assert_eq!(first.path, "/v1/messages?beta=true");
    assert_eq!(first.session.as_deref(), Some(SESSION));
    assert!(
        first.body["system"]
            .to_string()
            .contains("clode-agent: developer")
    );
    stage.api.assert_clean();
    processes::assert_none_left(stage.home.mark(), Duration::from_secs(2)).await;
}

#[tokio::test]
async fn the_key_reaches_the_api_but_no_environment_of_a_tool() {
    let command = json!({"command": "env; ls /proc/self/fd | wc -l", "description": "look around"});
    let Some(stage) = Stage::with(|s| s.calls("Bash", command).says("Seen.")) else {
        return;
    };

    let mut claude = stage.begin().await;
    claude.say("Look.").await;
    claude.result(allow).await;

    let (failed, environment) = claude.tool_results().remove(0);
    assert!(!failed && environment.contains("CLAUDECODE=1"), "{environment}");
    assert!(!environment.contains(DUMMY_KEY), "{environment}");
    assert!(!environment.contains("API_KEY"), "{environment}");
    assert_eq!(stage.api.requests()[0].headers["x-api-key"], DUMMY_KEY);
    assert_eq!(claude.end().await, Some(0));
    stage.api.assert_clean();
}

#[tokio::test]
async fn a_deferred_call_waits_outside_of_the_process_and_is_carried_out_on_resume() {
    let Some(stage) = Stage::with(|s| call(call(s, read()), edit()).says("Fixed.")) else {
        return;
    };
    let defer_edits: Policy = |tool| decision(if tool == "Edit" { "defer" } else { "allow" });

    let mut first = stage.begin().await;
    first.say("Fix add.").await;
    let result = first.result(defer_edits).await;

    assert_eq!(result["terminal_reason"], "tool_deferred", "{result}");
    assert_eq!(result["deferred_tool_use"]["name"], "Edit");
    assert_eq!(first.end().await, Some(0));
    assert!(
        stage.repo.read("calc.py").contains("a - b"),
        "nothing was done yet"
    );

    let mut second = stage.resume().await;
    let result = second.result(allow).await;

    assert_eq!(
        second.hooks,
        ["Edit"],
        "the same call is asked again, without a message from us"
    );
    assert_eq!(result["terminal_reason"], "completed", "{result}");
    assert_eq!(second.end().await, Some(0));
    assert!(stage.repo.read("calc.py").contains("a + b"));
    assert_eq!(
        stage.api.requests().len(),
        3,
        "the question itself costs no model call"
    );
    stage.api.assert_clean();
}

#[tokio::test]
async fn beside_a_deferred_call_the_others_of_its_message_must_be_denied() {
    let (tool, input) = read();
    let many = Reply::call(tool, input)
        .and_calls(edit().0, edit().1)
        .and_calls("Grep", json!({"pattern": "add"}));
    let Some(stage) = Stage::with(|s| s.replies(many).says("Fixed.")) else {
        return;
    };
    let one_deferred: Policy = |tool| match tool {
        "Read" => decision("allow"),
        "Edit" => decision("defer"),
        _ => decision("deny"),
    };

    let mut first = stage.begin().await;
    first.say("Fix add.").await;
    let result = first.result(one_deferred).await;
    assert_eq!(result["deferred_tool_use"]["name"], "Edit", "{result}");
    first.end().await;
    let mut second = stage.resume().await;
    second.result(allow).await;
    second.end().await;

    // The scripted API checks that each of the three calls has a result.
    let resumed = stage.api.requests()[1].body.to_string();
    assert_eq!(resumed.matches("\"tool_use\"").count(), 3);
    stage.api.assert_clean();
}

#[tokio::test]
async fn a_hook_that_is_answered_with_an_error_fails_open() {
    let Some(stage) = Stage::with(|s| call(s, edit()).says("Fixed.")) else {
        return;
    };

    let mut claude = stage.begin().await;
    claude.say("Fix add.").await;
    claude.result(|_| json!("error")).await;

    assert!(
        stage.repo.read("calc.py").contains("a + b"),
        "so the driver never answers a hook with an error"
    );
    claude.end().await;
    stage.api.assert_clean();
}

#[tokio::test]
async fn stopping_from_a_hook_needs_a_denial_as_well() {
    let Some(stage) = Stage::with(|s| call(s, edit())) else {
        return;
    };
    let stop_and_deny: Policy = |_| {
        let mut answer = decision("deny");
        answer["continue"] = json!(false);
        answer["stopReason"] = json!("the budget is spent");
        answer
    };

    let mut claude = stage.begin().await;
    claude.say("Fix add.").await;
    let result = claude.result(stop_and_deny).await;

    assert_eq!(result["terminal_reason"], "hook_stopped", "{result}");
    assert!(stage.repo.read("calc.py").contains("a - b"));
    claude.end().await;
    assert_eq!(stage.api.requests().len(), 1, "no further model call");
    stage.api.assert_clean();
}

#[tokio::test]
async fn what_lies_outside_stays_out_of_reach_of_the_file_tools_even_when_all_is_allowed() {
    let outside = Home::new().path("outside.txt");
    let write = json!({"file_path": outside.to_string_lossy(), "content": "x"});
    let Some(stage) = Stage::with(|s| s.calls("Write", write).says("Done.")) else {
        return;
    };

    let mut claude = stage.begin().await;
    claude.say("Write it.").await;
    let result = claude.result(allow).await;

    assert!(claude.tool_results().remove(0).0, "an error result");
    assert_eq!(result["permission_denials"][0]["tool_name"], "Write");
    assert!(!outside.exists());
    claude.end().await;
    stage.api.assert_clean();
}

#[tokio::test]
async fn nothing_that_came_with_the_repository_runs_or_is_read() {
    let Some(stage) = Stage::with(|s| call(s, read()).says("Done.")) else {
        return;
    };
    let ran = stage.home.path("ran");
    let touch = format!("touch {}", ran.display());
    let settings = json!({"env": {"MARKER": "zq-marker"}, "hooks": {
        "SessionStart": [{"hooks": [{"type": "command", "command": touch}]}],
        "PreToolUse": [{"matcher": "*", "hooks": [{"type": "command", "command": touch}]}],
    }});
    stage.repo.write(".claude/settings.json", settings.to_string());
    let servers = json!({"mcpServers": {"planted": {"command": "touch", "args": [ran]}}});
    stage.repo.write(".mcp.json", servers.to_string());
    stage.repo.write("CLAUDE.md", "zq-marker");
    stage.repo.write("AGENTS.md", "zq-marker");
    stage.repo.commit("Plant");

    let mut claude = stage.begin().await;
    claude.say("Look.").await;
    claude.result(no_opinion).await;
    claude.end().await;

    assert!(!ran.exists(), "a hook or a server of the repository ran");
    let sent: String = stage
        .api
        .requests()
        .iter()
        .map(|request| request.body.to_string())
        .collect();
    assert!(
        !sent.contains("zq-marker"),
        "text of the repository reached the model unasked"
    );
    stage.api.assert_clean();
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_and_leaves_the_session_usable() {
    let sleep = json!({"command": "sleep 30", "description": "wait"});
    let Some(stage) = Stage::with(|s| s.calls("Bash", sleep).says("Back.")) else {
        return;
    };

    let mut claude = stage.begin().await;
    claude.say("Wait.").await;
    claude
        .until(allow, |line| line["request"]["subtype"] == "hook_callback")
        .await;
    claude
        .send(&json!({"type": "control_request", "request_id": "stop", "request": {"subtype": "interrupt"}}))
        .await;
    let result = claude.result(allow).await;
    assert_eq!(result["terminal_reason"], "aborted_tools", "{result}");
    claude.say("Go on.").await;
    let result = claude.result(allow).await;

    assert_eq!(result["result"], "Back.", "{result}");
    assert_eq!(claude.end().await, Some(0));
    stage.api.assert_clean();
    processes::assert_none_left(stage.home.mark(), Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_failing_api_is_an_error_result_and_not_repeated_behind_our_back() {
    let Some(stage) = Stage::with(|s| s.fails(Fault::status(529, "busy"))) else {
        return;
    };

    let mut claude = stage.begin().await;
    claude.say("Hello.").await;
    let result = claude.result(allow).await;

    assert_eq!(result["subtype"], "success", "which is why only is_error counts");
    assert_eq!(result["is_error"], true);
    assert_eq!(result["terminal_reason"], "api_error");
    assert_eq!(result["api_error_status"], 529);
    assert_eq!(claude.end().await, Some(1));
    stage.api.assert_clean();
}
