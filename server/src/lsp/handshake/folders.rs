//! Which folders are open, from what editors of all ages send.

use serde_json::Value;
use url::Url;

/// The folders of `initialize`: `workspaceFolders`, else `rootUri`, else `rootPath`. An editor that
/// knows folders and has none open says `null`; then the older fields count as well.
pub(super) fn opened(params: &Value) -> Vec<Url> {
    let folders = uris(params.get("workspaceFolders"));
    if !folders.is_empty() || params.get("workspaceFolders").is_some_and(Value::is_array) {
        return folders;
    }
    let text = |field: &str| {
        params
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let root = text("rootUri")
        .and_then(parse)
        .or_else(|| Url::from_file_path(text("rootPath")?).ok());
    root.into_iter().collect()
}

/// The addresses in a list of folders; what is none is passed over.
pub(super) fn uris(list: Option<&Value>) -> Vec<Url> {
    let folders = list.and_then(Value::as_array).into_iter().flatten();
    folders
        .filter_map(|folder| parse(folder.get("uri")?.as_str()?))
        .collect()
}

/// An address without the slash that some editors put at its end.
fn parse(text: &str) -> Option<Url> {
    let trimmed = text
        .strip_suffix('/')
        .filter(|rest| !rest.ends_with('/'))
        .unwrap_or(text);
    Url::parse(trimmed).ok()
}
