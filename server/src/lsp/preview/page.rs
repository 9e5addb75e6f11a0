//! The pages that are made of figures and records.

use std::fmt::Write;

use clode_core::money::Money;
use clode_core::pipeline::{Machine, StepRecord, StepStatus};
use clode_core::store::StepTotals;

/// What a run cost, by step and model.
pub(super) fn costs(machine: &Machine, steps: &[StepTotals]) -> String {
    let mut text = format!("# Cost: {}\n\n", machine.spec.shown_title());
    let total: Money = steps.iter().map(|step| step.totals.cost).sum();
    let limit = machine
        .limit()
        .map_or_else(|| "no limit".to_owned(), |limit| format!("limit {limit}"));
    let _ = writeln!(text, "Total {total} ({limit}).\n");
    let outputs = machine.steps.iter().filter_map(|step| step.output.as_ref());
    let saved: Money = outputs.filter_map(|output| output.saved).sum();
    if saved > Money::ZERO {
        let _ = writeln!(text, "Earlier results saved {saved}.\n");
    }
    text.push_str("| step | agent | provider | model | calls | input | output | cache read | cache write | cost | unconfirmed |\n");
    text.push_str("| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for step in steps {
        let (totals, usage) = (&step.totals, step.totals.usage);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            step.step,
            step.agent,
            step.provider,
            step.model,
            totals.calls,
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            totals.cost,
            totals.unconfirmed
        );
    }
    if steps.is_empty() {
        text.push_str("\nNothing has been paid for yet.\n");
    }
    text
}

/// One step: how it stands, what it says, what it found.
pub(super) fn step(step: &StepRecord, status: StepStatus, document: Option<&str>) -> String {
    let status = match status {
        StepStatus::Pending => "has not begun",
        StepStatus::Running => "works",
        StepStatus::Backoff => "waits before another attempt",
        StepStatus::Merging => "is merged with the work of others",
        StepStatus::Finished => "done",
        StepStatus::Failed => "failed",
        StepStatus::Cancelled => "cancelled",
        StepStatus::Skipped => "left out",
    };
    let mut text = format!(
        "# {} ({})\n\nStatus: {status}. Attempts: {}.\n",
        step.spec.id, step.spec.agent, step.attempts
    );
    if let Some(error) = &step.error {
        let _ = writeln!(text, "\n**{}**", error.message);
        for hint in &error.hints {
            let _ = writeln!(text, "* {hint}");
        }
    }
    if let Some(output) = &step.output {
        if let (Some(provider), Some(model)) = (&output.provider, &output.model) {
            let _ = writeln!(text, "\nAnswered by {provider}, {model}.");
        }
        if let Some(saved) = output.saved {
            let _ = writeln!(text, "\nCached: an earlier result, which saves {saved}.");
        }
        if !output.summary.is_empty() {
            let _ = writeln!(text, "\n{}", output.summary);
        }
        if !output.findings.is_empty() {
            text.push_str("\n## Findings\n\n");
        }
        for finding in &output.findings {
            let place = finding.path.as_deref().map_or_else(String::new, |path| {
                format!(
                    "{path}{}: ",
                    finding.line.map_or_else(String::new, |line| format!(":{line}"))
                )
            });
            let _ = writeln!(text, "* {place}{} ({})", finding.message, finding.severity);
        }
        if !output.test_runs.is_empty() {
            text.push_str("\n## Tests\n\n");
        }
        for run in &output.test_runs {
            let result = if run.passed { "passed" } else { "failed" };
            let _ = writeln!(text, "* `{}`: {result} after {} ms", run.command, run.duration_ms);
        }
    }
    if let Some(document) = document {
        let _ = write!(text, "\n---\n\n{document}");
    }
    text
}

/// The language of a document by its name.
pub(super) fn language(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "md" => "markdown",
        "diff" | "patch" => "diff",
        "json" => "json",
        "jsonl" => "jsonl",
        "rs" => "rust",
        "py" => "python",
        "ts" | "mts" | "cts" => "typescript",
        "tsx" => "typescriptreact",
        "js" | "mjs" | "cjs" => "javascript",
        "jsx" => "javascriptreact",
        "go" => "go",
        "java" => "java",
        "kt" | "kts" => "kotlin",
        "c" | "h" => "c",
        "cc" | "cpp" | "cxx" | "hpp" => "cpp",
        "cs" => "csharp",
        "rb" => "ruby",
        "php" => "php",
        "swift" => "swift",
        "lua" => "lua",
        "sh" | "bash" => "shellscript",
        "yaml" | "yml" => "yaml",
        "toml" => "toml",
        "html" | "htm" => "html",
        "css" => "css",
        "scss" => "scss",
        "vue" => "vue",
        "sql" => "sql",
        "xml" => "xml",
        _ => "plaintext",
    }
}
