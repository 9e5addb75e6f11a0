//! A person at VS Code: the packaged extension, the palette, the status bar, the lenses.
//!
//! The window takes longest to open, so one test does everything in it, one task after the other.

use std::path::PathBuf;
use std::time::Duration;

use clode_tests::editors::subject::{AFTER, BEFORE, FILE, NEW_LINE, TEST, TODO, repository};
use clode_tests::editors::vscode::VsCode;
use clode_tests::processes;
use serde_json::{Value, json};

/// How long our server may outlive the window; VS Code's own helpers look for their parent now and then only.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);
const HELPERS_LEAVE_LIMIT: Duration = Duration::from_secs(20);

/// A window with the file open.
struct Desk {
    code: VsCode,
    file: PathBuf,
}

impl Desk {
    /// Shows the file, with the cursor on the line that holds this text.
    async fn show(&mut self, line: &str) {
        let code = "
            const document = await vscode.workspace.openTextDocument(given.file);
            const line = Math.max(0, document.getText().split('\\n').findIndex((each) => each.includes(given.line)));
            const selection = new vscode.Range(line, 4, line, 4);
            await vscode.window.showTextDocument(document, { selection, preview: false });";
        self.code
            .host(code, &json!({ "file": self.file, "line": line }))
            .await;
    }

    /// Types at the begin or the end of the file, without saving.
    async fn type_line(&mut self, command: &str, text: &str) {
        self.show(TODO).await;
        let code = "
            await vscode.commands.executeCommand(given.command);
            await vscode.commands.executeCommand('type', { text: given.text });";
        self.code
            .host(code, &json!({ "command": command, "text": text }))
            .await;
    }

    /// Text and state of the file in the editor.
    async fn document(&mut self) -> Value {
        let code = "
            const document = await vscode.workspace.openTextDocument(given);
            return { text: document.getText(), isDirty: document.isDirty };";
        self.code.host(code, &json!(self.file)).await
    }

    /// Runs the agents at the TODO, with the title that is offered.
    async fn run(&mut self) {
        self.show(TODO).await;
        self.code.command("Clode Agents: Run Agents Here…").await;
        self.code.enter("Run Agents", None).await;
    }
}

#[tokio::test]
async fn a_task_is_run_approved_accepted_and_another_one_refused() {
    // Given the extension, a repository with a TODO, and a line that was never saved
    let (repo, home) = repository(TEST);
    let Some(code) = VsCode::start("task", &home, &repo.path()).await else {
        return;
    };
    let (git_before, tree_before) = (repo.fingerprint_git(), repo.tree());
    let mut desk = Desk {
        code,
        file: repo.path().join(FILE),
    };
    desk.type_line("cursorBottom", "# typed before the task\n").await;
    let look = "return (await vscode.commands.getCommands(true)).includes('clode.run')";
    desk.code.host_until(look, &json!(null)).await;

    refuses_a_plan(&mut desk).await;
    accepts_a_change(&mut desk).await;

    // Then nothing was written, nothing of ours broke in the window, and nothing is left
    let ours: Vec<String> = desk
        .code
        .console_errors()
        .into_iter()
        .filter(|text| is_ours(text))
        .collect();
    assert!(ours.is_empty(), "{ours:#?}");
    assert_eq!(repo.tree(), tree_before, "a file of the user was written");
    assert_eq!(repo.fingerprint_git(), git_before, "the user's .git was written");
    let servers: Vec<_> = processes::carrying(home.mark())
        .into_iter()
        .filter(is_server)
        .collect();
    assert!(!servers.is_empty(), "the server runs as long as the window");
    desk.code.quit().await;
    for server in servers {
        server.gone_within(LEAVE_LIMIT).await;
    }
    processes::assert_none_left(home.mark(), HELPERS_LEAVE_LIMIT).await;
}

async fn refuses_a_plan(desk: &mut Desk) {
    desk.run().await;
    desk.code.status_bar("waiting for approval").await;

    desk.code.command("Clode Agents: Reject…").await;
    desk.code.enter("Reject", Some("")).await;

    desk.code.status_bar_without("waiting").await;
    assert_eq!(
        desk.document().await["text"],
        format!("{BEFORE}# typed before the task\n")
    );
}

async fn accepts_a_change(desk: &mut Desk) {
    // When the agents are run at the TODO, the plan waits: the status bar says so, and what it cost
    desk.run().await;
    let bar = desk.code.status_bar("waiting for approval").await;
    assert!(bar.contains("$0.0000"), "{bar}");
    desk.code.command("Clode Agents: Show Plan").await;
    // The refused task has one too; the waiting one is offered first.
    desk.code.enter("Show which plan?", None).await;
    let look = "
        const document = vscode.window.activeTextEditor?.document;
        return document?.uri.scheme === 'clode' && document.getText().includes('## Steps') && document.getText();";
    let plan = desk.code.host_until(look, &json!(null)).await;
    assert!(plan.as_str().is_some_and(|plan| plan.contains(FILE)), "{plan}");
    // VS Code asks for no lenses in an editor that has lost the focus meanwhile.
    desk.code.lens("Approve plan").await;
    desk.code.command("Clode Agents: Focus on Pipelines View").await;
    desk.code.row("waiting for approval").await;
    desk.code.picture("vscode-plan").await;

    // When it is approved where it is read, and the person types on
    desk.code.click_lens("Approve plan").await;
    desk.type_line("cursorTop", "# typed while they worked\n").await;

    // Then the hunk has its lenses, above the line where the TODO is now
    desk.show(TODO).await;
    desk.code.lens("Accept").await;
    desk.code.status_bar("waiting for approval").await;
    desk.code.picture("vscode-review").await;
    assert!(
        desk.document().await["text"]
            .as_str()
            .is_some_and(|text| text.contains(TODO))
    );

    // When it is accepted, the document holds the change and both lines, and is not saved
    desk.code.click_lens("Accept").await;
    let look = "
        const document = await vscode.workspace.openTextDocument(given.file);
        return document.getText().includes(given.line);";
    let given = json!({ "file": desk.file, "line": NEW_LINE });
    desk.code.host_until(look, &given).await;
    let expected = format!("# typed while they worked\n{AFTER}# typed before the task\n");
    assert_eq!(
        desk.document().await,
        json!({ "text": expected, "isDirty": true })
    );
    desk.code.row("completed").await;
    desk.code.picture("vscode-accepted").await;
}

fn is_server(process: &processes::Process) -> bool {
    process.command.contains("clode-ls")
}

/// What the window says about our extension and its commands.
fn is_ours(text: &str) -> bool {
    let names = [
        "Clode Agents",
        "clodeAgents",
        "clode-agents.clode-agents",
        "clode.",
    ];
    names.iter().any(|name| text.contains(name))
}
