//! The same product, by the library's traits.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Product {
    code: String,
    name: String,
    category: String,
    price: String,
    description: String,
}

#[derive(Debug)]
pub(crate) enum Command {
    Create(String),
    /// In cents.
    ChangePrice(usize),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    ProductCreated { code: String, name: String, category: String, price: String, description: String },
    PriceChanged { from: String, to: String },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::ProductCreated { .. } => "ProductCreated",
            Self::PriceChanged { .. } => "PriceChanged",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

#[derive(Debug)]
pub(crate) struct Never;

impl std::fmt::Display for Never {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing is refused")
    }
}

impl std::error::Error for Never {}

impl Aggregate for Product {
    const TYPE: &'static str = "product";
    type Command = Command;
    type Event = Event;
    type Error = Never;
    type Services = ();

    async fn handle(&mut self, command: Command, (): &(), sink: &EventSink<Self>) -> Result<(), Never> {
        let event = match command {
            Command::Create(id) => Event::ProductCreated {
                code: format!("C-{id}"),
                name: "Round brilliant, very good cut".to_owned(),
                category: "diamond".to_owned(),
                price: "2757.00".to_owned(),
                description: "Carat 0.70, cut Very Good, color E, clarity SI1, depth 62.4, table 57".to_owned(),
            },
            Command::ChangePrice(cents) => {
                Event::PriceChanged { from: self.price.clone(), to: format!("{}.{:02}", cents / 100, cents % 100) }
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::ProductCreated { code, name, category, price, description } => {
                *self = Self { code, name, category, price, description };
            }
            Event::PriceChanged { to, .. } => self.price = to,
        }
    }
}
