use proptest::prelude::*;

use super::*;

fn key(sk: &str) -> EntityKey {
    EntityKey::new("PRODUCT".parse().unwrap(), "acme".parse().unwrap(), sk.parse().unwrap())
}

/// Sort keys made of the characters that could confuse a key, and of any others.
fn sort_key() -> impl Strategy<Value = SortKey> {
    let hostile = prop::sample::select(vec!['%', '@', '#', '/', '\u{1}', '\u{7f}', '\u{85}', '0', '4', 'a', 'é', '𝄞']);
    prop::collection::vec(prop_oneof![hostile, any::<char>()], 1..40)
        .prop_filter_map("a valid sort key", |chars| String::from_iter(chars).parse().ok())
}

proptest! {
    #[test]
    fn a_stored_sort_key_reads_back_as_the_one_it_was_built_from(sk in sort_key()) {
        prop_assert_eq!(SortKey::decode(&sk.encoded()), Ok(sk));
    }

    #[test]
    fn an_id_reads_back_as_the_key_it_was_built_from(sk in sort_key()) {
        let key = EntityKey::new("A_1".parse().unwrap(), "t-1".parse().unwrap(), sk);
        prop_assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn a_versioned_key_reads_back_and_starts_with_its_entitys_prefix(sk in sort_key(), number in 1..=9_999_999_999_u64) {
        let entity = key(sk.as_str());
        let versioned = entity.at(Version::new(number).unwrap());
        prop_assert!(versioned.to_string().starts_with(&entity.version_prefix()));
        prop_assert_eq!(versioned.to_string().parse(), Ok(versioned));
    }

    #[test]
    fn different_sort_keys_never_share_a_stored_key_or_a_range(a in sort_key(), b in sort_key()) {
        prop_assume!(a != b);
        let (a, b) = (key(a.as_str()), key(b.as_str()));
        prop_assert_ne!(a.to_string(), b.to_string());
        prop_assert!(!a.at(Version::FIRST).to_string().starts_with(&b.version_prefix()));
    }

    #[test]
    fn any_text_that_decodes_encodes_to_itself(text in "[%@#A-F0-9a-f\\x00-\\x20é]{1,12}") {
        if let Ok(sk) = SortKey::decode(&text) {
            prop_assert_eq!(sk.encoded(), text);
        }
    }

    #[test]
    fn text_order_of_padded_versions_is_number_order(a in 1..=9_999_999_999_u64, b in 1..=9_999_999_999_u64) {
        let (a, b) = (Version::new(a).unwrap(), Version::new(b).unwrap());
        prop_assert_eq!(a.cmp(&b), a.padded().cmp(&b.padded()));
    }
}

#[test]
fn keys_are_spelled_as_documented() {
    let key = key("50%@home#1");
    assert_eq!(key.partition.to_string(), "PRODUCT#acme");
    assert_eq!(key.to_string(), "PRODUCT#acme#50%25%40home%231");
    assert_eq!(key.at(Version::new(3).unwrap()).to_string(), "50%25%40home%231@0000000003");
}

#[test]
fn types_and_tenants_outside_their_alphabet_are_refused() {
    for text in ["", "product", "1A", "A-B", "Ä", &"A".repeat(33)] {
        assert_eq!(text.parse::<EntityType>(), Err(KeyError::EntityType), "{text:?}");
    }
    for text in ["", "Acme", "-acme", "a_b", "a#b", &"a".repeat(64)] {
        assert_eq!(text.parse::<TenantCode>(), Err(KeyError::TenantCode), "{text:?}");
    }
}

#[test]
fn a_sort_key_is_1_to_128_characters_in_nfc_without_nul() {
    assert!("é".repeat(128).parse::<SortKey>().is_ok());
    assert_eq!("".parse::<SortKey>(), Err(KeyError::SortKeyLength));
    assert_eq!("a".repeat(129).parse::<SortKey>(), Err(KeyError::SortKeyLength));
    assert_eq!("e\u{301}".parse::<SortKey>(), Err(KeyError::SortKeyNotNfc));
    assert_eq!("a\0b".parse::<SortKey>(), Err(KeyError::SortKeyNul));
}

#[test]
fn the_longest_sort_key_fits_dynamodbs_1024_bytes() {
    let sk: SortKey = "\u{85}".repeat(128).parse().unwrap();
    assert!(key(sk.as_str()).at(Version::MAX).to_string().len() <= 1024);
}

#[test]
fn versions_run_from_1_to_ten_digits() {
    assert_eq!(Version::new(0), Err(KeyError::Version));
    assert_eq!(Version::MAX.next(), Err(KeyError::Version));
    assert_eq!(Version::FIRST.next().unwrap().number(), 2);
    for text in ["0", "01", "+1", "1.0", "", "10000000000", " 1"] {
        assert_eq!(text.parse::<Version>(), Err(KeyError::Version), "{text:?}");
    }
}
