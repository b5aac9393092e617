use std::collections::BTreeSet;

use ledgerline_kernel::ports::{EntityList as _, ListQuery, Sort};
use ledgerline_kernel::search::words;
use sqlx::AssertSqlSafe;

use super::fields::Goods;
use super::{all_of, migrated, run};

/// The generated column and the kernel must agree on what a word is, or nothing is found.
#[tokio::test]
async fn every_character_is_to_the_table_what_it_is_to_a_search() {
    let (views, _database) = migrated().await;
    let expression: String =
        sqlx::query_scalar("SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'product'::regclass")
            .fetch_one(&views.pool)
            .await
            .unwrap();
    // Without what differs from one release of Unicode to the next: rare scripts beyond these.
    let rows: Vec<(i32, Vec<String>)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT number, tsvector_to_array({expression}) FROM (
             SELECT number, 'acme' AS tenant_code, 'x' || chr(number) || 'Y' AS code, '' AS name, NULL AS description
             FROM generate_series(1, x'1fb00'::int) AS number
             WHERE number NOT BETWEEN x'a700'::int AND x'f8ff'::int AND number NOT BETWEEN x'10000'::int AND x'1efff'::int
         ) AS product"
    )))
    .fetch_all(&views.pool)
    .await
    .unwrap();
    assert!(rows.len() > 40_000);
    let mut different = Vec::new();
    for (number, lexemes) in rows {
        let character = char::from_u32(number.unsigned_abs()).unwrap();
        let held: BTreeSet<String> =
            lexemes.iter().filter_map(|lexeme| lexeme.strip_prefix("acme@")).map(str::to_owned).collect();
        let expected = words(&format!("x{character}Y"));
        // A trailing blank leaves an empty word behind, which nobody can look for.
        if held.iter().filter(|word| !word.is_empty()).ne(expected.iter()) {
            different.push((number, held, expected));
        }
    }
    // Lower case of İ, which is two characters, is one in what PostgreSQL brings along. The others are
    // characters that Unicode 16 and 17 have added.
    different.retain(|(number, ..)| !matches!(number, 0x130 | 0x558 | 0x58b | 0x58c | 0x1c89 | 0x209d..=0x209f));
    assert!(
        different.is_empty(),
        "{} characters, such as {:?}",
        different.len(),
        &different[..20.min(different.len())]
    );
}

#[tokio::test]
async fn the_longest_texts_and_words_have_their_place() {
    let (views, _database) = migrated().await;
    let insert = "INSERT INTO product (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash,
            created_at, created_by, created_ip, updated_at, updated_by, updated_ip, description)
        SELECT number::text, 'acme', number::text, '', number::text, '', repeat('c', 64), repeat('字', 200), 1, false, '',
            now(), '', '', now(), '', '', text
        FROM UNNEST(ARRAY[repeat('字', 4000), repeat('a ', 2000), repeat(chr(65018), 4000),
            (SELECT string_agg(to_hex(n), '-') FROM generate_series(1, 100000) AS n)]) WITH ORDINALITY AS t (text, number)";
    sqlx::raw_sql(insert).execute(&views.pool).await.unwrap();
}

/// Of 2,600 rows, so that each way of finding words is gone: among the first, by the index on words,
/// among the first thousand, and all that there are gathered.
#[tokio::test]
async fn words_are_found_however_many_rows_have_them_and_wherever_those_are() {
    let (views, _database) = migrated().await;
    let fill = "INSERT INTO product (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash,
            created_at, created_by, created_ip, updated_at, updated_by, updated_ip, price, description)
        SELECT pk || '#' || sk, 'acme', pk, sk, pk, sk || '@0000000001', sk, 'n', 1, n % 10 = 3, repeat('0', 64),
            now(), '', '', now(), '', '', n, concat_ws(' ', 'all',
                CASE WHEN n % 7 = 0 THEN 'seventh' END, CASE WHEN n % 120 = 5 THEN 'scattered' END,
                CASE WHEN n > 1200 THEN 'late' END, CASE WHEN n IN (40, 1900, 1901, 1902) THEN 'few' END,
                CASE WHEN n > 2550 THEN 'last' END)
        FROM (SELECT n, 'PRODUCT#acme' AS pk, to_char(n, 'fm0000') AS sk FROM generate_series(1, 2600) AS n) AS numbers
        ORDER BY md5(n::text)";
    run(&views, fill).await;
    let has = |word: &str, n: i32| match word {
        "all" => true,
        "seventh" => n % 7 == 0,
        "scattered" => n % 120 == 5,
        "late" => n > 1200,
        "few" => [40, 1900, 1901, 1902].contains(&n),
        "last" => n > 2550,
        _ => false,
    };
    for word in ["all", "seventh", "scattered", "late", "few", "last", "none"] {
        for (descending, include_deleted) in [(false, false), (true, false), (false, true)] {
            let mut expected: Vec<String> = (1..=2600)
                .filter(|n| has(word, *n) && (include_deleted || n % 10 != 3))
                .map(|n| format!("{n:04}"))
                .collect();
            if descending {
                expected.reverse();
            }
            let sort = vec![Sort { field: "price".to_owned(), descending }];
            let words = vec![word.to_owned()];
            let mut query = ListQuery { words, sort, limit: 20, include_deleted, ..all_of("acme") };
            let mut found = Vec::new();
            loop {
                let page = views.list(&Goods::new(), &query).await.unwrap();
                found.extend(page.entities.iter().map(|entity| entity.key.sk.to_string()));
                query.limit = 200;
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{word}, descending {descending}, deleted {include_deleted}");
        }
    }
}
