//! The buffers of an editor and what may be done to them, by a person or by an edit of the server.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;

use serde_json::{Value, json};
use url::Url;

use crate::lsp_client::Voice;

/// All that are open.
#[derive(Debug)]
pub(super) struct Buffers {
    voice: Voice,
    open: BTreeMap<Url, Buffer>,
}

#[derive(Debug)]
struct Buffer {
    text: String,
    version: i64,
}

impl Buffers {
    pub(super) fn new(voice: Voice) -> Self {
        Self {
            voice,
            open: BTreeMap::new(),
        }
    }

    pub(super) fn open(&mut self, uri: &Url) {
        if self.open.contains_key(uri) {
            return;
        }
        let text = fs::read_to_string(path_of(uri)).unwrap_or_default();
        let language = match uri.path().rsplit_once('.') {
            Some((_, "py")) => "python",
            Some((_, "rs")) => "rust",
            Some((_, "md")) => "markdown",
            Some((_, "yaml")) => "yaml",
            _ => "plaintext",
        };
        self.voice.notify(
            "textDocument/didOpen",
            &json!({ "textDocument": { "uri": uri, "languageId": language, "version": 1, "text": text } }),
        );
        self.open.insert(uri.clone(), Buffer { text, version: 1 });
    }

    pub(super) fn close(&mut self, uri: &Url) {
        if self.open.remove(uri).is_some() {
            self.voice.notify(
                "textDocument/didClose",
                &json!({ "textDocument": { "uri": uri } }),
            );
        }
    }

    pub(super) fn text(&self, uri: &Url) -> String {
        let buffer = self.open.get(uri);
        buffer.map_or_else(|| format!("<{uri} is not open>"), |buffer| buffer.text.clone())
    }

    pub(super) fn version(&self, uri: &Url) -> Option<i64> {
        self.open.get(uri).map(|buffer| buffer.version)
    }

    pub(super) fn save(&mut self, uri: &Url) {
        let text = self.text(uri);
        fs::write(path_of(uri), &text).expect("a buffer is saved");
        self.voice.notify(
            "textDocument/didSave",
            &json!({ "textDocument": { "uri": uri }, "text": text }),
        );
    }

    pub(super) fn range_of(&self, uri: &Url, part: &str) -> Value {
        let text = self.text(uri);
        let start = text
            .find(part)
            .unwrap_or_else(|| panic!("{part:?} is not in {text:?}"));
        range(&text, &(start..start + part.len()))
    }

    pub(super) fn retype(&mut self, uri: &Url, old: &str, new: &str) {
        let text = self.text(uri);
        let places: Vec<usize> = text.match_indices(old).map(|(at, _)| at).collect();
        let [start] = places[..] else {
            panic!("{old:?} is not once in {text:?}");
        };
        self.change(uri, vec![(start..start + old.len(), new.to_owned())]);
    }

    pub(super) fn append(&mut self, uri: &Url, text: &str) {
        let end = self.text(uri).len();
        self.change(uri, vec![(end..end, text.to_owned())]);
    }

    /// Replaces these places of the text of now, and says so incrementally.
    fn change(&mut self, uri: &Url, mut places: Vec<(Range<usize>, String)>) {
        let buffer = self.open.get_mut(uri).expect("only open buffers change");
        // From the end, so that the places before stay where they are.
        places.sort_by_key(|(place, _)| std::cmp::Reverse((place.start, place.end)));
        let mut changes = Vec::new();
        for (place, new) in places {
            changes.push(json!({ "range": range(&buffer.text, &place), "text": new }));
            buffer.text.replace_range(place, &new);
        }
        buffer.version += 1;
        self.voice.notify(
            "textDocument/didChange",
            &json!({ "textDocument": { "uri": uri, "version": buffer.version }, "contentChanges": changes }),
        );
    }

    /// Applies a `WorkspaceEdit`, all of it or nothing of its text.
    pub(super) fn apply(&mut self, edit: &Value) -> Result<(), String> {
        if let Some(changes) = edit["changes"].as_object() {
            for (uri, edits) in changes {
                self.edit(uri, None, edits)?;
            }
        }
        let changes = edit["documentChanges"].as_array().cloned().unwrap_or_default();
        for change in &changes {
            let document = &change["textDocument"];
            let stale = |uri: &Url| {
                let wanted = document["version"].as_i64();
                wanted.is_some_and(|wanted| self.version(uri).is_some_and(|version| version != wanted))
            };
            if document["uri"]
                .as_str()
                .and_then(|uri| Url::parse(uri).ok())
                .is_some_and(|uri| stale(&uri))
            {
                return Err(format!("{} has another version", document["uri"]));
            }
        }
        for change in &changes {
            match change["kind"].as_str() {
                Some("create") => create(change)?,
                Some("delete") => self.delete(change)?,
                Some("rename") => self.rename(change)?,
                Some(other) => return Err(format!("no such operation: {other}")),
                None => {
                    let document = &change["textDocument"];
                    let uri = document["uri"].as_str().ok_or("an edit without a document")?;
                    self.edit(uri, document["version"].as_i64(), &change["edits"])?;
                }
            }
        }
        Ok(())
    }

    fn edit(&mut self, uri: &str, version: Option<i64>, edits: &Value) -> Result<(), String> {
        let uri = Url::parse(uri).map_err(|error| error.to_string())?;
        self.open(&uri);
        if version.is_some_and(|wanted| self.version(&uri) != Some(wanted)) {
            return Err(format!("{uri} has another version"));
        }
        let text = self.text(&uri);
        let mut places = Vec::new();
        for edit in edits.as_array().ok_or("edits are a list")? {
            let new = edit["newText"].as_str().ok_or("an edit without a text")?;
            places.push((bytes(&text, &edit["range"])?, new.to_owned()));
        }
        self.change(&uri, places);
        Ok(())
    }

    fn delete(&mut self, change: &Value) -> Result<(), String> {
        let uri = uri_of(&change["uri"])?;
        fs::remove_file(path_of(&uri)).map_err(|error| format!("{uri}: {error}"))?;
        self.close(&uri);
        Ok(())
    }

    fn rename(&mut self, change: &Value) -> Result<(), String> {
        let (from, to) = (uri_of(&change["oldUri"])?, uri_of(&change["newUri"])?);
        fs::rename(path_of(&from), path_of(&to)).map_err(|error| format!("{from}: {error}"))?;
        if let Some(buffer) = self.open.get(&from) {
            let text = buffer.text.clone();
            self.close(&from);
            self.open(&to);
            let end = self.text(&to).len();
            self.change(&to, vec![(0..end, text)]);
        }
        Ok(())
    }
}

fn create(change: &Value) -> Result<(), String> {
    let path = path_of(&uri_of(&change["uri"])?);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    let options = &change["options"];
    if path.exists() && options["overwrite"] != true {
        return if options["ignoreIfExists"] == true {
            Ok(())
        } else {
            Err(format!("{} exists", path.display()))
        };
    }
    fs::write(path, "").map_err(|error| error.to_string())
}

fn uri_of(value: &Value) -> Result<Url, String> {
    Url::parse(value.as_str().unwrap_or_default()).map_err(|error| error.to_string())
}

fn path_of(uri: &Url) -> std::path::PathBuf {
    uri.to_file_path().expect("a file")
}

/// A range in UTF-16, as editors count.
fn range(text: &str, place: &Range<usize>) -> Value {
    json!({ "start": position(text, place.start), "end": position(text, place.end) })
}

fn position(text: &str, at: usize) -> Value {
    let before = text.get(..at).expect("a place of the text");
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column: usize = before
        .get(line_start..)
        .unwrap_or_default()
        .chars()
        .map(char::len_utf16)
        .sum();
    json!({ "line": before.matches('\n').count(), "character": column })
}

fn bytes(text: &str, range: &Value) -> Result<Range<usize>, String> {
    let place = |position: &Value| {
        let number = |name: &str| {
            position[name]
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
        };
        let (line, character) = (number("line")?, number("character")?);
        let mut start = 0;
        for _ in 0..line {
            match text.get(start..)?.find('\n') {
                Some(end) => start += end + 1,
                None => return Some(text.len()),
            }
        }
        let (mut at, mut column) = (start, 0);
        for char in text.get(start..)?.chars() {
            if column >= character || char == '\n' {
                break;
            }
            column += char.len_utf16();
            at += char.len_utf8();
        }
        Some(at)
    };
    let both = place(&range["start"]).zip(place(&range["end"]));
    let (start, end) = both.ok_or_else(|| format!("no range: {range}"))?;
    if start > end {
        return Err(format!("a range that ends before it starts: {range}"));
    }
    Ok(start..end)
}
