use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::agent::assignment::Assignment;
use crate::agent::prompt::Prompt;
use crate::agent::survey::{Depth, Survey};
use crate::agent::toolbox::{Access, Repeated};
use crate::agent::{answer, briefing};
use crate::config::{Config, Context};
use crate::provider::http::Http;
use crate::provider::{Provider, Response, Usage, demo};
use crate::redact::Redactor;
use crate::task::{CommandOrigin, Origin, TestCommand};

const LIB: &str = "//! Sums.\n\n/// Adds.\npub fn add(a: i32, b: i32) -> i32 {\n    todo!()\n}\n";

/// A host whose model is scripted, or the demonstration.
struct Stage {
    script: Mutex<VecDeque<Response>>,
    demo: Arc<dyn Provider>,
    asked: Mutex<Vec<Request>>,
    checkpoints: Mutex<Vec<Vec<u8>>>,
    tests_ran: Mutex<u32>,
}

impl Stage {
    fn new(script: Vec<Response>) -> Self {
        Self {
            script: Mutex::new(script.into()),
            demo: crate::provider::build(&demo::settings(), &Http::new().expect("a client"))
                .expect("the demonstration"),
            asked: Mutex::default(),
            checkpoints: Mutex::default(),
            tests_ran: Mutex::new(0),
        }
    }

    async fn answer(&self, request: Request) -> Result<ModelAnswer, StepFailure> {
        self.asked.lock().expect("free").push(request.clone());
        let scripted = self.script.lock().expect("free").pop_front();
        let response = match scripted {
            Some(response) => response,
            None => self
                .demo
                .call(&request, &mut |_| {}, &CancellationToken::new())
                .await
                .expect("answers"),
        };
        Ok(ModelAnswer {
            response,
            provider: "demo".to_owned(),
            model: "demo".to_owned(),
            cost: crate::money::Money::ZERO,
        })
    }
}

impl Host for Stage {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<ModelAnswer, StepFailure>> {
        Box::pin(self.answer(request))
    }

    fn run_tests(&self) -> BoxFuture<'_, Result<ToolAnswer, StepFailure>> {
        *self.tests_ran.lock().expect("free") += 1;
        Box::pin(async { Ok(ToolAnswer::fine("Test run: `cargo test`: passed, exit code: 0\n")) })
    }

    fn ask(&self, question: String) -> BoxFuture<'_, Result<ToolAnswer, StepFailure>> {
        Box::pin(async move { Ok(ToolAnswer::fine(format!("The person answers: about {question}"))) })
    }

    fn checkpoint(&self, transcript: Vec<u8>, _files: Files) -> BoxFuture<'_, Result<(), StepFailure>> {
        self.checkpoints.lock().expect("free").push(transcript);
        Box::pin(async { Ok(()) })
    }

    fn say(&self, _words: String) {}
}

fn said(stop: Stop, content: Vec<Content>) -> Response {
    Response {
        content,
        stop,
        usage: Usage::default(),
        model: "scripted".to_owned(),
        request_id: None,
    }
}

fn use_tool(id: &str, name: &str, input: Value) -> Content {
    Content::ToolUse {
        id: id.to_owned(),
        name: name.to_owned(),
        input,
    }
}

fn words(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn limits() -> Context {
    Context {
        exclude: Vec::new(),
        max_tokens: 20_000,
        max_file_bytes: 64 * 1024,
    }
}

fn repository() -> (tempfile::TempDir, Toolbox) {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(place.path().join("src")).expect("made");
    std::fs::write(place.path().join("src/lib.rs"), LIB).expect("written");
    std::fs::write(place.path().join("README.md"), "# Sums\n").expect("written");
    std::fs::write(place.path().join("Cargo.toml"), "[package]\nname = \"sums\"\n").expect("written");
    let tools = Toolbox::open(
        place.path(),
        &limits(),
        &Arc::new(Redactor::new()),
        Access::Change,
    )
    .expect("tools");
    (place, tools)
}

fn conversation<'a>(stage: &'a Stage, toolbox: &'a Toolbox, opening: Message) -> Conversation<'a> {
    let setting = Setting {
        system: Prompt::Developer.blocks(&Config::demo()),
        tools: toolbox.specs(None),
        turns_max: 12,
        tokens_max: 4_000,
        window_tokens: 100_000,
    };
    Conversation {
        host: stage,
        toolbox,
        setting,
        transcript: Transcript::new(opening),
        spoken: Spoken::default(),
    }
}

fn seen(root: &Path, assignment: &Assignment, depth: Depth) -> String {
    let redactor = Redactor::new();
    Survey {
        root,
        folder: "",
        assignment,
        limits: &limits(),
        redactor: &redactor,
        depth,
    }
    .text()
}

fn cargo_test() -> Vec<TestCommand> {
    vec![TestCommand {
        command: "cargo test".to_owned(),
        success_regex: None,
        timeout_ms: None,
        origin: CommandOrigin::Repository,
    }]
}

#[tokio::test]
async fn the_demonstration_understands_every_agents_words() {
    let (place, _) = repository();
    let stage = Stage::new(Vec::new());
    let origin = Origin {
        path: "src/lib.rs".to_owned(),
        start_line: 3,
        end_line: 6,
        text: "    todo!()".to_owned(),
    };
    for origin in [None, Some(origin)] {
        let assignment = Assignment {
            title: "Implement the sums".to_owned(),
            origin,
            ..Assignment::default()
        };
        let ask = async |prompt: Prompt, depth, more: &str| {
            let told = briefing::task(&assignment, &cargo_test()) + more;
            let opening = briefing::opening(seen(place.path(), &assignment, depth), told);
            let request = answer::request(&Config::demo(), prompt, opening, 1_000);
            stage.answer(request).await.expect("answers").response.text()
        };
        let brief = ask(Prompt::TaskMaster, Depth::Overview, "").await;
        assert!(
            brief.starts_with("Implement the sums\n") && brief.contains("`cargo test`"),
            "{brief}"
        );
        let plan = ask(
            Prompt::Architect,
            Depth::Relevant,
            &briefing::so_far(&Assignment {
                brief: Some(brief),
                ..Assignment::default()
            }),
        )
        .await;
        let read =
            crate::plan::Plan::parse(&plan, &|agent| crate::agent::find(agent).is_some()).expect("a plan");
        assert_eq!(read.steps[0].touches, ["src/lib.rs"], "{plan}");
        assert_eq!(read.test_commands(), ["cargo test"], "{plan}");
        let patch = briefing::quoted_patch("--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1 +1 @@\n-a\n+b\n");
        let lesson = ask(Prompt::KbBuilder, Depth::Overview, &patch).await;
        assert!(lesson.contains("src/lib.rs"), "{lesson}");
        let verdict = ask(
            Prompt::Qa,
            Depth::Overview,
            "\nTest run: `cargo test`: failed, exit code: 101\n",
        )
        .await;
        assert!(verdict.starts_with("Verdict: fail"), "{verdict}");
    }
}

#[tokio::test]
async fn the_demonstration_develops_in_a_real_folder_through_our_tools() {
    let (place, tools) = repository();
    let stage = Stage::new(Vec::new());
    let plan = "# Plan: Sums\n\n## Goal\nImplement `add`.\n\n## Steps\n### step-1: Implement `add`\n- agent: developer\n- touches: src/lib.rs\n- tests: cargo test\n";
    let assignment = Assignment {
        title: "Implement `add`".to_owned(),
        plan: Some(plan.to_owned()),
        ..Assignment::default()
    };
    let told = briefing::task(&assignment, &cargo_test()) + &briefing::so_far(&assignment);
    let mut talk = conversation(
        &stage,
        &tools,
        briefing::opening(seen(place.path(), &assignment, Depth::Named), told),
    );
    let Rest::Said(report) = talk.run().await.expect("done") else {
        panic!("out of turns")
    };
    assert!(
        report.contains("Implemented `add`") && report.contains("The tests passed"),
        "{report}"
    );
    assert_eq!(
        std::fs::read_to_string(place.path().join("src/lib.rs")).expect("there"),
        LIB.replace("todo!()", "a + b")
    );
    assert_eq!(*stage.tests_ran.lock().expect("free"), 1);
    assert!(stage.checkpoints.lock().expect("free").len() >= 3);
}

#[tokio::test]
async fn calls_of_one_turn_are_answered_together_and_in_order() {
    let (_place, tools) = repository();
    let calls = vec![
        words("Looking."),
        use_tool("a", "read_file", json!({ "path": "README.md" })),
        use_tool("b", "read_file", json!({ "path": "../outside" })),
        use_tool("c", "no_such_tool", json!({})),
        use_tool("d", "edit_file", json!(5)),
    ];
    let stage = Stage::new(vec![
        said(Stop::ToolUse, calls),
        said(Stop::EndTurn, vec![words("Done.")]),
    ]);
    let mut talk = conversation(&stage, &tools, Message::user("go"));
    assert_eq!(talk.run().await.expect("done"), Rest::Said("Done.".to_owned()));
    let asked = stage.asked.lock().expect("free");
    let results: Vec<(&str, bool)> = asked[1].messages[2]
        .content
        .iter()
        .map(|piece| match piece {
            Content::ToolResult { id, is_error, .. } => (id.as_str(), *is_error),
            other => panic!("no result: {other:?}"),
        })
        .collect();
    assert_eq!(results, [("a", false), ("b", true), ("c", true), ("d", true)]);
}

#[tokio::test]
async fn an_answer_that_was_cut_goes_on_and_a_refusal_ends_the_step() {
    let (_place, tools) = repository();
    let cut = || said(Stop::MaxTokens, vec![words("half")]);
    let stage = Stage::new(vec![
        cut(),
        said(Stop::MaxTokens, Vec::new()),
        said(Stop::EndTurn, vec![words("whole")]),
    ]);
    let mut talk = conversation(&stage, &tools, Message::user("go"));
    assert_eq!(talk.run().await.expect("done"), Rest::Said("whole".to_owned()));
    let roles: Vec<Role> = talk
        .transcript
        .messages
        .iter()
        .map(|message| message.role)
        .collect();
    assert!(roles.windows(2).all(|pair| pair[0] != pair[1]), "{roles:?}");

    let endless = Stage::new((0..9).map(|_| cut()).collect());
    assert_eq!(
        conversation(&endless, &tools, Message::user("go"))
            .run()
            .await
            .expect_err("ends")
            .error
            .code,
        "outputLimit"
    );
    let refusing = Stage::new(vec![said(Stop::Refusal, vec![words("I will not.")])]);
    let failure = conversation(&refusing, &tools, Message::user("go"))
        .run()
        .await
        .expect_err("ends");
    assert_eq!(failure.error.code, "modelRefused");
    assert!(failure.error.message.contains("I will not."));
}

#[tokio::test]
async fn a_conversation_ends_at_its_limit_and_is_taken_up_from_its_checkpoint() {
    let (_place, tools) = repository();
    let look = || said(Stop::ToolUse, vec![use_tool("a", "list_files", json!({}))]);
    let stage = Stage::new((0..20).map(|_| look()).collect());
    let mut talk = conversation(&stage, &tools, Message::user("go"));
    assert_eq!(talk.run().await.expect("rests"), Rest::OutOfTurns);
    assert_eq!(talk.transcript.turns, 12);
    let stored = stage
        .checkpoints
        .lock()
        .expect("free")
        .last()
        .cloned()
        .expect("a checkpoint");
    assert_eq!(
        Transcript::from_bytes(&stored).expect("readable"),
        talk.transcript
    );
    assert!(Transcript::from_bytes(b"{\"version\":9}").is_none());
}

#[tokio::test]
async fn a_turn_that_was_paid_for_is_kept_before_its_tools_run_and_is_not_asked_for_again() {
    let (_place, tools) = repository();
    let asks = use_tool("a", "ask_person", json!({ "question": "Which sums?" }));
    let stage = Stage::new(vec![
        said(Stop::ToolUse, vec![asks]),
        said(Stop::EndTurn, vec![words("Done.")]),
    ]);
    let mut talk = conversation(&stage, &tools, Message::user("go"));
    talk.run().await.expect("rests");
    let first = stage.checkpoints.lock().expect("free").first().cloned();

    let mut again = conversation(&stage, &tools, Message::user("another opening"));
    again.transcript = Transcript::from_bytes(&first.expect("a checkpoint")).expect("readable");
    stage
        .script
        .lock()
        .expect("free")
        .push_back(said(Stop::EndTurn, vec![words("Done.")]));
    assert_eq!(again.run().await.expect("rests"), Rest::Said("Done.".to_owned()));

    let asked = stage.asked.lock().expect("free");
    assert_eq!(asked.len(), 3, "the turn with the question was paid for once");
    assert_eq!(asked[1].messages, asked[2].messages);
    let answer = asked[2].messages.last().expect("the answer");
    assert!(
        format!("{answer:?}").contains("The person answers: about Which sums?"),
        "{answer:?}"
    );
}

#[test]
fn the_oldest_results_are_dropped_when_the_window_is_full() {
    let mut transcript = Transcript::new(Message::user("the task"));
    for turn in 0..10 {
        let input = json!({ "path": "a", "content": "y".repeat(if turn == 0 { 9_000 } else { 1 }) });
        transcript.messages.push(Message::assistant(vec![use_tool(
            &turn.to_string(),
            "write_file",
            input,
        )]));
        let text = format!("{turn}{}", "x".repeat(7_000));
        let result = Content::ToolResult {
            id: turn.to_string(),
            text,
            is_error: false,
        };
        transcript.messages.push(Message {
            role: Role::User,
            content: vec![result],
        });
    }
    let before = transcript.clone();
    transcript.fit(1_000_000, 4_000, &[]);
    assert_eq!(transcript, before, "what fits stays as it is");
    transcript.fit(26_000, 4_000, &[]);
    let texts: Vec<usize> = transcript
        .messages
        .iter()
        .flat_map(|message| &message.content)
        .filter_map(|piece| {
            if let Content::ToolResult { text, .. } = piece {
                Some(text.len())
            } else {
                None
            }
        })
        .collect();
    assert!(texts[0] < 200 && texts[9] > 7_000, "{texts:?}");
    assert!(
        serde_json::to_string(&transcript).expect("written").len() < 26_000 * 3,
        "{texts:?}"
    );
    assert_eq!(
        transcript.messages.len(),
        before.messages.len(),
        "every call keeps its result"
    );
}

#[tokio::test]
async fn what_the_tools_did_is_part_of_each_checkpoint_and_has_gaps_once_a_command_ran() {
    let (_place, tools) = repository();
    let read = |id| vec![use_tool(id, "read_file", json!({ "path": "README.md" }))];
    let stage = Stage::new(vec![
        said(Stop::ToolUse, read("a")),
        said(Stop::ToolUse, vec![use_tool("b", "run_test", json!({}))]),
        said(Stop::ToolUse, read("c")),
        said(Stop::EndTurn, vec![words("Done.")]),
    ]);
    let mut talk = conversation(&stage, &tools, Message::user("Look."));
    talk.run().await.expect("done");

    let stored = stage.checkpoints.lock().expect("free").clone();
    let records: Vec<Record> = stored
        .iter()
        .map(|bytes| Transcript::from_bytes(bytes).expect("a transcript").record)
        .collect();
    let ran = records.iter().position(|record| !record.is_complete());
    let (before, after) = records.split_at(ran.expect("a checkpoint after the command"));
    assert!(after.iter().all(|record| !record.is_complete()));
    let read = before.last().expect("a checkpoint before the command");
    assert_ne!(*read, Record::default());
    let (_elsewhere, same) = repository();
    assert_eq!(same.repeat(read), Repeated::Same);
}

#[test]
fn a_transcript_of_an_earlier_version_has_gaps() {
    let mut stored = serde_json::to_value(Transcript::new(Message::user("Look."))).expect("JSON");
    let fields = stored.as_object_mut().expect("an object");
    fields.remove("record");
    fields.remove("cost");
    let bytes = serde_json::to_vec(&stored).expect("JSON");
    let taken_up = Transcript::from_bytes(&bytes).expect("it is still read");
    assert!(!taken_up.record.is_complete());
}
