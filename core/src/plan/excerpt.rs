//! The plan as whoever carries out one of its steps gets to see it.
//!
//! Of the other steps only what concerns a neighbour: what they are called, who does them, what they touch
//! and need. So a change of how another step is done is no change of what this one is asked.

use super::{Plan, Reader, Section, list_item};
use crate::id::StepId;

/// Properties of a step that its neighbours see.
const SEEN_BY_NEIGHBOURS: [&str; 3] = ["agent", "touches", "needs"];

impl Plan {
    /// A plan's text without the details of all steps but this one. One without that step is left whole.
    pub fn excerpt(text: &str, of: &StepId) -> String {
        let mut reader = Reader::default();
        let mut kept = String::new();
        let mut is_there = false;
        for (index, line) in text.lines().enumerate() {
            reader.line(u32::try_from(index + 1).unwrap_or(u32::MAX), line);
            let step = reader
                .plan
                .steps
                .last()
                .filter(|_| reader.section == Section::Steps);
            let is_heading = !reader.fenced && line.starts_with('#');
            let is_ours = step.is_none_or(|step| step.id == *of);
            is_there |= step.is_some_and(|step| step.id == *of);
            if is_ours || is_heading || line.is_empty() || is_seen(line) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        if is_there { kept } else { text.to_owned() }
    }
}

fn is_seen(line: &str) -> bool {
    let property = list_item(line).and_then(|item| item.split_once(':'));
    property.is_some_and(|(name, _)| SEEN_BY_NEIGHBOURS.contains(&name.trim().to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "\
# Plan: Two files

## Goal
Both.

## Steps
### step-1: The first
- agent: developer
- touches: a.rs
- needs: none
- tests: cargo test a

Write one.

### step-2: The second
- agent: developer
- touches: b.rs
- needs: none
- tests: cargo test b

Write two:

```rust
# not a heading
fn two() {}
```

## Tests
- cargo test
";

    #[test]
    fn a_step_is_shown_whole_and_its_neighbours_by_what_they_touch() {
        let shown = Plan::excerpt(PLAN, &StepId::new("step-1"));
        for part in [
            "Both.",
            "Write one.",
            "cargo test a",
            "### step-2: The second",
            "b.rs",
            "- cargo test\n",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        for part in ["Write two", "cargo test b", "fn two", "not a heading", "```"] {
            assert!(!shown.contains(part), "{part}: {shown}");
        }
        let read = Plan::parse(&shown, &|_| true).expect("it is still a plan");
        assert_eq!(read.steps.len(), 2);
        assert_eq!(read.test_commands(), ["cargo test", "cargo test a"]);
    }

    #[test]
    fn how_a_neighbour_works_is_no_part_of_it_and_what_it_touches_is() {
        let of = |plan: &str| Plan::excerpt(plan, &StepId::new("step-1"));
        assert_eq!(of(PLAN), of(&PLAN.replace("Write two", "Write two with care")));
        assert_ne!(of(PLAN), of(&PLAN.replace("b.rs", "c.rs")));
        assert_ne!(of(PLAN), of(&PLAN.replace("Write one", "Write one with care")));
        assert_eq!(Plan::excerpt(PLAN, &StepId::new("another")), PLAN);
    }
}
