//! Where ChatD comes in: mutual TLS by role, frames of many streams, opaque data. Every stream is a session in a task of its own.

mod feed;
mod link;

pub use link::listen;
