//! Documents that were passed around.

use serde_json::{Value, json};

use super::{Document, checksum, redacted, sorted, verify};
use crate::redact::Redactor;

fn written(body: &Value) -> String {
    let document = Document {
        format: "clode-snapshot".to_owned(),
        version: 1,
        algorithm: "blake3".to_owned(),
        checksum: checksum(body).expect("a checksum"),
        body: sorted(body.clone()),
    };
    serde_json::to_string_pretty(&document).expect("JSON")
}

fn body() -> Value {
    json!({
        "pipeline": {"pipelineId": "pipeline-T-1", "metrics": {"totalCost": 0.0421, "durationMs": 12}, "plan": "# Plan\n"},
        "step": {"id": "developer", "patch": "+one\n"},
    })
}

#[test]
fn a_document_that_nobody_touched_is_whole_however_it_is_laid_out() {
    let text = written(&body());
    let verified = verify(&text).expect("whole");
    assert_eq!(verified.pipeline_id, "pipeline-T-1");
    assert_eq!(verified.step.as_deref(), Some("developer"));

    let parsed: Value = serde_json::from_str(&text).expect("JSON");
    let in_one_line = serde_json::to_string(&parsed).expect("JSON");
    assert_eq!(verify(&in_one_line), Ok(verified));
    let Value::Object(object) = parsed else {
        panic!("an object");
    };
    let turned: serde_json::Map<String, Value> = object.into_iter().rev().collect();
    assert!(verify(&Value::Object(turned).to_string()).is_ok());
}

#[test]
fn a_changed_word_or_number_shows() {
    let text = written(&body());
    for (from, to) in [
        ("+one", "+two"),
        ("0.0421", "0.0420"),
        ("pipeline-T-1", "pipeline-T-2"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        let error = verify(&changed).expect_err("changed");
        assert_eq!(error.code, "checksumMismatch");
    }
}

#[test]
fn a_number_is_the_same_after_it_was_written_and_read() {
    // Sums of prices, and numbers at the edges of what a JSON reader gets right.
    let numbers = [0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, f64::MAX];
    let more = (1..2_000_u32).map(|n| f64::from(n) * 0.000_003_060_7 + f64::from(n).sqrt() / 7.0);
    for number in numbers.into_iter().chain(more) {
        let text = written(&json!({"pipeline": {"metrics": {"totalCost": number}}}));
        assert!(verify(&text).is_ok(), "{number:e}");
    }
}

#[test]
fn what_is_something_else_or_newer_is_told_from_what_is_damaged() {
    assert_eq!(verify("no JSON").expect_err("refused").code, "notASnapshot");
    assert_eq!(verify("{}").expect_err("refused").code, "notASnapshot");
    let newer = written(&body()).replace("\"version\": 1", "\"version\": 2");
    assert_eq!(verify(&newer).expect_err("refused").code, "unknownFormat");
}

#[test]
fn secrets_are_taken_out_of_every_text() {
    let redactor = Redactor::new();
    let secret = "a-secret-that-was-learned-1234567890";
    redactor.learn(secret);
    let clean = redacted(
        &redactor,
        json!({"list": [{"text": format!("x {secret} y")}], "number": 1, "none": null}),
    );
    let text = clean.to_string();
    assert!(!text.contains(secret), "{text}");
    assert!(text.contains("«redacted:"), "{text}");
    assert_eq!(clean["number"], 1);
}
