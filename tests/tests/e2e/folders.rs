//! Every kind of folder that a person opens, and every kind of file in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clode_tests::cli::Cli;
use clode_tests::fixture::{Home, Repo};
use clode_tests::scripted_api::{Script, ScriptedApi};
use clode_tests::stage::{
    MODULE, NEW, OLD, PLAN, Stage, TEST, TEST_COMMAND, TODO, calls, edits, says, with_a_todo,
};
use clode_tests::text_editor::{FINISH_LIMIT, TextEditor, file_uri, folder_uri};
use serde_json::{Value, json};

/// What is asked for at the TODO of this file.
fn request_at(editor: &TextEditor, file: &Path) -> Value {
    json!({
        "task": { "title": "Write multiply", "tests": [TEST_COMMAND] },
        "context": {
            "textDocument": { "uri": file_uri(file), "version": editor.version(file) },
            "range": editor.range_of(file, TODO.trim_end_matches('\n')),
        },
    })
}

/// The offline team does the work at the TODO of this file, and the edit lands in its buffer.
#[track_caller]
fn goes_the_whole_way(editor: &mut TextEditor, file: &Path) -> Value {
    editor.open(file);
    let run = editor.run(&request_at(editor, file));
    editor.approve(&run, "plan");
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed")
}

#[tokio::test]
async fn one_server_works_on_two_repositories_and_asks_which_one_is_meant() {
    let (first, second) = (Stage::demo(), with_a_todo());
    let second = Stage::of(Home::new(), second);
    let folders = [first.repo.path(), second.repo.path()];
    let mut editor = TextEditor::start(&first.home, &folders);
    editor.open(&first.file());
    editor.open(&second.file());

    let which = editor.refused("clode.run", &json!({ "task": { "title": "Write multiply" } }));
    assert_eq!(which.code, -32602, "{which:?}");
    for folder in &folders {
        assert!(which.message.contains(folder_uri(folder).as_str()), "{which:?}");
    }
    let named = editor.run(&json!({
        "task": { "title": "Write multiply", "tests": [TEST_COMMAND] }, "workspaceFolder": folder_uri(&folders[1]),
    }));
    let by_document = editor.run(&first.request(&editor));

    editor.approve(&named, "plan");
    let in_second = editor.until_gate(&named, "patch");
    editor.approve(&by_document, "plan");
    let in_first = editor.until_gate(&by_document, "patch");
    assert_eq!(in_second["files"][0]["uri"], json!(file_uri(&second.file())));
    assert_eq!(in_first["files"][0]["uri"], json!(file_uri(&first.file())));
    assert_ne!(in_first["repository"], in_second["repository"]);

    // "The only fitting one" is not clear with two open gates.
    let ambiguous = editor.refused("clode.pipeline.approve", &json!({ "approved": true }));
    assert_eq!(ambiguous.code, -32602, "{ambiguous:?}");
    assert!(
        ambiguous.message.contains(&named) && ambiguous.message.contains(&by_document),
        "{ambiguous:?}"
    );
    editor.approve(&named, "patch");
    editor.until_status(&named, "completed");
    assert_eq!(editor.text(&second.file()), MODULE.replace(OLD, NEW));
    assert_eq!(editor.text(&first.file()), MODULE);
    first.assert_untouched();
    second.assert_untouched();
}

#[tokio::test]
async fn in_a_package_folder_tests_run_there_paths_start_at_the_top_and_the_rest_is_asked_for() {
    let script = Script::new()
        .agent("taskMaster", |s| s.replies(says("A brief.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent("developer", |s| {
            s.replies(calls(
                "edit_file",
                json!({ "path": "packages/sums/calc.py", "old_text": OLD, "new_text": NEW }),
            ))
            .replies(calls(
                "write_file",
                json!({ "path": "packages/other/new.py", "content": "NEW = 1\n" }),
            ))
            .replies(calls("run_test", json!({})))
            .replies(says("Done."))
        })
        .agent("kbBuilder", |s| s.replies(says("[]")).may_end_early());
    let api = ScriptedApi::start(script);
    let repo = Repo::with(&[
        ("packages/sums/calc.py", MODULE),
        ("packages/sums/test_calc.py", TEST),
        ("packages/other/old.py", "OLD = 1\n"),
        (".gitignore", "__pycache__/\n"),
    ]);
    let stage = Stage::api_with(&api, repo, "");
    let folder = stage.repo.path().join("packages/sums");
    let file = folder.join("calc.py");
    let mut editor = TextEditor::start(&stage.home, std::slice::from_ref(&folder));
    editor.open(&file);
    let run = editor.run(&request_at(&editor, &file));
    editor.approve(&run, "plan");

    let detail = editor.until_gate(&run, "patch");

    let runs = detail["testRuns"].as_array().cloned().unwrap_or_default();
    assert!(
        !runs.is_empty() && runs.iter().all(|run| run["passed"] == true),
        "they run in the folder: {runs:#?}"
    );
    let files: Vec<(&str, &str)> = detail["files"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|file| Some((file["path"].as_str()?, file["verdict"].as_str()?)))
        .collect();
    assert_eq!(
        files,
        [
            ("packages/other/new.py", "ask"),
            ("packages/sums/calc.py", "allow")
        ]
    );
    assert_eq!(
        detail["workspaceFolder"]
            .as_str()
            .map(|uri| uri.trim_end_matches('/')),
        Some(folder_uri(&folder).as_str())
    );
    assert_eq!(
        detail["repository"].as_str().map(|uri| uri.trim_end_matches('/')),
        Some(folder_uri(&stage.repo.path()).as_str())
    );
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    stage.assert_untouched();
}

#[tokio::test]
async fn two_folders_of_one_repository_share_its_runs() {
    let repo = Repo::with(&[
        ("a/calc.py", MODULE),
        ("a/test_calc.py", TEST),
        ("b/other.py", "B = 1\n"),
    ]);
    let stage = Stage::of(Home::new(), repo);
    let (a, b) = (stage.repo.path().join("a"), stage.repo.path().join("b"));
    let file = a.join("calc.py");
    let mut editor = TextEditor::start(&stage.home, &[a, b.clone()]);
    editor.open(&file);
    let run = editor.run(&request_at(&editor, &file));
    editor.until_gate(&run, "plan");

    let mut other = TextEditor::start(&stage.home, &[b]);
    let list = other.must("clode.pipeline.list", &json!({}));

    assert_eq!(list[0]["pipelineId"], json!(run));
    other.approve(&run, "plan");
    editor.until_gate(&run, "patch");
    stage.assert_untouched();
}

#[tokio::test]
async fn a_repository_without_a_commit_is_worked_on_like_any_other() {
    let repo = Repo::new();
    repo.write("calc.py", MODULE);
    repo.write("test_calc.py", TEST);
    let stage = Stage::of(Home::new(), repo);
    let mut editor = stage.editor();

    goes_the_whole_way(&mut editor, &stage.file());

    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    stage.assert_untouched();
}

#[tokio::test]
async fn a_detached_head_with_staged_and_changed_files_is_worked_on_as_it_stands() {
    let repo = with_a_todo();
    repo.git(&["checkout", "--quiet", "--detach"]);
    repo.write("staged.py", "STAGED = 1\n");
    repo.git(&["add", "staged.py"]);
    repo.write(
        "test_calc.py",
        TEST.replace("triple(2) == 6, triple(2)", "triple(3) == 9, triple(3)"),
    );
    let stage = Stage::of(Home::new(), repo);
    let mut editor = stage.editor();

    let done = goes_the_whole_way(&mut editor, &stage.file());

    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
    assert_eq!(
        done["files"].as_array().map(Vec::len),
        Some(1),
        "what the user changed is no change of the agents: {:#}",
        done["files"]
    );
    stage.assert_untouched();
}

#[tokio::test]
async fn a_linked_worktree_of_the_user_s_is_worked_on_and_its_repository_is_left_alone() {
    let repo = with_a_todo();
    let linked = repo.path().with_file_name("linked");
    repo.git(&[
        "worktree",
        "add",
        "--quiet",
        &linked.to_string_lossy(),
        "-b",
        "side",
    ]);
    let stage = Stage::of(Home::new(), repo);
    let file = linked.join("calc.py");
    let mut editor = TextEditor::start(&stage.home, &[linked]);

    goes_the_whole_way(&mut editor, &file);

    assert_eq!(editor.text(&file), MODULE.replace(OLD, NEW));
    stage.assert_untouched();
}

#[tokio::test]
async fn a_file_with_windows_line_ends_keeps_them() {
    let windows = |text: &str| text.replace('\n', "\r\n");
    let repo = Repo::with(&[("calc.py", &windows(MODULE)), ("test_calc.py", TEST)]);
    let stage = Stage::of(Home::new(), repo);
    let mut editor = stage.editor();
    editor.open(&stage.file());
    let mut request = request_at(&editor, &stage.file());
    request["context"]["range"] = editor.range_of(&stage.file(), TODO.trim_end());
    let run = editor.run(&request);
    editor.approve(&run, "plan");
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");

    assert_eq!(editor.text(&stage.file()), windows(&MODULE.replace(OLD, NEW)));
    stage.assert_untouched();
}

#[tokio::test]
async fn names_and_texts_of_all_languages_go_through_unchanged() {
    let module = MODULE.replace("Sums.", "Größen, 和, 🙂.");
    let name = "größe und 和/módul 🙂.py";
    let repo = Repo::with(&[
        (name, &module),
        ("größe und 和/test_calc.py", "print(\"1 passed\")\n"),
    ]);
    let stage = Stage::of(Home::new(), repo);
    let file = stage.repo.path().join(name);
    let mut editor = stage.editor();
    editor.open(&file);
    let mut request = request_at(&editor, &file);
    request["task"]["tests"] = json!(["python3 'größe und 和/test_calc.py'"]);

    let run = editor.run(&request);
    editor.approve(&run, "plan");
    let detail = editor.until_gate(&run, "patch");
    assert_eq!(
        (&detail["files"][0]["path"], &detail["files"][0]["uri"]),
        (&json!(name), &json!(file_uri(&file)))
    );
    assert!(
        detail["testRuns"][0]["passed"] == true,
        "{:#}",
        detail["testRuns"]
    );
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");

    assert_eq!(editor.text(&file), module.replace(OLD, NEW));
    stage.assert_untouched();
}

#[tokio::test]
async fn links_stay_links_and_programs_stay_executable() {
    let script = Script::new()
        .agent("taskMaster", |s| s.replies(says("A brief.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent("developer", |s| {
            s.replies(edits())
                .replies(calls(
                    "edit_file",
                    json!({ "path": "check.sh", "old_text": "echo old", "new_text": "echo new" }),
                ))
                .replies(says("Done."))
        })
        .agent("kbBuilder", |s| s.replies(says("[]")).may_end_early());
    let api = ScriptedApi::start(script);
    let repo = with_a_todo();
    repo.write("check.sh", "#!/bin/sh\necho old\n");
    std::fs::set_permissions(
        repo.path().join("check.sh"),
        std::fs::Permissions::from_mode(0o755),
    )
    .expect("a mode");
    std::os::unix::fs::symlink("calc.py", repo.path().join("link.py")).expect("a link");
    repo.commit("A program and a link");
    let stage = Stage::api_with(&api, repo, "");

    let cli = stage.cli().within(FINISH_LIMIT);
    cli.run(&["run", "Write multiply", "--test", TEST_COMMAND, "--yes"])
        .await
        .assert_code(0);

    let program = stage.repo.path().join("check.sh");
    let mode = std::fs::metadata(&program)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(
        (mode & 0o777, stage.repo.read("check.sh").as_str()),
        (0o755, "#!/bin/sh\necho new\n")
    );
    let link = std::fs::read_link(stage.repo.path().join("link.py")).expect("still a link");
    assert_eq!(link, PathBuf::from("calc.py"));
    assert_eq!(stage.repo.read("calc.py"), MODULE.replace(OLD, NEW));
    stage.assert_git_untouched();
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn ignored_and_secret_files_do_not_reach_the_agents() {
    let script = Script::new()
        .agent("taskMaster", |s| s.replies(says("A brief.")))
        .agent("architect", |s| s.replies(says(PLAN)))
        .agent("developer", |s| {
            s.replies(calls("read_file", json!({ "path": ".env" })))
                .replies(calls("read_file", json!({ "path": "build/out.txt" })))
                .replies(edits())
                .replies(says("Done."))
        })
        .agent("kbBuilder", |s| s.replies(says("[]")).may_end_early());
    let api = ScriptedApi::start(script);
    let repo = with_a_todo();
    repo.write(".gitignore", "__pycache__/\nbuild/\n");
    repo.commit("Ignore what is built");
    repo.write("build/out.txt", "ignored-text-of-a-test\n");
    repo.write(".env", "TOKEN=secret-text-of-a-test\n");
    repo.write("untracked.py", "UNTRACKED = 1\n");
    let stage = Stage::api_with(&api, repo, "");
    let mut editor = stage.editor();
    editor.open(&stage.file());
    editor.open(&stage.repo.path().join("build/out.txt"));
    let run = editor.run(&stage.request(&editor));

    let planned = editor.approve(&run, "plan");
    assert!(
        planned["pendingApproval"].to_string().contains(".env"),
        "the plan gate lists what is kept back: {:#}",
        planned["pendingApproval"]
    );
    editor.until_gate(&run, "patch");

    let sent: String = api
        .requests()
        .iter()
        .map(|request| request.body.to_string())
        .collect();
    assert!(!sent.contains("secret-text-of-a-test") && !sent.contains("ignored-text-of-a-test"));
    assert!(
        sent.contains("untracked.py"),
        "what git does not ignore is part of what the user sees"
    );
    drop(editor);
    api.ignore_complaints();
    assert_eq!(api.violations(), Vec::<String>::new());
    stage.assert_untouched();
}

#[tokio::test]
async fn outside_git_the_server_lives_and_says_what_is_missing() {
    let home = Home::new();
    let folder = home.path("home");
    std::fs::write(folder.join("calc.py"), MODULE).expect("written");
    let folder = std::fs::canonicalize(folder).expect("it is there");
    let file = folder.join("calc.py");
    let mut editor = TextEditor::start(&home, std::slice::from_ref(&folder));
    editor.open(&file);

    let refused = editor.refused("clode.run", &request_at(&editor, &file));
    let status = editor.must("clode.status", &json!({}));

    assert!(refused.message.contains("git"), "{refused:?}");
    assert!(
        refused.data["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("git init")),
        "{refused:?}"
    );
    assert_eq!(status["pipelines"], json!([]));
    let printed = Cli::new(&home, &folder).run(&["run", "Write multiply"]).await;
    assert!(
        matches!(printed.code, Some(1 | 2)) && printed.stderr.contains("git init"),
        "{printed:?}"
    );

    // A repository that is begun meanwhile is found without a restart.
    let made = Cli::program("git", &home, &folder)
        .run(&["init", "--quiet", "."])
        .await;
    made.assert_code(0);
    let run = editor.run(&request_at(&editor, &file));
    editor.until_gate(&run, "plan");
}

#[tokio::test]
async fn a_folder_that_is_opened_by_a_link_is_the_same_repository() {
    let stage = Stage::demo();
    let link = stage.home.path("home").join("link");
    std::os::unix::fs::symlink(stage.repo.path(), &link).expect("a link");
    let file = link.join("calc.py");
    let mut editor = TextEditor::start(&stage.home, &[link]);

    goes_the_whole_way(&mut editor, &file);

    assert_eq!(
        editor.text(&file),
        MODULE.replace(OLD, NEW),
        "the edit lands in the buffer that is open"
    );
    stage.assert_untouched();
}

#[tokio::test]
async fn a_patch_that_waits_does_not_miss_what_the_user_prunes_meanwhile() {
    let stage = Stage::demo();
    let mut editor = stage.editor();
    editor.open(&stage.file());
    let run = editor.run(&stage.request(&editor));
    editor.approve(&run, "plan");
    editor.until_gate(&run, "patch");

    // The history that the run began from is gone for good.
    let branch = stage.repo.git(&["branch", "--show-current"]);
    stage.repo.git(&["checkout", "-q", "--orphan", "another"]);
    stage.repo.write("notes.txt", "a new beginning\n");
    stage
        .repo
        .git(&["rm", "-q", "--cached", "calc.py", "test_calc.py"]);
    stage.repo.git(&["add", "notes.txt"]);
    stage.repo.git(&["commit", "-qm", "A new beginning"]);
    stage.repo.git(&["branch", "-D", branch.trim()]);
    stage.repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    stage.repo.git(&["gc", "-q", "--prune=now"]);

    let detail = editor.detail(&run);
    assert!(
        detail["patch"]
            .as_str()
            .is_some_and(|patch| patch.contains("return a * b")),
        "{detail:#}"
    );
    let base = json!({ "uri": format!("clode://pipeline/{run}/base/calc.py") });
    assert_eq!(editor.must("clode.document", &base)["text"], MODULE);
    editor.approve(&run, "patch");
    editor.until_status(&run, "completed");
    assert_eq!(editor.text(&stage.file()), MODULE.replace(OLD, NEW));
}
