//! The forms that a secret takes on its way through programs.

use std::collections::BTreeSet;
use std::fmt::Write;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// What `encodeURIComponent` leaves alone in addition.
const COMPONENT: &[u8] = b"!'()*";

/// Every form, itself included.
pub(super) fn forms(secret: &str) -> BTreeSet<String> {
    let bytes = secret.as_bytes();
    let mut forms = BTreeSet::from([
        secret.to_owned(),
        hex(bytes, "0123456789abcdef"),
        hex(bytes, "0123456789ABCDEF"),
    ]);
    for alphabet in [STANDARD, URL_SAFE] {
        forms.extend((0..3).map(|phase| base64(bytes, phase, alphabet)));
    }
    for untouched in [&b""[..], COMPONENT] {
        let upper = percent(bytes, untouched);
        forms.insert(upper.replace("%20", "+"));
        forms.insert(lower_escapes(&upper));
        forms.insert(upper);
    }
    let escaped = serde_json::to_string(secret).unwrap_or_default();
    if let Some(inner) = escaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        forms.insert(inner.replace('/', "\\/"));
        forms.insert(inner.to_owned());
    }
    forms
}

fn hex(bytes: &[u8], digits: &str) -> String {
    let digit = |value: u8| {
        digits
            .as_bytes()
            .get(usize::from(value))
            .copied()
            .map_or('0', char::from)
    };
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}

/// Those characters that depend on the secret alone when it begins `phase` bytes into a group of three.
fn base64(bytes: &[u8], phase: usize, alphabet: &[u8; 64]) -> String {
    let shifted: Vec<u8> = std::iter::repeat_n(0, phase)
        .chain(bytes.iter().copied())
        .collect();
    let first = (phase * 8).div_ceil(6);
    let last = shifted.len() * 8 / 6;
    (first..last)
        .map(|position| character(&shifted, position, alphabet))
        .collect()
}

fn character(bytes: &[u8], position: usize, alphabet: &[u8; 64]) -> char {
    let bit = position * 6;
    let byte = |index: usize| bytes.get(index).copied().map_or(0, u16::from);
    let pair = (byte(bit / 8) << 8) | byte(bit / 8 + 1);
    let value = (pair >> (10 - bit % 8)) & 0x3f;
    alphabet.get(usize::from(value)).copied().map_or('A', char::from)
}

fn percent(bytes: &[u8], untouched: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || untouched.contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The two digits behind each `%`, small.
fn lower_escapes(text: &str) -> String {
    let mut digits = 0_u8;
    let mut lower = |character: char| {
        if character == '%' {
            digits = 2;
            return character;
        }
        let escaped = digits > 0;
        digits = digits.saturating_sub(1);
        if escaped {
            character.to_ascii_lowercase()
        } else {
            character
        }
    };
    text.chars().map(&mut lower).collect()
}

/// The bytes behind standard base64, padding or not.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for character in text.bytes() {
        let value = STANDARD.iter().position(|known| *known == character)?;
        buffer = (buffer << 6) | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_phases_of_base64_are_found_in_real_encodings() {
        // "xx" + secret + "yyy" etc., encoded by another program.
        let forms = forms("s3cret/valu\u{e9}");
        for encoded in [
            "czNjcmV0L3ZhbHXDqQ==",
            "eHMzY3JldC92YWx1w6l5",
            "eHhzM2NyZXQvdmFsdcOpeXl5",
        ] {
            assert!(
                forms.iter().any(|form| encoded.contains(form.as_str())),
                "{encoded}: {forms:?}"
            );
        }
    }

    #[test]
    fn escapes_are_known_in_both_cases() {
        let forms = forms("a/b c\"d");
        for form in [
            "a%2Fb%20c%22d",
            "a%2fb%20c%22d",
            "a%2Fb+c%22d",
            "a/b c\\\"d",
            "a\\/b c\\\"d",
            "612f622063226 4".replace(' ', "").as_str(),
        ] {
            assert!(forms.contains(form), "{form}: {forms:?}");
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(decode_base64("dXNlcjpwYXNz").unwrap(), b"user:pass");
        assert_eq!(decode_base64("dXNlcjpwYXNzdw==").unwrap(), b"user:passw");
        assert_eq!(decode_base64("no base64"), None);
    }
}
