//! What the demonstration knows of languages: how they comment, document and define.

use std::sync::LazyLock;

use regex::Regex;

/// Where the text about an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Docs {
    /// Lines before it, each with this prefix.
    LinesBefore(&'static str),
    /// A `/** … */` before it.
    BlockBefore,
    /// A string right inside it.
    StringInside,
    /// Nowhere.
    Nowhere,
}

/// How the body of a function ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bodies {
    /// With its brace.
    Braces,
    /// With its indentation.
    Indentation,
    /// With `end`.
    EndWord,
    /// There are none.
    None,
}

/// The name of a language, for the small differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Go,
    Java,
    C,
    Ruby,
    Lua,
    Shell,
    Markdown,
}

/// A language.
#[derive(Debug)]
pub(super) struct Language {
    pub(super) name: Name,
    extensions: &'static [&'static str],
    /// What a comment may begin with; the first is for a line of its own.
    pub(super) comments: &'static [&'static str],
    pub(super) docs: Docs,
    pub(super) bodies: Bodies,
    function: &'static str,
    item: &'static str,
}

const C_COMMENTS: &[&str] = &["//", "/*", "*"];
const SCRIPT_FUNCTION: &str = r"^\s*(?:export\s+)?(?:default\s+)?(?:async\s+)?(?:function\s+(\w+)\s*(?:<[^>]*>)?\s*\(([^)]*)\)|const\s+(\w+)\s*=\s*\(([^)]*)\)\s*(?::[^=]+)?=>\s*\{)";
const SCRIPT_ITEM: &str = r"^export\s+(?:default\s+)?(?:abstract\s+)?(?:class|interface|enum|type)\s+(\w+)";

#[rustfmt::skip]
static LANGUAGES: &[Language] = &[
    Language { name: Name::Rust, extensions: &["rs"], comments: &["//"], docs: Docs::LinesBefore("///"), bodies: Bodies::Braces,
        function: r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:(?:const|async|unsafe)\s+)*fn\s+(\w+)(?:<[^>]*>)?\s*\(([^)]*)\)",
        item: r"^\s*pub\s+(?:struct|enum|trait|mod|type|const|static)\s+(\w+)" },
    Language { name: Name::Python, extensions: &["py"], comments: &["#"], docs: Docs::StringInside, bodies: Bodies::Indentation,
        function: r"^\s*(?:async\s+)?def\s+(\w+)\s*\(([^)]*)\)", item: r"^class\s+(\w+)" },
    Language { name: Name::JavaScript, extensions: &["js", "jsx", "mjs", "cjs"], comments: C_COMMENTS, docs: Docs::BlockBefore, bodies: Bodies::Braces,
        function: SCRIPT_FUNCTION, item: SCRIPT_ITEM },
    Language { name: Name::TypeScript, extensions: &["ts", "tsx", "mts"], comments: C_COMMENTS, docs: Docs::BlockBefore, bodies: Bodies::Braces,
        function: SCRIPT_FUNCTION, item: SCRIPT_ITEM },
    Language { name: Name::Go, extensions: &["go"], comments: C_COMMENTS, docs: Docs::LinesBefore("//"), bodies: Bodies::Braces,
        function: r"^func\s+(?:\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)", item: r"^type\s+([A-Z]\w*)\s" },
    Language { name: Name::Java, extensions: &["java"], comments: C_COMMENTS, docs: Docs::BlockBefore, bodies: Bodies::Braces,
        function: r"^\s*(?:(?:public|protected|private|static|final)\s+)+[\w<>\[\]]+\s+(\w+)\s*\(([^)]*)\)",
        item: r"^\s*public\s+(?:final\s+|abstract\s+)*(?:class|interface|enum|record)\s+(\w+)" },
    Language { name: Name::C, extensions: &["c", "h", "cc", "cpp", "cxx", "hpp"], comments: C_COMMENTS, docs: Docs::BlockBefore, bodies: Bodies::Braces,
        function: r"^(?:[A-Za-z_][\w:<>]*[\s*&]+)+(\w+)\s*\(([^)]*)\)\s*(?:const\s*)?\{", item: r"^(?:struct|class|enum)\s+(\w+)\s*\{" },
    Language { name: Name::Ruby, extensions: &["rb"], comments: &["#"], docs: Docs::LinesBefore("#"), bodies: Bodies::EndWord,
        function: r"^\s*def\s+(?:self\.)?(\w+[?!]?)\s*(?:\(([^)]*)\))?", item: r"^\s*(?:class|module)\s+(\w+)" },
    Language { name: Name::Lua, extensions: &["lua"], comments: &["--"], docs: Docs::LinesBefore("---"), bodies: Bodies::EndWord,
        function: r"^\s*(?:local\s+)?function\s+(?:\w+[.:])*(\w+)\s*\(([^)]*)\)", item: "" },
    Language { name: Name::Shell, extensions: &["sh", "bash"], comments: &["#"], docs: Docs::LinesBefore("#"), bodies: Bodies::Braces,
        function: r"^(?:function\s+)?(\w+)\s*\(()\)\s*\{", item: "" },
    Language { name: Name::Markdown, extensions: &["md", "markdown"], comments: &["<!--", "TODO", "FIXME"], docs: Docs::Nowhere, bodies: Bodies::None,
        function: "", item: "" },
];

struct Patterns {
    function: Option<Regex>,
    item: Option<Regex>,
}

static PATTERNS: LazyLock<Vec<Patterns>> = LazyLock::new(|| {
    let compile = |text: &str| {
        if text.is_empty() {
            None
        } else {
            Regex::new(text).ok()
        }
    };
    LANGUAGES
        .iter()
        .map(|language| Patterns {
            function: compile(language.function),
            item: compile(language.item),
        })
        .collect()
});

/// The line that begins a function.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) name: String,
    pub(super) parameters: Vec<Parameter>,
}

/// One parameter: its name, and everything that was written about it.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) written: String,
}

impl Language {
    /// By the extension of this path.
    pub(super) fn of(path: &str) -> Option<&'static Self> {
        let (_, extension) = path.rsplit_once('.')?;
        LANGUAGES
            .iter()
            .find(|language| language.extensions.contains(&extension))
    }

    fn patterns(&self) -> Option<&'static Patterns> {
        let place = LANGUAGES.iter().position(|language| language.name == self.name)?;
        PATTERNS.get(place)
    }

    /// The function that begins on this line.
    pub(super) fn signature(&self, line: &str) -> Option<Signature> {
        const NOT_FUNCTIONS: &[&str] = &[
            "if", "for", "while", "switch", "catch", "return", "sizeof", "else",
        ];
        let captures = self.patterns()?.function.as_ref()?.captures(line)?;
        let name = captures.get(1).or_else(|| captures.get(3))?.as_str().to_owned();
        if NOT_FUNCTIONS.contains(&name.as_str()) || line.trim_start().starts_with("return ") {
            return None;
        }
        let written = captures
            .get(2)
            .or_else(|| captures.get(4))
            .map_or("", |found| found.as_str());
        let parameters = written
            .split(',')
            .filter_map(|part| self.parameter(part))
            .collect();
        Some(Signature { name, parameters })
    }

    /// The name of another thing that may be documented and begins on this line.
    pub(super) fn item(&self, line: &str) -> Option<String> {
        Some(
            self.patterns()?
                .item
                .as_ref()?
                .captures(line)?
                .get(1)?
                .as_str()
                .to_owned(),
        )
    }

    fn parameter(&self, written: &str) -> Option<Parameter> {
        let written = written.trim();
        let name = match self.name {
            Name::Java | Name::C => written
                .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
                .next()?,
            Name::Go => written.split_whitespace().next()?,
            _ => written
                .split([':', '=', '?'])
                .next()?
                .trim()
                .trim_start_matches("mut "),
        };
        let is_receiver = matches!(
            name.trim_start_matches(['&', '*']),
            "self" | "mut self" | "cls" | "void" | ""
        );
        let is_plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        (!is_receiver && is_plain).then(|| Parameter {
            name: name.to_owned(),
            written: written.to_owned(),
        })
    }

    /// Whether others may use what begins on this line.
    pub(super) fn is_public(&self, line: &str, name: &str) -> bool {
        let line = line.trim_start();
        match self.name {
            Name::Rust => line.starts_with("pub "),
            Name::Python => !name.starts_with('_'),
            Name::JavaScript | Name::TypeScript => line.starts_with("export "),
            Name::Go => name.starts_with(|c: char| c.is_ascii_uppercase()),
            Name::Java => line.starts_with("public "),
            Name::C => !line.starts_with("static ") && name != "main",
            Name::Ruby => name != "initialize",
            Name::Lua => !line.starts_with("local "),
            Name::Shell => true,
            Name::Markdown => false,
        }
    }
}
