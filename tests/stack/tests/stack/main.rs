//! The tests of the whole stack, in one program: it is linked once, and tests that wait for a server run beside others.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod alert_metrics;
mod attempts;
mod backup_and_restore;
mod bad_backups;
mod bad_configuration;
mod bound_tokens;
mod canary;
mod ceremony;
mod chaos;
mod chatd_names;
mod chatd_ports;
mod client_addresses;
mod command_line;
mod devices;
mod distance;
mod full_volume;
mod hostile_chatd;
mod in_fleet_root;
mod lift;
mod limits;
mod local_fleet;
mod lying_vault;
mod no_majority;
mod packet_capture;
mod postgres_tls;
mod projection;
mod proxies;
mod restores;
mod roles;
mod second_accident;
mod security_lines;
mod series;
mod shutdown;
mod state_folders;
mod take_back;
