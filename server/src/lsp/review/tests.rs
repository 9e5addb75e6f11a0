//! What a person sees of a run under review: diagnostics, lenses, actions, hover, documents.

use clode_core::engine::Signal;
use clode_core::pipeline::HunkState;
use clode_core::task::Origin;
use serde_json::{Value, json};
use url::Url;

use super::testing::{self, World, able, plain};
use crate::lsp::{action, command, edit, hover, lens, preview};

const BASE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";
const RESULT: &str = "one\nTWO\nTWO and a half\nthree\nfour\nfive\nsix\nseven\nnine\n";

async fn world(capabilities: &Value) -> World {
    World::new(capabilities, &[("a.txt", Some(BASE))], &[("a.txt", Some(RESULT))]).await
}

/// The answer without what differs from one machine to the other.
fn neutral(world: &World, value: &Value) -> Value {
    let folder = Url::from_file_path(&world.folder).unwrap().to_string();
    serde_json::from_str(&value.to_string().replace(&folder, "file:///repo")).unwrap()
}

fn at(uri: &Url, line: u32, context: &Value) -> Value {
    let position = json!({"line": line, "character": 0});
    json!({"textDocument": {"uri": uri}, "range": {"start": position, "end": position}, "context": context})
}

fn titles(actions: &Value) -> Vec<String> {
    actions
        .as_array()
        .unwrap()
        .iter()
        .map(|action| action["title"].as_str().unwrap().to_owned())
        .collect()
}

/// What was published last for a document.
fn published(world: &World, uri: &Url) -> Option<Value> {
    world
        .sent("textDocument/publishDiagnostics")
        .into_iter()
        .rev()
        .find(|params| params["uri"] == uri.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn hunks_and_findings_are_diagnostics_at_their_lines() {
    let world = world(&able()).await;
    let uri = world.open("a.txt");
    world
        .until("the open text is shown", |world| {
            published(world, &uri).is_some_and(|it| it["version"] == 1)
        })
        .await;
    insta::assert_json_snapshot!(neutral(&world, &published(&world, &uri).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn diagnostics_follow_the_text_and_go_with_the_review() {
    let world = world(&able()).await;
    let uri = world.open("a.txt");
    world.types("a.txt", &format!("new\n{}", BASE.replace("eight", "my eight")));
    let severities = |it: &Value| {
        it["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["range"]["start"]["line"].as_u64(), it["code"].clone()))
            .collect::<Vec<_>>()
    };
    world
        .until("they moved", |world| {
            published(world, &uri).is_some_and(|it| it["version"] == 2)
        })
        .await;
    let moved = severities(&published(&world, &uri).unwrap());
    assert_eq!(
        moved[..2],
        [(Some(2), json!("hunk")), (Some(8), json!("conflict"))]
    );
    let hunks = world.hunks();
    edit::reject(&world.session, &world.run, &hunks, None)
        .await
        .unwrap();
    world
        .until("they are gone", |world| {
            published(world, &uri).is_some_and(|it| it["diagnostics"] == json!([]))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_us_gets_the_hunks_and_an_empty_list_at_the_end() {
    let world = world(&able()).await;
    let uri = world.open("a.txt");
    let last = |world: &World| {
        world
            .sent("clode/didChangeReview")
            .into_iter()
            .rev()
            .find(|it| it["uri"] == uri.as_str())
    };
    world
        .until("the review of the buffer", |world| {
            last(world).is_some_and(|it| it["version"] == 1)
        })
        .await;
    let review = last(&world).unwrap();
    assert_eq!(review["pipelineId"], json!(world.run));
    assert_eq!(review["hunks"].as_array().unwrap().len(), 2);
    assert_eq!(review["hunks"][0]["newText"], "TWO\nTWO and a half\n");
    world.apply(&[]).await;
    world
        .until("the end of it", |world| {
            last(world).is_some_and(|it| it["hunks"] == json!([]))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_know_us_gets_no_message_of_ours() {
    let world = world(&plain()).await;
    let uri = world.open("a.txt");
    world
        .until("the diagnostics", |world| published(world, &uri).is_some())
        .await;
    assert_eq!(world.sent("clode/didChangeReview"), [] as [Value; 0]);
    assert_eq!(world.sent("workspace/codeLens/refresh"), [] as [Value; 0]);
    assert!(published(&world, &uri).unwrap().get("version").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn lenses_on_hunks_and_on_documents_carry_what_they_are_about() {
    let world = world(&able()).await;
    let uri = world.open("a.txt");
    let on_file = lens::lenses(&world.session, json!({"textDocument": {"uri": uri}})).unwrap();
    let patch = format!("clode://pipeline/{}/patch.diff", world.run);
    let on_patch = lens::lenses(&world.session, json!({"textDocument": {"uri": patch}})).unwrap();
    insta::assert_json_snapshot!(neutral(&world, &json!({"file": on_file, "patch": on_patch})));
}

#[tokio::test(flavor = "multi_thread")]
async fn lenses_are_asked_for_again_where_the_client_can() {
    let world = world(&able()).await;
    world
        .until("the refresh", |world| {
            !world.sent("workspace/codeLens/refresh").is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_where_a_task_began_shows_how_it_stands_wherever_it_moved() {
    let origin = Origin {
        path: "a.txt".to_owned(),
        start_line: 2,
        end_line: 3,
        text: "three".to_owned(),
    };
    let world = World::with_spec(
        &able(),
        &[("a.txt", Some(BASE))],
        &[("a.txt", Some(RESULT))],
        |spec| spec.task.origin = Some(origin),
    )
    .await;
    let uri = world.open_with("a.txt", &format!("a\nb\n{BASE}"));
    let lenses = lens::lenses(&world.session, json!({"textDocument": {"uri": uri}})).unwrap();
    let found = lenses
        .as_array()
        .unwrap()
        .iter()
        .find(|lens| lens["command"]["title"].as_str().unwrap().starts_with("Clode: "))
        .unwrap();
    assert_eq!(found["range"]["start"]["line"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_decide_hunks_answer_gates_and_start_runs() {
    let world = world(&able()).await;
    let uri = world.open_with("a.txt", &BASE.replace("four", "// TODO: sort them"));
    let on_hunk = action::actions(&world.session, at(&uri, 1, &json!({"diagnostics": []}))).unwrap();
    let on_todo = action::actions(&world.session, at(&uri, 3, &json!({"diagnostics": []}))).unwrap();
    insta::assert_json_snapshot!(neutral(&world, &json!({"hunk": on_hunk, "todo": on_todo})));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_kinds_that_are_asked_for_are_answered() {
    let world = world(&able()).await;
    let uri = world.open_with("a.txt", &BASE.replace("two", "two // TODO: sort them"));
    let diagnostic = json!({"range": {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 3}}, "message": "bad\nvery", "source": "lint"});
    let asked = |only: &Value, trigger: u64| {
        let context = json!({"diagnostics": [diagnostic], "only": only, "triggerKind": trigger});
        titles(&action::actions(&world.session, at(&uri, 1, &context)).unwrap())
    };
    assert_eq!(
        asked(&json!(["source"]), 1),
        [
            "Approve patch: Make it better",
            "Reject patch: Make it better",
            "Request changes: Make it better…"
        ]
    );
    assert_eq!(asked(&json!(["refactor.extract"]), 1), [] as [&str; 0]);
    assert_eq!(asked(&json!(["refactorings"]), 1), [] as [&str; 0]);
    let all = [
        "Implement with agents…",
        "Write tests with agents…",
        "Plan only with agents…",
        "Fix with agents…",
    ];
    assert_eq!(asked(&json!(["refactor"]), 1), all);
    assert_eq!(
        asked(&json!(["refactor"]), 2),
        ["Implement with agents…", "Fix with agents…"],
        "a short list when nobody asked"
    );
    let context = json!({"diagnostics": [diagnostic], "only": ["quickfix"]});
    let fixes = action::actions(&world.session, at(&uri, 1, &context)).unwrap();
    let fix = fixes
        .as_array()
        .unwrap()
        .iter()
        .find(|action| action["title"] == "Fix with agents…")
        .unwrap();
    assert_eq!(
        (&fix["kind"], &fix["diagnostics"]),
        (&json!("quickfix.clode"), &json!([diagnostic]))
    );
    let arguments = &fix["command"]["arguments"][0];
    assert_eq!(arguments["task"]["title"], "Fix: bad");
    assert_eq!(arguments["context"]["diagnostics"], json!([diagnostic]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_in_a_comment_is_offered_as_it_stands() {
    let world = world(&plain()).await;
    let uri = world.open_with("a.txt", "# clode: use a map\n");
    let actions = action::actions(&world.session, at(&uri, 0, &json!([]))).unwrap();
    let first = actions
        .as_array()
        .unwrap()
        .iter()
        .find(|action| action["title"] == "Run this instruction")
        .unwrap();
    assert_eq!(first["command"], "clode.run", "a plain command");
    assert_eq!(first["arguments"][0]["task"]["title"], "use a map");
    assert_eq!(
        first["arguments"][0]["context"]["textDocument"],
        json!({"uri": uri, "version": 1})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hover_shows_the_diff_of_a_hunk_and_the_origin_of_an_applied_line() {
    let world = world(&able()).await;
    let uri = world.open("a.txt");
    let hovered = |line: u32| {
        hover::hover(
            &world.session,
            json!({"textDocument": {"uri": uri}, "position": {"line": line, "character": 1}}),
        )
        .unwrap()
    };
    let text = hovered(1)["contents"]["value"].as_str().unwrap().to_owned();
    assert!(text.contains("-two\n+TWO\n+TWO and a half\n"), "{text}");
    assert_eq!(hovered(4), Value::Null);
    let hunks = world.hunks();
    world.apply(&hunks[..1]).await;
    world
        .until("the review knows", |world| {
            world
                .session
                .reviews()
                .run(&world.run)
                .is_some_and(|run| run.files[0].hunks[0].state == HunkState::Applied)
        })
        .await;
    let text = hovered(2)["contents"]["value"].as_str().unwrap().to_owned();
    assert_eq!(text, "**Clode: Make it better**\n\ndeveloper · model-x · $0.0000");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_tell_the_patch_the_cost_and_the_sides_of_a_file() {
    let world = world(&able()).await;
    world.open_with("a.txt", &format!("mine\n{BASE}"));
    let read = async |name: &str| {
        let uri = Url::parse(&format!("clode://pipeline/{}/{name}", world.run)).unwrap();
        preview::document(&world.session, &uri).await
    };
    assert!(
        read("patch.diff")
            .await
            .unwrap()
            .text
            .contains("+TWO and a half\n")
    );
    assert!(
        read("cost.md")
            .await
            .unwrap()
            .text
            .contains("Nothing has been paid for yet.")
    );
    assert!(
        read("plan.md")
            .await
            .unwrap()
            .text
            .contains("There is no plan yet.")
    );
    assert!(
        read("steps/developer.md")
            .await
            .unwrap()
            .text
            .contains("* a.txt:2: no test (warning)")
    );
    assert_eq!(read("base/a.txt").await.unwrap().text, BASE);
    assert_eq!(read("result/a.txt").await.unwrap().text, RESULT);
    assert_eq!(
        read("merged/a.txt").await.unwrap().text,
        format!("mine\n{RESULT}")
    );
    for unknown in ["nothing.md", "steps/nobody.md", "other/a.txt"] {
        assert_eq!(
            read(unknown).await.unwrap_err().code,
            "unknownDocument",
            "{unknown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_was_fetched_is_refreshed_when_its_run_changes() {
    let world = world(&able()).await;
    let uri = format!("clode://pipeline/{}/patch.diff", world.run);
    preview::content(&world.session, json!({"uri": uri}))
        .await
        .unwrap();
    let engine = world.session.engine().await.unwrap();
    engine.signal(&world.run, Signal::Pause).await.unwrap();
    super::run_changed(&world.session, &world.run);
    world
        .until("the refresh", |world| {
            world
                .sent("workspace/textDocumentContent/refresh")
                .iter()
                .any(|it| it["uri"] == *uri)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_is_a_conflict_that_says_so() {
    let world = world(&able()).await;
    std::fs::remove_file(world.folder.join("a.txt")).unwrap();
    assert_eq!(world.shown().await, ["conflict", "conflict"]);
    let files = edit::files(&world.session, &world.run).await.unwrap();
    assert_eq!(files[0]["hunks"][0]["reason"], "a.txt is not there any more");
    assert_eq!(world.apply(&[]).await[0].1, "conflict");
}

async fn command(world: &World, id: &str, options: Value) -> Result<Value, tower_lsp::jsonrpc::Error> {
    command::execute(&world.session, json!({"command": id, "arguments": [options]})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_the_only_run_and_take_lists_for_objects() {
    let world = world(&able()).await;
    world.open("a.txt");
    let answer = command(&world, "clode.pipeline.apply", json!([])).await.unwrap();
    assert_eq!(answer["files"][0]["result"], "applied");
    assert_eq!(answer["files"][0]["hunks"], json!(world.hunks()));
    let again = command(&world, "clode.pipeline.apply", json!({})).await.unwrap();
    assert_eq!(again, json!({"files": []}), "nothing waits any more");
    let wrong = command(&world, "clode.pipeline.rejectHunks", json!({"hunks": "all"}))
        .await
        .unwrap_err();
    assert!(wrong.message.starts_with("hunks: "), "{wrong}");
    let unknown = command(
        &world,
        "clode.pipeline.apply",
        json!({"pipelineId": "pipeline-x"}),
    )
    .await
    .unwrap_err();
    assert_eq!(
        (unknown.code.code(), &unknown.data.unwrap()["code"]),
        (-32602, &json!("unknownPipeline"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_is_shown_by_the_best_means() {
    let mut extended = able();
    extended["experimental"]["clode"]["showDiff"] = json!(true);
    let with_request = world(&extended).await;
    let uri = with_request.open("a.txt");
    let shown = command(&with_request, "clode.pipeline.showDiff", json!({"uri": uri}))
        .await
        .unwrap();
    assert_eq!(shown["shown"], true);
    let asked = &with_request.sent("clode/showDiff")[0];
    assert_eq!(
        (asked["left"].as_str(), asked["right"].as_str().unwrap()),
        (
            Some(uri.as_str()),
            &*format!("clode://pipeline/{}/merged/a.txt", with_request.run)
        )
    );

    let able = world(&able()).await;
    let two = World::new(
        &testing::able(),
        &[("a.txt", Some(BASE)), ("b.txt", Some("b\n"))],
        &[("a.txt", Some(RESULT)), ("b.txt", Some("c\n"))],
    )
    .await;
    command(&two, "clode.pipeline.showDiff", json!({})).await.unwrap();
    assert_eq!(
        two.sent("window/showDocument")[0]["uri"],
        format!("clode://pipeline/{}/patch.diff", two.run)
    );
    let shown = command(
        &able,
        "clode.pipeline.showDiff",
        json!({"uri": able.uri("a.txt")}),
    )
    .await
    .unwrap();
    let file = Url::parse(shown["uri"].as_str().unwrap())
        .unwrap()
        .to_file_path()
        .unwrap();
    assert!(std::fs::read_to_string(file).unwrap().contains("+TWO and a half"));

    let without = world(&plain()).await;
    let shown = command(&without, "clode.pipeline.showDiff", json!({}))
        .await
        .unwrap();
    assert_eq!(shown["shown"], false);
    assert!(
        shown["uri"].as_str().unwrap().starts_with("file:///"),
        "it can be opened by hand"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_becomes_the_draft_and_its_document_offers_the_answers() {
    let world = World::planning(&able(), "# Plan\n").await;
    let answer = command(&world, "clode.pipeline.editPlan", json!({}))
        .await
        .unwrap();
    let uri = Url::parse(answer["uri"].as_str().unwrap()).unwrap();
    let path = uri.to_file_path().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# Plan\n");
    assert_eq!(world.sent("window/showDocument")[0]["uri"], json!(uri));
    let lenses = lens::lenses(&world.session, json!({"textDocument": {"uri": uri}})).unwrap();
    let titles: Vec<&str> = lenses
        .as_array()
        .unwrap()
        .iter()
        .map(|lens| lens["command"]["title"].as_str().unwrap())
        .collect();
    assert_eq!(
        titles,
        [
            "Approve plan",
            "Reject plan",
            "Edit plan",
            "Request another plan…"
        ]
    );

    world.types(path.to_str().unwrap(), "# Plan\n\nwith more tests\n");
    command::edit_plan::saved(&world.session, &uri);
    let plan = Url::parse(&format!("clode://pipeline/{}/plan.md", world.run)).unwrap();
    let wait = async {
        while preview::document(&world.session, &plan).await.unwrap().text != "# Plan\n\nwith more tests\n" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait)
        .await
        .expect("the draft is stored in time");
    let refused = command(
        &world,
        "clode.document",
        json!({"uri": "clode://pipeline/x/plan.md"}),
    )
    .await;
    assert_eq!(refused.unwrap_err().data.unwrap()["code"], "unknownPipeline");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switches_of_the_configuration_are_obeyed() {
    let world = world(&able()).await;
    let uri = world.open_with("a.txt", &format!("# TODO: sort\n{BASE}"));
    world
        .until("diagnostics", |world| {
            published(world, &uri).is_some_and(|it| it["diagnostics"] != json!([]))
        })
        .await;
    let engine = world.session.engine().await.unwrap();
    let file = engine.services().configurations.user_file();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(
        file,
        "version: 1\nui:\n  diagnostics: false\n  codeLens:\n    hunks: false\n    todos: true\n",
    )
    .unwrap();
    engine.services().configurations.forget();
    super::settings_changed(&world.session);
    world
        .until("no diagnostics", |world| {
            published(world, &uri).is_some_and(|it| it["diagnostics"] == json!([]))
        })
        .await;
    let lenses = lens::lenses(&world.session, json!({"textDocument": {"uri": uri}})).unwrap();
    let lenses = lenses.as_array().unwrap();
    assert_eq!(lenses.len(), 1);
    assert_eq!(lenses[0]["command"]["title"], "Implement with agents…");
    assert_eq!(lenses[0]["command"]["arguments"][0]["task"]["title"], "sort");
}
