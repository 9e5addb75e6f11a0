use super::*;

fn place() -> (tempfile::TempDir, Root) {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(place.path().join("root/sub")).unwrap();
    std::fs::write(place.path().join("secret"), "outside").unwrap();
    std::fs::write(place.path().join("root/sub/file"), "inside").unwrap();
    let root = Root::open(&place.path().join("root")).unwrap();
    (place, root)
}

#[test]
fn a_link_out_of_the_root_is_never_followed() {
    let (place, root) = place();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, place.path().join("root").join(name)).unwrap();
    };
    link("../secret", "relative");
    link(place.path().join("secret").to_str().unwrap(), "absolute");
    link("..", "up");
    for path in ["relative", "absolute", "up/secret"] {
        assert!(root.read(path, 100).is_err(), "{path}");
        assert!(root.resolve(path).is_err(), "{path}");
    }
    assert!(root.write("up/secret", b"x").is_err());
    root.write("absolute", b"x").unwrap();
    assert_eq!(
        std::fs::read_to_string(place.path().join("secret")).unwrap(),
        "outside"
    );
    assert!(!place.path().join("root/absolute").is_symlink());
}

#[test]
fn a_link_that_stays_inside_can_be_read() {
    let (place, root) = place();
    std::os::unix::fs::symlink("sub/file", place.path().join("root/link")).unwrap();
    assert_eq!(root.read("link", 100).unwrap(), b"inside");
    assert!(root.read_exactly("link", 100).is_err());
}

#[test]
fn a_pipe_is_refused_at_once() {
    let (place, root) = place();
    let pipe = place.path().join("root/pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(root.read("pipe", 100).unwrap_err().code, "notAFile");
}

#[test]
fn a_write_keeps_the_executable_bit_and_makes_folders() {
    use std::os::unix::fs::PermissionsExt;
    let (place, root) = place();
    let file = place.path().join("root/sub/file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    root.write("sub/file", b"new").unwrap();
    root.write("a/b/c", b"new").unwrap();
    assert!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o100 != 0);
    assert_eq!(std::fs::read(place.path().join("root/a/b/c")).unwrap(), b"new");
    assert_eq!(
        std::fs::read_dir(place.path().join("root/a/b")).unwrap().count(),
        1
    );
}

#[test]
fn step_by_step_opening_refuses_links_too() {
    let (place, root) = place();
    std::os::unix::fs::symlink("..", place.path().join("root/up")).unwrap();
    assert!(
        root.open_step_by_step("up/secret", OFlags::RDONLY, Links::Inside)
            .is_err()
    );
    assert!(
        root.open_step_by_step("sub/file", OFlags::RDONLY, Links::Inside)
            .is_ok()
    );
}
