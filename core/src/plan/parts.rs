//! Which steps of a plan can be given to Developers of their own, and which of them must wait for which.
//!
//! A plan whose steps do not all say what they need is one piece of work. Where they do, two steps are
//! independent when neither needs the other and both name the files that they touch, none of them in
//! common; all others are done one after the other, in the order of the plan.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Plan, PlanStep};
use crate::id::StepId;

/// Most parts into which a plan is divided; a longer one is one piece of work.
pub const PARTS_MAX: usize = 16;
/// Who carries out the steps that are divided.
const DEVELOPER: &str = "developer";

/// A step of the plan that a Developer of its own carries out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanPart {
    /// Its id in the plan.
    pub step: StepId,
    /// Its title there.
    pub title: String,
    /// Parts whose results it begins from.
    pub needs: Vec<StepId>,
}

impl Plan {
    /// The parts of the plan for several Developers; none where it is one piece of work.
    pub fn parts(&self) -> Vec<PlanPart> {
        let steps = &self.steps;
        let is_part = |index: &usize| {
            steps
                .get(*index)
                .is_some_and(|step| step.agent.as_str() == DEVELOPER)
        };
        let parts: Vec<usize> = (0..steps.len()).filter(is_part).collect();
        let all_say = parts
            .iter()
            .filter_map(|index| steps.get(*index))
            .all(|step| step.needs.is_some());
        if parts.len() < 2 || parts.len() > PARTS_MAX || !all_say {
            return Vec::new();
        }
        let before = self.order(&is_part);
        let empty = BTreeSet::new();
        let earlier = |index: usize| before.get(index).unwrap_or(&empty);
        let independent =
            |index: &usize| parts.iter().filter(|other| **other < *index).count() > earlier(*index).len();
        if !parts.iter().any(independent) {
            return Vec::new();
        }
        parts
            .iter()
            .filter_map(|index| {
                let step = steps.get(*index)?;
                let all = earlier(*index);
                let implied = |need: &usize| all.iter().any(|other| earlier(*other).contains(need));
                let needs = all.iter().filter(|need| !implied(need));
                Some(PlanPart {
                    step: step.id.clone(),
                    title: step.title.clone(),
                    needs: needs
                        .filter_map(|need| steps.get(*need))
                        .map(|step| step.id.clone())
                        .collect(),
                })
            })
            .collect()
    }

    /// For each step all parts that come before it, directly or not.
    fn order(&self, is_part: &dyn Fn(&usize) -> bool) -> Vec<BTreeSet<usize>> {
        let mut before: Vec<BTreeSet<usize>> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let mut all = BTreeSet::new();
            let wait_for = |earlier: usize, all: &mut BTreeSet<usize>| {
                all.extend(before.get(earlier).into_iter().flatten());
                if is_part(&earlier) {
                    all.insert(earlier);
                }
            };
            for (earlier, other) in self.steps.iter().enumerate().take(index) {
                if step.needs.iter().flatten().any(|need| *need == other.id) {
                    wait_for(earlier, &mut all);
                }
            }
            for (earlier, other) in self.steps.iter().enumerate().take(index) {
                if is_part(&index) && is_part(&earlier) && !all.contains(&earlier) && !are_apart(other, step)
                {
                    wait_for(earlier, &mut all);
                }
            }
            before.push(all);
        }
        before
    }
}

/// Whether two steps are known to touch no file in common.
fn are_apart(one: &PlanStep, other: &PlanStep) -> bool {
    let known = |step: &PlanStep| !step.touches.is_empty() && step.touches.iter().all(|path| is_plain(path));
    let overlap = |path: &String| {
        other
            .touches
            .iter()
            .any(|theirs| covers(path, theirs) || covers(theirs, path))
    };
    known(one) && known(other) && !one.touches.iter().any(overlap)
}

/// Whether a path names one place: no pattern, nothing outside the top level, not everything.
fn is_plain(path: &str) -> bool {
    let path = tidy(path);
    !path.is_empty()
        && !path.starts_with('/')
        && !path.contains(['*', '?', '[', '{', '\\'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Whether `path` is `folder` or lies in it.
fn covers(folder: &str, path: &str) -> bool {
    let (folder, path) = (tidy(folder), tidy(path));
    path.strip_prefix(folder.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Case does not tell files apart everywhere.
fn tidy(path: &str) -> String {
    path.trim_start_matches("./").trim_end_matches('/').to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// A plan of steps `id, touches, needs`; no line where a part is empty.
    fn plan(steps: &[(&str, &str, &str)]) -> Plan {
        let mut text = "## Goal\nx\n## Steps\n".to_owned();
        for (id, touches, needs) in steps {
            let _ = write!(text, "### {id}: Do {id}\n- agent: developer\n");
            for (name, value) in [("touches", touches), ("needs", needs)] {
                if !value.is_empty() {
                    let _ = writeln!(text, "- {name}: {value}");
                }
            }
        }
        Plan::parse(&text, &|_| true).expect("a plan")
    }

    fn needs(plan: &Plan) -> Vec<(String, Vec<String>)> {
        let text = |id: &StepId| id.to_string();
        plan.parts()
            .iter()
            .map(|part| (text(&part.step), part.needs.iter().map(text).collect()))
            .collect()
    }

    fn named(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        list.iter()
            .map(|(id, needs)| {
                (
                    (*id).to_owned(),
                    needs.iter().map(|need| (*need).to_owned()).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn a_plan_whose_steps_do_not_say_what_they_need_is_one_piece_of_work() {
        assert!(plan(&[("a", "a.rs", ""), ("b", "b.rs", "")]).parts().is_empty());
        assert!(
            plan(&[("a", "a.rs", "none"), ("b", "b.rs", "")])
                .parts()
                .is_empty()
        );
        assert!(plan(&[("a", "a.rs", "none")]).parts().is_empty());
    }

    #[test]
    fn steps_on_different_files_are_independent() {
        let two = plan(&[("a", "a.rs", "none"), ("b", "b.rs, c.rs", "none")]);
        assert_eq!(needs(&two), named(&[("a", &[]), ("b", &[])]));
        assert_eq!(two.parts()[1].title, "Do b");
    }

    #[test]
    fn steps_that_touch_the_same_or_unknown_files_come_one_after_the_other() {
        let shared = plan(&[
            ("a", "src/a.rs", "none"),
            ("b", "b.rs", "none"),
            ("c", "./SRC/", "none"),
        ]);
        assert_eq!(needs(&shared), named(&[("a", &[]), ("b", &[]), ("c", &["a"])]));
        let unknown = plan(&[("a", "a.rs", "none"), ("b", "b.rs", "none"), ("c", "", "none")]);
        assert_eq!(
            needs(&unknown),
            named(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])])
        );
        let pattern = plan(&[("a", "a.rs", "none"), ("b", "**/*.md", "none")]);
        assert!(
            pattern.parts().is_empty(),
            "one after the other is one piece of work"
        );
    }

    #[test]
    fn a_step_waits_for_what_it_needs_and_for_nothing_twice() {
        let chain = plan(&[
            ("a", "a.rs", "none"),
            ("b", "b.rs", "a"),
            ("c", "c.rs", "a, b"),
            ("d", "d.rs", "none"),
        ]);
        assert_eq!(
            needs(&chain),
            named(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])])
        );
    }

    #[test]
    fn a_plan_of_too_many_steps_is_one_piece_of_work() {
        let names: Vec<String> = (0..=PARTS_MAX).map(|number| format!("s{number}")).collect();
        let steps: Vec<(&str, &str, &str)> = names
            .iter()
            .map(|name| (name.as_str(), name.as_str(), "none"))
            .collect();
        assert!(plan(&steps).parts().is_empty());
        assert_eq!(plan(&steps[..PARTS_MAX]).parts().len(), PARTS_MAX);
    }
}
