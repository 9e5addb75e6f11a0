//! Addresses of files and of virtual documents.

use std::path::Path;

use clode_core::id::PipelineId;
use url::Url;

/// The `file:` address of a path.
pub(crate) fn file(path: &Path) -> Option<Url> {
    Url::from_file_path(path).ok()
}

/// `clode://pipeline/<id>/<kind>/<path>`.
pub(crate) fn document(run: &PipelineId, kind: &str, path: &str) -> String {
    named(run, &format!("{kind}/{path}"))
}

/// `clode://pipeline/<id>/<name>`; whatever is special in a name is encoded.
pub(crate) fn named(run: &PipelineId, name: &str) -> String {
    let mut address = format!("clode://pipeline/{run}");
    if let Ok(mut uri) = Url::parse("clode://pipeline/") {
        if let Ok(mut segments) = uri.path_segments_mut() {
            segments.pop_if_empty().push(run.as_str()).extend(name.split('/'));
        }
        address = uri.to_string();
    }
    address
}

/// The run and the name that a `clode:` address means; editors rewrite an empty authority and encode as they like.
pub(crate) fn parse(uri: &Url) -> Option<(PipelineId, String)> {
    if uri.scheme() != "clode" {
        return None;
    }
    let path = percent_decoded(uri.path())?;
    let path = path.trim_start_matches('/');
    let path = match uri.host_str() {
        Some("pipeline") => path,
        None | Some("") => path.strip_prefix("pipeline/")?,
        Some(_) => return None,
    };
    let (run, name) = path.split_once('/')?;
    (!run.is_empty() && !name.is_empty()).then(|| (PipelineId::new(run), name.to_owned()))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_back_whatever_stands_in_the_path() {
        let run = PipelineId::new("pipeline-a b-1");
        let address = document(&run, "base", "src/été 100%/a#b?.rs");
        let read = parse(&Url::parse(&address).expect("an address"));
        assert_eq!(read, Some((run, "base/src/été 100%/a#b?.rs".to_owned())));
    }

    #[test]
    fn a_client_that_drops_the_authority_is_understood() {
        let uri = Url::parse("clode:///pipeline/pipeline-x-1/plan.md").expect("an address");
        assert_eq!(
            parse(&uri),
            Some((PipelineId::new("pipeline-x-1"), "plan.md".to_owned()))
        );
        for odd in [
            "clode://other/x/plan.md",
            "file:///pipeline/x/plan.md",
            "clode://pipeline/x",
            "clode://pipeline/%/y",
        ] {
            assert_eq!(parse(&Url::parse(odd).expect("an address")), None, "{odd}");
        }
    }
}
