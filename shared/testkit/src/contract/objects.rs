//! The contract of objects under keys: [`SourceObjects`].
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use ledgerline_kernel::ports::SourceObjects;

const KEY: &str = "imports/acme/01J/é 1+2.csv";

async fn whole(objects: &impl SourceObjects, key: &str) -> Option<Vec<u8>> {
    objects.read(key, &etag(objects, key).await, 0, 10_000_000).await.unwrap()
}

async fn etag(objects: &impl SourceObjects, key: &str) -> String {
    objects.head(key).await.unwrap().unwrap().etag
}

/// It has no head and no content, and nothing is made of it.
///
/// # Panics
/// If it is not so.
pub async fn an_object_that_is_not_there_is_no_error(objects: &impl SourceObjects) {
    assert_eq!(objects.head(KEY).await, Ok(None));
    assert_eq!(objects.read(KEY, "no etag", 0, 10).await, Ok(None));
    assert_eq!(objects.copy(KEY, "other").await, Ok(false));
    assert_eq!(objects.head("other").await, Ok(None));
}

/// From its first byte to beyond its last, and an empty one too.
///
/// # Panics
/// If it is not so.
pub async fn an_object_is_read_back_to_the_byte_in_any_range(objects: &impl SourceObjects) {
    let content: Vec<u8> = (0..=u8::MAX).cycle().take(3_000_000).collect();
    objects.put(KEY, content.clone()).await.unwrap();
    assert_eq!(objects.head(KEY).await.unwrap().unwrap().size, 3_000_000);
    let etag = etag(objects, KEY).await;
    for (offset, length) in
        [(0, 3_000_000), (0, 1), (0, 0), (7, 1000), (2_999_990, 100), (3_000_000, 5), (9_000_000, 5)]
    {
        let read = objects.read(KEY, &etag, offset, length).await.unwrap().unwrap();
        let (start, end) = (offset.min(3_000_000), (offset + length).min(3_000_000));
        let expected = content.get(usize::try_from(start).unwrap()..usize::try_from(end).unwrap()).unwrap();
        assert!(read == expected, "{length} bytes from {offset}: {} came", read.len());
    }
    objects.put("empty", Vec::new()).await.unwrap();
    assert_eq!(objects.head("empty").await.unwrap().unwrap().size, 0);
    assert_eq!(whole(objects, "empty").await, Some(Vec::new()));
}

/// Another content is told by its etag.
///
/// # Panics
/// If it is not so.
pub async fn an_object_is_replaced_and_its_etag_with_it(objects: &impl SourceObjects) {
    objects.put(KEY, b"one".to_vec()).await.unwrap();
    let one = objects.head(KEY).await.unwrap().unwrap();
    objects.put(KEY, b"two".to_vec()).await.unwrap();
    let two = objects.head(KEY).await.unwrap().unwrap();
    assert_eq!((one.size, two.size), (3, 3));
    assert_ne!(one.etag, two.etag);
    assert_eq!(whole(objects, KEY).await.unwrap(), b"two");
}

/// Whoever has begun to read it is given nothing of another one.
///
/// # Panics
/// If it is not so.
pub async fn nothing_is_read_of_an_object_that_was_replaced(objects: &impl SourceObjects) {
    objects.put(KEY, b"one,one".to_vec()).await.unwrap();
    let one = etag(objects, KEY).await;
    assert_eq!(objects.read(KEY, &one, 0, 4).await, Ok(Some(b"one,".to_vec())));
    objects.put(KEY, b"two,two".to_vec()).await.unwrap();
    for (offset, length) in [(4, 3), (4, 0), (0, 7)] {
        assert_eq!(objects.read(KEY, &one, offset, length).await, Ok(None), "{length} bytes from {offset}");
    }
}

/// Both are there afterwards.
///
/// # Panics
/// If it is not so.
pub async fn a_copy_has_the_content_of_what_it_was_made_of(objects: &impl SourceObjects) {
    objects.put(KEY, b"rows".to_vec()).await.unwrap();
    assert_eq!(objects.copy(KEY, "imports/acme/copy").await, Ok(true));
    for key in [KEY, "imports/acme/copy"] {
        assert_eq!(whole(objects, key).await.unwrap(), b"rows", "{key}");
    }
}

/// Its content stays.
///
/// # Panics
/// If it is not so.
pub async fn an_object_can_be_copied_onto_itself(objects: &impl SourceObjects) {
    objects.put(KEY, b"rows".to_vec()).await.unwrap();
    let before = objects.head(KEY).await.unwrap();
    assert_eq!(objects.copy(KEY, KEY).await, Ok(true));
    assert_eq!(whole(objects, KEY).await.unwrap(), b"rows");
    assert_eq!(objects.head(KEY).await.unwrap(), before);
}
