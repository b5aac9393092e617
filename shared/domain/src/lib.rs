//! The aggregates of this repository, one module each: command, event, error, state, decide, evolve.
//!
//! Pure: no IO, no clock, no randomness. To add one, see "Add a domain" in the repository's README.

pub mod product;

pub use product::Product;
