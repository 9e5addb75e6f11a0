//! The driver with a program of a few shell lines, and with the real one against a scripted interface.

mod real;
pub(crate) mod scripted;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::meter::Meter;
use super::outcome::Outcome;
use super::session::{Ended, Host, ToolCall, Verdict, converse};
use crate::process::{Command, Confinement, Limits, Spawner, Stdin};

/// Our own executable, which the tests of this crate are not.
pub(crate) fn shim() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.parent()?.join("clode-ls")).filter(|shim| shim.exists())
}

/// Our executable and the real program, where a test run brought both.
pub(crate) fn found() -> Option<(PathBuf, PathBuf)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told by the environment where the program is"
    )]
    let claude = std::env::var_os("CLODE_TEST_CLAUDE")?;
    Some((shim()?, claude.into()))
}

/// A host that answers by a rule and remembers what it was asked.
struct Rule {
    asked: Mutex<Vec<ToolCall>>,
    session: Mutex<String>,
    decide: fn(&ToolCall) -> Verdict,
}

impl Rule {
    fn new(decide: fn(&ToolCall) -> Verdict) -> Self {
        Self {
            asked: Mutex::default(),
            session: Mutex::default(),
            decide,
        }
    }

    fn tools(&self) -> Vec<String> {
        self.asked
            .lock()
            .expect("free")
            .iter()
            .map(|call| call.tool.clone())
            .collect()
    }
}

impl Host for Rule {
    fn before_tool(&self, call: ToolCall, _meter: Meter, _results_came: bool) -> BoxFuture<'_, Verdict> {
        let verdict = (self.decide)(&call);
        self.asked.lock().expect("free").push(call);
        Box::pin(async move { verdict })
    }

    fn begun(&self, session: &str) {
        session.clone_into(&mut self.session.lock().expect("free"));
    }

    fn say(&self, _words: String) {}
}

/// Runs shell lines in place of the program.
async fn shell(script: &str, place: &Path, rule: &Rule, cancel: &CancellationToken) -> Ended {
    let limits = Limits::new(Duration::from_secs(60), 64 * 1024);
    let command = Command::new("/bin/sh", place, Confinement::Direct, limits)
        .args(["-c", script])
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdin::Piped);
    let child = Spawner::new("/nowhere".into())
        .spawn(command)
        .await
        .expect("started");
    converse(child, "do it", rule, cancel).await.expect("an end")
}

/// Lines that greet, take the message and begin.
const GREET: &str = r#"
read -r first; echo "$first" > first
echo '{"type":"control_response","response":{"subtype":"success","request_id":"initialize","response":{"hooks_applied":true}}}'
read -r message; echo "$message" > message
echo 'this is no JSON'
echo '{"type":"something/new","x":1}'
echo '{"type":"system","subtype":"init","session_id":"session-7"}'
"#;
const HOOK: &str = r#"echo '{"type":"control_request","request_id":"q1","request":{"subtype":"hook_callback","input":{"tool_name":"Edit","tool_input":{"file_path":"a"},"tool_use_id":"t1"},"tool_use_id":"t1"}}'
read -r answer; echo "$answer" > answer
"#;
const DONE: &str = r#"echo '{"type":"result","subtype":"success","is_error":false,"terminal_reason":"completed","result":"done","modelUsage":{"m":{"costUSD":0.25}}}'
"#;

async fn told(script: &str, rule: &Rule) -> (Ended, tempfile::TempDir) {
    let place = tempfile::tempdir().expect("a folder");
    let ended = shell(script, place.path(), rule, &CancellationToken::new()).await;
    (ended, place)
}

fn file(place: &tempfile::TempDir, name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(place.path().join(name)).expect("a file");
    serde_json::from_str(text.trim()).expect("JSON")
}

#[tokio::test]
async fn the_conversation_goes_as_it_was_measured() {
    let stream = r#"echo '{"type":"stream_event","event":{"type":"message_start","message":{"id":"1","model":"m","usage":{"input_tokens":10}}}}'
echo '{"type":"stream_event","event":{"type":"message_delta","usage":{"output_tokens":7}}}'
"#;
    let rule = Rule::new(|_| Verdict::Allow);
    let (ended, place) = told(
        &format!("{GREET}{stream}{HOOK}{DONE}read -r nothing; exit 0"),
        &rule,
    )
    .await;
    assert_eq!(ended.outcome, Outcome::Done("done".to_owned()));
    assert_eq!(ended.reported, crate::money::Money::from_usd(0.25));
    assert_eq!(
        (
            ended.meter.usage().input_tokens,
            ended.meter.usage().output_tokens
        ),
        (10, 7)
    );
    assert_eq!(*rule.session.lock().expect("free"), "session-7");
    assert_eq!(rule.tools(), ["Edit"]);
    let first = file(&place, "first");
    assert_eq!(first["request"]["subtype"], "initialize");
    assert_eq!(first["request"]["hooks"]["PreToolUse"][0]["matcher"], "");
    let message = file(&place, "message");
    assert_eq!(message["message"]["content"][0]["text"], "do it");
    assert_eq!(message["client_composed"], true);
    assert_eq!(message["uuid"].as_str().expect("an id").len(), 36);
    let answer = file(&place, "answer");
    assert_eq!(answer["response"]["request_id"], "q1");
    assert_eq!(
        answer["response"]["response"]["hookSpecificOutput"]["permissionDecision"],
        "allow"
    );
}

#[tokio::test]
async fn a_hook_is_denied_or_stopped_in_the_form_that_really_holds_the_tool_back() {
    let deny = Rule::new(|_| Verdict::Deny("because".to_owned()));
    let (_, place) = told(&format!("{GREET}{HOOK}{DONE}"), &deny).await;
    let body = &file(&place, "answer")["response"];
    assert_eq!(body["subtype"], "success", "an error would let the tool run");
    assert_eq!(
        body["response"]["hookSpecificOutput"]["permissionDecisionReason"],
        "because"
    );

    let stop = Rule::new(|_| Verdict::Stop("no money".to_owned()));
    let stopped = DONE.replace("completed", "hook_stopped");
    let (ended, place) = told(&format!("{GREET}{HOOK}{stopped}"), &stop).await;
    assert_eq!(ended.outcome, Outcome::OutOfMoney);
    let body = &file(&place, "answer")["response"]["response"];
    assert_eq!(body["continue"], false);
    assert_eq!(body["hookSpecificOutput"]["permissionDecision"], "deny");
}

#[tokio::test]
async fn an_end_without_a_last_word_can_be_taken_up_again_and_quotes_what_was_written_to_stderr() {
    let rule = Rule::new(|_| Verdict::Allow);
    let (ended, _place) = told(&format!("{GREET}echo 'out of memory' >&2; exit 9"), &rule).await;
    let Outcome::Interrupted(error) = ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert!(
        error.message.contains("exit code 9") && error.message.contains("out of memory"),
        "{error}"
    );
    assert!(ended.begun);
    let (ended, _place) = told("echo 'bad flag' >&2; exit 1", &rule).await;
    let Outcome::Interrupted(error) = ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert!(error.message.contains("bad flag"), "{error}");
    assert!(!ended.begun);
}

#[tokio::test]
async fn a_refused_key_ends_the_session_at_once() {
    let rule = Rule::new(|_| Verdict::Allow);
    let retry = r#"echo '{"type":"system","subtype":"api_retry","attempt":1,"error_status":401,"error":"authentication_failed"}'
sleep 60
"#;
    let begun = std::time::Instant::now();
    let (ended, _place) = told(&format!("{GREET}{retry}"), &rule).await;
    let Outcome::Failed(error) = ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert_eq!(error.code, "keyRejected");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_cancelled_session_is_asked_to_stop_then_made_to() {
    let place = tempfile::tempdir().expect("a folder");
    let cancel = CancellationToken::new();
    let rule = Rule::new(|_| Verdict::Allow);
    let script = format!("{GREET}touch begun; read -r next; echo \"$next\" > next; sleep 60");
    let stopping = async {
        while !place.path().join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(shell(&script, place.path(), &rule, &cancel), stopping);
    let Outcome::Interrupted(error) = ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert_eq!(error.code, "cancelled");
    assert_eq!(file(&place, "next")["request"]["subtype"], "interrupt");
}
