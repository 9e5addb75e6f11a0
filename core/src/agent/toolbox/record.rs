//! What was done with the tools, so that it can be done again on other files.
//!
//! A model knows the files by what its tools answered, and by nothing else. Where every tool answers as it
//! did, it would say and change the same: doing its calls again makes its change there. Answers are kept by
//! their hash; what a call overwrites or deletes unseen is part of them. A command may read anything: what
//! one ran in has gaps.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FILE_BYTES_MAX, Inner, ToolAnswer, Toolbox};

/// Hexadecimal digits of an outcome that are kept.
const OUTCOME_DIGITS: usize = 32;
/// Tools that change files.
const CHANGING: [&str; 3] = ["write_file", "edit_file", "delete_file"];

/// Everything that was done, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct Record {
    calls: Vec<Call>,
    /// Something was read that is not known; the calls are no use then.
    has_gaps: bool,
}

/// One call on files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    tool: String,
    input: Value,
    /// Hash of the answer, and of what was there before where that is overwritten.
    outcome: String,
}

/// Whether the tools answered as they did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Repeated {
    /// All of them: the files are now as the first time.
    Same,
    /// One did not; the files are somewhere in between.
    Differently,
}

impl Record {
    /// Of what was not recorded from its beginning.
    pub(in crate::agent) fn with_gaps() -> Self {
        Self {
            calls: Vec::new(),
            has_gaps: true,
        }
    }

    /// Whether all that was read is known.
    pub(in crate::agent) fn is_complete(&self) -> bool {
        !self.has_gaps
    }

    /// Whether files were changed.
    pub(in crate::agent) fn changes(&self) -> bool {
        let changes = |call: &Call| CHANGING.contains(&call.tool.as_str());
        self.calls.iter().any(changes)
    }
}

impl Toolbox {
    /// Carries out one call of a tool on files and records it. Blocking.
    pub(in crate::agent) fn run_recorded(
        &self,
        name: &str,
        input: &Value,
        record: &mut Record,
    ) -> ToolAnswer {
        if record.has_gaps {
            return self.run(name, input);
        }
        let (answer, outcome) = self.run_hashed(name, input);
        record.calls.push(Call {
            tool: name.to_owned(),
            input: input.clone(),
            outcome,
        });
        answer
    }

    /// Does everything again until a tool answers something else. Blocking.
    pub(in crate::agent) fn repeat(&self, record: &Record) -> Repeated {
        let is_same = |call: &Call| self.run_hashed(&call.tool, &call.input).1 == call.outcome;
        if record.is_complete() && record.calls.iter().all(is_same) {
            Repeated::Same
        } else {
            Repeated::Differently
        }
    }

    fn run_hashed(&self, name: &str, input: &Value) -> (ToolAnswer, String) {
        let mut hasher = blake3::Hasher::new();
        if matches!(name, "write_file" | "delete_file") {
            hasher.update(self.0.before(input).as_bytes());
        }
        let answer = self.run(name, input);
        hasher.update(&[u8::from(answer.is_error)]);
        hasher.update(answer.text.as_bytes());
        let mut outcome = hasher.finalize().to_hex().to_string();
        outcome.truncate(OUTCOME_DIGITS);
        (answer, outcome)
    }
}

impl Inner {
    /// What a call is about to overwrite or delete, as a hash, or the code of why it cannot be read.
    fn before(&self, input: &Value) -> String {
        let read = self
            .path(input)
            .and_then(|path| self.root.read(&path, FILE_BYTES_MAX));
        match read {
            Ok(bytes) => blake3::hash(&bytes).to_hex().to_string(),
            Err(error) => error.code.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::agent::toolbox::Access;
    use crate::config::Context;
    use crate::redact::Redactor;

    struct Place {
        folder: tempfile::TempDir,
        tools: Toolbox,
    }

    impl Place {
        /// A folder with the usual files, and these instead or besides.
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let usual = [
                ("src/a.rs", "fn one() {}\nfn two() {}\n"),
                ("notes.md", "# Notes\n"),
            ];
            for (path, text) in usual.iter().chain(files) {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
                std::fs::write(path, text).expect("written");
            }
            let limits = Context {
                exclude: Vec::new(),
                max_tokens: 1_000,
                max_file_bytes: 1_000,
            };
            let redactor = Arc::new(Redactor::new());
            let tools = Toolbox::open(folder.path(), &limits, &redactor, Access::Change).expect("tools");
            Self { folder, tools }
        }

        fn file(&self, path: &str) -> String {
            std::fs::read_to_string(self.folder.path().join(path)).expect("a file")
        }
    }

    /// Lists, searches, reads, fails, edits, writes and deletes.
    fn work(place: &Place) -> Record {
        let mut record = Record::default();
        for (tool, input) in [
            ("list_files", json!({ "path": "src" })),
            ("search", json!({ "pattern": "fn t", "path": "src" })),
            ("read_file", json!({ "path": "src/a.rs", "end_line": 1 })),
            ("read_file", json!({ "path": "src/missing.rs" })),
            (
                "edit_file",
                json!({ "path": "src/a.rs", "old_text": "fn one() {}", "new_text": "fn three() {}" }),
            ),
            ("read_file", json!({ "path": "src/a.rs" })),
            (
                "write_file",
                json!({ "path": "src/new.rs", "content": "fn four() {}\n" }),
            ),
            ("delete_file", json!({ "path": "notes.md" })),
        ] {
            place.tools.run_recorded(tool, &input, &mut record);
        }
        assert!(record.is_complete() && record.changes());
        record
    }

    #[test]
    fn work_is_repeated_where_what_it_saw_is_the_same_though_other_files_are_not() {
        let record = work(&Place::with(&[]));
        let elsewhere = Place::with(&[("other.rs", "fn other() {}\n"), ("docs/more.md", "more\n")]);

        assert_eq!(elsewhere.tools.repeat(&record), Repeated::Same);

        assert_eq!(elsewhere.file("src/a.rs"), "fn three() {}\nfn two() {}\n");
        assert_eq!(elsewhere.file("src/new.rs"), "fn four() {}\n");
        assert_eq!(elsewhere.file("other.rs"), "fn other() {}\n");
        assert!(!elsewhere.folder.path().join("notes.md").exists());
    }

    #[test]
    fn whatever_a_tool_saw_counts_be_it_a_listing_a_hit_a_line_an_error_or_what_it_overwrote() {
        let record = work(&Place::with(&[]));
        for (path, text) in [
            ("src/b.rs", ""),
            ("src/a.rs", "fn one() {}\nfn twice() {}\n"),
            ("src/a.rs", "// first\nfn one() {}\nfn two() {}\n"),
            ("src/a.rs", "fn one() {}\nfn two() {}\nfn one() {}\n"),
            ("src/missing.rs", "here now\n"),
            ("src/new.rs", "somebody else's\n"),
            ("notes.md", "# Notes of today\n"),
        ] {
            let changed = Place::with(&[(path, text)]);
            assert_eq!(
                changed.tools.repeat(&record),
                Repeated::Differently,
                "{path}: {text:?}"
            );
        }
    }

    #[test]
    fn a_record_comes_back_from_the_store_and_one_with_gaps_is_never_repeated() {
        let record = work(&Place::with(&[]));
        let stored = serde_json::to_string(&record).expect("JSON");
        let mut back: Record = serde_json::from_str(&stored).expect("a record");
        assert_eq!(back, record);
        assert_eq!(Place::with(&[]).tools.repeat(&back), Repeated::Same);

        back = Record::with_gaps();
        let place = Place::with(&[]);
        place.tools.run_recorded("list_files", &json!({}), &mut back);
        assert_eq!(
            back,
            Record::with_gaps(),
            "what follows a gap is not worth keeping"
        );
        assert_eq!(place.tools.repeat(&back), Repeated::Differently);
    }
}
