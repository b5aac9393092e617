//! The local host: what `template.yaml` deploys, run on one machine, and the `ledgerline` command.

pub mod banner;
pub mod command;
pub mod data_dir;
pub mod event_source;
pub mod functions;
pub mod gateway;
pub mod host;
pub mod issuer;
pub mod mappings;
pub mod read_model;
pub mod routes;
pub mod seed;
pub mod stack;
pub mod stores;
pub mod template;
pub mod verify;
