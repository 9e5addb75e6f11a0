//! Keys that their shape gives away. A rule asks nothing of what follows the key: scanners want a quote
//! or a space there and so miss keys in addresses.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

use super::{Found, mark, units};

/// A shape, tried only where one of its words occurs. The first group, else the whole, is the secret.
struct Rule {
    kind: &'static str,
    words: &'static [&'static str],
    shape: &'static str,
}

/// Before prefixes that are short enough to be inside of other words: an escape (of an address, a JSON
/// text, a terminal) ends a word too.
macro_rules! after_a_border {
    ($shape:literal) => {
        concat!(
            r"(?:^|[^A-Za-z0-9]|%[0-9A-Fa-f]{2}|\\[bfnrt]|\\u[0-9A-Fa-f]{4}|\x1b\[[0-9;]*m)(",
            $shape,
            ")"
        )
    };
}

const RULES: &[Rule] = &[
    Rule {
        kind: "anthropic-key",
        words: &["sk-ant-"],
        shape: r"sk-ant-[A-Za-z0-9_-]{10,}",
    },
    Rule {
        kind: "openai-key",
        words: &["sk-"],
        shape: after_a_border!(
            r"sk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z_-]{0,40}[0-9][A-Za-z0-9_-]{15,}"
        ),
    },
    Rule {
        kind: "github-token",
        words: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        shape: r"gh[pousr]_[A-Za-z0-9]{20,}",
    },
    Rule {
        kind: "github-token",
        words: &["github_pat_"],
        shape: r"github_pat_[A-Za-z0-9_]{20,}",
    },
    Rule {
        kind: "gitlab-token",
        words: &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-"],
        shape: r"gl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_-]{16,}",
    },
    Rule {
        kind: "slack-token",
        words: &["xox"],
        shape: r"xox[abceoprs]-[A-Za-z0-9-]{10,}",
    },
    Rule {
        kind: "slack-webhook",
        words: &["hooks.slack.com"],
        shape: r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]{20,})",
    },
    Rule {
        kind: "aws-key",
        words: &["AKIA", "ASIA", "ABIA", "ACCA"],
        shape: after_a_border!(r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}"),
    },
    Rule {
        kind: "google-key",
        words: &["AIza"],
        shape: after_a_border!(r"AIza[A-Za-z0-9_-]{30,}"),
    },
    Rule {
        kind: "google-token",
        words: &["ya29."],
        shape: after_a_border!(r"ya29\.[A-Za-z0-9_-]{20,}"),
    },
    Rule {
        kind: "google-secret",
        words: &["GOCSPX-"],
        shape: r"GOCSPX-[A-Za-z0-9_-]{20,}",
    },
    Rule {
        kind: "jwt",
        words: &["eyJ"],
        shape: after_a_border!(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
    },
    Rule {
        kind: "npm-token",
        words: &["npm_"],
        shape: after_a_border!(r"npm_[A-Za-z0-9]{36,}"),
    },
    Rule {
        kind: "pypi-token",
        words: &["pypi-"],
        shape: r"pypi-[A-Za-z0-9_-]{50,}",
    },
    Rule {
        kind: "crates-token",
        words: &["cio"],
        shape: after_a_border!(r"cio[A-Za-z0-9]{32}"),
    },
    Rule {
        kind: "stripe-key",
        words: &["k_live_", "k_test_"],
        shape: r"[srp]k_(?:live|test)_[A-Za-z0-9]{16,}",
    },
    Rule {
        kind: "webhook-secret",
        words: &["whsec_"],
        shape: r"whsec_[A-Za-z0-9+/=]{20,}",
    },
    Rule {
        kind: "sendgrid-key",
        words: &["SG."],
        shape: after_a_border!(r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    },
    Rule {
        kind: "huggingface-token",
        words: &["hf_"],
        shape: after_a_border!(r"hf_[A-Za-z0-9]{30,}"),
    },
    Rule {
        kind: "digitalocean-token",
        words: &["_v1_"],
        shape: r"do[opr]_v1_[a-f0-9]{60,}",
    },
    Rule {
        kind: "telegram-token",
        words: &[":AA"],
        shape: after_a_border!(r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}"),
    },
    Rule {
        kind: "shopify-token",
        words: &["shp"],
        shape: after_a_border!(r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"),
    },
    Rule {
        kind: "twilio-key",
        words: &["SK"],
        shape: after_a_border!(r"SK[0-9a-f]{32}"),
    },
    Rule {
        kind: "groq-key",
        words: &["gsk_"],
        shape: after_a_border!(r"gsk_[A-Za-z0-9]{20,}"),
    },
    Rule {
        kind: "xai-key",
        words: &["xai-"],
        shape: after_a_border!(r"xai-[A-Za-z0-9]{40,}"),
    },
    Rule {
        kind: "perplexity-key",
        words: &["pplx-"],
        shape: r"pplx-[A-Za-z0-9]{30,}",
    },
    Rule {
        kind: "replicate-token",
        words: &["r8_"],
        shape: after_a_border!(r"r8_[A-Za-z0-9]{30,}"),
    },
    Rule {
        kind: "databricks-token",
        words: &["dapi"],
        shape: after_a_border!(r"dapi[a-f0-9]{32}"),
    },
    Rule {
        kind: "linear-key",
        words: &["lin_api_"],
        shape: r"lin_api_[A-Za-z0-9]{20,}",
    },
    Rule {
        kind: "age-key",
        words: &["AGE-SECRET-KEY-1"],
        shape: r"AGE-SECRET-KEY-1[0-9A-Z]{50,}",
    },
    Rule {
        kind: "vault-token",
        words: &["hvs.", "hvb."],
        shape: after_a_border!(r"hv[sb]\.[A-Za-z0-9_-]{20,}"),
    },
    Rule {
        kind: "docker-token",
        words: &["dckr_"],
        shape: r"dckr_[op]at_[A-Za-z0-9_-]{20,}",
    },
    Rule {
        kind: "mailgun-key",
        words: &["key-"],
        shape: after_a_border!(r"key-[0-9a-f]{32}"),
    },
    Rule {
        kind: "azure-key",
        words: &["AccountKey=", "SharedAccessKey="],
        shape: r"(?:Account|SharedAccess)Key=([A-Za-z0-9+/=]{40,})",
    },
    // To its end, or to the end of the unit: half a key is a secret too.
    Rule {
        kind: "private-key",
        words: &[units::KEY_BEGIN],
        shape: r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\z)",
    },
];

struct Ready {
    words: AhoCorasick,
    /// The rule of each word.
    owners: Vec<usize>,
    shapes: Vec<Regex>,
}

/// None only if a rule above is broken, which a test excludes.
static READY: LazyLock<Option<Ready>> = LazyLock::new(|| {
    let words = RULES.iter().flat_map(|rule| rule.words);
    let owners = RULES
        .iter()
        .enumerate()
        .flat_map(|(index, rule)| rule.words.iter().map(move |_| index))
        .collect();
    let shapes = RULES
        .iter()
        .map(|rule| Regex::new(rule.shape))
        .collect::<Result<_, _>>()
        .ok()?;
    Some(Ready {
        words: AhoCorasick::new(words).ok()?,
        owners,
        shapes,
    })
});

pub(super) fn search(unit: &str, found: &mut Vec<Found>) {
    let Some(ready) = READY.as_ref() else { return };
    let mut wanted = [false; RULES.len()];
    for hit in ready.words.find_overlapping_iter(unit) {
        let owner = ready.owners.get(hit.pattern().as_usize());
        if let Some(wanted) = owner.and_then(|owner| wanted.get_mut(*owner)) {
            *wanted = true;
        }
    }
    for ((rule, shape), wanted) in RULES.iter().zip(&ready.shapes).zip(wanted) {
        if !wanted {
            continue;
        }
        for captures in shape.captures_iter(unit) {
            if let Some(secret) = captures.get(1).or_else(|| captures.get(0)) {
                found.push(Found {
                    range: secret.range(),
                    kind: rule.kind,
                    mark: mark(secret.as_str()),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_regular_expression() {
        assert!(READY.is_some());
    }
}
