use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use ledgerline_app::{Accepted, CommandError, CommandRequest, IfMatch};
use ledgerline_kernel::Action;
use serde_json::json;

use super::{Store, Writer, announce, scale, seed};

const USES: usize = 20;
/// Keys in use at once.
const KEYS_AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_20_times_at_once_has_one_effect_and_one_answer() {
    let store = Store::start().await;
    let writer = Writer::products(store.ledger());
    for sk in ["shared", "still"] {
        let body = json!({"sk": sk, "code": sk, "name": sk, "attributes": {"price": "1"}}).to_string();
        writer.send(writer.create(&body)).await.unwrap();
    }

    let (keys, started) = (scale(1_000), Instant::now());
    let uses = futures::stream::iter(0..keys).map(|number| use_key(Use::of(number), &writer));
    let outcomes: Vec<Outcome> = uses.buffer_unordered(KEYS_AT_ONCE).collect().await;
    let seconds = started.elapsed().as_secs_f64();

    let contents = store.contents().await;
    contents.assert_contiguous();
    let count = |effect: Effect| (0..keys).filter(|number| Use::of(*number).effect == effect).count();
    let creates = count(Effect::NamedCreate) + count(Effect::UnnamedCreate);
    assert_eq!(contents.versions.len(), 2 + creates, "entities");
    assert_eq!(contents.version_count(), 2 + creates + count(Effect::PriceChange), "effects");
    assert_eq!(contents.claims.len(), 2 + creates, "claims");
    assert_eq!(contents.remembered.len(), keys, "records");
    let produced: BTreeSet<_> =
        outcomes.iter().map(|outcome| (&outcome.answer.item.key, outcome.answer.item.version)).collect();
    assert_eq!(produced.len(), keys - count(Effect::Nothing) + 1, "two keys share an effect");
    store.dynamo.stop().await;
    let in_flight: usize = outcomes.iter().map(|outcome| outcome.in_flight).sum();
    announce(
        "idempotency",
        &format!(
            "{keys} keys used {USES} times at once: {} effects, {} repetitions answered alike, {in_flight} answers IN_FLIGHT or \
             CONTENDED tried again, {keys} other payloads refused, {seconds:.1} s",
            keys - count(Effect::Nothing),
            keys * (USES - 1),
        ),
    );
}

#[derive(Clone, Copy, PartialEq)]
enum Effect {
    /// A new product with a name that the caller chose.
    NamedCreate,
    /// A new product with a name of ours: each repetition would make another one.
    UnnamedCreate,
    /// A new price for the product that other keys change as well.
    PriceChange,
    /// The price that the product has already.
    Nothing,
}

/// What one key is used for.
struct Use {
    number: usize,
    effect: Effect,
    body: String,
    other_body: String,
}

impl Use {
    fn of(number: usize) -> Self {
        let body = |effect, name: &str| match effect {
            Effect::NamedCreate => json!({"sk": format!("n-{number}"), "code": format!("N-{number}"), "name": name}),
            Effect::UnnamedCreate => json!({"code": format!("U-{number}"), "name": name}),
            Effect::PriceChange => json!({"price": format!("{number}.{}", name.len())}),
            Effect::Nothing => json!({"price": "1", "version": name.len()}),
        };
        let effect = [Effect::NamedCreate, Effect::UnnamedCreate, Effect::PriceChange, Effect::Nothing][number % 4];
        Self { number, effect, body: body(effect, "a").to_string(), other_body: body(effect, "other").to_string() }
    }

    fn request<'a>(&'a self, writer: &'a Writer, body: &'a str) -> CommandRequest<'a> {
        let change_price = Action::Named("change-price");
        let request = match self.effect {
            Effect::NamedCreate | Effect::UnnamedCreate => writer.create(body),
            Effect::PriceChange => writer.change(change_price, "shared", IfMatch::Any, body),
            Effect::Nothing => writer.change(change_price, "still", IfMatch::Any, body),
        };
        CommandRequest { idempotency_key: Some(format!("key-{}", self.number)), ..request }
    }
}

struct Outcome {
    answer: Accepted,
    in_flight: usize,
}

async fn use_key(key: Use, writer: &Writer) -> Outcome {
    let uses = (0..USES).map(|number| use_once(&key, writer, seed() ^ (key.number * USES + number) as u64));
    let answers = join_all(uses).await;
    let in_flight = answers.iter().map(|(_, in_flight)| in_flight).sum();
    let firsts = answers.iter().filter(|(answer, _)| !answer.replayed).count();
    assert_eq!(firsts, 1, "key {} has {firsts} effects", key.number);
    let answer = answers[0].0.clone();
    assert_eq!(answer.changed, key.effect != Effect::Nothing);
    for (other, _) in &answers {
        assert_eq!((&other.item, other.changed), (&answer.item, answer.changed), "key {}", key.number);
    }
    let misused = writer.send(key.request(writer, &key.other_body)).await.unwrap_err();
    assert!(matches!(misused, CommandError::KeyReused), "key {}: {misused}", key.number);
    Outcome { answer, in_flight }
}

/// Sends the request until it is answered, as a client does that is told to come again.
async fn use_once(key: &Use, writer: &Writer, seed: u64) -> (Accepted, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut in_flight = 0;
    loop {
        match writer.send(key.request(writer, &key.body)).await {
            Ok(accepted) => return (accepted, in_flight),
            Err(CommandError::InFlight | CommandError::Contended(_)) => {
                in_flight += 1;
                tokio::time::sleep(Duration::from_millis(random.u64(5..50))).await;
            }
            Err(error) => panic!("key {}: {error}", key.number),
        }
    }
}
