//! `X-Min-Version: {sk}@{N}`: what a read has to show before it answers.

use http::HeaderMap;
use ledgerline_app::{MinVersions, ParameterProblem};
use ledgerline_kernel::{SortKey, Version};
use percent_encoding::percent_decode_str;

use crate::prefer::patience;

pub(crate) const X_MIN_VERSION: &str = "X-Min-Version";

/// A list waits for no more than so many entities.
const MOST: usize = 20;

/// Reads what is asked for in any number of headers, each of which may list several separated by
/// commas. The `sk` is percent-encoded; then a comma is `%2C`, and an `@` is `%40`, so that any other
/// separator is noticed and not taken for a part of a key.
pub(crate) fn min_versions(headers: &HeaderMap) -> Result<MinVersions, ParameterProblem> {
    let mut versions = Vec::new();
    for line in headers.get_all(X_MIN_VERSION) {
        let line = line.to_str().map_err(|_| refused("must be ASCII, the rest percent-encoded"))?;
        for one in line.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            versions.push(read(one).ok_or_else(|| {
                refused("must be {sk}@{version}, the sk percent-encoded, several separated by commas")
            })?);
        }
    }
    if versions.len() > MOST {
        return Err(refused("must name 20 entities at most"));
    }
    Ok(MinVersions { versions, patience: patience(headers) })
}

fn refused(message: &str) -> ParameterProblem {
    ParameterProblem::new(X_MIN_VERSION, message)
}

fn read(text: &str) -> Option<(SortKey, Version)> {
    let (sk, version) = text.split_once('@')?;
    let sk = percent_decode_str(sk).decode_utf8().ok()?;
    Some((sk.parse().ok()?, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read_all(lines: &[&str]) -> Option<Vec<(String, u64)>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_MIN_VERSION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let versions = min_versions(&headers).ok()?.versions;
        Some(versions.iter().map(|(sk, version)| (sk.to_string(), version.number())).collect())
    }

    #[test]
    fn headers_and_lists_in_them_add_up() {
        let expected = [("a".to_owned(), 1), ("b c".to_owned(), 22), ("é,@".to_owned(), 3), ("x@y".to_owned(), 4)];
        assert_eq!(read_all(&["a@1 , b%20c@22,", "%C3%A9%2C%40@3", "x%40y@4"]).unwrap(), expected);
        assert_eq!(read_all(&[]).unwrap(), []);
    }

    #[test]
    fn what_is_no_key_and_version_is_refused() {
        for line in ["a", "@1", "a@", "a@0", "a@-1", "a@1.0", "%FF@1", "%00@1", "é@1", "a@99999999999"] {
            assert_eq!(read_all(&[line]), None, "{line}");
        }
    }

    #[test]
    fn any_other_separator_than_a_comma_is_refused() {
        for line in ["a@1;b@2", "a@1 b@2", "a@1; b@2", "a@1|b@2", "a@1&b@2", "a@1/b@2", "x@y@4"] {
            assert_eq!(read_all(&[line]), None, "{line}");
        }
    }

    #[test]
    fn so_many_entities_and_no_more() {
        let line = |number| vec!["a@1"; number].join(",");
        assert_eq!(read_all(&[&line(20)]).unwrap().len(), 20);
        assert_eq!(read_all(&[&line(20), "a@1"]), None);
    }
}
