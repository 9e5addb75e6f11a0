use super::*;

#[test]
fn versions_of_every_vendor_are_understood() {
    assert_eq!(parse_version("2.47.3"), Some((2, 47)));
    assert_eq!(parse_version("2.39.2 (Apple Git-143)"), Some((2, 39)));
    assert_eq!(parse_version("2.45.1.windows.1"), Some((2, 45)));
    assert_eq!(parse_version("unknown"), None);
}

#[test]
fn a_relative_entry_of_the_search_path_never_gives_the_program() {
    assert_eq!(find_git(OsStr::new(".:bin:")), None);
}

#[tokio::test]
async fn an_old_git_is_refused_with_a_hint() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("git");
    std::fs::write(&program, "#!/bin/sh\necho git version 2.20.1\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let error = Git::find(place.path().as_os_str(), UserHome::default(), place.path().into())
        .await
        .unwrap_err();
    assert_eq!(error.code, "gitTooOld");
    assert!(error.first_hint().unwrap().contains("2.31"));
}

#[tokio::test]
async fn no_git_at_all_is_said_plainly() {
    let place = tempfile::tempdir().unwrap();
    let error = Git::find(place.path().as_os_str(), UserHome::default(), place.path().into())
        .await
        .unwrap_err();
    assert_eq!(error.code, "gitMissing");
}
