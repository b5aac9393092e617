//! The words of a text, as a search by words sees them.
//!
//! Read models keep the words of their rows in their own way, a Postgres table in a generated column
//! whose expression says the same as this module, character by character.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;

/// Longer runs of characters without a separator, such as a sentence of Chinese, are several words.
const LONGEST_WORD: usize = 60;

/// What separates words: punctuation, symbols and blanks. Everything else is part of one.
const SEPARATORS: [(char, char); 21] = [
    ('\0', '/'),
    (':', '@'),
    ('[', '`'),
    ('{', '\u{bf}'),
    ('\u{d7}', '\u{d7}'),
    ('\u{f7}', '\u{f7}'),
    ('\u{2000}', '\u{2bff}'),
    ('\u{2e00}', '\u{2e7f}'),
    ('\u{3000}', '\u{3004}'),
    ('\u{3008}', '\u{3020}'),
    ('\u{3030}', '\u{3030}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{fe30}', '\u{fe6f}'),
    ('\u{ff01}', '\u{ff0f}'),
    ('\u{ff1a}', '\u{ff20}'),
    ('\u{ff3b}', '\u{ff40}'),
    ('\u{ff5b}', '\u{ff65}'),
    ('\u{fff0}', '\u{ffff}'),
    ('\u{1f000}', '\u{1faff}'),
    ('\u{e0000}', '\u{10ffff}'),
];

/// The words of a text, each once: in lower case, in Unicode normalisation form KC, of 60 characters
/// at most. Empty where there is no letter or digit.
#[must_use]
pub fn words(text: &str) -> BTreeSet<String> {
    let normal: String = text.nfkc().collect();
    // One sigma: which of the two ends a word depends on where the word ends.
    let lower = normal.to_lowercase().replace('ς', "σ");
    let mut words = BTreeSet::new();
    for run in lower.split(is_separator).filter(|run| !run.is_empty()) {
        let mut rest = run;
        while let Some((end, _)) = rest.char_indices().nth(LONGEST_WORD) {
            let (word, more) = rest.split_at(end);
            words.insert(word.to_owned());
            rest = more;
        }
        words.insert(rest.to_owned());
    }
    words
}

fn is_separator(character: char) -> bool {
    SEPARATORS.iter().any(|(first, last)| (*first..=*last).contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_words(text: &str, expected: &[&str]) {
        assert_eq!(words(text).iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn words_are_separated_by_punctuation_symbols_and_blanks() {
        assert_words("R-7: Solitaire\tring (0.23 ct)", &["0", "23", "7", "ct", "r", "ring", "solitaire"]);
        assert_words("a&b|c!d:*<->e'f\"g\\h\0i💎j", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    }

    #[test]
    fn case_and_form_of_a_character_make_no_difference() {
        for spelling in ["éclat", "ÉCLAT", "E\u{301}clat", "Ｅ\u{301}CLAT"] {
            assert_words(spelling, &["éclat"]);
        }
        assert_words("ΟΔΟΣ οδος", &["οδοσ"]);
    }

    #[test]
    fn what_has_no_letter_or_digit_has_no_words() {
        for text in ["", "  ", "!&|:*()'\"\\<->", "\0", "💎✨", "。、「」"] {
            assert_words(text, &[]);
        }
    }

    #[test]
    fn a_long_run_of_characters_is_several_words() {
        let text = "字".repeat(130);
        assert_words(&text, &["字".repeat(10).as_str(), "字".repeat(60).as_str()]);
        assert_words(&"x".repeat(60), &["x".repeat(60).as_str()]);
    }
}
