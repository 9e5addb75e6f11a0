use std::os::unix::fs::symlink;

use super::world::{World, files_of, make_executable, numbered, write};
use crate::workspace::{Change, HunkKind, Patch, Repository, Slot, Verdict};

async fn patch_of(world: &World, change: impl FnOnce(&Slot)) -> (Repository, Patch, std::path::PathBuf) {
    let repository = world.repository().await;
    let snapshot = world.snapshot(&repository).await;
    let slot = world.slot(&repository, &snapshot).await;
    change(&slot);
    let collected = world
        .workspaces
        .collect(&repository, &slot, &snapshot.commit)
        .await
        .unwrap();
    let patch = world
        .workspaces
        .patch(&repository, &snapshot.commit, &collected.commit)
        .await
        .unwrap();
    (repository, patch, slot.root.clone())
}

/// Applies the text of a patch to the user's files with git, and demands that they are as the agent's.
fn apply_by_git(world: &World, patch: &Patch, slot: &std::path::Path) {
    let file = world.root().join("the.patch");
    write(&file, patch.to_unified().as_bytes());
    let (ok, text) = world.try_git(
        &world.project(),
        &["apply", "--whitespace=nowarn", file.to_str().unwrap()],
    );
    assert!(ok, "{text}\n{}", patch.to_unified());
    assert_eq!(files_of(&world.project()), files_of(slot));
}

#[tokio::test]
async fn every_kind_of_change_is_a_patch_that_git_applies() {
    let world = World::new().await;
    let long = numbered(60, "\n");
    for (path, text) in [
        ("edited", long.as_str()),
        ("renamed/from", &long),
        ("deleted", "gone\n"),
        ("mode", "#!/bin/sh\n"),
        ("no-newline", "one\ntwo"),
        ("crlf", "one\r\ntwo\r\n"),
        ("emptied", "x\n"),
        ("becomes link", "x\n"),
        ("with space", "x\n"),
        ("moved only", "moved\n"),
    ] {
        world.write(path, text);
    }
    write(&world.project().join("image"), &[0, 1, 2, 3]);
    write(&world.project().join("old image"), &[0, 1, 2, 3, 4, 5]);
    world.commit_all();
    let big: Vec<u8> = (0..200_000_u32)
        .map(|number| u8::try_from(number * 7 % 251).unwrap())
        .collect();

    let (_, patch, slot) = patch_of(&world, |slot| {
        let root = &slot.root;
        write(
            &root.join("edited"),
            long.replace("line 3\n", "LINE 3\n")
                .replace("line 50\n", "")
                .as_bytes(),
        );
        std::fs::create_dir_all(root.join("renamed")).unwrap();
        std::fs::remove_file(root.join("renamed/from")).unwrap();
        write(
            &root.join("renamed/to there"),
            long.replace("line 7\n", "seven\n").as_bytes(),
        );
        std::fs::rename(root.join("moved only"), root.join("moved")).unwrap();
        std::fs::remove_file(root.join("deleted")).unwrap();
        make_executable(&root.join("mode"));
        write(&root.join("no-newline"), b"one\nzwei");
        write(&root.join("crlf"), b"one\r\nzwei\r\n");
        write(&root.join("emptied"), b"");
        write(&root.join("with space"), b"y");
        write(&root.join("new \"quoted\"\ttab\\.txt"), "neu ä\n".as_bytes());
        write(&root.join("new empty"), b"");
        write(&root.join("new.sh"), b"x\n");
        make_executable(&root.join("new.sh"));
        std::fs::remove_file(root.join("becomes link")).unwrap();
        symlink("crlf", root.join("becomes link")).unwrap();
        symlink("nowhere", root.join("new link")).unwrap();
        write(&root.join("image"), &big);
        std::fs::remove_file(root.join("old image")).unwrap();
        write(&root.join("latin1"), b"caf\xe9\n");
    })
    .await;

    let kinds = |path: &str| -> Vec<HunkKind> {
        let files = patch.files.iter().filter(|file| file.path == path);
        files
            .flat_map(|file| file.hunks.iter().map(|hunk| hunk.kind))
            .collect()
    };
    assert_eq!(kinds("edited"), [HunkKind::Text, HunkKind::Text]);
    assert_eq!(kinds("renamed/to there"), [HunkKind::Rename]);
    assert_eq!(kinds("deleted"), [HunkKind::Delete]);
    assert_eq!(kinds("mode"), [HunkKind::Mode]);
    assert_eq!(kinds("new.sh"), [HunkKind::Create]);
    assert_eq!(kinds("image"), [HunkKind::Binary]);
    assert_eq!(kinds("becomes link"), [HunkKind::Delete, HunkKind::Create]);
    let edited = patch.file("edited").unwrap();
    assert_eq!(
        (
            edited.insertions,
            edited.deletions,
            edited.hunks[0].base_lines.clone()
        ),
        (1, 2, 3..4)
    );
    assert_eq!(patch.file("moved").unwrap().change, Change::Renamed);
    assert!(patch.files.iter().all(|file| !file.hunks.is_empty()));
    apply_by_git(&world, &patch, &slot);
}

#[tokio::test]
async fn ids_are_stable_unique_and_independent_of_the_place() {
    let world = World::new().await;
    let block = "start\na\nb\nc\nend\n";
    world.write("file", &block.repeat(4));
    world.commit_all();
    let edit = |text: &str| text.replace("b\n", "B\n");
    let (_, patch, _) = patch_of(&world, |slot| {
        write(&slot.root.join("file"), edit(&block.repeat(4)).as_bytes());
    })
    .await;
    let ids = |patch: &Patch| {
        patch
            .files
            .iter()
            .flat_map(|file| file.hunks.iter().map(|hunk| hunk.id.clone()))
            .collect::<Vec<_>>()
    };
    let first = ids(&patch);
    assert_eq!(first.len(), 4);
    assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    assert!(first.iter().all(|id| id.as_str().len() == 12));

    world.write("file", &format!("typed above\n{}", block.repeat(4)));
    let moved = format!("typed above\n{}", edit(&block.repeat(4)));
    let (_, patch, _) = patch_of(&world, |slot| write(&slot.root.join("file"), moved.as_bytes())).await;
    assert_eq!(ids(&patch), first);
    assert_eq!(patch.hunk(&first[0]).unwrap().1.old_text, "b\n");
    let wire = serde_json::to_value(&patch).unwrap();
    assert_eq!(wire["files"][0]["verdict"], "allow");
    assert_eq!(serde_json::from_value::<Patch>(wire).unwrap(), patch);
}

#[tokio::test]
async fn what_is_executed_unasked_or_leads_out_needs_a_yes() {
    let world = World::new().await;
    world.write("src/a", "a\n");
    world.write("tool", "x\n");
    world.commit_all();
    let (_, patch, _) = patch_of(&world, |slot| {
        for path in [".vscode/tasks.json", "src/new"] {
            write(&slot.root.join(path), b"{}\n");
        }
        symlink("/etc/passwd", slot.root.join("way-out")).unwrap();
        symlink("../../x", slot.root.join("src/also-out")).unwrap();
        symlink("../tool", slot.root.join("src/inside")).unwrap();
        std::fs::create_dir(slot.root.join(".husky")).unwrap();
        std::fs::rename(slot.root.join("tool"), slot.root.join(".husky/pre-commit")).unwrap();
    })
    .await;
    let asks: Vec<&str> = patch
        .files
        .iter()
        .filter(|file| file.verdict != Verdict::Allow)
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(
        asks,
        [
            ".husky/pre-commit",
            ".vscode/tasks.json",
            "src/also-out",
            "way-out"
        ]
    );
    assert_eq!(
        serde_json::to_value(&patch).unwrap()["files"][0]["verdict"],
        "ask"
    );
}

#[tokio::test]
async fn nothing_changed_is_an_empty_patch() {
    let world = World::new().await;
    world.write(".env", "x\n");
    world.write("a", "x\n");
    let (_, patch, _) = patch_of(&world, |_| {}).await;
    assert_eq!((patch.files.len(), patch.to_unified()), (0, String::new()));
}

#[tokio::test]
async fn a_kept_patch_outlives_what_the_user_prunes() {
    let world = World::new().await;
    world.write("src/a", "a\n");
    world.write("b", "b\n");
    world.commit_all();
    let (repository, patch, _) = patch_of(&world, |slot| write(&slot.root.join("src/a"), b"agent\n")).await;
    world.workspaces.keep(&repository, &patch).await.unwrap();

    world.write("src/a", "rewritten\n");
    world.git(&["add", "-A"]);
    world.git(&["commit", "-q", "--amend", "-m", "other"]);
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);

    let again = world
        .workspaces
        .patch(&repository, &patch.base, &patch.result)
        .await
        .unwrap();
    assert_eq!(again, patch);
    let base = world
        .workspaces
        .file_at(&repository, &patch.base, "src/a")
        .await
        .unwrap();
    assert_eq!(base.as_deref(), Some(b"a\n".as_slice()));
}

/// A small generator, so that every run sees the same texts.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(2_685_821_657_736_338_717) >> 33) % sides
    }

    fn line(&mut self) -> String {
        let words = [
            "",
            "}",
            "let x = 1;",
            "// ä",
            "\ttab",
            "--- a",
            "+++ b",
            "@@ -1 +1 @@",
            " end ",
            "\\ No newline",
        ];
        format!(
            "{}{}",
            words[usize::try_from(self.roll(words.len() as u64)).unwrap()],
            self.roll(4)
        )
    }

    fn text(&mut self, lines: &[String]) -> String {
        let end = if self.roll(4) == 0 { "\r\n" } else { "\n" };
        let text = lines.join(end);
        if self.roll(3) == 0 { text } else { text + end }
    }

    fn edited(&mut self, lines: &[String]) -> Vec<String> {
        let mut lines = lines.to_vec();
        for _ in 0..=self.roll(5) {
            let at = usize::try_from(self.roll(lines.len() as u64 + 1)).unwrap();
            match self.roll(3) {
                0 if at < lines.len() => drop(lines.remove(at)),
                1 if at < lines.len() => lines[at] = self.line(),
                _ => lines.insert(at, self.line()),
            }
        }
        lines
    }
}

#[tokio::test]
async fn git_applies_the_patch_of_any_texts() {
    let world = World::new().await;
    let mut dice = Dice(0x5eed);
    let mut results = Vec::new();
    for number in 0..150 {
        let length = dice.roll(30);
        let base: Vec<String> = (0..length).map(|_| dice.line()).collect();
        let result = dice.edited(&base);
        world.write(&format!("file {number}"), &dice.text(&base));
        results.push(dice.text(&result));
    }
    world.commit_all();
    let (_, patch, slot) = patch_of(&world, |slot| {
        for (number, text) in results.iter().enumerate() {
            write(&slot.root.join(format!("file {number}")), text.as_bytes());
        }
    })
    .await;
    assert!(patch.files.len() > 100);
    apply_by_git(&world, &patch, &slot);
}
