use serde_json::json;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    tools: Toolbox,
}

fn place(access: Access) -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    for (path, text) in [
        ("root/src/a.rs", "fn one() {}\nfn two() {}\nfn two() {}\n"),
        ("root/windows.txt", "one\r\ntwo\r\n"),
        ("root/.git/config", "[core]"),
        ("root/private/note.txt", "hidden fn"),
        ("secret", "outside"),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    std::os::unix::fs::symlink("../secret", root.join("link")).expect("linked");
    std::os::unix::fs::symlink("..", root.join("up")).expect("linked");
    let limits = Context {
        exclude: vec!["private/**".to_owned()],
        max_tokens: 1_000,
        max_file_bytes: 1_000,
    };
    let tools = Toolbox::open(&root, &limits, &Arc::new(Redactor::new()), access).expect("tools");
    Place { folder, tools }
}

impl Place {
    fn fine(&self, tool: &str, input: &Value) -> String {
        let answer = self.tools.run(tool, input);
        assert!(!answer.is_error, "{tool} {input}: {}", answer.text);
        answer.text
    }

    fn refused(&self, tool: &str, input: &Value) -> String {
        let answer = self.tools.run(tool, input);
        assert!(answer.is_error, "{tool} {input}: {}", answer.text);
        answer.text
    }

    fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("root").join(path)).expect("a file")
    }
}

#[test]
fn no_path_leads_out_of_the_root_or_into_git() {
    let place = place(Access::Change);
    for path in [
        "/etc/passwd",
        "../secret",
        "src/../../secret",
        "link",
        "up/secret",
        ".git/config",
        ".GIT/config",
        "src/.git/x",
        "",
        "a\0b",
    ] {
        for (tool, input) in [
            ("read_file", json!({ "path": path })),
            ("write_file", json!({ "path": path, "content": "x" })),
            (
                "edit_file",
                json!({ "path": path, "old_text": "outside", "new_text": "x" }),
            ),
            ("delete_file", json!({ "path": format!("{path}/") })),
        ] {
            if path == "link" && matches!(tool, "write_file" | "delete_file") {
                continue; // replaces or removes the link itself, which lies inside
            }
            place.refused(tool, &input);
        }
        if !path.is_empty() && path != "link" {
            place.refused("list_files", &json!({ "path": path }));
            place.refused("search", &json!({ "pattern": "x", "path": path }));
        }
    }
    assert_eq!(
        std::fs::read_to_string(place.folder.path().join("secret")).expect("still there"),
        "outside"
    );
    place.fine("write_file", &json!({ "path": "link", "content": "mine" }));
    assert_eq!(
        std::fs::read_to_string(place.folder.path().join("secret")).expect("still there"),
        "outside"
    );
}

#[test]
fn what_is_excluded_is_neither_listed_nor_found_nor_read() {
    let place = place(Access::Read);
    assert!(!place.fine("list_files", &json!({})).contains("private"));
    assert!(
        !place
            .fine("search", &json!({ "pattern": "fn" }))
            .contains("hidden")
    );
    assert!(
        place
            .refused("read_file", &json!({ "path": "private/note.txt" }))
            .contains("excluded")
    );
}

#[test]
fn an_edit_needs_exactly_one_match_and_says_how_many_there_are() {
    let place = place(Access::Change);
    let edit = |old: &str| json!({ "path": "src/a.rs", "old_text": old, "new_text": "fn three() {}" });
    assert!(
        place
            .refused("edit_file", &edit("fn four() {}"))
            .contains("0 times")
    );
    assert!(
        place
            .refused("edit_file", &edit("fn two() {}"))
            .contains("2 times")
    );
    assert_eq!(
        place.fine("edit_file", &edit("fn one() {}")),
        "edited src/a.rs at line 1"
    );
    assert_eq!(
        place.file("src/a.rs"),
        "fn three() {}\nfn two() {}\nfn two() {}\n"
    );
    place.fine(
        "edit_file",
        &json!({ "path": "windows.txt", "old_text": "one\ntwo", "new_text": "1\n2" }),
    );
    assert_eq!(place.file("windows.txt"), "1\r\n2\r\n");
}

#[test]
fn lines_have_their_numbers_and_a_range_is_honoured() {
    let place = place(Access::Read);
    assert_eq!(
        place.fine(
            "read_file",
            &json!({ "path": "./src/a.rs", "start_line": 2, "end_line": 2 })
        ),
        "    2\tfn two() {}\n"
    );
    let absolute = place.folder.path().join("root/src/a.rs");
    assert!(
        place
            .fine("read_file", &json!({ "path": absolute }))
            .starts_with("    1\tfn one() {}\n")
    );
    assert!(
        place
            .refused("read_file", &json!({ "path": "src/a.rs", "start_line": 9 }))
            .contains("only 3 lines")
    );
    assert_eq!(
        place.fine("search", &json!({ "pattern": r"fn o\w+", "path": "src" })),
        "src/a.rs:1:fn one() {}\n"
    );
    assert!(
        place
            .refused("search", &json!({ "pattern": "(" }))
            .contains("pattern")
    );
}

#[test]
fn an_agent_that_may_only_look_changes_nothing() {
    let place = place(Access::Read);
    place.refused("write_file", &json!({ "path": "x", "content": "x" }));
    place.refused("delete_file", &json!({ "path": "src/a.rs" }));
    assert_eq!(place.tools.specs(None).len(), 3);
}

#[test]
fn marks_of_secrets_do_not_get_into_files_and_answers_are_bounded() {
    let place = place(Access::Change);
    let mark = format!("{}x:0123ab\u{bb}", "\u{ab}redacted:");
    place.refused("write_file", &json!({ "path": "x", "content": mark }));
    place.fine(
        "write_file",
        &json!({ "path": "long", "content": "0123456789\n".repeat(50_000) }),
    );
    let read = place.fine("read_file", &json!({ "path": "long" }));
    assert!(
        read.len() <= ANSWER_BYTES_MAX + 100 && read.contains("read on with start_line"),
        "{}",
        read.len()
    );
}
