//! Providers: what each kind needs, and no secret in the file.

use super::{ADDRESS, Checker, is_address, is_name};
use crate::config::settings::{ProviderKind, ProviderSettings};
use crate::config::tree::Path;

impl Checker<'_> {
    pub(super) fn providers(&mut self) {
        for (id, provider) in &self.settings.providers {
            let path = Path::of(&["providers", id]);
            if !is_name(id) {
                self.wrong(
                    path.clone(),
                    "invalidName",
                    format!("`{id}` is no id"),
                    "letters, digits, `-`, `_` and `.`",
                );
            }
            match provider.kind {
                None => {
                    let message = format!("the provider `{id}` has no kind");
                    let kinds = "a `kind`: anthropic, openai, openai-compatible, claude-code, acp or demo";
                    self.wrong(path.clone(), "missingKey", message, kinds);
                }
                Some(ProviderKind::OpenAiCompatible) if provider.base_url.is_none() => {
                    self.wrong(
                        path.key("kind"),
                        "missingKey",
                        format!("the provider `{id}` has no address"),
                        "a `baseUrl`",
                    );
                }
                Some(ProviderKind::Acp) if provider.command.is_none() => {
                    self.wrong(
                        path.key("kind"),
                        "missingKey",
                        format!("the provider `{id}` has no program"),
                        "a `command`",
                    );
                }
                Some(_) => {}
            }
            self.provider_secrets(&path, provider);
        }
    }

    fn provider_secrets(&mut self, path: &Path, provider: &ProviderSettings) {
        if let Some(address) = &provider.base_url
            && !is_address(address)
        {
            self.wrong(
                path.key("baseUrl"),
                "invalidAddress",
                "this is no address that a key may be sent to",
                ADDRESS,
            );
        }
        if let Some(name) = &provider.api_key_env {
            // A key that was pasted here is not repeated in the message.
            let is_variable = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
            if !is_variable {
                let message = "this is not the name of an environment variable";
                self.wrong(
                    path.key("apiKeyEnv"),
                    "secretInFile",
                    message,
                    "a name such as MY_API_KEY; the key itself stays in the environment",
                );
            }
        }
        for (name, value) in &provider.headers {
            let path = path.key("headers").key(name);
            let lower = name.to_ascii_lowercase();
            if matches!(
                lower.as_str(),
                "authorization" | "x-api-key" | "api-key" | "cookie" | "proxy-authorization"
            ) {
                self.wrong(
                    path,
                    "secretInFile",
                    "a key does not belong into a file",
                    "`apiKeyEnv` with the name of an environment variable",
                );
                continue;
            }
            let name_fits = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !name_fits || value.chars().any(char::is_control) {
                self.wrong(
                    path,
                    "invalidHeader",
                    "this is no header",
                    "a name of letters, digits and `-`, and one line of text",
                );
            }
        }
    }
}
