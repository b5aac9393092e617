//! The integration tests of the whole, in one binary: structure, and flows from an HTTP command to
//! the rows of the read models over real stores.
//!
//! `cargo test -p ledgerline-it` runs them. There is nothing here to use.

#[cfg(test)]
mod events;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod large_states;
#[cfg(test)]
mod local_config;
#[cfg(test)]
mod projection;
#[cfg(test)]
mod rebuild;
#[cfg(test)]
mod reconcile;
#[cfg(test)]
mod redelivery;
#[cfg(test)]
mod storms;
#[cfg(test)]
mod structure;
#[cfg(test)]
mod world;
