//! What a person does with runs, over any editor.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::TextEditor;

/// How long a run may take to come to its next rest; generous, because the machine may be busy.
pub const FINISH_LIMIT: Duration = Duration::from_secs(60);
/// One question to the server waits so long at most.
const ASK_MS: u64 = 2_000;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The open approvals of a summary or detail at this gate.
#[must_use]
pub fn gates(run: &Value, gate: &str) -> Vec<Value> {
    let open = run["pendingApprovals"].as_array().cloned().unwrap_or_default();
    open.into_iter()
        .filter(|approval| approval["gate"] == gate)
        .collect()
}

/// The one open approval at this gate.
#[track_caller]
#[must_use]
pub fn gate(run: &Value, gate: &str) -> Value {
    let open = gates(run, gate);
    assert_eq!(open.len(), 1, "one gate `{gate}` should be open in {run:#}");
    open.into_iter().next().unwrap_or_default()
}

impl TextEditor {
    /// Starts a run that must start; answers its id.
    #[track_caller]
    pub fn run(&mut self, request: &Value) -> String {
        let answer = self.must("clode.run", request);
        let id = answer["pipelineId"].as_str();
        id.unwrap_or_else(|| panic!("no pipelineId in {answer}"))
            .to_owned()
    }

    /// All there is to know of a run.
    #[track_caller]
    pub fn detail(&mut self, run: &str) -> Value {
        self.must("clode.pipeline.get", &json!({ "pipelineId": run }))
    }

    /// Waits until the run is like this. Fails at once when it has ended otherwise.
    #[track_caller]
    pub fn until(&mut self, run: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + FINISH_LIMIT;
        loop {
            let detail = self.must(
                "clode.pipeline.wait",
                &json!({ "pipelineId": run, "timeoutMs": ASK_MS }),
            );
            if fits(&detail) {
                return detail;
            }
            let ended = ["completed", "failed", "cancelled"]
                .iter()
                .any(|status| detail["status"] == *status);
            assert!(
                !ended && Instant::now() < end,
                "{run} never came to {what}: {}\n{}",
                brief(&detail),
                self.client.log()
            );
            thread::sleep(LOOK_AGAIN_AFTER);
        }
    }

    /// Waits until this gate is open; answers the detail.
    #[track_caller]
    pub fn until_gate(&mut self, run: &str, at: &str) -> Value {
        self.until(run, &format!("gate `{at}`"), |detail| {
            !gates(detail, at).is_empty()
        })
    }

    /// Waits until the run has this status.
    #[track_caller]
    pub fn until_status(&mut self, run: &str, status: &str) -> Value {
        self.until(run, status, |detail| detail["status"] == status)
    }

    /// Waits for a gate and says yes.
    #[track_caller]
    pub fn approve(&mut self, run: &str, at: &str) -> Value {
        let detail = self.until_gate(run, at);
        let id = gate(&detail, at)["id"].clone();
        self.must(
            "clode.pipeline.approve",
            &json!({ "pipelineId": run, "approvalId": id, "approved": true }),
        );
        detail
    }
}

/// What matters of a detail in a message about a failed test.
fn brief(detail: &Value) -> String {
    let shown = [
        "status",
        "statusReason",
        "step",
        "error",
        "pendingApprovals",
        "steps",
        "findings",
        "testRuns",
    ];
    let parts: Vec<String> = shown
        .iter()
        .map(|name| format!("{name}: {:#}", detail[*name]))
        .collect();
    parts.join("\n")
}
