//! The configuration files of the programs. Each file has one type with its defaults and checks. The program reads the file. The operator and `bkv
//! dev` write it.
//!
//! **The operator hashes the text of these files into the pod template.** A changed text makes every pod of every fleet `PodOutdated`: ChatD restarts
//! by itself,
//! and a person must restart each vault. So a new field needs `#[serde(default, skip_serializing_if = …)]`. Then the text contains the field only if
//! the resource sets a value other than the default.
#![forbid(unsafe_code)]
#![allow(clippy::trivially_copy_pass_by_ref)] // serde hands references to skip_serializing_if

mod address;
pub mod chatd;
mod error;
mod file;
pub mod located;
pub mod module_env;
#[cfg(test)]
mod parser_test;
mod token;
pub mod vault;

pub use error::{ConfigError, FieldError};
pub use token::TokenConfig;
