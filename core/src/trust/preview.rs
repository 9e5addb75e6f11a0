//! Text of a repository, made harmless to look at.

/// Most lines of a preview.
const LINES_MAX: usize = 20;
/// Most characters of one line.
const LINE_CHARS_MAX: usize = 160;

/// The beginning of a text as a person may see it: what cannot be seen or changes how the rest is
/// seen (control, direction, joining and tag characters) is shown as its number.
pub(crate) fn preview(text: &str) -> String {
    let total = text.lines().count();
    let mut lines: Vec<String> = text.lines().take(LINES_MAX).map(neutral_line).collect();
    if total > LINES_MAX {
        lines.push(format!(
            "… and {} more lines: read the whole file before you trust it",
            total - LINES_MAX
        ));
    }
    lines.join("\n")
}

/// One line of such a text, uncut: for paths and names.
pub fn neutral(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_unseen(c) {
                format!("\\u{{{:x}}}", u32::from(c))
            } else {
                c.to_string()
            }
        })
        .collect()
}

fn neutral_line(line: &str) -> String {
    let cut: String = line
        .chars()
        .take(LINE_CHARS_MAX)
        .map(|c| if c == '\t' { ' ' } else { c })
        .collect();
    let rest = line.chars().count().saturating_sub(LINE_CHARS_MAX);
    let shown = neutral(&cut);
    if rest == 0 {
        shown
    } else {
        format!("{shown} … ({rest} more characters)")
    }
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
