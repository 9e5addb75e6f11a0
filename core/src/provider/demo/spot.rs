//! Finds what there is to do in a file: a function that was left empty, a TODO, a public item
//! without documentation; and says for each which lines would change to what.

use super::body::{Implementation, implement, names_of};
use super::briefing::Briefing;
use super::change::Change;
use super::comment::{is_placeholder, todo_in};
use super::language::{Bodies, Docs, Language, Signature};

/// Longest function body that is looked at (lines).
const BODY_LINES_MAX: usize = 40;
/// Longest file that is looked at (lines).
const LINES_MAX: usize = 20_000;
/// Longest text of the task in a note (characters).
const NOTE_CHARS_MAX: usize = 120;
const SIGNED: &str = "clode-ls demo";

/// What kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A function that waits for an implementation which its name makes obvious.
    Stub,
    /// A TODO or FIXME in a comment.
    Todo,
    /// A public item without documentation.
    Undocumented,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) what: What,
    /// From 0.
    pub(super) line: usize,
    /// The item that it belongs to, if known.
    pub(super) name: String,
    /// As the title of a step.
    pub(super) title: String,
    /// As a report: "Implemented …".
    pub(super) done: String,
    pub(super) change: Change,
}

/// What the task is about, else what is nearest to where it began, else the first.
pub(super) fn choose<'a>(spots: &'a [Spot], hint: Option<usize>, briefing: &Briefing) -> Option<&'a Spot> {
    let open = |spot: &&Spot| spot.what != What::Undocumented;
    let mentioned = spots
        .iter()
        .find(|spot| !spot.name.is_empty() && briefing.mentions(&spot.name));
    let nearest = || {
        let hint = hint?;
        let distance = |spot: &&Spot| spot.line.abs_diff(hint.saturating_sub(1));
        spots
            .iter()
            .filter(open)
            .min_by_key(distance)
            .or_else(|| spots.iter().min_by_key(distance))
    };
    mentioned
        .or_else(nearest)
        .or_else(|| spots.iter().find(open))
        .or_else(|| spots.first())
}

/// A comment about the task at the line where it began (from 1), else at the top; none when it is
/// there already.
pub(super) fn note(path: &str, text: &str, line: Option<usize>, title: &str) -> Option<Spot> {
    let language = Language::of(path)?;
    let lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    let first = usize::from(lines.first().is_some_and(|line| line.starts_with("#!")));
    let at = line
        .map_or(first, |line| line.saturating_sub(1))
        .max(first)
        .min(lines.len().saturating_sub(1));
    let anchor = lines.get(at).copied().unwrap_or_default();
    let (open, close) = match language.comments.first().copied().unwrap_or("#") {
        "<!--" => ("<!--", " -->"),
        mark => (mark, ""),
    };
    let title: String = title
        .replace("*/", "")
        .replace("-->", "")
        .chars()
        .filter(|c| !c.is_control())
        .take(NOTE_CHARS_MAX)
        .collect();
    let note = format!(
        "{}{open} The {SIGNED} was asked here: {}{close}",
        indent(anchor),
        title.trim()
    );
    let is_there = lines.iter().any(|line| line.trim() == note.trim());
    (!is_there).then(|| Spot {
        what: What::Todo,
        line: at,
        name: String::new(),
        title: "Leave a note about the task".to_owned(),
        done: "Left a note about the task".to_owned(),
        change: Change {
            start: at,
            end: at + 1,
            lines: vec![note, anchor.to_owned()],
        },
    })
}

/// Everything there is to do in this text, in the order of its lines.
pub(super) fn find(path: &str, text: &str) -> Vec<Spot> {
    let Some(language) = Language::of(path) else {
        return Vec::new();
    };
    let lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    let file = File {
        language,
        lines: &lines,
    };
    let mut spots = Vec::new();
    let mut taken_until = 0;
    for line in 0..lines.len() {
        if line < taken_until {
            continue;
        }
        let spot = file
            .stub(line)
            .or_else(|| file.todo(line))
            .or_else(|| file.undocumented(line));
        if let Some(spot) = spot {
            taken_until = spot.change.end.max(line + 1);
            spots.push(spot);
        }
    }
    spots
}

struct File<'a> {
    language: &'static Language,
    lines: &'a [&'a str],
}

enum Body {
    /// Byte range in the line of the signature.
    Inline(usize, usize),
    /// Lines, the end exclusive.
    Lines(usize, usize),
}

impl File<'_> {
    fn line(&self, at: usize) -> &str {
        self.lines.get(at).copied().unwrap_or_default()
    }

    fn stub(&self, at: usize) -> Option<Spot> {
        // A TODO right above a function belongs to it.
        let has_todo_above = self.is_comment(at) && todo_in(self.language, self.line(at)).is_some();
        let start = at;
        let at = if has_todo_above {
            self.skip_attributes(at + 1)
        } else {
            at
        };
        let line = self.line(at);
        let signature = self.language.signature(line)?;
        let implementation = implement(self.language, &signature, line)?;
        let mut lines = Vec::new();
        if has_todo_above {
            if !self.has_docs(start) && self.language.docs != Docs::StringInside {
                lines.extend(docs(self.language, indent(line), &implementation.does));
            }
            lines.extend((start + 1..at).map(|between| self.line(between).to_owned()));
        }
        let end = self.write_body(at, has_todo_above, &implementation, &mut lines)?;
        Some(Spot {
            what: What::Stub,
            line: at,
            title: format!("Implement `{}`", signature.name),
            done: format!("Implemented `{}`: {}", signature.name, implementation.does),
            name: signature.name,
            change: Change { start, end, lines },
        })
    }

    /// The function with its new body, if the old one is none; the line after it.
    fn write_body(
        &self,
        at: usize,
        has_todo: bool,
        implementation: &Implementation,
        lines: &mut Vec<String>,
    ) -> Option<usize> {
        let line = self.line(at);
        match self.body(at)? {
            Body::Inline(from, to) => {
                let (code, comment_has_todo) = self.without_comment(line.get(from..to)?);
                let has_todo = has_todo || comment_has_todo;
                is_placeholder(&code, has_todo).then_some(())?;
                lines.push(
                    format!(
                        "{} {} {}",
                        line.get(..from)?,
                        implementation.lines.join(" "),
                        line.get(to..)?
                    )
                    .trim_end()
                    .to_owned(),
                );
                Some(at + 1)
            }
            Body::Lines(from, to) => {
                let from = from + self.docstring_length(from, to);
                let mut has_todo = has_todo;
                let mut code = Vec::new();
                for inner in from..to {
                    let (text, comment_has_todo) = self.without_comment(self.line(inner));
                    has_todo |= comment_has_todo;
                    code.extend((!text.is_empty()).then_some(text));
                }
                let is_empty = code.is_empty() && has_todo && self.language.bodies != Bodies::Indentation;
                (is_empty || (!code.is_empty() && code.iter().all(|text| is_placeholder(text, has_todo))))
                    .then_some(())?;
                let inside = (from..to)
                    .map(|inner| self.line(inner))
                    .find(|text| !text.trim().is_empty())
                    .map_or("    ", indent);
                lines.extend((at..from).map(|kept| self.line(kept).to_owned()));
                lines.extend(implementation.lines.iter().map(|text| format!("{inside}{text}")));
                Some(to)
            }
        }
    }

    fn body(&self, at: usize) -> Option<Body> {
        let line = self.line(at);
        let after_parameters = line
            .find(')')
            .or_else(|| (self.language.bodies == Bodies::EndWord).then_some(line.len()))?;
        match self.language.bodies {
            Bodies::None => None,
            Bodies::Braces => {
                let open = after_parameters + line.get(after_parameters..)?.find('{')?;
                if line.trim_end().ends_with('}') {
                    return Some(Body::Inline(open + 1, line.rfind('}')?));
                }
                let mut depth = 0_i32;
                for inner in at..self.lines.len().min(at + BODY_LINES_MAX) {
                    let (code, _) = self.without_comment(self.line(inner));
                    depth += count(&code, '{') - count(&code, '}');
                    if depth == 0 {
                        return Some(Body::Lines(at + 1, inner));
                    }
                }
                None
            }
            Bodies::Indentation => {
                let trimmed = line.trim_end();
                if !trimmed.ends_with(':') {
                    let colon = trimmed
                        .rfind("): ")
                        .map(|found| found + 2)
                        .or_else(|| trimmed.rfind(": ").map(|found| found + 1))?;
                    return Some(Body::Inline(colon, trimmed.len()));
                }
                let inside = |text: &str| text.trim().is_empty() || indent(text).len() > indent(line).len();
                let mut end = (at + 1..self.lines.len())
                    .find(|&inner| !inside(self.line(inner)))
                    .unwrap_or(self.lines.len());
                while end > at + 1 && self.line(end - 1).trim().is_empty() {
                    end -= 1;
                }
                (end > at + 1).then_some(Body::Lines(at + 1, end))
            }
            Bodies::EndWord => {
                let is_end = |inner: &usize| {
                    self.line(*inner).trim() == "end" && indent(self.line(*inner)) == indent(line)
                };
                let end = (at + 1..self.lines.len().min(at + BODY_LINES_MAX)).find(is_end)?;
                Some(Body::Lines(at + 1, end))
            }
        }
    }

    fn docstring_length(&self, from: usize, to: usize) -> usize {
        if self.language.docs != Docs::StringInside {
            return 0;
        }
        let first = self.line(from).trim();
        let Some(mark) = ["\"\"\"", "'''"].into_iter().find(|mark| first.starts_with(mark)) else {
            return 0;
        };
        if first.len() > mark.len() && first.ends_with(mark) {
            return 1;
        }
        (from + 1..to)
            .find(|&inner| self.line(inner).contains(mark))
            .map_or(0, |last| last + 1 - from)
    }

    fn todo(&self, at: usize) -> Option<Spot> {
        let line = self.line(at);
        let (before, text, closing) = todo_in(self.language, line)?;
        let name = (0..=at)
            .rev()
            .find_map(|above| self.language.signature(self.line(above)))
            .map(|signature| signature.name);
        let lowered = text.to_ascii_lowercase();
        if self.is_comment(at)
            && ["document", "doc ", "add doc", "write doc"]
                .iter()
                .any(|word| lowered.starts_with(word))
        {
            let item = self.skip_attributes(at + 1);
            if let Some(spot) = self.undocumented(item) {
                let mut lines: Vec<String> = spot.change.lines.clone();
                if spot.change.start > at + 1 {
                    lines.splice(
                        0..0,
                        (at + 1..spot.change.start).map(|between| self.line(between).to_owned()),
                    );
                }
                return Some(Spot {
                    what: What::Todo,
                    line: at,
                    change: Change {
                        start: at,
                        end: spot.change.end,
                        lines,
                    },
                    ..spot
                });
            }
        }
        let note = if text.is_empty() {
            format!("Noted by the {SIGNED}, which wrote no code for it.")
        } else {
            format!("Noted by the {SIGNED}, which wrote no code for it: {text}")
        };
        let shown = if text.is_empty() {
            "the open TODO".to_owned()
        } else {
            format!("the TODO \"{text}\"")
        };
        Some(Spot {
            what: What::Todo,
            line: at,
            name: name.unwrap_or_default(),
            title: format!("Settle {shown}"),
            done: format!(
                "Replaced {shown} by a note, since the demo writes only functions whose name says it all"
            ),
            change: Change {
                start: at,
                end: at + 1,
                lines: vec![format!("{before}{note}{closing}")],
            },
        })
    }

    fn undocumented(&self, at: usize) -> Option<Spot> {
        let line = self.line(at);
        let signature = self.language.signature(line);
        let name = signature
            .as_ref()
            .map(|signature| signature.name.clone())
            .or_else(|| self.language.item(line))?;
        let is_test = name.starts_with("test") || name.starts_with("Test");
        if is_test
            || !self.language.is_public(line, &name)
            || self.language.docs == Docs::Nowhere
            || self.has_docs(at)
        {
            return None;
        }
        let written = docs(self.language, indent(line), &sentence(&name, signature.as_ref()));
        let change = if self.language.docs == Docs::StringInside {
            if !line.trim_end().ends_with(':') {
                return None;
            }
            Change {
                start: at,
                end: at + 1,
                lines: std::iter::once(line.to_owned()).chain(written).collect(),
            }
        } else {
            let above = self.first_attribute(at);
            let kept = (above..=at).map(|kept| self.line(kept).to_owned());
            Change {
                start: above,
                end: at + 1,
                lines: written.into_iter().chain(kept).collect(),
            }
        };
        let (title, done) = (format!("Document `{name}`"), format!("Documented `{name}`"));
        Some(Spot {
            what: What::Undocumented,
            line: at,
            name,
            title,
            done,
            change,
        })
    }

    fn has_docs(&self, at: usize) -> bool {
        if self.language.docs == Docs::StringInside {
            let inside = (at + 1..self.lines.len())
                .map(|inner| self.line(inner).trim())
                .find(|text| !text.is_empty());
            return inside.is_some_and(|text| text.starts_with(['"', '\'']) || text.starts_with("r\""));
        }
        let Some(above) = self.first_attribute(at).checked_sub(1) else {
            return false;
        };
        let text = self.line(above).trim();
        if todo_in(self.language, text).is_some() {
            return false;
        }
        match self.language.docs {
            Docs::LinesBefore(prefix) => {
                text.starts_with(prefix) && !text.starts_with("#!") || text.ends_with("*/")
            }
            _ => text.ends_with("*/") || text.starts_with("///"),
        }
    }

    fn is_attribute(&self, at: usize) -> bool {
        let text = self.line(at).trim_start();
        text.starts_with("#[") || text.starts_with('@')
    }

    fn first_attribute(&self, at: usize) -> usize {
        (0..at)
            .rev()
            .take_while(|&above| self.is_attribute(above))
            .last()
            .unwrap_or(at)
    }

    fn skip_attributes(&self, at: usize) -> usize {
        (at..self.lines.len())
            .find(|&below| !self.is_attribute(below))
            .unwrap_or(at)
    }

    fn is_comment(&self, at: usize) -> bool {
        let text = self.line(at).trim_start();
        self.language.comments.iter().any(|mark| text.starts_with(mark))
    }

    /// The code of a line, and whether its comment holds a TODO.
    fn without_comment(&self, line: &str) -> (String, bool) {
        let has_todo = todo_in(self.language, line).is_some();
        let marks = self.language.comments.iter().filter(|mark| **mark != "*");
        let cut = marks
            .filter_map(|mark| line.find(mark))
            .min()
            .unwrap_or(line.len());
        let is_inside_block = line.trim_start().starts_with('*') && self.language.comments.contains(&"*");
        let code = if is_inside_block {
            ""
        } else {
            line.get(..cut).unwrap_or_default()
        };
        (code.trim().trim_end_matches(';').trim().to_owned(), has_todo)
    }
}

fn count(text: &str, wanted: char) -> i32 {
    i32::try_from(text.matches(wanted).count()).unwrap_or(0)
}

fn indent(line: &str) -> &str {
    line.get(..line.len() - line.trim_start().len())
        .unwrap_or_default()
}

fn sentence(name: &str, signature: Option<&Signature>) -> String {
    match signature {
        Some(signature) if !signature.parameters.is_empty() => {
            format!(
                "`{name}` takes {} (described from its signature by the {SIGNED}).",
                names_of(&signature.parameters)
            )
        }
        Some(_) => format!("`{name}` takes nothing (described from its signature by the {SIGNED})."),
        None => format!("`{name}` (named here by the {SIGNED}, which knows no more of it)."),
    }
}

fn docs(language: &Language, indent: &str, sentence: &str) -> Vec<String> {
    match language.docs {
        Docs::LinesBefore(prefix) => vec![format!("{indent}{prefix} {sentence}")],
        Docs::BlockBefore => vec![format!("{indent}/** {sentence} */")],
        Docs::StringInside => vec![format!("{indent}    \"\"\"{sentence}\"\"\"")],
        Docs::Nowhere => Vec::new(),
    }
}
