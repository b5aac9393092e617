//! Rows that were not accepted, mended and imported again.

use ledgerline_import_file::Found;
use serde_json::json;

use super::*;

impl World {
    /// An import of an archive with these files, to its end.
    async fn import_archive(&self, files: &[(&str, &str)]) -> ImportStatus {
        let job = self.ask(ImportMode::Upsert).await;
        let found = files.iter().flat_map(|(name, csv)| {
            let rows = read(Cursor::new(csv.as_bytes().to_vec()), ImportFormat::Csv, &Limits::default());
            rows.map(|found| match found.unwrap() {
                Found::File { columns, .. } => Ok(Found::File { name: Some((*name).to_owned()), columns }),
                row @ Found::Row { .. } => Ok(row),
            })
        });
        let found: Vec<_> = found.collect();
        let mut chunks = FileChunks::new(&job.key, found.into_iter(), ChunkLimits::default());
        let splitter = self.splitter_on(&self.ports());
        let begun = splitter.begin(&job.key, "an etag").await.unwrap().unwrap();
        splitter.split(&begun, &mut chunks, &|| true).await.unwrap();
        for chunk in self.messages() {
            assert_eq!(self.work(&chunk).await, ChunkWorked::Done);
        }
        self.status(&job.key).await
    }

    /// The error files of an import: those that make one are put together.
    async fn error_files(&self, key: &ImportKey) -> Vec<String> {
        let (mut files, mut next) = (Vec::<String>::new(), None);
        loop {
            let page = self.imports().error_page(key, next).await.unwrap();
            let csv = String::from_utf8(page.csv).unwrap();
            match files.last_mut() {
                Some(file) if !page.has_header => file.push_str(&csv),
                _ => files.push(csv),
            }
            assert!(page.table as usize == files.len() || files == [""], "table {} of {}", page.table, files.len());
            next = page.next;
            if next.is_none() {
                return files;
            }
        }
    }

    fn attributes(&self, code: &str) -> Value {
        self.by_code(code).state["attributes"].clone()
    }
}

#[tokio::test]
async fn the_error_file_of_a_csv_is_mended_and_imported_again() {
    let world = World::default();
    let text = "code,name,price,description\nR-1,Ring,10,fine\nR-2,\"Ring, \"\"2\"\"\",x,\nR-3,Ring\n";
    let status = world.import(ImportMode::Create, text).await;
    assert_eq!(status.counts, counts(1, 0, 0, 2));
    let [errors] = world.error_files(&status.job.key).await.try_into().unwrap();
    assert!(errors.starts_with("code,name,price,description,import_row,import_code,import_message,import_text\r\n"));
    let again = world.import(ImportMode::Create, &errors).await;
    assert_eq!(again.counts, counts(0, 0, 0, 2), "as they were, they are not accepted again");

    let mended = errors.replace(",x,,3,", ",20,,3,").replace("\"R-3,Ring\"", "\"R-3,Ring,30,third\"");
    let again = world.import(ImportMode::Create, &mended).await;
    assert_eq!(again.counts, counts(2, 0, 0, 0));
    assert_eq!(
        (&world.by_code("R-2").state["name"], &world.attributes("R-2")),
        (&json!("Ring, \"2\""), &json!({"price": "20"}))
    );
    assert_eq!(world.attributes("R-3"), json!({"price": "30", "description": "third"}));
    assert_eq!(world.error_files(&again.job.key).await, [""], "nothing is left to mend");
}

#[tokio::test]
async fn rows_of_an_archive_whose_files_have_other_columns_come_back_as_files_that_take_nothing_from_an_entity() {
    let world = World::default();
    world.import(ImportMode::Create, "code,name,description\nA-1,Ring,kept\nB-1,Ring,kept\n").await;
    let files = [("a.csv", "code,name\nA-1,\n"), ("b.csv", "code,price\nB-1,x\nB-2,5\n")];
    let status = world.import_archive(&files).await;
    assert_eq!(status.counts, counts(0, 0, 0, 3), "the last one has no name");
    let [a, b] = world.error_files(&status.job.key).await.try_into().unwrap();
    assert!(a.starts_with("code,name,import_row,import_file,") && b.starts_with("code,price,import_row,import_file,"));

    let of_a = world.import(ImportMode::Upsert, &a.replace("A-1,,", "A-1,Solitaire,")).await;
    let of_b = world.import(ImportMode::Upsert, &b.replace("B-1,x,", "B-1,7,")).await;
    assert_eq!((of_a.counts, of_b.counts), (counts(0, 1, 0, 0), counts(0, 1, 0, 1)));
    assert_eq!(world.attributes("A-1"), json!({"description": "kept"}));
    assert_eq!(world.attributes("B-1"), json!({"price": "7", "description": "kept"}));
}

#[tokio::test]
async fn files_with_the_same_columns_make_one_table_until_others_come_in_between() {
    let world = World::default();
    let (narrow, wide) = ("code,name\nA-1,\nA-2,\n", "code,name,price\nB-1,,1\n");
    let files = [("1.csv", narrow), ("2.csv", narrow), ("3.csv", wide), ("4.csv", narrow)];
    let status = world.import_archive(&files).await;
    let tables = world.error_files(&status.job.key).await;
    let names = |table: &String| {
        table.lines().skip(1).map(|line| line.split(',').nth_back(3).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let names: Vec<_> = tables.iter().map(names).collect();
    assert_eq!(names, [vec!["1.csv", "1.csv", "2.csv", "2.csv"], vec!["3.csv"], vec!["4.csv", "4.csv"]]);
    assert!(tables.iter().all(|table| table.matches("import_row").count() == 1), "{tables:?}");
}
