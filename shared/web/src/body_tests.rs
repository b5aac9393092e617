use http::HeaderValue;

use super::*;

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn version(number: u64) -> IfMatch {
    IfMatch::Version(ledgerline_kernel::Version::new(number).unwrap())
}

#[test]
fn if_match_takes_one_version_in_quotes_or_a_star() {
    assert_eq!(if_match(&headers(&[])).unwrap(), None);
    assert_eq!(if_match(&headers(&[(IF_MATCH, "\"3\"")])).unwrap(), Some(version(3)));
    assert_eq!(if_match(&headers(&[(IF_MATCH, " \"12\" ")])).unwrap(), Some(version(12)));
    assert_eq!(if_match(&headers(&[(IF_MATCH, "*")])).unwrap(), Some(IfMatch::Any));
}

#[test]
fn if_match_refuses_weak_tags_lists_and_garbage() {
    for text in [
        "",
        "3",
        "\"3",
        "W/\"3\"",
        "\"3\", \"4\"",
        "\"03\"",
        "\"0\"",
        "\"+3\"",
        "\"a\"",
        "\"\"",
        "**",
        "\"99999999999\"",
        "\"٣\"",
    ] {
        assert!(if_match(&headers(&[(IF_MATCH, text)])).is_err(), "{text:?}");
    }
    assert!(if_match(&headers(&[(IF_MATCH, "\"3\""), (IF_MATCH, "\"3\"")])).is_err(), "twice");
}

#[test]
fn if_none_match_is_a_star_on_a_create_and_nothing_else() {
    let sent = |text| headers(&[(IF_NONE_MATCH, text)]);
    assert_eq!(if_none_match(&sent("*"), true), Ok(()));
    assert!(if_none_match(&sent("*"), false).is_err());
    for creates in [true, false] {
        assert_eq!(if_none_match(&headers(&[]), creates), Ok(()));
        for text in ["\"1\"", "W/\"1\"", "", "*, *"] {
            assert!(if_none_match(&sent(text), creates).is_err(), "{text}");
        }
    }
}

#[test]
fn json_is_accepted_with_or_without_a_utf_8_charset() {
    for text in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""] {
        assert!(is_acceptable(&headers(&[(CONTENT_TYPE, text)]), Accepts::Json), "{text:?}");
    }
}

#[test]
fn other_media_types_and_encodings_are_not_accepted() {
    for text in
        ["", "text/plain", "application/jsonx", "application/json; charset=latin1", "application/json; x=y", "*/*"]
    {
        assert!(!is_acceptable(&headers(&[(CONTENT_TYPE, text)]), Accepts::Json), "{text:?}");
    }
    assert!(!is_acceptable(&headers(&[]), Accepts::Json), "none at all");
    let twice = headers(&[(CONTENT_TYPE, "application/json"), (CONTENT_TYPE, "application/json")]);
    assert!(!is_acceptable(&twice, Accepts::Json), "twice");
    let packed = headers(&[(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")]);
    assert!(!is_acceptable(&packed, Accepts::Json), "compressed");
}

#[test]
fn a_merge_patch_is_accepted_where_one_is_meant() {
    let patch = headers(&[(CONTENT_TYPE, "application/merge-patch+json")]);
    assert!(is_acceptable(&patch, Accepts::MergePatch));
    assert!(!is_acceptable(&patch, Accepts::Json));
}
