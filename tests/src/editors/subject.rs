//! What the editors work on: a module with a TODO, and a test that needs it.

use crate::fixture::{Home, Repo};

/// The file.
pub const FILE: &str = "calc.py";
/// As it is committed.
pub const BEFORE: &str = "\
\"\"\"Sums.\"\"\"


def multiply(a, b):
    \"\"\"The product.\"\"\"
    # TODO: write it
    pass


def triple(a):
    \"\"\"Three times `a`.\"\"\"
    return multiply(a, 3)
";
/// As the agents want it.
pub const AFTER: &str = "\
\"\"\"Sums.\"\"\"


def multiply(a, b):
    \"\"\"The product.\"\"\"
    return a * b


def triple(a):
    \"\"\"Three times `a`.\"\"\"
    return multiply(a, 3)
";
/// What its one hunk takes away, and brings.
pub const TODO: &str = "# TODO: write it";
/// See [`TODO`].
pub const NEW_LINE: &str = "return a * b";
/// The line of the TODO, from 1.
pub const TODO_LINE: u32 = 6;
/// A test that passes when the TODO is done.
pub const TEST: &str = "from calc import triple\n\nassert triple(2) == 6, triple(2)\nprint(\"1 passed\")\n";
/// A test that does not come to an end.
pub const ENDLESS_TEST: &str = "import time\n\nwhile True:\n    time.sleep(1)\n";

/// A repository with the file and this test, and the home of somebody who has it run for every task.
#[must_use]
pub fn repository(test: &str) -> (Repo, Home) {
    let repo = Repo::with(&[
        (FILE, BEFORE),
        ("test_calc.py", test),
        (".gitignore", "__pycache__/\n"),
    ]);
    let home = Home::new();
    home.configure("tests:\n  - python3 test_calc.py\n");
    (repo, home)
}
