//! Links within the tree lead somewhere, and nothing leads to a machine of somebody's.

use super::book;

/// What no document holds: the hosts that packages come from, and paths of the authors' machines.
const FORBIDDEN: [&str; 6] = [
    "crates.io",
    "registry.npmjs",
    "pypi.org",
    "/root/",
    "/work/",
    "/tmp/",
];

/// The targets of `[text](target)`, outside of fences.
fn targets(text: &str) -> Vec<String> {
    let prose = book::prose(text).replace(['\n'], " ");
    let parts = prose.split("](").skip(1);
    parts
        .filter_map(|part| part.split(')').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_link_within_the_tree_leads_to_a_file_and_a_heading() {
    let mut count = 0;
    for (path, text) in book::documents() {
        let here = book::root().join(&path);
        for target in targets(&text)
            .iter()
            .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() {
                here.clone()
            } else {
                here.parent().expect("a folder").join(file)
            };
            assert!(there.exists(), "{path}: {target} leads nowhere");
            if !anchor.is_empty() {
                let text =
                    std::fs::read_to_string(&there).unwrap_or_else(|error| panic!("{target}: {error}"));
                let known = book::headings(&text)
                    .iter()
                    .any(|heading| book::anchor(&heading.title) == anchor);
                assert!(known, "{path}: there is no heading for {target}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "only {count} links were found");
}

#[test]
fn documents_name_no_registry_and_no_path_of_a_machine() {
    for (path, text) in book::documents() {
        let found: Vec<&str> = FORBIDDEN.into_iter().filter(|word| text.contains(word)).collect();
        assert!(found.is_empty(), "{path}: {found:?}");
    }
}
