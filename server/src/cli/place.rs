//! `FILE:LINE[-LINE]` and amounts of money, as a person types them.

use std::path::{Path, PathBuf};

use clode_core::money::Money;
use clode_core::task::Origin;
use clode_core::workspace::Repository;
use clode_core::{Error, Result};

/// Largest file that a place may be in (bytes).
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A place in a file; lines count from 1, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    file: PathBuf,
    first: u32,
    last: u32,
}

/// Reads `FILE:LINE` or `FILE:LINE-LINE`.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    let wrong =
        || "expected FILE:LINE or FILE:LINE-LINE, such as src/main.rs:12 or src/main.rs:12-20".to_owned();
    let (file, lines) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
    let number = |digits: &str| digits.parse::<u32>().map_err(|_| wrong());
    let (first, last) = (number(first)?, number(last)?);
    if file.is_empty() {
        return Err(wrong());
    }
    if first == 0 || last < first {
        return Err("lines count from 1, and the last one is not before the first".to_owned());
    }
    Ok(Place {
        file: PathBuf::from(file),
        first,
        last,
    })
}

/// Reads an amount of US dollars: `5`, `0.25`, `$5`.
pub(crate) fn money(text: &str) -> Result<Money, String> {
    let wrong = || "expected an amount of US dollars, such as 5 or 0.25".to_owned();
    let digits = text.trim().trim_start_matches('$');
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    digits.parse().ok().and_then(Money::from_usd).ok_or_else(wrong)
}

impl Place {
    /// The place as a task knows it: a path below the top level, lines from 0, and the text there.
    pub(super) fn origin(&self, folder: &Path, repository: &Repository) -> Result<Origin> {
        let shown = self.file.display();
        let file = std::fs::canonicalize(folder.join(&self.file)).map_err(|error| {
            Error::usage("placeUnknown", format!("--at: {shown} cannot be opened: {error}"))
        })?;
        let relative = file
            .strip_prefix(&repository.top_level)
            .ok()
            .and_then(Path::to_str)
            .ok_or_else(|| {
                Error::usage(
                    "placeOutside",
                    format!("--at: {shown} is not in {}", repository.top_level.display()),
                )
            })?;
        let text = read(&file)?;
        let count = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
        if self.first > count {
            return Err(Error::usage(
                "placeUnknown",
                format!("--at: {shown} has {count} lines, there is no line {}", self.first),
            ));
        }
        let (start_line, end_line) = (self.first - 1, self.last.min(count));
        let lines = text
            .lines()
            .skip(start_line as usize)
            .take((end_line - start_line) as usize);
        let text = lines.flat_map(|line| [line, "\n"]).collect();
        Ok(Origin {
            path: relative.replace('\\', "/"),
            start_line,
            end_line,
            text,
        })
    }
}

fn read(file: &Path) -> Result<String> {
    let failed = |error: &std::io::Error| {
        Error::usage(
            "placeUnknown",
            format!("--at: {} cannot be read: {error}", file.display()),
        )
    };
    let size = std::fs::metadata(file).map_err(|error| failed(&error))?;
    if !size.is_file() || size.len() > FILE_BYTES_MAX {
        return Err(Error::usage(
            "placeUnknown",
            format!("--at: {} is no text file of a usual size", file.display()),
        ));
    }
    std::fs::read_to_string(file).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_with_a_line_or_lines() {
        let read =
            |text: &str| place(text).map(|place| (place.file.display().to_string(), place.first, place.last));
        assert_eq!(read("src/a.rs:7"), Ok(("src/a.rs".to_owned(), 7, 7)));
        assert_eq!(read("src/a.rs:7-9"), Ok(("src/a.rs".to_owned(), 7, 9)));
        assert_eq!(read("odd:name.rs:1"), Ok(("odd:name.rs".to_owned(), 1, 1)));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "a.rs",
            ":3",
            "a.rs:",
            "a.rs:x",
            "a.rs:0",
            "a.rs:9-3",
            "a.rs:-1",
            "a.rs:1-",
            "a.rs:99999999999",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn money_is_dollars_and_never_something_else() {
        assert_eq!(money("5"), Ok(Money::from_dollars(5)));
        assert_eq!(
            money("$0.25").map(|money| money.to_string()),
            Ok("$0.2500".to_owned())
        );
        for text in ["", "$", "-1", "nan", "inf", "1e3", "5 EUR", "1,50", "99999999999"] {
            assert!(money(text).is_err(), "{text}");
        }
    }
}
