//! Where a scenario plays: a person's home, a repository with something to do, and what both were before.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::Cli;
use crate::fixture::{Home, Repo, Snapshot};
use crate::processes;
use crate::scripted_api::{Reply, ScriptedApi, Steps, Usage};
use crate::text_editor::{TextEditor, file_uri};

/// A file with a function that waits to be written.
pub const MODULE: &str = "\
\"\"\"Sums.\"\"\"


def multiply(a, b):
    \"\"\"The product.\"\"\"
    # TODO: write it
    pass


def triple(a):
    \"\"\"Three times `a`.\"\"\"
    return multiply(a, 3)
";
/// The line that asks for the work.
pub const TODO: &str = "    # TODO: write it\n";
/// What the file's test needs.
pub const TEST: &str = "from calc import triple\n\nassert triple(2) == 6, triple(2)\nprint(\"1 passed\")\n";
/// How the test is run.
pub const TEST_COMMAND: &str = "python3 test_calc.py";
/// What the work replaces.
pub const OLD: &str = "    # TODO: write it\n    pass\n";
/// What it becomes.
pub const NEW: &str = "    return a * b\n";
/// How long what a server started may outlive it.
pub const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// A plan in the form that is read: one step for the Developer.
pub const PLAN: &str = "\
# Plan: Write multiply

## Goal
`multiply` answers the product.

## Steps
### step-1: Write the function
- agent: developer
- touches: calc.py
- tests: python3 test_calc.py

Return `a * b` in calc.py.

## Tests
- python3 test_calc.py
";

/// The tokens of every scripted answer, all four kinds of them.
pub const USAGE: Usage = Usage {
    input: 1_000,
    output: 50,
    cache_read: 300,
    cache_write: 200,
};
/// What they cost on `claude-sonnet-5`, in millionths of a dollar: 1000 × 2 + 50 × 10 + 300 × 0.2 + 200 × 2.5.
pub const CALL_MICRO_USD: u32 = 3_060;

/// Every agent by the Anthropic API, with one model whose price is known, and the Developer in our own loop.
pub const API_CONFIG: &str = "\
routing:
  default:
    type: byAgent
    map:
      taskMaster: { provider: anthropic, model: claude-sonnet-5 }
      architect: { provider: anthropic, model: claude-sonnet-5 }
      developer: { provider: anthropic, model: claude-sonnet-5 }
      qa: { provider: anthropic, model: claude-sonnet-5 }
      kbBuilder: { provider: anthropic, model: claude-sonnet-5 }
agents:
  developer: { mode: sdk }
retry: { maxAttempts: 3, initialMs: 20, maxMs: 200, jitter: 0 }
";

/// A home and a repository.
#[derive(Debug)]
pub struct Stage {
    /// The person's.
    pub home: Home,
    /// What is worked on.
    pub repo: Repo,
    git: Snapshot,
    tree: Snapshot,
}

impl Stage {
    /// Somebody without a key, an agent or a configuration, in front of a repository with a TODO.
    #[must_use]
    pub fn demo() -> Self {
        Self::of(Home::new(), with_a_todo())
    }

    /// Somebody whose models are this service, in front of a repository with a TODO.
    #[must_use]
    pub fn api(api: &ScriptedApi) -> Self {
        Self::api_with(api, with_a_todo(), "")
    }

    /// The same with another repository and more lines of configuration.
    #[must_use]
    pub fn api_with(api: &ScriptedApi, repo: Repo, more: &str) -> Self {
        let mut home = Home::new().with_api(api);
        home.unset("OPENAI_API_KEY");
        home.configure(&format!("{API_CONFIG}{more}"));
        Self::of(home, repo)
    }

    /// Somebody in front of a repository.
    #[must_use]
    pub fn of(home: Home, repo: Repo) -> Self {
        let (git, tree) = (repo.fingerprint_git(), repo.tree());
        Self {
            home,
            repo,
            git,
            tree,
        }
    }

    /// The file of the work.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.repo.path().join("calc.py")
    }

    /// An editor in the repository.
    #[must_use]
    pub fn editor(&self) -> TextEditor {
        TextEditor::start(&self.home, &[self.repo.path()])
    }

    /// The command line in the repository.
    #[must_use]
    pub fn cli(&self) -> Cli {
        Cli::new(&self.home, self.repo.path())
    }

    /// What is asked for at the TODO of the editor's buffer.
    #[must_use]
    pub fn request(&self, editor: &TextEditor) -> Value {
        json!({
            "task": { "title": "Write multiply", "tests": [TEST_COMMAND] },
            "context": {
                "textDocument": { "uri": file_uri(&self.file()), "version": editor.version(&self.file()) },
                "range": editor.range_of(&self.file(), TODO),
            },
        })
    }

    /// Nothing of the user's was written: neither a file nor anything below `.git`.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.repo.tree(), self.tree, "a file of the user was written");
        self.assert_git_untouched();
    }

    /// Nothing below the user's `.git` was written.
    #[track_caller]
    pub fn assert_git_untouched(&self) {
        assert_eq!(
            self.repo.fingerprint_git(),
            self.git,
            "the user's .git was written"
        );
    }

    /// Nothing that was started for this home is alive after the limit that the server has.
    pub async fn assert_nobody_left(&self) {
        processes::assert_none_left(self.home.mark(), LEAVE_LIMIT).await;
    }
}

/// A repository with a TODO in `calc.py` and a test that needs it done.
#[must_use]
pub fn with_a_todo() -> Repo {
    Repo::with(&[
        ("calc.py", MODULE),
        ("test_calc.py", TEST),
        (".gitignore", "__pycache__/\n"),
    ])
}

/// The step of a run with this id; agents of the usual pipeline are called like their steps.
#[must_use]
pub fn step<'a>(detail: &'a Value, id: &str) -> &'a Value {
    let mut steps = detail["steps"].as_array().into_iter().flatten();
    steps.find(|step| step["id"] == id).unwrap_or(&Value::Null)
}

/// USD of so many scripted calls.
#[must_use]
pub fn cost_of(calls: u32) -> f64 {
    f64::from(calls * CALL_MICRO_USD) / 1e6
}

/// Fails unless both amounts are the same to a billionth of a dollar.
#[track_caller]
pub fn assert_usd(found: &Value, wanted: f64) {
    let number = found.as_f64();
    let close = number.is_some_and(|number| (number - wanted).abs() < 1e-9);
    assert!(close, "{found} is not {wanted} USD");
}

/// An answer in words that costs [`USAGE`].
#[must_use]
pub fn says(text: &str) -> Reply {
    Reply::text(text).using(USAGE)
}

/// A call of a tool that costs [`USAGE`].
#[must_use]
pub fn calls(tool: &str, input: Value) -> Reply {
    Reply::call(tool, input).using(USAGE)
}

/// The edit that does the work.
#[must_use]
pub fn edits() -> Reply {
    calls(
        "edit_file",
        json!({ "path": "calc.py", "old_text": OLD, "new_text": NEW }),
    )
}

/// The Developer reads, edits, runs the tests and is done: four calls.
#[must_use]
pub fn develops(steps: Steps) -> Steps {
    steps
        .replies(calls("read_file", json!({ "path": "calc.py" })))
        .replies(edits())
        .replies(calls("run_test", json!({})))
        .replies(says("multiply is written and its test passes."))
}
