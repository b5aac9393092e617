//! The local host: what `template.yaml` deploys, run on one machine, and the `ledgerline` command.

pub mod banner;
pub mod command;
pub mod data_dir;
pub mod dead_letters;
pub mod diagnose;
pub mod event_source;
pub mod failure;
pub mod functions;
pub mod gateway;
pub mod host;
#[cfg(test)]
mod host_fixture;
pub mod import;
pub mod issuer;
pub mod mappings;
pub mod messaging;
pub mod notifications;
pub mod operate;
pub mod quarantine;
pub mod queue_source;
pub mod read_model;
pub mod rebuild;
pub mod reconcile;
pub mod routes;
pub mod schedules;
pub mod seed;
pub mod stack;
pub mod stores;
pub mod template;
mod tenants;
mod unfinished;
pub mod verify;
