//! Gates at the terminal. What is answered without a person is in one place: [`without_a_person`].

use clode_core::Result;
use clode_core::engine::Engine;
use clode_core::id::PipelineId;
use clode_core::pipeline::{Answer, Gate, GateKind, Machine};
use clode_core::plan::Plan;
use clode_core::redact::neutralise;

use super::desk::Caller;
use super::disk::Consent;
use super::output::Colour;
use super::terminal::Terminal;
use super::{editor, place, render};

/// Which gates are answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approvals {
    /// A person is asked, where there is one.
    Ask,
    /// Plan and patch are approved; a person is asked the rest, where there is one.
    Yes,
    /// None: the run is left at its next gate.
    Leave,
}

/// What is to be done about a gate.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Tell the run.
    Say(Answer),
    /// Apply the patch, then tell what became of it.
    Apply(Consent),
    /// Leave it open.
    Leave,
}

/// Whether the gate was answered before in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    No,
    Yes,
}

/// What is known where a gate is to be answered.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) caller: &'a Caller,
    pub(super) engine: &'a Engine,
    pub(super) run: &'a PipelineId,
    pub(super) machine: &'a Machine,
    pub(super) gate: &'a Gate,
    pub(super) tried: Tried,
}

/// Answers gates.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    pub(super) approvals: Approvals,
    pub(super) terminal: Option<Terminal>,
}

/// The answer where nobody can be asked: plan and patch if they were approved beforehand, no permission,
/// and nothing that costs money.
pub(super) fn without_a_person(approvals: Approvals, kind: GateKind, tried: Tried) -> Decision {
    if approvals != Approvals::Yes {
        return Decision::Leave;
    }
    match kind {
        GateKind::Plan => Decision::Say(yes()),
        GateKind::Patch if tried == Tried::No => Decision::Apply(Consent::Policy),
        GateKind::Permission => Decision::Say(no(Some("nobody could be asked".to_owned()))),
        GateKind::Patch | GateKind::Budget | GateKind::Question | GateKind::Knowledge => Decision::Leave,
    }
}

impl Gatekeeper {
    /// Decides about a gate, with the person's help where there is one.
    pub(super) async fn decide(&mut self, case: &Case<'_>) -> Result<Decision> {
        let beforehand = self.approvals == Approvals::Yes
            && (case.gate.kind == GateKind::Plan
                || (case.gate.kind == GateKind::Patch && case.tried == Tried::No));
        let terminal = self
            .terminal
            .as_mut()
            .filter(|_| self.approvals != Approvals::Leave && !beforehand);
        match terminal {
            Some(terminal) => {
                Person {
                    terminal,
                    case,
                    colour: case.caller.output.note_colour(),
                }
                .ask()
                .await
            }
            None => Ok(without_a_person(self.approvals, case.gate.kind, case.tried)),
        }
    }
}

struct Person<'a> {
    terminal: &'a mut Terminal,
    case: &'a Case<'a>,
    colour: Colour,
}

impl Person<'_> {
    async fn ask(&mut self) -> Result<Decision> {
        self.show(&render::gate(self.case.gate, self.colour));
        let decision = self.answer().await?;
        if decision == Decision::Leave {
            self.show("");
        }
        Ok(decision)
    }

    async fn answer(&mut self) -> Result<Decision> {
        match self.case.gate.kind {
            GateKind::Plan => self.plan().await,
            GateKind::Patch => self.patch().await,
            GateKind::Budget => Ok(self.budget().await),
            GateKind::Permission => Ok(self.permission().await),
            GateKind::Question => Ok(self.question().await),
            GateKind::Knowledge => Ok(self.knowledge().await),
        }
    }

    fn show(&self, text: &str) {
        self.case.caller.output.note(text);
    }

    async fn plan(&mut self) -> Result<Decision> {
        let stored = self
            .case
            .machine
            .plan_draft
            .as_ref()
            .or(self.case.machine.plan.as_ref());
        let mut plan = self.case.engine.text(stored).await?.unwrap_or_default();
        let mut edited = None;
        self.show(&render::markdown(&plan, self.colour));
        loop {
            let answer = self
                .terminal
                .ask("Approve the plan? [y]es, [n]o, [e]dit, [c]omment, [q]uit and decide later: ")
                .await;
            match choice(answer.as_deref()) {
                Some('y') => {
                    return Ok(Decision::Say(Answer {
                        plan: edited,
                        ..yes()
                    }));
                }
                Some('n') => return Ok(Decision::Say(no(None))),
                Some('c') => {
                    if let Some(comment) = self.words("What should be different? ").await {
                        return Ok(Decision::Say(no(Some(comment))));
                    }
                }
                Some('e') => match self.edited(&plan).await {
                    Ok(text) => {
                        self.show(&render::markdown(&text, self.colour));
                        plan.clone_from(&text);
                        edited = Some(text);
                    }
                    Err(error) => self.show(&render::error(&error, self.colour)),
                },
                Some('q') | None => return Ok(Decision::Leave),
                Some(_) => {}
            }
        }
    }

    async fn edited(&self, plan: &str) -> Result<String> {
        let Case {
            caller, engine, run, ..
        } = self.case;
        let text = editor::edit(&caller.environment, &engine.services().state, run, plan).await?;
        Plan::parse(&text, &|agent| clode_core::agent::find(agent).is_some())?;
        Ok(text)
    }

    async fn patch(&mut self) -> Result<Decision> {
        if self.case.tried == Tried::No {
            let patch = self.case.engine.patch(self.case.machine).await?;
            let marked = patch.as_ref().map(super::pipelines::marked).unwrap_or_default();
            self.show(&render::patch(&marked, self.colour));
        }
        let question = match self.case.tried {
            Tried::No => "Apply the patch? [y]es, [n]o, [c]omment, [q]uit and decide later: ",
            Tried::Yes => {
                "Not everything could be applied. Try [a]gain, [r]eject the rest, [c]omment, [q]uit and decide later: "
            }
        };
        loop {
            let answer = self.terminal.ask(question).await;
            match choice(answer.as_deref()) {
                Some('y' | 'a') => return Ok(Decision::Apply(Consent::Person)),
                Some('n' | 'r') => return Ok(Decision::Say(no(None))),
                Some('c') => {
                    if let Some(comment) = self.words("What should be different? ").await {
                        return Ok(Decision::Say(no(Some(comment))));
                    }
                }
                Some('q') | None => return Ok(Decision::Leave),
                Some(_) => {}
            }
        }
    }

    async fn budget(&mut self) -> Decision {
        loop {
            let question = "New limit of this run in US dollars, [t]oday (leave the day's limits aside), [n]o (stop here), [q]uit and decide later: ";
            let answer = self.terminal.ask(question).await;
            match choice(answer.as_deref()) {
                Some('t') => {
                    return Decision::Say(Answer {
                        choice: Some("today".to_owned()),
                        ..yes()
                    });
                }
                Some('n') => return Decision::Say(no(None)),
                Some('q') | None => return Decision::Leave,
                Some(_) => match place::money(answer.as_deref().unwrap_or_default()) {
                    Ok(limit) => {
                        return Decision::Say(Answer {
                            max_cost: Some(limit),
                            ..yes()
                        });
                    }
                    Err(problem) => self.show(&problem),
                },
            }
        }
    }

    async fn permission(&mut self) -> Decision {
        loop {
            let answer = self
                .terminal
                .ask("Allow it? [o]nce, for this [t]ask, [d]eny, [q]uit and decide later: ")
                .await;
            match choice(answer.as_deref()) {
                Some('o') => {
                    return Decision::Say(Answer {
                        choice: Some("once".to_owned()),
                        ..yes()
                    });
                }
                Some('t') => {
                    return Decision::Say(Answer {
                        choice: Some("task".to_owned()),
                        ..yes()
                    });
                }
                Some('d' | 'n') => return Decision::Say(no(None)),
                Some('q') | None => return Decision::Leave,
                Some(_) => {}
            }
        }
    }

    async fn question(&mut self) -> Decision {
        match self
            .terminal
            .ask("Your answer (empty: the agent decides): ")
            .await
        {
            None => Decision::Leave,
            Some(text) if text.is_empty() => Decision::Say(no(None)),
            Some(text) => Decision::Say(Answer {
                comment: Some(text),
                ..yes()
            }),
        }
    }

    async fn knowledge(&mut self) -> Decision {
        for entry in self.case.gate.entries.iter().flatten() {
            self.show(&format!(
                "  - {} ({})",
                neutralise(&entry.claim),
                neutralise(&entry.scope)
            ));
        }
        loop {
            let answer = self
                .terminal
                .ask("Keep it for later tasks? [y]es, [n]o, [q]uit and decide later: ")
                .await;
            match choice(answer.as_deref()) {
                Some('y') => return Decision::Say(yes()),
                Some('n') => return Decision::Say(no(None)),
                Some('q') | None => return Decision::Leave,
                Some(_) => {}
            }
        }
    }

    async fn words(&mut self, prompt: &str) -> Option<String> {
        self.terminal.ask(prompt).await.filter(|words| !words.is_empty())
    }
}

/// The letter that a person chose; a blank line is another one.
fn choice(answer: Option<&str>) -> Option<char> {
    answer.map(|answer| {
        answer
            .chars()
            .next()
            .map_or(' ', |first| first.to_ascii_lowercase())
    })
}

fn yes() -> Answer {
    Answer {
        approved: true,
        ..Answer::default()
    }
}

fn no(comment: Option<String>) -> Answer {
    Answer {
        comment,
        ..Answer::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_answered_where_nobody_can_be_asked_and_nobody_said_yes_beforehand() {
        for approvals in [Approvals::Ask, Approvals::Leave] {
            for kind in GateKind::ALL {
                assert_eq!(
                    without_a_person(approvals, kind, Tried::No),
                    Decision::Leave,
                    "{approvals:?} {kind:?}"
                );
            }
        }
    }

    #[test]
    fn a_yes_beforehand_covers_plan_and_patch_and_never_money_or_permission() {
        let answer = |kind| without_a_person(Approvals::Yes, kind, Tried::No);
        assert_eq!(answer(GateKind::Plan), Decision::Say(yes()));
        assert_eq!(answer(GateKind::Patch), Decision::Apply(Consent::Policy));
        assert!(matches!(
            answer(GateKind::Permission),
            Decision::Say(Answer { approved: false, .. })
        ));
        for kind in [GateKind::Budget, GateKind::Question, GateKind::Knowledge] {
            assert_eq!(answer(kind), Decision::Leave, "{kind:?}");
        }
    }

    #[test]
    fn a_patch_that_did_not_go_in_is_not_tried_for_ever() {
        assert_eq!(
            without_a_person(Approvals::Yes, GateKind::Patch, Tried::Yes),
            Decision::Leave
        );
    }
}
