//! `Idempotency-Key`: one import, however often it is asked for.

use std::collections::BTreeSet;

use ledgerline_kernel::ports::{ImportJobs, SourceObjects};

use super::frail::FATES;
use super::scheduler::{Dice, Task, alone, interleaved};
use super::*;
use crate::CommandError;

const BODY: &str = r#"{"resource": "products", "source": {"rows": [{"code": "R-1", "name": "Ring"}]}}"#;

async fn ask_once(imports: &Imports, body: &str) -> Result<NewImport, ImportError> {
    imports.ask_once(&ann(), ImportRequest::read(body).unwrap(), "key", body).await
}

impl World {
    fn imports_on(&self, ports: &Arc<Frail>) -> Imports {
        Imports::new(registry(), Arc::clone(ports), Arc::new(self.objects.clone()), self.environment.clone())
    }

    /// The imports that have rows.
    async fn with_rows(&self) -> BTreeSet<ImportKey> {
        let mut imports = BTreeSet::new();
        for job in self.ledger.list(&ann().tenant, None, 100).await.unwrap() {
            if self.objects.head(&source_key(&job.key)).await.unwrap().is_some() {
                imports.insert(job.key);
            }
        }
        imports
    }
}

#[tokio::test]
async fn the_same_request_is_told_of_the_same_import_and_another_one_is_refused() {
    let world = World::default();
    let first = ask_once(&world.imports(), BODY).await.unwrap();
    let again = ask_once(&world.imports(), BODY).await.unwrap();
    assert_eq!((first.replayed, again.replayed, &again.job.key), (false, true, &first.job.key));
    let other = ask_once(&world.imports(), &BODY.replace("R-1", "R-2")).await;
    assert!(matches!(other, Err(ImportError::Key(CommandError::KeyReused))), "{other:?}");
    let no_key = world.imports().ask_once(&ann(), ImportRequest::read(BODY).unwrap(), "\n", BODY).await;
    assert!(matches!(no_key, Err(ImportError::Key(CommandError::KeyInvalid))), "{no_key:?}");
    assert_eq!(world.ledger.list(&ann().tenant, None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn while_an_import_awaits_its_file_each_repetition_has_an_address_for_it() {
    let world = World::default();
    let body = r#"{"resource": "products", "format": "csv", "source": {"upload": true}}"#;
    let first = ask_once(&world.imports(), body).await.unwrap();
    world.environment.seconds.store(50 * 60, Ordering::Relaxed);
    let again = ask_once(&world.imports(), body).await.unwrap();
    let until = |asked: &NewImport| asked.upload.as_ref().unwrap().1;
    assert!(again.job.key == first.job.key && until(&again) > until(&first));
    world.split(&first.job, "code,name\n", 10).await;
    assert_eq!(ask_once(&world.imports(), body).await.unwrap().upload, None, "it has its file");
}

#[tokio::test]
async fn whatever_call_fails_or_dies_the_repetition_brings_one_import_with_rows() {
    for fate in FATES {
        for call in 0.. {
            let world = World::default();
            let ports = Arc::new(Frail::over(&world).meets(call, fate));
            let imports = world.imports_on(&ports);
            let first = ports.survive(ask_once(&imports, BODY)).await.and_then(Result::ok);
            if !ports.has_met() {
                assert!(call >= 3, "{fate:?}: every one of {call} calls was met");
                break;
            }
            let again = ask_once(&world.imports(), BODY).await.unwrap();
            let what = format!("{fate:?} at call {call}");
            assert!(first.is_none_or(|first| first.job.key == again.job.key), "{what}");
            assert_ne!(again.job.state, ImportState::Cancelled, "{what}");
            assert_eq!(world.with_rows().await, [again.job.key].into(), "{what}");
        }
    }
}

#[test]
fn of_several_at_once_all_are_told_of_the_same_import() {
    let mut raced = 0;
    for seed in 0..60 {
        let world = World::default();
        let imports = world.imports();
        let asking = (0..3).map(|_| Box::pin(ask_once(&imports, BODY)) as Task<'_, _>).collect();
        let asked: Vec<NewImport> = interleaved(&mut Dice::of(seed), asking).into_iter().map(Result::unwrap).collect();
        let keys: BTreeSet<_> = asked.iter().map(|asked| asked.job.key.clone()).collect();
        assert_eq!(alone(world.with_rows()), keys, "{seed}");
        assert_eq!((keys.len(), asked.iter().filter(|asked| !asked.replayed).count()), (1, 1), "{seed}");
        let jobs = alone(world.ledger.list(&ann().tenant, None, 10)).unwrap();
        let others = jobs.iter().filter(|job| !keys.contains(&job.key));
        raced += others.inspect(|job| assert_eq!(job.state, ImportState::Cancelled, "{seed}")).count();
    }
    assert!(raced > 0, "some came at the same time");
}
