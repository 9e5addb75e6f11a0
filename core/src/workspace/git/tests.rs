use super::*;

/// Git is started directly: there is nothing for a shim to do.
fn no_shim() -> Spawner {
    Spawner::new("/nonexistent/shim".into())
}

#[test]
fn versions_of_every_vendor_are_understood() {
    assert_eq!(parse_version("2.47.3"), Some((2, 47)));
    assert_eq!(parse_version("2.39.2 (Apple Git-143)"), Some((2, 39)));
    assert_eq!(parse_version("2.45.1.windows.1"), Some((2, 45)));
    assert_eq!(parse_version("unknown"), None);
}

/// A git of another kind: this shell script answers every call but `git version`.
async fn stand_in(place: &Path, script: &str) -> Git {
    let version = "case \"$*\" in *version) echo git version 2.47.0; exit;; esac";
    program(place, &format!("#!/bin/sh\n{version}\n{script}\n"));
    let mut path = place.as_os_str().to_owned();
    path.push(":/usr/bin:/bin");
    Git::find(no_shim(), &path, UserHome::default(), place.into())
        .await
        .unwrap()
}

fn program(place: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let file = place.join("git");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn an_old_git_is_refused_with_a_hint() {
    let place = tempfile::tempdir().unwrap();
    program(place.path(), "#!/bin/sh\necho git version 2.20.1\n");
    let path = place.path().as_os_str();
    let found = Git::find(no_shim(), path, UserHome::default(), place.path().into()).await;
    let error = found.unwrap_err();
    assert_eq!(error.code, "gitTooOld");
    assert!(error.first_hint().unwrap().contains("2.31"));
}

#[tokio::test]
async fn no_git_at_all_is_said_plainly() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().as_os_str();
    let found = Git::find(no_shim(), path, UserHome::default(), place.path().into()).await;
    assert_eq!(found.unwrap_err().code, "gitMissing");
}

#[tokio::test]
async fn a_call_beyond_its_time_is_ended_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let git = stand_in(place.path(), "sleep 60").await;
    let mut call = git.call(["write-tree"]);
    call.limit = Duration::from_millis(50);
    let error = call.bytes().await.unwrap_err();
    assert_eq!(error.code, "gitTimeout");
    assert!(error.message.contains("git write-tree"), "{}", error.message);
}

#[tokio::test]
async fn output_that_somebody_still_holds_is_not_taken_for_the_whole() {
    let place = tempfile::tempdir().unwrap();
    let git = stand_in(place.path(), "sleep 2 & echo half").await;
    let error = git.call(["ls-files"]).bytes().await.unwrap_err();
    assert_eq!(error.code, "gitOutputCut");
}

#[tokio::test]
async fn nothing_of_our_own_environment_reaches_git() {
    let place = tempfile::tempdir().unwrap();
    let git = stand_in(place.path(), "/usr/bin/env").await;
    let told = git.call(["status"]).git_dir(place.path()).text().await.unwrap();
    let names: std::collections::BTreeSet<&str> = told
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| !matches!(*name, "PWD" | "SHLVL" | "_" | "OLDPWD"))
        .collect();
    let ours = HARDENED_ENVIRONMENT.iter().map(|(name, _)| *name);
    let neutral = [
        "PATH",
        "HOME",
        "XDG_CONFIG_HOME",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_GLOBAL",
        "GIT_ATTR_NOSYSTEM",
        "GIT_DIR",
    ];
    assert_eq!(names, ours.chain(neutral).collect());
}
