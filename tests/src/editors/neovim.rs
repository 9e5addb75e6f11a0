//! Neovim without a screen, with our plugin on its runtime path and nothing else.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use super::driver::{Driver, LIMIT};
use super::source;
use crate::cli;
use crate::component::Component;
use crate::fixture::Home;
use crate::processes::{self, Process};

/// One Neovim.
#[derive(Debug)]
pub struct Neovim {
    driver: Driver,
}

impl Neovim {
    /// Starts it in a directory. None where Neovim is not installed: the test is skipped, loudly.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "the rig starts the real program")]
    pub fn start(name: &str, home: &Home, directory: &Path) -> Option<Self> {
        let program = Component::Neovim.find()?;
        let mut command = Command::new(program);
        command
            .args(["--headless", "--clean", "-n", "-S"])
            .arg(source("tests/editors/neovim/rig.lua"))
            .current_dir(directory)
            .env_clear()
            .envs(home.environment())
            .env("CLODE_TEST_PLUGIN", source("editors/neovim"))
            .env(
                "CLODE_TEST_COMMAND",
                json!([cli::binary(), "--stdio"]).to_string(),
            );
        let driver = Driver::start(&format!("neovim-{name}"), home.mark(), command);
        Some(Self { driver })
    }

    /// Runs a piece of Lua there; `...` are the arguments, the answer is what it returns.
    #[track_caller]
    pub fn lua<'a>(&'a mut self, chunk: &str, arguments: &Value) -> impl Future<Output = Value> + use<'a> {
        self.driver.ask(json!({ "run": chunk, "arguments": arguments }))
    }

    /// Waits until a piece of Lua returns something else than nil and false; answers that.
    #[track_caller]
    pub fn until<'a>(&'a mut self, chunk: &str, arguments: &Value) -> impl Future<Output = Value> + use<'a> {
        let limit = u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX);
        self.driver
            .ask(json!({ "until": chunk, "arguments": arguments, "limitMs": limit }))
    }

    /// Opens a file and waits until the server has it.
    pub async fn open(&mut self, path: &Path) {
        self.lua("vim.cmd.edit(...)", &json!([path])).await;
        self.until("return rig.attached()", &json!([])).await;
    }

    /// Presses keys in normal mode, in Vim's notation.
    #[track_caller]
    pub fn press<'a>(&'a mut self, keys: &str) -> impl Future<Output = Value> + use<'a> {
        self.lua("rig.press(...)", &json!([keys]))
    }

    /// Types a command line.
    #[track_caller]
    pub fn command<'a>(&'a mut self, line: &str) -> impl Future<Output = Value> + use<'a> {
        self.lua("vim.cmd(...)", &json!([line]))
    }

    /// The next selection that offers something with this text in it takes it.
    #[track_caller]
    pub fn will_choose<'a>(&'a mut self, text: &str) -> impl Future<Output = Value> + use<'a> {
        self.lua("rig.will_choose(...)", &json!([text]))
    }

    /// The text of a loaded file as it stands in the editor.
    pub async fn text(&mut self, path: &Path) -> String {
        let value = self.lua("return rig.text(...)", &json!([path])).await;
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a pipeline has this status and, where one is named, an open gate of this kind.
    #[track_caller]
    pub fn pipeline<'a>(
        &'a mut self,
        status: &str,
        gate: Option<&str>,
    ) -> impl Future<Output = Value> + use<'a> {
        self.until(
            "return rig.pipeline(...)",
            &json!([status, gate.unwrap_or_default()]),
        )
    }

    /// What the editor was told to show in a corner, so far.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let text = |event: &Value| event["message"].as_str().unwrap_or_default().to_owned();
        self.driver.events("notice").iter().map(text).collect()
    }

    /// Waits for one of them.
    #[track_caller]
    pub fn notice<'a>(&'a mut self, part: &str) -> impl Future<Output = Value> + use<'a> {
        let part = part.to_owned();
        self.driver.event("notice", move |event| {
            event["message"].as_str().is_some_and(|text| text.contains(&part))
        })
    }

    /// The selections that were offered so far: prompt, items, and what was taken.
    #[must_use]
    pub fn selections(&self) -> Vec<Value> {
        self.driver.events("select")
    }

    /// The values of the work-done progress so far.
    #[must_use]
    pub fn progress(&self) -> Vec<Value> {
        self.driver
            .events("progress")
            .into_iter()
            .map(|mut event| event["value"].take())
            .collect()
    }

    /// Waits for the last progress of a pipeline: the others end because somebody is asked.
    #[track_caller]
    pub fn end_of_progress(&mut self) -> impl Future<Output = Value> + use<'_> {
        self.driver.event("progress", |event| {
            let value = &event["value"];
            let waits = |message: &str| message.starts_with("Waiting");
            value["kind"] == "end" && !value["message"].as_str().is_some_and(waits)
        })
    }

    /// Its process number.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.driver.process_id()
    }

    /// Waits for a process below it whose command line holds a text.
    pub async fn child(&self, part: &str) -> Process {
        processes::below(self.process_id(), part, LIMIT).await
    }

    /// Leaves it without saving anything.
    pub async fn quit(self) {
        self.driver.end().await;
    }
}
