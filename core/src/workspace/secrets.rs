//! Which untracked files look like secrets, so that agents do not get them.

use std::path::Path;

/// Names, in lower case, that mean a secret.
const NAMES: &[&str] = &[
    ".env",
    ".envrc",
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".pgpass",
    ".htpasswd",
    ".vault-token",
    "credentials",
    "credentials.json",
    "credentials.yml",
    "credentials.yaml",
    "secrets.json",
    "secrets.yml",
    "secrets.yaml",
    "secrets.toml",
    "secret.json",
    "service-account.json",
    "terraform.tfvars",
    "kubeconfig",
    ".dockercfg",
];
/// Beginnings of names, in lower case, that mean a secret.
const PREFIXES: &[&str] = &[
    ".env.",
    ".env-",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "service-account-",
];
/// Ends of names, in lower case, that mean a secret.
const SUFFIXES: &[&str] = &[
    ".pem",
    ".key",
    ".p12",
    ".pfx",
    ".jks",
    ".keystore",
    ".kdbx",
    ".ppk",
    ".env",
    ".tfvars",
    ".ovpn",
    ".p8",
];
/// Names that only show what a secret would look like.
const EXAMPLES: &[&str] = &[".example", ".sample", ".template", ".dist", ".pub"];
/// Files that hold a secret only when one of [`MARKS`] is in them.
const TO_LOOK_INTO: &[&str] = &[
    ".npmrc",
    ".yarnrc.yml",
    ".yarnrc",
    ".pypirc",
    "pip.conf",
    ".gem/credentials",
];
const MARKS: &[&str] = &[
    "_authtoken",
    "_auth",
    "_password",
    "npmauthtoken",
    "password",
    "token",
    "\"auth\"",
];
/// The most of a file that is looked into.
const LOOK_INTO_BYTES_MAX: u64 = 256 * 1024;

/// Whether the file at this relative path looks like a secret. `content` is asked only for names
/// whose content decides.
pub(crate) fn looks_secret(path: &str, content: impl FnOnce() -> Option<Vec<u8>>) -> bool {
    let lower = path.to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    if EXAMPLES.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    if NAMES.contains(&name)
        || PREFIXES.iter().any(|start| name.starts_with(start))
        || SUFFIXES.iter().any(|end| name.ends_with(end))
        || lower
            .split('/')
            .any(|part| part == ".ssh" || part == ".gnupg" || part == ".aws")
    {
        return true;
    }
    TO_LOOK_INTO
        .iter()
        .any(|known| lower == *known || lower.ends_with(&format!("/{known}")))
        && content().is_some_and(|bytes| {
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            MARKS.iter().any(|mark| text.contains(mark))
        })
}

/// The beginning of a regular file, for [`looks_secret`].
pub(crate) fn beginning_of(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|found| found.is_file()))?;
    file.take(LOOK_INTO_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_and_examples_are_not_secrets() {
        for path in [
            ".env",
            "app/.ENV.local",
            "deploy/server.pem",
            "id_rsa",
            "x/tls.key",
            "credentials",
            ".ssh/config",
        ] {
            assert!(looks_secret(path, || None), "{path}");
        }
        for path in [
            ".env.example",
            "id_rsa.pub",
            "src/keyboard.rs",
            "environment.ts",
            "monkey.txt",
        ] {
            assert!(!looks_secret(path, || None), "{path}");
        }
    }

    #[test]
    fn an_npmrc_is_a_secret_only_with_a_token_in_it() {
        assert!(looks_secret("web/.npmrc", || Some(
            b"//r/:_authToken=abc".to_vec()
        )));
        assert!(!looks_secret("web/.npmrc", || Some(b"save-exact=true".to_vec())));
    }
}
