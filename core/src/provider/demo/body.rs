//! The few functions that the demonstration can really write: those whose name says it all.

use super::language::{Language, Name, Parameter, Signature};

/// What a function does, for its documentation, and the lines of its body without indentation.
pub(super) struct Implementation {
    pub(super) does: String,
    pub(super) lines: Vec<String>,
}

/// The implementation that the name of a function makes obvious.
pub(super) fn implement(language: &Language, signature: &Signature, line: &str) -> Option<Implementation> {
    if language.name == Name::Markdown {
        return None;
    }
    let name = signature
        .name
        .trim_end_matches(['?', '!'])
        .replace('_', "")
        .to_ascii_lowercase();
    if language.name == Name::Shell {
        return shell(&name);
    }
    let parameters = &signature.parameters;
    let names: Vec<&str> = parameters
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    let (does, expression) = match (name.as_str(), names.as_slice()) {
        ("add" | "sum", [_, _, ..]) => (format!("Adds {}.", listed(&names)), names.join(" + ")),
        ("subtract" | "sub" | "difference", [a, b]) => {
            (format!("Subtracts `{b}` from `{a}`."), format!("{a} - {b}"))
        }
        ("multiply" | "mul" | "product", [_, _, ..]) => {
            (format!("Multiplies {}.", listed(&names)), names.join(" * "))
        }
        ("square", [n]) => (format!("The square of `{n}`."), format!("{n} * {n}")),
        ("double", [n]) => (format!("Twice `{n}`."), format!("{n} * 2")),
        ("iseven", [n]) => (format!("Whether `{n}` is even."), parity(language.name, n, 0)),
        ("isodd", [n]) => (format!("Whether `{n}` is odd."), parity(language.name, n, 1)),
        ("max" | "maximum", [a, b]) => (
            format!("The larger of `{a}` and `{b}`."),
            extreme(language.name, a, b, Extreme::Larger),
        ),
        ("min" | "minimum", [a, b]) => (
            format!("The smaller of `{a}` and `{b}`."),
            extreme(language.name, a, b, Extreme::Smaller),
        ),
        ("sum" | "total", [values]) => (format!("The sum of `{values}`."), sum(language.name, values)?),
        ("greet" | "greeting" | "hello", [who]) => {
            (format!("Greets `{who}`."), greeting(language.name, who)?)
        }
        ("reverse" | "reversed", [text]) => (
            format!("`{text}` in reverse order."),
            reverse(language.name, parameters.first()?, line)?,
        ),
        _ => return None,
    };
    Some(Implementation {
        does,
        lines: vec![returned(language.name, &expression)],
    })
}

/// Functions of a shell name no parameters.
fn shell(name: &str) -> Option<Implementation> {
    let (does, line) = match name {
        "add" | "sum" => ("Adds its two arguments.", r#"echo "$(($1 + $2))""#),
        "greet" | "greeting" | "hello" => ("Greets its argument.", r#"echo "Hello, $1!""#),
        _ => return None,
    };
    Some(Implementation {
        does: does.to_owned(),
        lines: vec![line.to_owned()],
    })
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and `{last}`", first.join(", "))
        }
    }
}

/// Names for a sentence.
pub(super) fn names_of(parameters: &[Parameter]) -> String {
    listed(
        &parameters
            .iter()
            .map(|parameter| parameter.name.as_str())
            .collect::<Vec<_>>(),
    )
}

fn returned(language: Name, expression: &str) -> String {
    match language {
        Name::Rust | Name::Ruby => expression.to_owned(),
        Name::Python | Name::Go | Name::Lua => format!("return {expression}"),
        _ => format!("return {expression};"),
    }
}

fn parity(language: Name, number: &str, remainder: u8) -> String {
    match (language, remainder) {
        (Name::JavaScript | Name::TypeScript, 0) => format!("{number} % 2 === 0"),
        (Name::JavaScript | Name::TypeScript, _) => format!("{number} % 2 !== 0"),
        (Name::Lua, 0) => format!("{number} % 2 == 0"),
        (Name::Lua, _) => format!("{number} % 2 ~= 0"),
        (_, 0) => format!("{number} % 2 == 0"),
        (_, _) => format!("{number} % 2 != 0"),
    }
}

#[derive(Clone, Copy)]
enum Extreme {
    Larger,
    Smaller,
}

fn extreme(language: Name, a: &str, b: &str, which: Extreme) -> String {
    let (word, sign) = match which {
        Extreme::Larger => ("max", ">"),
        Extreme::Smaller => ("min", "<"),
    };
    match language {
        Name::Rust => format!("{a}.{word}({b})"),
        Name::JavaScript | Name::TypeScript | Name::Java => format!("Math.{word}({a}, {b})"),
        Name::Ruby => format!("[{a}, {b}].{word}"),
        Name::Lua => format!("math.{word}({a}, {b})"),
        Name::C => format!("{a} {sign} {b} ? {a} : {b}"),
        _ => format!("{word}({a}, {b})"),
    }
}

fn sum(language: Name, values: &str) -> Option<String> {
    match language {
        Name::Rust => Some(format!("{values}.iter().sum()")),
        Name::Python => Some(format!("sum({values})")),
        Name::JavaScript | Name::TypeScript => {
            Some(format!("{values}.reduce((total, value) => total + value, 0)"))
        }
        Name::Ruby => Some(format!("{values}.sum")),
        _ => None,
    }
}

fn greeting(language: Name, who: &str) -> Option<String> {
    match language {
        Name::Rust => Some(format!("format!(\"Hello, {{{who}}}!\")")),
        Name::Python => Some(format!("f\"Hello, {{{who}}}!\"")),
        Name::JavaScript | Name::TypeScript => Some(format!("`Hello, ${{{who}}}!`")),
        Name::Go | Name::Java => Some(format!("\"Hello, \" + {who} + \"!\"")),
        Name::Ruby => Some(format!("\"Hello, #{{{who}}}!\"")),
        Name::Lua => Some(format!("\"Hello, \" .. {who} .. \"!\"")),
        _ => None,
    }
}

fn reverse(language: Name, parameter: &Parameter, line: &str) -> Option<String> {
    let text = &parameter.name;
    let is_list = parameter.written.contains('[')
        || parameter.written.contains("Array<")
        || parameter.written.contains("Vec<");
    match language {
        Name::Rust if is_list && line.contains("Vec<") => {
            Some(format!("{text}.iter().rev().cloned().collect()"))
        }
        Name::Rust if parameter.written.contains("str") || parameter.written.contains("String") => {
            Some(format!("{text}.chars().rev().collect()"))
        }
        Name::Python => Some(format!("{text}[::-1]")),
        Name::JavaScript | Name::TypeScript if is_list => Some(format!("[...{text}].reverse()")),
        Name::JavaScript | Name::TypeScript => Some(format!("[...{text}].reverse().join(\"\")")),
        Name::Java if parameter.written.contains("String") => {
            Some(format!("new StringBuilder({text}).reverse().toString()"))
        }
        Name::Ruby => Some(format!("{text}.reverse")),
        Name::Lua => Some(format!("string.reverse({text})")),
        _ => None,
    }
}
