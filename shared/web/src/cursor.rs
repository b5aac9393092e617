//! Cursors: where a list goes on, signed, so that a caller can neither make one up nor use one with
//! other parameters or another tenant's list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use ulid::Ulid;

use crate::problem::RequestError;

/// The key that cursors are signed with. Every instance of a function needs the same one.
#[derive(Clone)]
pub struct CursorKey(Vec<u8>);

/// A cursor key that could be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor key has at least {} bytes", CursorKey::MIN_BYTES)]
pub struct WeakCursorKey;

const MAC_BYTES: usize = 32;

impl CursorKey {
    /// Shorter keys are refused.
    pub const MIN_BYTES: usize = 32;

    /// A key from a secret text.
    ///
    /// # Errors
    /// [`WeakCursorKey`] below [`CursorKey::MIN_BYTES`].
    pub fn new(secret: &str) -> Result<Self, WeakCursorKey> {
        if secret.len() < Self::MIN_BYTES { Err(WeakCursorKey) } else { Ok(Self(secret.as_bytes().to_vec())) }
    }

    /// A random key, for a process that hands out no cursors or keeps them to itself.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self((0..4).flat_map(|_| Ulid::generate().to_bytes()).collect())
    }

    /// Writes `position` as a cursor that is good for `scope` only.
    pub(crate) fn seal<T: Serialize>(&self, scope: &[&str], position: &T) -> String {
        let payload = serde_json::to_vec(position).unwrap_or_default();
        let mut sealed = self.mac(scope, &payload).finalize().into_bytes().to_vec();
        sealed.extend_from_slice(&payload);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Reads a cursor back that was sealed for the same scope.
    pub(crate) fn open<T: DeserializeOwned>(&self, scope: &[&str], cursor: &str) -> Result<T, RequestError> {
        let sealed = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| RequestError::Cursor)?;
        let (mac, payload) = sealed.split_at_checked(MAC_BYTES).ok_or(RequestError::Cursor)?;
        self.mac(scope, payload).verify_slice(mac).map_err(|_| RequestError::Cursor)?;
        serde_json::from_slice(payload).map_err(|_| RequestError::Cursor)
    }

    fn mac(&self, scope: &[&str], payload: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        for part in scope.iter().map(|part| part.as_bytes()).chain([payload]) {
            // With its length, so that no two scopes run into the same bytes.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: &str) -> CursorKey {
        CursorKey::new(&fill.repeat(32)).unwrap()
    }

    #[test]
    fn a_cursor_opens_in_its_own_scope() {
        let cursor = key("k").seal(&["acme", "products", "-price"], &("12.50", 7));
        assert_eq!(
            key("k").open::<(String, u32)>(&["acme", "products", "-price"], &cursor).unwrap(),
            ("12.50".into(), 7)
        );
    }

    #[test]
    fn a_cursor_is_refused_in_any_other_scope_and_under_another_key() {
        let cursor = key("k").seal(&["ab", "c"], &1);
        for scope in [&["a", "bc"][..], &["ab"], &["ab", "c", ""], &["ab", "d"], &[]] {
            assert!(key("k").open::<u32>(scope, &cursor).is_err(), "{scope:?}");
        }
        assert!(key("x").open::<u32>(&["ab", "c"], &cursor).is_err());
    }

    #[test]
    fn a_cursor_with_any_character_changed_is_refused() {
        let cursor = key("k").seal(&["s"], &1);
        for index in 0..cursor.len() {
            let mut changed: Vec<char> = cursor.chars().collect();
            changed[index] = if changed[index] == 'A' { 'B' } else { 'A' };
            let changed = String::from_iter(changed);
            assert!(key("k").open::<u32>(&["s"], &changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "A", "not base64!", "AAAA", &"A".repeat(200)] {
            assert!(key("k").open::<u32>(&["s"], text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn short_keys_are_refused_and_ephemeral_ones_differ() {
        assert_eq!(CursorKey::new(&"k".repeat(31)).err(), Some(WeakCursorKey));
        assert_ne!(CursorKey::ephemeral().0, CursorKey::ephemeral().0);
    }
}
