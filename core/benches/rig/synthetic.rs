//! A repository that looks like one and is the same everywhere: the same number of files gives the
//! same commit ids, so that two people measure the same thing.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::{git, sha1};

/// Different words that the files are made of.
const WORDS: u64 = 4096;
/// The largest file.
const FILE_BYTES_MAX: usize = 200_000;
/// The commits of the history.
const COMMITS: u64 = 3;
/// The beginning of the head id with a thousand files; another one means another generator.
const HEAD_OF_1000: &str = "646e4d41";

/// Longer than a tick of the clock of any file system.
const TICK: Duration = Duration::from_millis(20);

/// xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(2_685_821_657_736_338_717)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The words, by number.
fn words() -> Vec<String> {
    (0..WORDS)
        .map(|number| {
            let mut word = sha1::hex(&format!("w{number}"));
            word.truncate(3 + usize::try_from(number % 7).unwrap());
            word
        })
        .collect()
}

fn body(words: &[String], file: u64, version: u64) -> String {
    let mut random = Random::new(file * 7_919 + version * 104_729 + 1);
    let radius = (-2.0 * random.fraction().max(1e-12).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * random.fraction()).cos();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and capped"
    )]
    let size = ((1600.0 * (1.25 * normal).exp()) as usize).min(FILE_BYTES_MAX);
    let mut text = format!("// file {file} version {version}\n");
    while text.len() < size {
        let count = 4 + random.next() % 9;
        let bits = random.next();
        for _ in 0..4 * (bits % 4) {
            text.push(' ');
        }
        for at in 0..count {
            let word = if at < 10 {
                bits >> (5 * at)
            } else {
                bits.wrapping_mul(at)
            };
            if at > 0 {
                text.push(' ');
            }
            text.push_str(&words[usize::try_from(word % WORDS).unwrap()]);
        }
        text.push('\n');
    }
    text
}

/// Where a file lies.
pub(crate) fn path(file: u64) -> String {
    let group = file / 12;
    let mut path = format!("pkg{:02}/", group % 23);
    path.push_str(if group.is_multiple_of(3) { "tests/" } else { "src/" });
    let mut rest = group / 23;
    for (name, size) in [("m", 31), ("sub", 37)] {
        if rest > 0 {
            let _ = write!(path, "{name}{:02}/", rest % size);
            rest /= size;
        }
    }
    if rest > 0 {
        let _ = write!(path, "deep{rest:03}/");
    }
    let ending = ["rs", "ts", "md", "json"][usize::try_from(file % 4).unwrap()];
    let _ = write!(path, "f{file:06}.{ending}");
    path
}

/// What `git fast-import` reads.
fn stream(files: u64) -> Vec<u8> {
    let words = words();
    let mut stream = String::new();
    let blob = |stream: &mut String, path: &str, text: &str| {
        let _ = writeln!(stream, "M 100644 inline {path}\ndata {}\n{text}", text.len());
    };
    for commit in 0..COMMITS {
        let who = format!(
            "Bench <b@example.invalid> {} +0000",
            1_700_000_000 + 3_600 * commit
        );
        let _ = write!(
            stream,
            "commit refs/heads/main\nmark :{}\nauthor {who}\ncommitter {who}\ndata 7\ncommit\n\n",
            commit + 1
        );
        if commit == 0 {
            blob(&mut stream, ".gitignore", "target/\nnode_modules/\n*.log\n.env\n");
        } else {
            let _ = writeln!(stream, "from :{commit}");
        }
        for file in (0..files).filter(|file| commit == 0 || file % (97 + commit) == 0) {
            blob(&mut stream, &path(file), &body(&words, file, commit));
        }
        stream.push('\n');
    }
    stream.into_bytes()
}

/// Makes the repository with its files; answers the id of its head.
pub(crate) fn make(folder: &Path, files: u64) -> String {
    std::fs::create_dir_all(folder).unwrap();
    git::run(folder, &["init", "-q", "-b", "main"]);
    git::feed(folder, &["fast-import", "--quiet"], &stream(files));
    restore(folder);
    git::text(folder, &["rev-parse", "HEAD"])
}

/// Fails when this generator does not make the repository that others measure.
pub(crate) fn check(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    git::run(folder, &["init", "-q", "--bare", "-b", "main"]);
    git::feed(folder, &["fast-import", "--quiet"], &stream(1000));
    let head = git::text(folder, &["rev-parse", "main"]);
    assert!(
        head.starts_with(HEAD_OF_1000),
        "another repository than agreed: {head}"
    );
}

/// Puts the files back as HEAD has them, with an index that is younger than all of them: entries of
/// the same tick would be read again by everybody.
pub(crate) fn restore(folder: &Path) {
    git::run(folder, &["reset", "-q", "--hard", "HEAD"]);
    git::run(folder, &["clean", "-q", "-d", "-f"]);
    std::thread::sleep(TICK);
    let marker = folder.join(".git/bench-marker");
    std::fs::write(&marker, "").unwrap();
    let now = std::fs::metadata(&marker).unwrap().modified().unwrap();
    let index = std::fs::File::options()
        .write(true)
        .open(folder.join(".git/index"))
        .unwrap();
    index.set_modified(now).unwrap();
}
