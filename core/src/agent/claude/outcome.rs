//! What the end of a session means: judged by `is_error`, then by the reason of the end; never by the
//! subtype or the exit code alone.

use serde_json::Value;

use crate::error::{Error, Kind};
use crate::money::Money;

/// Longest words of the program in an error (characters).
const WORDS_CHARS_MAX: usize = 600;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done and says this.
    Done(String),
    /// We stopped it before a tool, or its own budget did: it can be taken up again.
    OutOfMoney,
    /// Its turns are used up.
    OutOfTurns,
    /// There is no such session any more: begin anew.
    SessionLost,
    /// It ended early and can be taken up again.
    Interrupted(Error),
    /// It failed; another attempt fails as well.
    Failed(Error),
}

/// Judges the line that ends a turn.
pub(super) fn judge(result: &Value) -> Outcome {
    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
    let (subtype, reason) = (text("subtype"), text("terminal_reason"));
    let failed = result.get("is_error").and_then(Value::as_bool).unwrap_or(true);
    let words = words(result);
    match reason {
        "hook_stopped" | "budget_exhausted" => return Outcome::OutOfMoney,
        "max_turns" => return Outcome::OutOfTurns,
        _ => {}
    }
    match subtype {
        "error_max_budget_usd" => return Outcome::OutOfMoney,
        "error_max_turns" => return Outcome::OutOfTurns,
        _ => {}
    }
    if !failed {
        return Outcome::Done(text("result").to_owned());
    }
    if words.contains("No conversation found") {
        return Outcome::SessionLost;
    }
    if words.contains("Not logged in") || words.contains("/login") {
        return Outcome::Failed(not_logged_in());
    }
    match (reason, result.get("api_error_status").and_then(Value::as_u64)) {
        (_, Some(401 | 403)) => Outcome::Failed(key_rejected(&words)),
        (_, Some(404)) => {
            Outcome::Failed(provider("modelNotFound", &words).hint("choose another model for the Developer"))
        }
        (_, Some(429 | 500..=599) | None) if matches!(reason, "api_error" | "aborted_streaming") => {
            Outcome::Interrupted(provider("providerUnavailable", &words))
        }
        ("prompt_too_long" | "blocking_limit" | "image_error", _) => {
            Outcome::Failed(provider("contextOverflow", &words).hint("make the task smaller"))
        }
        ("aborted_tools" | "aborted_streaming", _) => {
            Outcome::Interrupted(provider("claudeInterrupted", &words))
        }
        _ if words.to_lowercase().contains("credit") => Outcome::Failed(
            provider("providerBilling", &words).hint("see to the account that the key belongs to"),
        ),
        _ => Outcome::Failed(
            provider("claudeFailed", &words)
                .hint("try the same with `claude -p`, or set `agents.developer.mode: sdk`"),
        ),
    }
}

/// A session without a last line.
pub(super) fn broken(what: &str, stderr: &str) -> Error {
    let stderr = shortened(stderr);
    let said = if stderr.is_empty() {
        String::new()
    } else {
        format!("; it wrote: {stderr}")
    };
    Error::new(
        Kind::Provider,
        "claudeInterrupted",
        format!("Claude Code {what}{said}"),
    )
    .hint("it is taken up again with the next attempt")
}

/// The key was refused, or there is none.
pub(super) fn key_rejected(words: &str) -> Error {
    provider("keyRejected", words).hint("check the key in the variable that `apiKeyEnv` names")
}

/// Nobody is logged in.
pub(super) fn not_logged_in() -> Error {
    Error::new(
        Kind::Provider,
        "claudeNotLoggedIn",
        "Claude Code is not logged in",
    )
    .hint("run `claude` once and log in, or set ANTHROPIC_API_KEY")
}

fn provider(code: &'static str, words: &str) -> Error {
    Error::new(
        Kind::Provider,
        code,
        format!(
            "Claude Code: {}",
            if words.is_empty() {
                "it failed without a word"
            } else {
                words
            }
        ),
    )
}

/// What it says about its end.
fn words(result: &Value) -> String {
    let errors = result.get("errors").and_then(Value::as_array);
    let errors = errors.into_iter().flatten().filter_map(Value::as_str);
    let said = result.get("result").and_then(Value::as_str);
    shortened(&said.into_iter().chain(errors).collect::<Vec<_>>().join("; "))
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(WORDS_CHARS_MAX).collect()
}

/// What the program itself says that the turn cost.
pub(super) fn reported_cost(result: &Value) -> Option<Money> {
    let models = result
        .get("model_usage_since_last_result")
        .or_else(|| result.get("modelUsage"))?
        .as_object()?;
    let costs = models
        .values()
        .filter_map(|model| model.get("costUSD").and_then(Value::as_f64));
    (!models.is_empty()).then(|| costs.filter_map(Money::from_usd).sum())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(result: &Value) -> String {
        match judge(result) {
            Outcome::Done(text) => format!("done: {text}"),
            Outcome::OutOfMoney => "money".to_owned(),
            Outcome::OutOfTurns => "turns".to_owned(),
            Outcome::SessionLost => "lost".to_owned(),
            Outcome::Interrupted(error) => format!("again: {}", error.code),
            Outcome::Failed(error) => format!("failed: {}", error.code),
        }
    }

    #[test]
    fn every_end_that_was_seen_is_understood() {
        let api = |status: u64| json!({"subtype": "success", "is_error": true, "terminal_reason": "api_error", "api_error_status": status, "result": "API Error"});
        for (result, expected) in [
            (
                json!({"subtype": "success", "is_error": false, "terminal_reason": "completed", "result": "ok"}),
                "done: ok",
            ),
            (
                json!({"subtype": "success", "is_error": false, "terminal_reason": "hook_stopped"}),
                "money",
            ),
            (
                json!({"subtype": "error_max_budget_usd", "is_error": true, "terminal_reason": "budget_exhausted"}),
                "money",
            ),
            (
                json!({"subtype": "error_max_turns", "is_error": true, "terminal_reason": "max_turns", "errors": ["x"]}),
                "turns",
            ),
            (api(401), "failed: keyRejected"),
            (api(404), "failed: modelNotFound"),
            (api(429), "again: providerUnavailable"),
            (api(529), "again: providerUnavailable"),
            (
                json!({"is_error": true, "terminal_reason": "api_error", "api_error_status": null}),
                "again: providerUnavailable",
            ),
            (
                json!({"is_error": true, "errors": ["No conversation found with session ID: x"], "terminal_reason": null}),
                "lost",
            ),
            (
                json!({"is_error": true, "result": "Not logged in · Please run /login"}),
                "failed: claudeNotLoggedIn",
            ),
            (
                json!({"is_error": true, "terminal_reason": "prompt_too_long", "result": "Prompt is too long"}),
                "failed: contextOverflow",
            ),
            (
                json!({"subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools"}),
                "again: claudeInterrupted",
            ),
            (
                json!({"is_error": true, "result": "Credit balance is too low", "terminal_reason": "api_error", "api_error_status": 400}),
                "failed: providerBilling",
            ),
            (json!({"is_error": true}), "failed: claudeFailed"),
        ] {
            assert_eq!(judged(&result), expected, "{result}");
        }
    }

    #[test]
    fn the_cost_is_that_of_the_turn() {
        let result = json!({"model_usage_since_last_result": {"m": {"costUSD": 0.01}}, "modelUsage": {"m": {"costUSD": 5.0}}});
        assert_eq!(reported_cost(&result), Money::from_usd(0.01));
        assert_eq!(reported_cost(&json!({})), None);
    }
}
