//! The texts of the demonstration: brief, plan, verdict, knowledge.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::json;

use super::briefing::Briefing;
use super::language::{Language, Name};
use super::spot::{self, Spot, What};
use super::{Turn, developer};
use crate::provider::message::Request;

const HONEST: &str =
    "This was written by the demo provider of clode-ls, which follows fixed rules and is no model.";

/// The brief of the Task Master.
pub(super) fn brief(briefing: &Briefing) -> String {
    let title = title(briefing);
    let place = target(briefing).map_or_else(
        || "no particular file".to_owned(),
        |(path, _)| format!("`{path}`"),
    );
    let tests = if briefing.tests.is_empty() {
        "No test command was named.".to_owned()
    } else {
        format!("Proof: `{}`.", briefing.tests.join("`, `"))
    };
    format!("{title}\n\nOne small change in {place}. {tests}\n\n{HONEST}")
}

/// The plan of the Architect.
pub(super) fn plan(briefing: &Briefing) -> String {
    let found = target(briefing);
    let (touches, step, goal) = match &found {
        Some((path, Some(spot))) => {
            let goal = format!(
                "{} in `{path}` (line {}), with the smallest change that does it.",
                spot.title,
                spot.line + 1
            );
            (path.clone(), spot.title.clone(), goal)
        }
        Some((path, None)) => {
            let goal = format!(
                "Settle in `{path}` what a fixed rule can settle (a TODO, an empty function, a missing description), else leave a note about the task there."
            );
            (path.clone(), format!("Settle what is open in {path}"), goal)
        }
        None => (
            String::new(),
            "Look for open work".to_owned(),
            "Find a TODO, or a public item without documentation, and settle it.".to_owned(),
        ),
    };
    let touches = if touches.is_empty() {
        String::new()
    } else {
        format!("- touches: {touches}\n")
    };
    let tests = if briefing.tests.is_empty() {
        String::new()
    } else {
        format!("- tests: {}\n", briefing.tests.join(", "))
    };
    let proof = if briefing.tests.is_empty() {
        "No test command was named.\n".to_owned()
    } else {
        briefing
            .tests
            .iter()
            .flat_map(|test| ["- ", test, "\n"])
            .collect()
    };
    let title = title(briefing);
    format!(
        "# Plan: {title}\n\n## Goal\n{goal} {HONEST}\n\n## Steps\n### step-1: {step}\n- agent: developer\n{touches}{tests}\n\
         {step}. Nothing else changes.\n\n## Tests\n{proof}"
    )
}

/// The verdict of QA, after running the tests if that is possible.
pub(super) fn verdict(request: &Request, briefing: &Briefing) -> Turn {
    let calls = developer::calls(request);
    let ran = calls.iter().find(|call| call.name == "run_test");
    let can_run = request.tools.iter().any(|tool| tool.name == "run_test");
    if ran.is_none() && can_run && !briefing.tests.is_empty() {
        return Turn::call("Running the tests.", "run_test", json!({}));
    }
    let passed = match ran {
        Some(call) => Some(has_passed(&call.result, call.is_error)),
        None => outcome(&briefing.text),
    };
    let (word, reason) = match passed {
        Some(true) => ("pass", "the tests passed"),
        Some(false) => ("fail", "the tests failed"),
        None => ("pass", "no test was run, and the demo cannot judge code"),
    };
    Turn::say(format!(
        "Verdict: {word}\n\n{}: {reason}. {HONEST}",
        title(briefing)
    ))
}

/// One entry of knowledge.
pub(super) fn knowledge(briefing: &Briefing) -> String {
    let path = briefing
        .changed
        .first()
        .cloned()
        .or_else(|| target(briefing).map(|(path, _)| path));
    let scope = path.clone().unwrap_or_else(|| "repository".to_owned());
    let claim = match &path {
        Some(path) => format!("`{path}` was changed for the task \"{}\".", title(briefing)),
        None => format!("The task \"{}\" changed no file.", title(briefing)),
    };
    json!({ "claim": claim, "scope": scope, "evidence": HONEST }).to_string()
}

fn title(briefing: &Briefing) -> String {
    if briefing.title.is_empty() {
        "Open work".to_owned()
    } else {
        briefing.title.clone()
    }
}

/// The file to work on: where the task began, what it names, the first open TODO, the first
/// undocumented item, any source file; with what there is to do as far as the text is known.
pub(super) fn target(briefing: &Briefing) -> Option<(String, Option<Spot>)> {
    let spots_of = |path: &str| {
        briefing
            .content_of(path)
            .map(|text| spot::find(path, text))
            .unwrap_or_default()
    };
    if let Some((path, line)) = &briefing.origin {
        return Some((
            path.clone(),
            spot::choose(&spots_of(path), *line, briefing).cloned(),
        ));
    }
    if let Some(path) = briefing.targets.first() {
        return Some((
            path.clone(),
            spot::choose(&spots_of(path), None, briefing).cloned(),
        ));
    }
    if let Some(path) = super::briefing::first_path(&briefing.title) {
        return Some((
            path.clone(),
            spot::choose(&spots_of(&path), None, briefing).cloned(),
        ));
    }
    let mut all: Vec<(String, Spot)> = Vec::new();
    for (path, text) in &briefing.files {
        all.extend(
            spot::find(path, text)
                .into_iter()
                .map(|spot| (path.clone(), spot)),
        );
    }
    let mentioned = all
        .iter()
        .find(|(_, spot)| !spot.name.is_empty() && briefing.mentions(&spot.name));
    let open = || all.iter().find(|(_, spot)| spot.what != What::Undocumented);
    if let Some((path, spot)) = mentioned.or_else(open).or_else(|| all.first()) {
        return Some((path.clone(), Some(spot.clone())));
    }
    let known = briefing
        .files
        .iter()
        .map(|(path, _)| path)
        .chain(&briefing.listed);
    known
        .filter(|path| Language::of(path).is_some())
        .min_by_key(|path| Language::of(path).is_some_and(|language| language.name == Name::Markdown))
        .map(|path| (path.clone(), None))
}

static EXIT_CODE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?i)exit(?:ed)?[ _"]*(?:with )?(?:code|status)?[":= ]+(-?\d+)"#).ok());

/// What a text says about a test run, if anything.
fn outcome(text: &str) -> Option<bool> {
    let found = EXIT_CODE.as_ref()?.captures_iter(text).last()?;
    Some(found.get(1)?.as_str() == "0")
}

/// Whether a tool result tells of tests that passed.
pub(super) fn has_passed(text: &str, is_error: bool) -> bool {
    !is_error && outcome(text).unwrap_or_else(|| !text.to_ascii_lowercase().contains("failed"))
}
