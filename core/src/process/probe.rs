//! Whether the sandbox holds: found out by trying to break out of it.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::command::{Command, Confinement, Limits, Network, SandboxPolicy, SandboxTier, Stdin};
use super::find::find_program;
use super::spawner::Spawner;
use crate::{Error, Kind, Result, id};

const LIMITS: Limits = Limits::new(Duration::from_secs(20), 4 * 1024);
/// Writes inside, then tries to write and to read outside; what it can read it says.
const ATTEMPT: &str =
    r#"echo in > "$1/written" || exit 3; echo out > "$2/written"; cat "$2/private"; exit 0"#;
const PRIVATE: &str = "not for the program";
/// Where the shell is.
const SHELL_PATH: &str = "/bin:/usr/bin";

/// Tries it out and says what the sandbox is worth here.
pub(super) async fn try_out(spawner: &Spawner) -> SandboxTier {
    match attempt(spawner).await {
        Ok(tier) => tier,
        Err(error) => SandboxTier::None {
            reason: error.message,
        },
    }
}

async fn attempt(spawner: &Spawner) -> Result<SandboxTier> {
    let shell = find_program("sh", OsStr::new(SHELL_PATH))
        .ok_or_else(|| Error::new(Kind::Io, "programNotStarted", "there is no shell to try it with"))?;
    let place = std::env::temp_dir().join(format!("clode-probe-{}", id::random_hex(8)?));
    let outcome = in_place(spawner, &shell, &place).await;
    let _ = std::fs::remove_dir_all(&place);
    outcome
}

async fn in_place(spawner: &Spawner, shell: &Path, place: &Path) -> Result<SandboxTier> {
    use std::os::unix::fs::DirBuilderExt;
    let (inside, outside) = (place.join("inside"), place.join("outside"));
    for folder in [place, &inside, &outside] {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(|error| Error::io("the probe", &error))?;
    }
    std::fs::write(outside.join("private"), PRIVATE).map_err(|error| Error::io("the probe", &error))?;
    let policy = SandboxPolicy {
        writable: vec![inside.clone()],
        readable: Vec::new(),
        network: Network::None,
    };
    let command = Command::new(shell, &inside, Confinement::Sandboxed(policy), LIMITS)
        .args(["-c", ATTEMPT, "sh"])
        .arg(&inside)
        .arg(&outside)
        .stdin(Stdin::Null);
    let mut child = spawner.spawn(command).await?;
    let mut read = String::new();
    while let Some(line) = child.next_line().await? {
        if let super::Line::Text(text) = line {
            read.push_str(&String::from_utf8_lossy(&text));
        }
    }
    let abi = child.landlock_abi();
    let end = child.wait().await?;
    let broken = |reason: &str| {
        Ok(SandboxTier::None {
            reason: reason.to_owned(),
        })
    };
    if !end.success() || !inside.join("written").exists() {
        return broken(&format!(
            "a confined program does not work ({end}): {}",
            child.stderr_tail().trim()
        ));
    }
    match abi {
        None => broken("the kernel has no landlock, or it is switched off"),
        Some(_) if outside.join("written").exists() => broken("a confined program wrote outside"),
        Some(_) if read.contains(PRIVATE) => broken("a confined program read what is private"),
        Some(abi) => Ok(SandboxTier::Landlock { abi }),
    }
}
