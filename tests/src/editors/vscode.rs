//! VS Code's own server and workbench in a browser without a screen, with our packaged extension installed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::driver::{Driver, LIMIT};
use super::{artifacts, source};
use crate::cli;
use crate::component::Component;
use crate::fixture::Home;

/// The server starts, the workbench paints, the extension host comes up: each within this on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);
const END_LIMIT: Duration = Duration::from_secs(15);

/// One window.
#[derive(Debug)]
pub struct VsCode {
    driver: Driver,
    server: Child,
}

/// The programs, all there.
struct Programs {
    node: PathBuf,
    server: PathBuf,
    chromium: PathBuf,
    playwright: PathBuf,
    extension: PathBuf,
}

impl Programs {
    #[track_caller]
    fn find() -> Option<Self> {
        Some(Self {
            node: Component::Node.find()?,
            server: Component::CodeServer.find()?,
            chromium: Component::Chromium.find()?,
            playwright: Component::Playwright.find()?,
            extension: Component::Extension.find()?,
        })
    }

    /// VS Code's server in this home, with its own directories there.
    #[expect(clippy::disallowed_methods, reason = "the rig starts the real program")]
    fn server(&self, home: &Home) -> Command {
        let mut command = Command::new(&self.node);
        command
            .arg(&self.server)
            .args([
                "--accept-server-license-terms",
                "--telemetry-level",
                "off",
                "--disable-workspace-trust",
            ])
            .arg("--server-data-dir")
            .arg(home.path("vscode/server"))
            .arg("--user-data-dir")
            .arg(home.path("vscode/user"))
            .arg("--extensions-dir")
            .arg(home.path("vscode/extensions"))
            .current_dir(home.path("home"))
            .env_clear()
            .envs(home.environment())
            .env("CLODE_LS_PATH", cli::binary())
            .env("CLODE_TEST_BRIDGE", home.path("vscode/bridge.json"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn install(&self, home: &Home) {
        // What lies there before the first start is found by it; a package is added to that.
        copy(
            &source("tests/editors/vscode/bridge"),
            &home.path("vscode/extensions/clode-tests.bridge-0.0.1"),
        );
        let output = self
            .server(home)
            .arg("--install-extension")
            .arg(&self.extension)
            .output();
        let output = tokio::time::timeout(START_LIMIT, output)
            .await
            .expect("the extension is installed in time")
            .expect("the installation starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("successfully installed"),
            "the extension was not installed: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[expect(clippy::disallowed_methods, reason = "the rig starts the real program")]
    fn driver(&self, name: &str, home: &Home, port: u16) -> Driver {
        let settings = json!({
            "playwright": self.playwright,
            "chromium": self.chromium,
            "url": format!("http://127.0.0.1:{port}"),
            "bridge": home.path("vscode/bridge.json"),
            "failure": artifacts().join(format!("vscode-{name}-failure.png")),
            "limitMs": START_LIMIT.as_millis(),
        });
        let mut command = Command::new(&self.node);
        command
            .arg(source("tests/editors/vscode/drive.mjs"))
            .arg(settings.to_string())
            .current_dir(home.path("home"))
            .env_clear()
            .envs(home.environment());
        Driver::start(&format!("vscode-{name}"), home.mark(), command)
    }
}

impl VsCode {
    /// Starts it with a folder open. None where one of its programs is missing: the test is skipped, loudly.
    #[track_caller]
    pub fn start(name: &str, home: &Home, folder: &Path) -> impl Future<Output = Option<Self>> {
        let programs = Programs::find();
        async move {
            let programs = programs?;
            let port = free_port();
            write_settings(home);
            programs.install(home).await;
            let log = fs::File::create(artifacts().join(format!("vscode-{name}.server.log"))).expect("a log");
            let server = programs
                .server(home)
                .args([
                    "--host",
                    "127.0.0.1",
                    "--without-connection-token",
                    "--port",
                    &port.to_string(),
                ])
                .stdout(log.try_clone().expect("a log"))
                .stderr(log)
                .spawn()
                .expect("VS Code starts");
            let mut driver = programs.driver(name, home, port);
            let limit = u64::try_from(START_LIMIT.as_millis()).unwrap_or(u64::MAX);
            driver
                .ask(json!({ "ask": "open", "folder": folder, "limitMs": limit }))
                .await;
            Some(Self { driver, server })
        }
    }

    /// Evaluates JavaScript in the extension host, with `vscode` and `given` in scope.
    #[track_caller]
    pub fn host<'a>(&'a mut self, code: &str, given: &Value) -> impl Future<Output = Value> + use<'a> {
        self.driver
            .ask(json!({ "ask": "host", "code": code, "given": given }))
    }

    /// Does so until it answers something.
    #[track_caller]
    pub fn host_until<'a>(&'a mut self, code: &str, given: &Value) -> impl Future<Output = Value> + use<'a> {
        self.driver
            .ask(json!({ "ask": "hostUntil", "code": code, "given": given, "limitMs": limit_ms() }))
    }

    /// Evaluates JavaScript with Playwright's `page` and `given` in scope: what a person sees and does.
    #[track_caller]
    pub fn page<'a>(&'a mut self, code: &str, given: &Value) -> impl Future<Output = Value> + use<'a> {
        self.driver
            .ask(json!({ "ask": "page", "code": code, "given": given }))
    }

    /// Does so until it answers something.
    #[track_caller]
    pub fn page_until<'a>(&'a mut self, code: &str, given: &Value) -> impl Future<Output = Value> + use<'a> {
        self.driver
            .ask(json!({ "ask": "pageUntil", "code": code, "given": given, "limitMs": limit_ms() }))
    }

    /// Chooses a command from the palette.
    pub async fn command(&mut self, title: &str) {
        let code = "
            await page.keyboard.press('F1');
            const input = page.locator('.quick-input-widget input[type=text]');
            await input.fill('>' + given);
            await page.locator('.quick-input-list .monaco-list-row.focused', { hasText: given }).waitFor();
            await input.press('Enter');";
        self.page(code, &json!(title)).await;
    }

    /// Waits for an input box with this title, types and enters.
    pub async fn enter(&mut self, title: &str, text: Option<&str>) {
        let code = "
            await page.locator('.quick-input-titlebar', { hasText: given.title }).waitFor();
            const input = page.locator('.quick-input-widget input[type=text]');
            if (given.text !== null) {
                await input.fill(given.text);
            }
            await input.press('Enter');";
        self.page(code, &json!({ "title": title, "text": text })).await;
    }

    /// Waits until our entry on the status bar holds this text; answers all of it.
    pub async fn status_bar(&mut self, part: &str) -> String {
        let code = "
            const item = page.locator('.statusbar-item[id*=\"clodeAgents.state\"]');
            const text = (await item.innerText()).replaceAll('\\u00a0', ' ').trim();
            return text.includes(given) && text;";
        let text = self.page_until(code, &json!(part)).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until our entry on the status bar is there and does not hold this text.
    pub async fn status_bar_without(&mut self, part: &str) {
        let code = "
            const item = page.locator('.statusbar-item[id*=\"clodeAgents.state\"]');
            return !(await item.innerText()).includes(given);";
        self.page_until(code, &json!(part)).await;
    }

    /// Waits for a row of our view with this text in it.
    pub async fn row(&mut self, part: &str) {
        let code =
            "return (await page.locator('.pane-body .monaco-list-row', { hasText: given }).count()) > 0;";
        self.page_until(code, &json!(part)).await;
    }

    /// Waits for a lens of exactly these words.
    pub async fn lens(&mut self, title: &str) {
        let code = "return (await page.locator('.codelens-decoration a').getByText(given, { exact: true }).count()) > 0;";
        self.page_until(code, &json!(title)).await;
    }

    /// Clicks it.
    pub async fn click_lens(&mut self, title: &str) {
        let code =
            "await page.locator('.codelens-decoration a').getByText(given, { exact: true }).first().click();";
        self.page(code, &json!(title)).await;
    }

    /// Keeps a picture of the window among the artifacts.
    pub async fn picture(&mut self, name: &str) -> PathBuf {
        let path = artifacts().join(format!("{name}.png"));
        let _ = fs::remove_file(&path);
        self.driver.ask(json!({ "ask": "picture", "path": path })).await;
        path
    }

    /// The errors on the window's console so far.
    #[must_use]
    pub fn console_errors(&self) -> Vec<String> {
        let text = |event: &Value| event["text"].as_str().unwrap_or_default().to_owned();
        self.driver.events("consoleError").iter().map(text).collect()
    }

    /// Closes the window, then the server.
    pub async fn quit(mut self) {
        self.driver.end().await;
        let id = self
            .server
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        kill_process(id.expect("it still runs"), Signal::TERM).expect("it can be told to end");
        let ended = tokio::time::timeout(END_LIMIT, self.server.wait()).await;
        assert!(ended.is_ok(), "VS Code does not end within {END_LIMIT:?}");
    }
}

fn limit_ms() -> u64 {
    u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// Nothing is looked up outside, nothing is saved behind the person's back, nothing pops up.
fn write_settings(home: &Home) {
    let settings = json!({
        "security.workspace.trust.enabled": false,
        "workbench.startupEditor": "none",
        "workbench.enableExperiments": false,
        "telemetry.telemetryLevel": "off",
        "update.mode": "none",
        "extensions.autoUpdate": false,
        "extensions.autoCheckUpdates": false,
        "extensions.ignoreRecommendations": true,
        "chat.disableAIFeatures": true,
        "files.autoSave": "off",
        "git.enabled": false,
    });
    let folder = home.path("vscode/user/User");
    fs::create_dir_all(&folder).expect("the directory of the settings");
    fs::create_dir_all(home.path("home")).expect("the home");
    fs::write(folder.join("settings.json"), settings.to_string()).expect("the settings are written");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory of the rig") {
        let entry = entry.expect("an entry of it");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a file of it");
    }
}
