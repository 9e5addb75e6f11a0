//! A person at Neovim: from a TODO to an approved change in the buffer, with everything they may say no to.

mod task;

use std::path::PathBuf;
use std::time::Duration;

use clode_tests::editors::neovim::Neovim;
use clode_tests::fixture::{Home, Repo, Snapshot};
use clode_tests::processes;
use serde_json::json;

/// How long a server may outlive its editor.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

const MODULE: &str = "\
\"\"\"Sums.\"\"\"


def multiply(a, b):
    \"\"\"The product.\"\"\"
    # TODO: write it
    pass


def triple(a):
    \"\"\"Three times `a`.\"\"\"
    return multiply(a, 3)
";
const TEST: &str = "from calc import triple\n\nassert triple(2) == 6, triple(2)\nprint(\"1 passed\")\n";
/// From 1.
const TODO_LINE: u32 = 6;

/// A repository with a TODO, a test that needs it, and an editor that has the file open.
struct Desk {
    home: Home,
    repo: Repo,
    git_before: Snapshot,
    tree_before: Snapshot,
    nvim: Neovim,
}

impl Desk {
    /// None where Neovim is not installed.
    async fn set(name: &str) -> Option<Self> {
        let repo = Repo::with(&[("calc.py", MODULE), ("test_calc.py", TEST), (".gitignore", "__pycache__/\n")]);
        let home = Home::new();
        home.configure("tests:\n  - python3 test_calc.py\n");
        let mut nvim = Neovim::start(name, &home, &repo.path())?;
        let (git_before, tree_before) = (repo.fingerprint_git(), repo.tree());
        nvim.open(&repo.path().join("calc.py")).await;
        Some(Self { home, repo, git_before, tree_before, nvim })
    }

    fn file(&self) -> PathBuf {
        self.repo.path().join("calc.py")
    }

    async fn text(&mut self) -> String {
        let file = self.file();
        self.nvim.text(&file).await
    }

    /// The cursor is on the TODO and the code actions are opened; the one with these words is taken.
    async fn act_on_the_todo(&mut self, action: &str) {
        self.nvim.will_choose(action).await;
        self.nvim.lua("vim.api.nvim_win_set_cursor(0, { ..., 4 })", json!([TODO_LINE])).await;
        self.nvim.lua("vim.lsp.buf.code_action()", json!([])).await;
    }

    /// Nothing was written into the repository; nothing is left running.
    async fn leave(self) {
        let Self { home, repo, git_before, tree_before, nvim } = self;
        nvim.quit().await;
        processes::assert_none_left(home.mark(), LEAVE_LIMIT).await;
        assert_eq!(repo.tree(), tree_before, "a file of the user was written");
        assert_eq!(repo.fingerprint_git(), git_before, "the user's .git was written");
    }
}
