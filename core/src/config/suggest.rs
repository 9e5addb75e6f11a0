//! "Did you mean …?" for keys and names.

/// The known word that is nearest to what was written, if one is near enough to be meant.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const WORD_CHARS_MAX: usize = 64;
    const PREFIX_CHARS_MIN: usize = 4;
    let written_lower = written.to_ascii_lowercase().replace(['_', '-'], "");
    let written_chars = written_lower.chars().count();
    if written_chars > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (written_chars / 3).max(1);
    known
        .into_iter()
        .filter_map(|word| {
            let known = word.to_ascii_lowercase().replace(['_', '-'], "");
            let distance = distance(&written_lower, &known);
            let begins_alike = written_chars >= PREFIX_CHARS_MIN && known.starts_with(&written_lower);
            (distance <= allowed || begins_alike).then_some((distance, word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (row, from) in left.chars().enumerate() {
        let mut current = Vec::with_capacity(right.len() + 1);
        current.push(row + 1);
        for (column, to) in right.iter().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (get(&last, column) + usize::from(from != *to))
                .min(get(&last, column + 1) + 1)
                .min(get(&current, column) + 1);
            let swapped = column > 0 && previous == Some(*to) && right.get(column - 1) == Some(&from);
            if swapped {
                best = best.min(get(&before_last, column - 1) + 1);
            }
            current.push(best);
        }
        previous = Some(from);
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["rpm", "tpm", "dailyBudgetUSD", "concurrency"];
        assert_eq!(nearest("rmp", known), Some("rpm"));
        assert_eq!(nearest("daily_budget_usd", known), Some("dailyBudgetUSD"));
        assert_eq!(nearest("concurency", known), Some("concurrency"));
        assert_eq!(nearest("dailyBudget", known), Some("dailyBudgetUSD"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }
}
