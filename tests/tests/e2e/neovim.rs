//! A person at Neovim: from a TODO to an approved change in the buffer, with everything they may say no to.

mod refusal;
mod task;

use std::path::PathBuf;
use std::time::Duration;

use clode_tests::editors::neovim::Neovim;
use clode_tests::editors::subject::{FILE, TODO_LINE, repository};
use clode_tests::fixture::{Home, Repo, Snapshot};
use clode_tests::processes;
use serde_json::{Value, json};

/// How long a server may outlive its editor, and a command its task.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// A repository with a TODO and a test that needs it, and an editor that has the file open.
struct Desk {
    home: Home,
    repo: Repo,
    git_before: Snapshot,
    tree_before: Snapshot,
    nvim: Neovim,
}

impl Desk {
    /// None where Neovim is not installed.
    async fn new(name: &str, test: &str) -> Option<Self> {
        let (repo, home) = repository(test);
        let mut nvim = Neovim::start(name, &home, &repo.path())?;
        let (git_before, tree_before) = (repo.fingerprint_git(), repo.tree());
        nvim.open(&repo.path().join(FILE)).await;
        Some(Self {
            home,
            repo,
            git_before,
            tree_before,
            nvim,
        })
    }

    fn file(&self) -> PathBuf {
        self.repo.path().join(FILE)
    }

    /// The text in the editor.
    async fn text(&mut self) -> String {
        let file = self.file();
        self.nvim.text(&file).await
    }

    /// Opens the code actions on the TODO and takes the one with these words.
    async fn act_on_the_todo(&mut self, action: &str) {
        self.nvim.will_choose(action).await;
        self.nvim
            .lua("vim.api.nvim_win_set_cursor(0, { ..., 4 })", &json!([TODO_LINE]))
            .await;
        self.nvim.lua("vim.lsp.buf.code_action()", &json!([])).await;
    }

    /// Starts a task at the TODO and says yes to its plan.
    async fn work_on_the_todo(&mut self) {
        self.act_on_the_todo("Implement").await;
        self.nvim.pipeline("awaitingApproval", Some("plan")).await;
        self.nvim.command("Clode approve").await;
    }

    /// Waits until the plugin has drawn exactly one open hunk into the file; answers its mark.
    async fn mark(&mut self) -> Value {
        let file = self.file();
        let look = "local marks = rig.marks(...); return #marks == 1 and marks[1]";
        self.nvim.until(look, &json!([file])).await
    }

    /// Whether nothing is drawn any more.
    async fn no_mark(&mut self) {
        let file = self.file();
        self.nvim
            .until("return #rig.marks(...) == 0", &json!([file]))
            .await;
    }

    /// Ends the editor: nothing was written into the repository, nothing was asked in a way that a careless key
    /// could answer, nothing is left running.
    async fn leave(self) {
        let Self {
            home,
            repo,
            git_before,
            tree_before,
            nvim,
        } = self;
        for prompt in nvim
            .selections()
            .iter()
            .filter(|each| each["kind"] == "lsp_message")
        {
            let first = prompt["items"][0].as_str().unwrap_or_default();
            let is_harmless = !["Approve", "Accept", "Apply"]
                .iter()
                .any(|verb| first.starts_with(verb));
            assert!(is_harmless, "the first choice does something: {prompt}");
        }
        let family = processes::descendants(nvim.process_id());
        nvim.quit().await;
        processes::assert_none_left(home.mark(), LEAVE_LIMIT).await;
        for process in family {
            assert!(!processes::is_alive(&process), "left behind: {process:?}");
        }
        assert_eq!(repo.tree(), tree_before, "a file of the user was written");
        assert_eq!(repo.fingerprint_git(), git_before, "the user's .git was written");
    }
}

/// The cost that the message area shows, as the plugin writes it.
fn cost_in(messages: &str) -> Option<&str> {
    messages.split_whitespace().find(|word| word.starts_with('$'))
}
